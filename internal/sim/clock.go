package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// driftMax is how far a member's clock may run from true time, in parts per
// million. Freshness allows a thousand, a lease a tenth. Some seeds have wild
// clocks instead, from half speed to double speed: no rule of safety depends on
// a clock, but then ages mean nothing and there are no leases.
const driftMax = 500

// clock is a member's own: it starts anywhere, and runs a little fast or slow.
// It runs on while the member is paused or down, as a boot-time clock does, unless
// the host hides a pause from it. Beside it there is a wall clock, which sees those
// pauses, and which somebody may set.
type clock struct {
	origin protocol.Instant
	ppm    int64
	// hidden is how much of boot time was hidden, and stopped since when it is being
	// hidden; 0: it is not.
	hidden  time.Duration
	stopped Time
	set     time.Duration // how far the wall clock was set forward, in all
}

func newClock(r *rand.Rand, wild bool) clock {
	c := clock{
		origin: protocol.Instant(r.Int64N(1 << 50)),
		ppm:    r.Int64N(2*driftMax+1) - driftMax,
	}
	if rate := r.Float64(); wild { // half speed to double speed
		c.ppm = int64(1e6 * (math.Exp2(2*rate-1) - 1))
	}
	return c
}

// at returns what the clock shows at a time.
func (c clock) at(t Time) protocol.Instant {
	if c.stopped != 0 {
		t = c.stopped
	}
	return c.running(t)
}

// running is what the clock would show if it were not stopped.
func (c clock) running(t Time) protocol.Instant {
	return c.origin.Add(-c.hidden) + protocol.Instant(t) + protocol.Instant(scale(int64(t), c.ppm))
}

// wallAhead is how far the wall clock is ahead of the other one.
func (c clock) wallAhead(t Time) time.Duration { return c.set + c.hidden + c.running(t).Sub(c.at(t)) }

// stop hides the time that passes from now on.
func (c *clock) stop(t Time) { c.stopped = t }

// goOn ends that.
func (c *clock) goOn(t Time) {
	c.hidden += c.running(t).Sub(c.at(t))
	c.stopped = 0
}

// when returns the earliest time at which the clock shows at least i. It may
// be far away: a core without a deadline answers the largest instant. If the clock
// stops, it will be later.
func (c clock) when(i protocol.Instant) Time {
	shown := int64(i) - int64(c.origin.Add(-c.hidden))
	if shown > 1<<42 { // over an hour: it will not come
		return Time(1 << 60)
	}
	if shown <= 0 {
		return 0
	}
	t := Time(shown * 1e6 / (1e6 + c.ppm))
	for c.running(t) < i {
		t += Time(max(1, int64(i-c.running(t))/2))
	}
	return t
}

// scale returns x * ppm / 1,000,000 without overflow for any run's length.
func scale(x, ppm int64) int64 { return x / 1000 * ppm / 1000 }

// walls are the wall clocks of a cluster.
type walls struct{ s *nemesis }

// set sets wall clocks forward, of one member or of all that there are, as who sets
// clocks sets those of a whole data centre.
func (w walls) set() {
	s := w.s
	if s.quiet {
		return
	}
	r := s.random.walls
	list := s.members
	if chance(r, 0.5) {
		i := r.IntN(len(list))
		list = list[i : i+1]
	}
	d := time.Duration(float64(time.Millisecond) * math.Exp2(23*r.Float64())) // to two hours
	for _, m := range list {
		s.counts.add(countWallsSet, 1)
		s.trace.note(tagFault, m.number, 3, uint64(d))
		m.tell(colorTrouble, "%% wall clock is set forward by %v", d.Round(time.Millisecond))
		m.clock.set += d
	}
	s.schedule.after(around(r, s.plan.walls), w.set)
}
