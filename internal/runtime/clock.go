package runtime

import (
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// clockSlack is how far the wall clock may run ahead of the boot clock before
// the difference counts as time that the boot clock did not see.
const clockSlack = 10 * time.Millisecond

// clock reads a member's own time. Elapsed time is the larger of what the boot
// clock (which runs through suspension, where there is one) and the wall clock
// have seen, so that a host which hides a pause from one of them does not hide
// it from us.
type clock struct {
	boot0 time.Duration
	wall0 time.Time

	mu    sync.Mutex
	ahead time.Duration // the most that the wall clock ran ahead of the boot clock
	last  protocol.Instant
}

func newClock() *clock {
	return &clock{boot0: bootTime(), wall0: time.Now().Round(0)} // Round drops the monotonic reading
}

// Now returns the time since some origin. It never goes back. Any goroutine
// may call it.
func (c *clock) Now() protocol.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	boot := bootTime() - c.boot0
	if ahead := time.Now().Round(0).Sub(c.wall0) - boot; ahead > c.ahead+clockSlack {
		c.ahead = ahead
	}
	c.last = max(c.last, protocol.Instant(time.Second).Add(boot+c.ahead))
	return c.last
}
