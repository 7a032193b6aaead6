package runtime

import (
	"math"
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
