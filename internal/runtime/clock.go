package runtime

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// clockSlack is how far the wall clock may run ahead of the boot clock before
	// the difference counts as time that the boot clock did not see.
	clockSlack = 10 * time.Millisecond
	// sleepSlack is how much the boot clock may run ahead of awake, or the wall clock move
	// against it, before that counts as a sleep: more than lies between two readings of
	// clocks, less than anything that is timed.
	sleepSlack = time.Millisecond
	// readingFor is how long the boot clock is not read while nothing moves the wall clock.
	readingFor = 10 * time.Millisecond
	// momentTries is how often all clocks are read before it counts that they were read
	// while this process was held up.
	momentTries = 8
)

// origin is when this process began to count.
var origin = time.Now()

// awake returns for how long this process has been running, but for the time that the
// machine has slept. It costs no system call: it is for how often something is done, and
// for nothing that anybody was told or promised.
func awake() time.Duration { return time.Since(origin) }

// awakeAndWall reads awake and the wall clock at once.
func awakeAndWall() (time.Duration, time.Time) {
	now := time.Now()
	return now.Sub(origin), now.Round(0) // Round drops the monotonic reading, so that it is the wall's
}

// clock reads a member's own time: the boot clock, which nobody sets and which runs
// through suspension where there is one, and how far the wall clock has run ahead of
// it. Ahead is what a host has hidden from the boot clock, or what somebody has set:
// nobody can tell, and protocol.WallAhead says what goes by which.
//
// To read the boot clock is a system call, a third of what a local read takes. Boot time
// is awake time and what the machine has slept, and a sleep moves the wall clock against
// awake by as much: so the boot clock is read where the wall clock has moved, and after
// readingFor, because somebody may have set the wall clock back by just that.
type clock struct {
	boot func() time.Duration // since some origin
	near func() (awake time.Duration, wall time.Time)

	boot0 time.Duration // what boot and wall said at first
	wall0 time.Time

	mu   sync.Mutex // of who looks
	seen atomic.Pointer[bootReading]
}

// bootReading is what was seen when the boot clock was read last.
type bootReading struct {
	at    time.Duration // awake
	wall  time.Duration // what the wall clock was ahead of awake
	slept time.Duration // what the boot clock was ahead of awake; it never shrinks
	ahead time.Duration // the most that the wall clock ran ahead of the boot clock
}

func newClock(boot func() time.Duration, near func() (time.Duration, time.Time)) *clock {
	c := &clock{boot: boot, near: near}
	c.boot0, _, c.wall0 = c.moment()
	c.look()
	return c
}

// moment reads all clocks as of one moment. One that falls asleep between two of them, or is held
// up there, would take that for what the one clock has seen and the other has not.
func (c *clock) moment() (boot, at time.Duration, wall time.Time) {
	for range momentTries {
		before, wallBefore := c.near()
		boot = c.boot()
		at, wall = c.near()
		if passed := at - before; passed <= sleepSlack && (wall.Sub(wallBefore)-passed).Abs() <= sleepSlack {
			break
		}
	}
	return boot, at, wall
}

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
	at, wall := c.near()
	seen := c.seen.Load() // afterwards: who began later sees as much at least
	if moved := wall.Sub(c.wall0) - at - seen.wall; at-seen.at >= readingFor || moved.Abs() > sleepSlack {
		at, seen = c.look()
	}
	return protocol.Instant(time.Second).Add(at + seen.slept), seen.ahead
}

// look reads the boot clock, and returns when it did.
func (c *clock) look() (time.Duration, *bootReading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	boot, at, wall := c.moment()
	seen := bootReading{at: at, wall: wall.Sub(c.wall0) - at, slept: boot - c.boot0 - at}
	if last := c.seen.Load(); last != nil {
		seen.ahead = last.ahead
		if seen.slept <= last.slept+sleepSlack {
			seen.slept = last.slept
		}
	}
	if ahead := seen.wall - seen.slept; ahead > seen.ahead+clockSlack {
		seen.ahead = ahead
	}
	c.seen.Store(&seen)
	return at, &seen
}
