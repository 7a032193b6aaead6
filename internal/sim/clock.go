package sim

import (
	"math"
	"math/rand/v2"

	"github.com/starlinghq/starling/protocol"
)

// driftMax is how far a member's clock may run from true time, in parts per
// million. Freshness allows a thousand, a lease a tenth. Some seeds have wild
// clocks instead, from half speed to double speed: no rule of safety depends on
// a clock, but then ages mean nothing and there are no leases.
const driftMax = 500

// clock is a member's own: it starts anywhere, and runs a little fast or slow.
// It runs on while the member is paused or down, as a boot-time clock does.
type clock struct {
	origin protocol.Instant
	ppm    int64
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
	return c.origin + protocol.Instant(t) + protocol.Instant(scale(int64(t), c.ppm))
}

// when returns the earliest time at which the clock shows at least i. It may
// be far away: a core without a deadline answers the largest instant.
func (c clock) when(i protocol.Instant) Time {
	shown := int64(i) - int64(c.origin)
	if shown > 1<<42 { // over an hour: it will not come
		return Time(1 << 60)
	}
	if shown <= 0 {
		return 0
	}
	t := Time(shown * 1e6 / (1e6 + c.ppm))
	for c.at(t) < i {
		t += Time(max(1, int64(i-c.at(t))/2))
	}
	return t
}

// scale returns x * ppm / 1,000,000 without overflow for any run's length.
func scale(x, ppm int64) int64 { return x / 1000 * ppm / 1000 }
