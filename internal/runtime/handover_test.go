package runtime

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// A leader that is stopped gracefully hands over: the others do not wait for an
// election timeout, which is longer here than the test has patience.
func TestGracefulStopOfALeaderCostsNoElectionTimeout(t *testing.T) {
	const election = 30 * time.Second
	c := newCluster(t)
	for _, name := range []string{"a1", "a2", "a3"} {
		c.start(name, protocol.RoleActive, func(cfg *Config) {
			cfg.Heartbeat = 50 * time.Millisecond
			if cfg.Election = election; cfg.Bootstrap {
				cfg.Election = 150 * time.Millisecond // elects itself, alone, and is elected by nobody
			}
		})
	}
	c.voters(3)
	old := c.members["a1"]
	if !old.published.Load().Leads {
		t.Fatal("a1 does not lead")
	}
	ctx, cancel := context.WithTimeout(c.ctx, election/3)
	defer cancel()
	if err := old.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	delete(c.members, "a1")
	caller := c.client(c.members["a2"])
	if _, err := kvmap.Put.Do(ctx, caller, "m", kvmap.PutRequest{Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatalf("a write after the leader was stopped: %v", err)
	}
}

// With nobody to hand over to, a leader stops all the same, and at once.
func TestGracefulStopOfALoneLeaderDoesNotWait(t *testing.T) {
	c := newCluster(t)
	m := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives, cfg.Election = 1, 500*time.Millisecond })
	c.put(c.client(m), "k", "v")
	began := time.Now()
	if err := m.Shutdown(c.ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Error(fmt.Sprint("it took ", took))
	}
}
