package runtime

import (
	"errors"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// watches opens a watch of the map at a transport.
func (c *cluster) watches(at client.Transport) resources.WatchStream {
	c.t.Helper()
	stream, err := at.Watch(c.ctx, &protocol.Watch{Resource: "m", Type: "map"})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(stream.Close)
	return stream
}

// ends reads a stream to its end.
func (c *cluster) ends(stream resources.WatchStream) error {
	for {
		if _, err := stream.Next(c.ctx); err != nil {
			return err
		}
	}
}

// A member that stops serving ends the watches that run, with the reason.
//
// [S] Where what it has told may be wrong, they end as compacted, and do not go on at another member
// behind changes that they were never told.
func TestAWatchEndsWhereItsStateMustNotBeRead(t *testing.T) {
	c := newCluster(t)
	_, p := c.pair()
	over, err := client.NewRemote(c.ctx, client.RemoteConfig{Security: security.Plaintext(), Addresses: []string{p.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = over.Close() })
	for why, want := range map[error]error{
		protocol.ErrNotServing.With("a reserve"):                                          protocol.ErrNotServing,
		&protocol.Error{Code: protocol.ErrNotServing.Code, Text: "no", Cause: errDoubted}: protocol.ErrCompacted,
	} {
		for name, at := range map[string]client.Transport{"in its process": p, "over a stream": over} {
			stream := c.watches(at)
			p.suspended.Store(&why)
			if err := c.ends(stream); !errors.Is(err, want) {
				t.Errorf("a watch %s of who does not serve (%v) ends with %v, want %v", name, why, err, want)
			}
			p.suspended.Store(nil)
		}
	}
	if err := endOfWatch(protocol.ErrDisputed); !errors.Is(err, protocol.ErrCompacted) {
		t.Errorf("a watch of what is disputed ends with %v", err)
	}
}

// reader is a client of some members, that leaves those that are older than an age.
func (c *cluster) reader(leaves time.Duration, members ...*Member) *client.Client {
	c.t.Helper()
	cfg := client.RemoteConfig{Security: security.Plaintext(), WatchAge: leaves}
	for _, m := range members {
		cfg.Addresses = append(cfg.Addresses, m.Addr())
	}
	r, err := client.NewRemote(c.ctx, cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := client.New(r, client.Config{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = out.Close() })
	return out
}

// [S] However little of it gets through, a watch is never younger than the first write that it lacks.
func TestAWatchIsNeverYoungerThanTheWriteThatItLacks(t *testing.T) {
	c := newCluster(t)
	a, p := c.pair()
	for name, caller := range map[string]*client.Client{"in its process": c.client(p), "over a stream": c.reader(time.Hour, p)} {
		stream, err := caller.Watch(c.ctx, protocol.Watch{Resource: "m", Type: "map"})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		deafen(p, everybody)
		c.put(c.client(a), "k", name)
		acknowledged := time.Now()
		for since := time.Duration(0); since < 2*time.Second; {
			before := time.Now()
			changes, err := stream.Next(c.ctx)
			if err != nil || len(changes.Changes) > 0 {
				t.Fatalf("%s: %+v, %v, of a member that hears nobody", name, changes, err)
			}
			if since = before.Sub(acknowledged); changes.AgeKnown && time.Duration(changes.Age) < since {
				t.Errorf("%s: %v after a write that it lacks the watch says that it is %v old", name, since, time.Duration(changes.Age))
			}
		}
		deafen(p, nil)
		for told := false; !told; {
			changes, err := stream.Next(c.ctx)
			if err != nil {
				t.Fatal(err)
			}
			told = len(changes.Changes) > 0 && string(changes.Changes[0].Value) == name
		}
	}
}

// A watch at a passive that hears nobody any more, but its client, goes on at another member.
func TestAWatchLeavesAPassiveThatHearsNobody(t *testing.T) {
	c := newCluster(t)
	a, p := c.pair()
	stream, err := c.reader(100*time.Millisecond, p, a).Watch(c.ctx, protocol.Watch{Resource: "m", Type: "map"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if first, err := stream.Next(c.ctx); err != nil || p.machine.Stats().Watchers != 1 {
		t.Fatalf("%+v, %v, with %d watches at the passive, want one there", first, err, p.machine.Stats().Watchers)
	}
	deafen(p, everybody)
	c.put(c.client(a), "k", "new")
	for told := false; !told; {
		changes, err := stream.Next(c.ctx)
		if err != nil {
			t.Fatal(err)
		}
		told = len(changes.Changes) > 0 && string(changes.Changes[0].Value) == "new"
	}
}

// [S] A doubt of the state is not lost behind another reason that stands in the way of readers.
func TestADoubtOutlivesOtherReasonsNotToServe(t *testing.T) {
	m := &Member{}
	doubted := func() bool { return errors.Is(m.sight().Suspended, errDoubted) }
	m.gateServing(&replica.Situation{Beyond: "level 9"})
	if doubted() || m.sight().Suspended == nil {
		t.Fatalf("of a log of a later level it says %v", m.sight().Suspended)
	}
	m.gateServing(&replica.Situation{Beyond: "level 9", Quarantine: "wrong"})
	if !doubted() {
		t.Errorf("in quarantine, too, it says %v", m.sight().Suspended)
	}
	m.gateServing(&replica.Situation{})
	if err := m.sight().Suspended; err != nil {
		t.Errorf("when all is over it says %v", err)
	}
}
