package runtime

import (
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// clockSlack is how far the wall clock may run ahead of the boot clock before
// the difference counts as time that the boot clock did not see.
const clockSlack = 10 * time.Millisecond

// origin is when this process began to count.
var origin = time.Now()

// awake returns for how long this process has been running, but for the time that the
// machine has slept. It costs no system call: it is for how often something is done, and
// for nothing that anybody was told or promised.
func awake() time.Duration { return time.Since(origin) }

// clock reads a member's own time: the boot clock, which nobody sets and which runs
// through suspension where there is one, and how far the wall clock has run ahead of
// it. Ahead is what a host has hidden from the boot clock, or what somebody has set:
// nobody can tell, and protocol.WallAhead says what goes by which.
type clock struct {
	boot  func() time.Duration // since some origin
	wall  func() time.Time
	boot0 time.Duration
	wall0 time.Time

	mu    sync.Mutex
	ahead time.Duration // the most that the wall clock ran ahead of the boot clock
	last  protocol.Instant
}

func newClock(boot func() time.Duration, wall func() time.Time) *clock {
	return &clock{boot: boot, wall: wall, boot0: boot(), wall0: wall()}
}

// wallTime reads the wall clock. Round drops the monotonic reading, so that it is one.
func wallTime() time.Time { return time.Now().Round(0) }

// Now returns the boot time since some origin. It never goes back. Any goroutine
// may call it.
func (c *clock) Now() protocol.Instant {
	now, _ := c.read()
	return now
}

// Longest returns the larger of what both clocks have seen, for ages: see
// protocol.WallAhead. It never goes back, and is compared with its like only. Any
// goroutine may call it.
func (c *clock) Longest() protocol.Instant {
	now, ahead := c.read()
	return now.Add(ahead)
}

// read reads both clocks at once.
func (c *clock) read() (now protocol.Instant, ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	boot := c.boot() - c.boot0
	if ahead := c.wall().Sub(c.wall0) - boot; ahead > c.ahead+clockSlack {
		c.ahead = ahead
	}
	c.last = max(c.last, protocol.Instant(time.Second).Add(boot))
	return c.last, c.ahead
}
