package runtime

import (
	"fmt"
	"testing"

	"github.com/starlinghq/starling/internal/recovery"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// [S] Counterexample: the log of a recovered cluster begins above all entries, and says nothing of the state there. Nobody may
// have that state, or whoever gets it holds nothing against it.
func TestWhatRecoverBeginsWithIsConfirmedInTheNewLog(t *testing.T) {
	c := newCluster(t)
	c.put(c.client(c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Dir = c.dir() })), "k", "v")
	c.kill("a1")
	r, err := recovery.Recover(c.ctx, recovery.Options{Dir: c.configs["a1"].Dir, Registry: testRegistry(t), AlthoughIntact: true})
	if err != nil {
		t.Fatal(err)
	}
	m := c.again("a1")
	c.eventually("the confirmation", func() error {
		if kept := m.checkpoints.store.Kept(); len(kept) != 1 || kept[0].Index != r.Begin || !kept[0].Confirmed || kept[0].Installed {
			return fmt.Errorf("kept are %+v, want one at %d that is confirmed, and its own", kept, r.Begin)
		}
		return nil
	})
	p := c.start("p1", protocol.RolePassive)
	c.equal()
	if got := c.get(c.client(p), "k", resources.Local); got != "v" {
		t.Errorf("got %q, want v", got)
	}
	if kept := p.checkpoints.store.Kept(); len(kept) != 1 || kept[0].Index != r.Begin || !kept[0].Installed {
		t.Errorf("the joiner keeps %+v, want the one at %d, of another member", kept, r.Begin)
	}
}
