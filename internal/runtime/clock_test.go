package runtime

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// clocks are clocks that the test moves, and how often the boot clock was read.
type clocks struct {
	boot, awake time.Duration
	wall        time.Time
	read        int
	asleep      time.Duration // the machine sleeps so long right after the next reading of the boot clock
}

func (c *clocks) clock() *clock {
	return newClock(
		func() time.Duration {
			c.read++
			boot := c.boot
			c.boot, c.wall, c.asleep = c.boot+c.asleep, c.wall.Add(c.asleep), 0
			return boot
		},
		func() (time.Duration, time.Time) { return c.awake, c.wall },
	)
}

// pass lets time pass while the machine is awake.
func (c *clocks) pass(d time.Duration) {
	c.boot, c.awake, c.wall = c.boot+d, c.awake+d, c.wall.Add(d)
}

// [S] A wall clock that is set moves nothing that was promised to others: instants are
// boot time. Ages grow by it, and do not shrink when it is set back.
func TestWallClockThatIsSetMovesNoInstant(t *testing.T) {
	at := &clocks{boot: time.Hour, wall: time.Unix(1_800_000_000, 0)}
	c := at.clock()
	began, longest := c.Now(), c.Longest()
	for _, step := range []struct {
		what            string
		awake, wall     time.Duration
		elapsed, passed time.Duration // since the beginning, by Now and by Longest
	}{
		{"a second passes", time.Second, time.Second, time.Second, time.Second},
		{"the wall clock is set forward by an hour", 0, time.Hour, time.Second, time.Hour + time.Second},
		{"another second passes", time.Second, time.Second, 2 * time.Second, time.Hour + 2*time.Second},
		{"it is set back by two hours", 0, -2 * time.Hour, 2 * time.Second, time.Hour + 2*time.Second},
		{"a pause of a minute is hidden from both", 0, 0, 2 * time.Second, time.Hour + 2*time.Second},
		{"the wall clock does not see a minute", time.Minute, 0, 62 * time.Second, time.Hour + 62*time.Second},
	} {
		at.pass(step.awake)
		at.wall = at.wall.Add(step.wall - step.awake)
		if got := c.Now().Sub(began); got != step.elapsed {
			t.Errorf("%s: got %v of boot time, want %v", step.what, got, step.elapsed)
		}
		if got := c.Longest().Sub(longest); got != step.passed {
			t.Errorf("%s: got %v by the larger of both, want %v", step.what, got, step.passed)
		}
	}
}

// [S] A machine that has slept knows it at once: what was promised for as long is over, and
// what it has is as old. Where the wall clock was set back meanwhile by just as much nothing
// shows it, and it is found out within readingFor. The boot clock is not read for each reading.
func TestASleepIsSeenAtOnce(t *testing.T) {
	at := &clocks{boot: time.Hour, wall: time.Unix(1_800_000_000, 0)}
	c := at.clock()
	began, reads := c.Now(), at.read
	for range 1000 {
		at.pass(readingFor / 1001)
		c.Now()
	}
	if at.read != reads {
		t.Errorf("the boot clock was read %d times within %v, want none", at.read-reads, readingFor)
	}
	const sleep = time.Minute
	for i, step := range []struct {
		what        string
		awake, wall time.Duration // after the sleep, and what it was set by
		slept       time.Duration
	}{
		{"asleep", 0, 0, sleep},
		{"set back by as much", 0, -sleep, sleep},
		{"set back by as much, and awake again", readingFor, 0, 2 * sleep},
		{"set forward", 0, sleep, 3 * sleep},
		{"for as long as nobody times", 0, 0, 3 * sleep},
	} {
		slept := sleep
		switch i {
		case 2:
			slept = 0
		case 4:
			slept = sleepSlack / 2
		}
		at.boot, at.wall = at.boot+slept, at.wall.Add(slept+step.wall)
		at.pass(step.awake)
		if got, want := c.Now().Sub(began), at.awake+step.slept; got != want {
			t.Errorf("%s: got %v, want %v", step.what, got, want)
		}
	}
}

// A machine that falls asleep between two clocks that are read as one has slept as long
// by both, and nothing was hidden from the boot clock.
func TestASleepBetweenTwoClocksIsNoPauseThatWasHidden(t *testing.T) {
	at := &clocks{boot: time.Hour, wall: time.Unix(1_800_000_000, 0), asleep: time.Second}
	c := at.clock()
	began, longest, boot := c.Now(), c.Longest(), at.boot
	at.pass(readingFor)
	at.asleep = time.Minute
	for range 3 {
		if got, want := c.Now().Sub(began), at.boot-boot; got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		if got, want := c.Longest().Sub(longest), at.boot-boot; got != want {
			t.Errorf("got %v by the larger of both, want %v", got, want)
		}
		at.pass(readingFor)
	}
}

// The clock of this machine is not behind its boot clock by more than the slack.
func TestClockIsTheBootClock(t *testing.T) {
	c := newClock(bootTime, awakeAndWall)
	for range 100_000 {
		before := bootTime() - c.boot0
		got := time.Duration(c.Now().Sub(protocol.Instant(time.Second)))
		after := bootTime() - c.boot0
		if got < before-2*sleepSlack || got > after+2*sleepSlack {
			t.Fatalf("got %v between %v and %v", got, before, after)
		}
	}
}

// Whatever the boot clock says, time does not go back.
func TestClockDoesNotGoBack(t *testing.T) {
	at := &clocks{boot: time.Hour, wall: time.Unix(1_800_000_000, 0)}
	c := at.clock()
	last := protocol.Instant(0)
	for _, boot := range []time.Duration{time.Hour, 2 * time.Hour, time.Hour, 3 * time.Hour} {
		at.pass(readingFor)
		at.boot = boot
		now := c.Now()
		if now < last {
			t.Errorf("at %v: got %d after %d", boot, now, last)
		}
		last = now
	}
}
