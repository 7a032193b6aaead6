package sim

import (
	"math/rand/v2"

	"github.com/starlinghq/starling/protocol"
)

// driftMax is how far a member's clock may run from true time, in parts per
// million. Freshness allows a thousand.
const driftMax = 500

// clock is a member's own: it starts anywhere, and runs a little fast or slow.
// It runs on while the member is paused or down, as a boot-time clock does.
type clock struct {
	origin protocol.Instant
	ppm    int64
}

func newClock(r *rand.Rand) clock {
	return clock{
		origin: protocol.Instant(r.Int64N(1 << 50)),
		ppm:    r.Int64N(2*driftMax+1) - driftMax,
	}
}

// at returns what the clock shows at a time.
func (c clock) at(t Time) protocol.Instant {
	return c.origin + protocol.Instant(t) + protocol.Instant(scale(int64(t), c.ppm))
}

// when returns the earliest time at which the clock shows at least i. It may
// be far away: a core without a deadline answers the largest instant.
func (c clock) when(i protocol.Instant) Time {
	shown := int64(i) - int64(c.origin)
	if int64(i) > 1<<60 {
		return Time(1 << 60)
	}
	if shown <= 0 {
		return 0
	}
	t := Time(shown - scale(shown, c.ppm))
	for c.at(t) < i {
		t += Time(max(1, int64(i-c.at(t))))
	}
	return t
}

// scale returns x * ppm / 1,000,000 without overflow for any run's length.
func scale(x, ppm int64) int64 { return x / 1000 * ppm / 1000 }
