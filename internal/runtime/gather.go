package runtime

import (
	"runtime"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// gatherTurns is how often the loop lets others go first before it takes its mail.
	gatherTurns = 2
	// gatherQuick is what that may take at any time. What takes longer rests afterwards, for
	// gatherRests times as long.
	gatherQuick = 200 * time.Microsecond
	gatherRests = 100
)

// gathering lets those who are about to submit something do so before the loop takes its
// mail: what is taken in one round shares its writes, syncs and messages. Beside goroutines
// that compute, that takes until the scheduler has had each of them go first, which can be longer
// than an election timeout. So it takes no more than a hundredth of the time, and is not tried when a
// deadline is nearer than twice what it took last. It belongs to the loop.
type gathering struct {
	yield func()
	now   func() protocol.Instant

	took  time.Duration    // what it took last, and half of that after each rest
	until protocol.Instant // it rests
}

func newGathering(now func() protocol.Instant) gathering {
	return gathering{yield: runtime.Gosched, now: now}
}

// gather lets others go first, if it does not rest and no deadline is near.
func (g *gathering) gather(deadline protocol.Instant) {
	began := g.now()
	if began < g.until {
		return
	}
	if g.took > gatherQuick {
		g.took /= 2 // or a deadline that is always near would end it for good
	}
	ended := began
	if deadline.Sub(began) >= 2*g.took {
		for range gatherTurns {
			g.yield()
		}
		ended = g.now()
		g.took = ended.Sub(began)
	}
	if g.took > gatherQuick {
		g.until = ended.Add(gatherRests * g.took)
	}
}
