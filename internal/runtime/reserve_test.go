package runtime

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// A passive that is killed for good is replaced by a reserve, which held nothing
// and answered nothing until then. After a restart it is a passive still.
func TestReserveTakesThePlaceOfADeadPassive(t *testing.T) {
	c := newCluster(t)
	a := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 })
	c.start("p1", protocol.RolePassive)
	r := c.start("r1", protocol.RoleReserve, in(c.dir()))
	caller := c.client(a)
	for i := range 100 {
		c.put(caller, fmt.Sprint("k", i), "v")
	}
	if err := r.Ready(); !errors.Is(err, protocol.ErrNotServing) || !strings.Contains(err.Error(), "reserve") {
		t.Errorf("ready: got %v, want not serving, because it is a reserve", err)
	}
	for _, level := range []resources.ReadOption{resources.Linearizable, resources.OwnWrites, resources.MaxStale(time.Hour), resources.Local} {
		if _, _, err := c.read(c.client(r), level); !errors.Is(err, protocol.ErrNotServing) {
			t.Errorf("a read at a reserve: got %v, want not serving", err)
		}
	}
	if s := r.Status(); s.Role != "reserve" || s.Applied != 0 || s.Keys != 0 || s.Serving {
		t.Errorf("got %+v, want a reserve that holds nothing", s)
	}
	// A client that knows nobody but the reserve finds the way.
	remote, err := client.NewRemote(c.ctx, client.RemoteConfig{Security: security.Plaintext(), Addresses: []string{r.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	through, err := client.New(remote, client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer through.Close()
	if _, err := through.Status(c.ctx); err != nil {
		t.Fatal(err)
	}
	c.put(through, "k", "through")

	c.eventually("a reserve on the list", func() error {
		for _, m := range a.Status().Members {
			if m.Name == "r1" && m.Role == "reserve" && m.Alive {
				return nil
			}
		}
		return errors.New("no reserve")
	})
	report, err := caller.Autopilot(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	set := protocol.Autopilot{Passives: 1, FailedAfter: time.Second}
	if _, err := caller.ChangeMembership(c.ctx, protocol.MembershipChange{Version: report.Configuration.Index, Autopilot: &set}); err != nil {
		t.Fatal(err)
	}
	c.kill("p1")
	delete(c.members, "p1")
	follows := func() error {
		if s := c.members["r1"].Status(); s.Role != "passive" || !s.Serving {
			return fmt.Errorf("%s, serving %t: %s", s.Role, s.Serving, s.Reason)
		}
		return nil
	}
	c.eventually("the reserve follows", follows)
	c.put(caller, "k", "v")
	if got, _, err := c.read(c.client(c.members["r1"])); got != "v" || err != nil {
		t.Errorf("a read at the one that was a reserve: got %q, %v", got, err)
	}
	c.equal()
	c.kill("r1")
	if r := c.again("r1"); r.Status().Role != "passive" {
		t.Errorf("got %s after a restart, want passive", r.Status().Role)
	}
	c.equal()
}
