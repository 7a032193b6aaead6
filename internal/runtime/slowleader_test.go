package runtime

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

// A leader whose syncs take a fifth of a second, and whose followers' do not, hands over, and says
// why in its status. It led on for ever.
func TestALeaderWithASlowDiskHandsOver(t *testing.T) {
	c, disks := slowCluster(t)
	ctx, cancel := context.WithCancel(c.ctx)
	var writers sync.WaitGroup
	defer writers.Wait()
	defer cancel()
	for _, name := range []string{"a1", "a2", "a3"} {
		caller := c.client(c.members[name])
		writers.Go(func() {
			for ctx.Err() == nil {
				_ = slowPut(ctx, caller, name) // what is refused while the lead moves says nothing here
			}
		})
	}
	// Whoever leads has the slow disk: on a busy machine there may be elections meanwhile.
	c.eventually("a leader to hand over", func() error {
		leader := c.members["a1"].Status().Leader
		for name, d := range disks {
			sync := time.Duration(0)
			if name == leader {
				sync = 200 * time.Millisecond
			}
			d.sync.Store(int64(sync))
			if s := c.members[name].Status(); s.Leader != name && strings.Contains(s.Reason, "this member was slow and has handed over to ") {
				t.Logf("%s leads after %s: %s", s.Leader, name, s.Reason)
				return nil
			}
		}
		return errors.New(leader + " leads on")
	})
}
