package attempt

import (
	"math/rand/v2"
	"time"
)

// Pause is the time before the next attempt: it doubles from one to the other bound. The
// zero value is not usable; see NewPause.
type Pause struct{ now, min, max time.Duration }

// NewPause returns a pause between two bounds.
func NewPause(min, max time.Duration) Pause { return Pause{now: min, min: min, max: max} }

// Next returns how long to wait now: a random time, less by up to half, so that clients
// that were refused together do not come back together. A nil source is the program's.
func (p *Pause) Next(random *rand.Rand) time.Duration {
	d := p.now
	p.now = min(2*p.now, p.max)
	if random == nil {
		return d - rand.N(d/2+1)
	}
	return d - time.Duration(random.Int64N(int64(d/2+1)))
}

// Reset begins with the shortest pause again.
func (p *Pause) Reset() { p.now = p.min }
