package runtime

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/storage"
)

// A leader whose disk fills up, while others have room, costs writers some waiting and no
// refusal, wherever they ask: at the leader, at another voter, at a passive, or from
// another process.
func TestNoWriteIsRefusedWhileAnotherVoterHasRoom(t *testing.T) {
	c := newCluster(t)
	all := c.trio()
	passive := c.start("p1", protocol.RolePassive)
	callers := map[string]resources.Caller{"another process": c.remote("a1", "p1"), "p1": c.client(passive)}
	for _, m := range all {
		callers[m.Name()] = c.client(m)
	}
	for range 3 {
		for where, caller := range callers {
			full := c.leading(all)
			full.guard.last.Store(math.MaxInt64) // the test says what the disk would say
			full.guard.space.Store(&storage.Space{Full: true, Free: 100 << 20, Low: 256 << 20, High: 384 << 20})
			full.guard.set(full, true)
			if _, err := kvmap.Put.Do(c.ctx, caller, "m", kvmap.PutRequest{Key: []byte("k"), Value: []byte("w")}); err != nil {
				t.Errorf("a write at %s while %s, which leads, has no room: %v", where, full.Name(), err)
			}
			full.guard.set(full, false)
		}
	}
}

// An import, eight writes at a time from another process, goes on while the disk of whoever
// leads is full, five times: no line is refused, and all are there in the end.
func TestAnImportGoesOnWhileTheLeaderHasNoRoom(t *testing.T) {
	c := newCluster(t)
	all := c.trio()
	caller := c.remote("a1", "a2", "a3")
	var written atomic.Int64
	var writers sync.WaitGroup
	stop := make(chan struct{})
	for w := range 8 {
		writers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Appendf(nil, "%d.%d", w, n)
				if _, err := kvmap.Put.Do(c.ctx, caller, "m", kvmap.PutRequest{Key: key, Value: []byte("v")}); err != nil {
					t.Errorf("line %s: %v", key, err)
					return
				}
				written.Add(1)
			}
		})
	}
	for range 5 {
		full := c.leading(all)
		full.guard.last.Store(math.MaxInt64) // the test says what the disk would say
		full.guard.space.Store(&storage.Space{Full: true, Free: 100 << 20, Low: 256 << 20, High: 384 << 20})
		full.guard.set(full, true)
		c.leading(without(all, full))
		before := written.Load()
		c.eventually("the import goes on", func() error {
			if n := written.Load(); n < before+50 && !t.Failed() {
				return fmt.Errorf("%d lines after %d", n, before)
			}
			return nil
		})
		full.guard.set(full, false)
	}
	close(stop)
	writers.Wait()
	if got, err := kvmap.Size.Do(c.ctx, caller, "m", struct{}{}); err != nil || int64(got) != written.Load() {
		t.Errorf("%d of %d lines are there: %v", got, written.Load(), err)
	}
}
