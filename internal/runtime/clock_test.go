package runtime

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// clocks are a boot clock and a wall clock that the test moves.
type clocks struct {
	boot time.Duration
	wall time.Time
}

func (c *clocks) clock() *clock {
	return newClock(func() time.Duration { return c.boot }, func() time.Time { return c.wall })
}

// [S] A wall clock that is set moves nothing that was promised to others: instants are
// boot time. Ages grow by it, and do not shrink when it is set back.
func TestWallClockThatIsSetMovesNoInstant(t *testing.T) {
	at := &clocks{boot: time.Hour, wall: time.Unix(1_800_000_000, 0)}
	c := at.clock()
	began, longest := c.Now(), c.Longest()
	for _, step := range []struct {
		what            string
		boot, wall      time.Duration
		elapsed, passed time.Duration // since the beginning, by Now and by Longest
	}{
		{"a second passes", time.Second, time.Second, time.Second, time.Second},
		{"the wall clock is set forward by an hour", 0, time.Hour, time.Second, time.Hour + time.Second},
		{"another second passes", time.Second, time.Second, 2 * time.Second, time.Hour + 2*time.Second},
		{"it is set back by two hours", 0, -2 * time.Hour, 2 * time.Second, time.Hour + 2*time.Second},
		{"a pause of a minute is hidden from both", 0, 0, 2 * time.Second, time.Hour + 2*time.Second},
		{"boot time alone sees a minute", time.Minute, 0, 62 * time.Second, time.Hour + 62*time.Second},
	} {
		at.boot += step.boot
		at.wall = at.wall.Add(step.wall)
		if got := c.Now().Sub(began); got != step.elapsed {
			t.Errorf("%s: got %v of boot time, want %v", step.what, got, step.elapsed)
		}
		if got := c.Longest().Sub(longest); got != step.passed {
			t.Errorf("%s: got %v by the larger of both, want %v", step.what, got, step.passed)
		}
	}
}

func TestClockDoesNotGoBack(t *testing.T) {
	at := &clocks{boot: time.Hour, wall: time.Unix(1_800_000_000, 0)}
	c := at.clock()
	last := protocol.Instant(0)
	for _, boot := range []time.Duration{time.Hour, 2 * time.Hour, time.Hour, 3 * time.Hour} {
		at.boot = boot
		now := c.Now()
		if now < last {
			t.Errorf("at %v: got %d after %d", boot, now, last)
		}
		last = now
	}
}
