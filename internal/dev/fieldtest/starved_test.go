//go:build linux

package fieldtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// A leader that runs a fifth of the time answers in time, and everybody waits for it. It hands
// over to a voter that runs.
func TestALeaderThatIsStoppedMostOfTheTimeHandsOver(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it takes some seconds")
	}
	t.Parallel()
	c := newCluster(t)
	for _, name := range []string{"a1", "a2", "a3"} {
		c.add(name, protocol.RoleActive, nil)
	}
	c.begin()
	old := c.leader(c.members...)
	var other *member
	for _, m := range c.members {
		if m != old {
			other = m
		}
	}
	count, stop := c.keepWriting(other, "k", 50, 100, 200)
	defer stop()
	defer old.rhythm(50*time.Millisecond, 200*time.Millisecond)() // followers wait for longer
	before := count.Load()
	c.eventually(func() error {
		s, err := c.status(other)
		if err == nil && (s.Leader == "" || s.Leader == old.name) {
			err = fmt.Errorf("%s leads on", old.name)
		}
		return err
	})
	s, err := c.status(old)
	t.Logf("%d writes meanwhile; %s, which led: %d hand-overs, %q, %v", count.Load()-before, old.name, s.Counters["slow"], s.Reason, err)
}
