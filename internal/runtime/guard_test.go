package runtime

import (
	"errors"
	"math"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// While the leader's disk is nearly full, writes are refused, at every member,
// before anything breaks; reads go on, and writes resume by themselves.
func TestNearlyFullDiskRefusesWritesOnly(t *testing.T) {
	c := newCluster(t)
	leader := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 })
	c.start("p1", protocol.RolePassive)
	c.put(c.client(leader), "k", "v")
	c.equal()
	leader.guard.last.Store(math.MaxInt64) // the test says what the disk would say
	leader.guard.full.Store(true)
	for _, m := range c.members {
		caller := c.client(m)
		_, err := kvmap.Put.Do(c.ctx, caller, "m", kvmap.PutRequest{Key: []byte("k"), Value: []byte("w")})
		if !errors.Is(err, protocol.ErrNoSpace) {
			t.Errorf("a write at %s: got %v, want %v", m.Name(), err, protocol.ErrNoSpace)
		}
		if got := c.get(caller, "k"); got != "v" {
			t.Errorf("a read at %s: got %q, want v", m.Name(), got)
		}
	}
	if err := leader.accepts(&protocol.Command{Session: 3, Type: protocol.SessionType, Version: 1, Operation: protocol.SessionKeepAlive}); errors.Is(err, protocol.ErrNoSpace) {
		t.Errorf("a keep-alive is refused: %v", err)
	}
	leader.guard.full.Store(false)
	c.put(c.client(c.members["p1"]), "k", "w")
	if got := c.get(c.client(leader), "k"); got != "w" {
		t.Errorf("got %q, want w", got)
	}
}
