package runtime

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// patient is a gathering in virtual time, whose yields take what the test says.
type patient struct {
	gathering
	clock  protocol.Instant
	takes  time.Duration // a yield
	yields int
}

func newPatient(takes time.Duration) *patient {
	p := &patient{takes: takes, clock: protocol.Instant(time.Hour)}
	p.gathering = gathering{
		now:   func() protocol.Instant { return p.clock },
		yield: func() { p.yields++; p.clock = p.clock.Add(p.takes) },
	}
	return p
}

// runs has it asked every millisecond for a while, with a deadline so far away, and returns how
// often it has let others go first, and what share of the time that took.
func (p *patient) runs(lasts, deadline time.Duration) (times int, share float64) {
	before, began := p.yields, p.clock
	for end := p.clock.Add(lasts); p.clock < end; p.clock = p.clock.Add(time.Millisecond) {
		p.gather(p.clock.Add(deadline))
	}
	times = (p.yields - before) / gatherTurns
	return times, float64(times) * float64(gatherTurns*p.takes) / float64(p.clock.Sub(began))
}

func TestGatheringLetsOthersGoFirstWhereThatIsQuick(t *testing.T) {
	p := newPatient(10 * time.Microsecond)
	if times, _ := p.runs(time.Second, 50*time.Millisecond); times < 900 {
		t.Errorf("it let others go first %d times in a second, want each time", times)
	}
}

// Beside goroutines that compute, to let others go first takes as long as all of their time slices.
func TestGatheringTakesNoMoreThanAHundredthOfTheTime(t *testing.T) {
	for _, takes := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 500 * time.Millisecond} {
		p := newPatient(takes)
		times, share := p.runs(20*time.Minute, time.Hour)
		if share > 0.011 || times < 2 {
			t.Errorf("yields of %v: it let others go first %d times, in %.3f of the time, want a hundredth", takes, times, share)
		}
		p.takes = 10 * time.Microsecond
		p.runs(2*gatherRests*time.Second, time.Hour) // its last rest
		if times, _ := p.runs(time.Second, time.Hour); times < 900 {
			t.Errorf("yields of %v that are quick again: %d times in a second, want each time", takes, times)
		}
	}
}

// A deadline that is nearer than what a yield took is not let pass by; and one that is always near ends nothing for good.
func TestGatheringHeedsDeadlines(t *testing.T) {
	p := newPatient(time.Second)
	p.gather(p.clock.Add(time.Hour))
	p.takes = 10 * time.Microsecond
	if times, _ := p.runs(gatherRests*gatherTurns*time.Second+time.Second, 50*time.Millisecond); times != 0 {
		t.Errorf("after a yield of a second it was tried %d times before deadlines in 50 ms", times)
	}
	p.runs(10*time.Minute, 50*time.Millisecond)
	if times, _ := p.runs(time.Second, 50*time.Millisecond); times < 900 {
		t.Errorf("when that was long ago it let others go first %d times in a second, want each time", times)
	}
}
