package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/observe"
	"github.com/starlinghq/starling/internal/recovery"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// beside is a configuration that starts a copy of a member's directory beside it.
func (c *cluster) beside(name string) Config {
	cfg := c.configs[name]
	cfg.Dir, cfg.Bind = c.copyOf(name), "127.0.0.1:0"
	cfg.Join = nil
	return cfg
}

// leaderAndFollower returns the name of the voter that leads, and of one that does not.
func (c *cluster) leaderAndFollower() (leader, follower string) {
	c.t.Helper()
	c.eventually("a leader", func() error {
		leader = c.members["a1"].Status().Leader
		if c.members[leader] == nil {
			return fmt.Errorf("%q leads", leader)
		}
		return nil
	})
	if follower = "a3"; leader == "a3" {
		follower = "a2"
	}
	return leader, follower
}

// A copy of a running voter's directory, started at another port: the others tell it
// that its original runs, at its first start and, since it has written that down, at
// any other. The original goes on, and can be started again.
func TestCopyOfARunningVoterMayNotTakePart(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name            string
		leader, passive bool
	}{{"of a follower", false, false}, {"of the leader", true, false}, {"with a passive", false, true}} {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t)
			c.actives()
			if test.passive {
				c.start("p1", protocol.RolePassive)
			}
			caller := c.client(c.members["a1"])
			c.put(caller, "k", "v")
			c.equal()
			original, follower := c.leaderAndFollower()
			if !test.leader {
				original = follower
			}
			c.refusedTwice(c.beside(original), protocol.ErrTwin)
			if m := c.members[original]; isDone(m) {
				t.Fatalf("the original has stopped: %v", m.Err())
			}
			c.put(caller, "k", "after the copy")
			c.equal()
			c.kill(original)
			c.again(original)
			c.put(c.client(c.members[original]), "k", "after a restart")
			c.equal()
		})
	}
}

// The scenario in which acknowledged writes were lost: a copy of a3 beside it, a2
// down, and ten writes that a1 and the original acknowledge; then a2 and the copy
// alone. Together they would be a majority that knows nothing of the writes.
func TestCopyElectsNobodyWhoLacksWrites(t *testing.T) {
	c := newCluster(t)
	c.actives()
	c.put(c.client(c.members["a1"]), "k", "v")
	c.equal()
	twin := c.beside("a3")
	if err := c.refused(twin); !errors.Is(err, protocol.ErrTwin) {
		t.Errorf("got %v, want %v", err, protocol.ErrTwin)
	}
	c.kill("a2")
	for i := range 10 {
		c.put(c.client(c.members["a3"]), fmt.Sprint("k", i), "acknowledged")
	}
	c.kill("a1")
	c.kill("a3")
	if err := c.refused(twin); !errors.Is(err, protocol.ErrTwin) {
		t.Fatalf("with nobody there who could tell it: got %v, want %v", err, protocol.ErrTwin)
	}
	c.openAll("a2", "a3")
	for i := range 10 {
		if got := c.get(c.client(c.members["a2"]), fmt.Sprint("k", i)); got != "acknowledged" {
			t.Errorf("k%d is %q", i, got)
		}
	}
	c.again("a1")
}

// One that neither the configuration names nor the membership knows by another
// address refuses whoever comes: a member's word about another's directory counts
// only if it is a voter's. It used to stop leader and voters within seconds.
func TestARefusalOfAPassiveStopsNobody(t *testing.T) {
	c := newCluster(t)
	c.actives()
	caller := c.client(c.members["a1"])
	refuser := newRefuser(c)
	big := strings.Repeat("x", 2*protocol.DatagramBytesMax) // goes over streams
	n := 0
	c.eventually("members come to the one that refuses", func() error {
		c.put(caller, fmt.Sprint("k", n), big)
		n++
		for _, name := range []string{"a1", "a2", "a3"} {
			if m := c.members[name]; isDone(m) {
				t.Fatalf("%s has stopped: %v", name, m.Err())
			}
		}
		if came := refuser.came.Load(); came < 5 {
			return fmt.Errorf("%d came", came)
		}
		return nil
	})
	c.eventually("the refusals are counted", func() error {
		for _, name := range []string{"a1", "a2", "a3"} {
			if c.members[name].Status().Refused > 0 {
				return nil
			}
		}
		return errors.New("nobody has counted one")
	})
	for _, name := range []string{"a1", "a2", "a3"} {
		if _, err := os.Stat(filepath.Join(c.configs[name].Dir, "refused")); err == nil {
			t.Errorf("%s has written a refusal down", name)
		}
	}
	c.equal()
}

// refuser is a passive of a cluster that says to everybody that its directory was put
// back.
type refuser struct{ came atomic.Int64 }

func newRefuser(c *cluster) *refuser {
	c.t.Helper()
	first := c.members[c.first]
	tcp, udp, err := listen(c.ctx, security.Plaintext(), "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	r, id := &refuser{}, protocol.MemberID{0: 0xfa, 15: 1}
	s, err := swim.Start(swim.Config{
		ID: id, Cluster: first.Cluster(), Meta: swim.Meta{Name: "fake", Role: protocol.RolePassive},
		Advertise: tcp.Addr().String(), Packets: udp, Dial: security.Plaintext().Dial, Timing: swim.Local(), Addresses: []string{first.Addr()},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	server := wire.NewServer(wire.ServerConfig{
		Hello: func() protocol.Hello {
			return protocol.Hello{Cluster: first.Cluster(), Member: id, Name: "fake", Starts: 1, Run: 1}
		},
		Handler: r, Gossip: func(conn net.Conn) { s.Ingest(conn) },
	})
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(tcp) })
	c.t.Cleanup(func() {
		_ = server.Close()
		_ = s.Shutdown()
		serving.Wait()
	})
	return r
}

// Welcome implements wire.Handler.
func (r *refuser) Welcome(peer protocol.Hello, _ net.Addr) error {
	if peer.Member.IsZero() {
		return nil
	}
	r.came.Add(1)
	return protocol.ErrRolledBack.With("yours is older")
}

// Receive and Serve implement wire.Handler.
func (r *refuser) Receive(protocol.MemberID, protocol.Message) {}

// Serve refuses.
func (r *refuser) Serve(_ *protocol.Request, to *wire.Responder) {
	_ = to.Fail(protocol.ErrNotServing)
}

// A greeting in a member's name, with more starts than it will ever have, locked it
// out for good. While it runs the stranger is told that it does; while it does not,
// the greeting leaves nothing behind.
func TestAForgedGreetingLocksNobodyOut(t *testing.T) {
	c := newCluster(t)
	c.actives()
	forge := func() {
		for _, name := range []string{"a1", "a2"} {
			m, states := c.members[name], make(chan error, 64)
			link := wire.NewPeer(wire.PeerConfig{ID: m.ID(), Address: m.Addr(), OnState: func(_ string, err error) { states <- err },
				Hello: func() protocol.Hello {
					return protocol.Hello{Cluster: m.Cluster(), Member: c.members["a3"].ID(), Name: "a3", Starts: 1 << 40, Run: 99, Sequence: 1 << 40}
				}}, security.Plaintext().Dial)
			link.Send([]protocol.Message{&protocol.Watermark{Starts: 1 << 41, Run: 99, Sequence: 1 << 41}})
			select {
			case err := <-states:
				if err == nil {
					_ = link.Drain(c.ctx)
				}
			case <-c.ctx.Done():
				t.Fatal("the forged greeting has no answer")
			}
			_ = link.Close()
		}
	}
	forge()
	c.kill("a3")
	forge()
	c.again("a3")
	c.watched("a3", "a1", "a2")
	c.put(c.client(c.members["a3"]), "k", "v")
	c.equal()
	for _, name := range []string{"a1", "a2"} {
		for _, m := range c.members {
			if seen := c.members[name].dirs.seen.Seen(m.ID()); seen.Starts >= 1<<40 || seen.Sequence >= 1<<40 {
				t.Errorf("%s remembers what was forged: %+v", name, seen)
			}
		}
	}
}

// A member that one voter of three has refused, whose word counts, goes on, and
// neither votes nor acknowledges: with the leader gone nobody is elected. It says
// why, and does not start again.
func TestABarredMemberNeitherVotesNorAcknowledges(t *testing.T) {
	c := newCluster(t)
	c.actives()
	c.put(c.client(c.members["a1"]), "k", "v")
	c.equal()
	leader, barred := c.leaderAndFollower()
	var other string
	for _, name := range []string{"a1", "a2", "a3"} {
		if name != leader && name != barred {
			other = name
		}
	}
	b, o := c.members[barred], c.members[other]
	c.watched(barred, leader, other)
	// The other has seen a later start than there was, or so it thinks.
	if err := o.dirs.seen.Says(protocol.Hello{Member: b.ID(), Name: barred, Starts: 100, Run: 1, Sequence: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	b.mailbox.complete(func(protocol.Instant) { b.transport.renew(o.ID(), 0) })
	c.eventually("it is barred", func() error {
		if b.dirs.barred.Load() == nil {
			return errors.New("not yet")
		}
		return nil
	})
	if s := b.Status(); s.Serving || !strings.Contains(s.Reason, other) || !strings.Contains(s.Reason, "starling remove "+barred) {
		t.Errorf("serving %v, because %q: want who says what, and the way out", s.Serving, s.Reason)
	}
	if isDone(b) {
		t.Errorf("one voter of three has ended it: %v", b.Err())
	}
	conn, err := wire.DialClient(c.ctx, b.Addr(), wire.ClientConfig{Dial: security.Plaintext().Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	open := sessionop.Open(0)
	if p, err := conn.Do(c.ctx, &protocol.Request{Kind: protocol.RequestCommand, Command: &open}); err != nil || p.Result.Code != protocol.ErrNotServing.Code {
		t.Errorf("a command over a connection: got %+v, %v, want %s", p, err, protocol.ErrNotServing.Code)
	}
	var asked atomic.Int64
	b.mailbox.mu.Lock()
	b.mailbox.deaf = func(from protocol.MemberID) bool {
		if from == o.ID() {
			asked.Add(1)
		}
		return false
	}
	b.mailbox.mu.Unlock()
	said := b.Count(observe.SentRaft)
	c.kill(leader)
	c.eventually("it is asked for its vote", func() error {
		if n := asked.Load(); n < 20 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
	if now := b.Count(observe.SentRaft); now != said {
		t.Errorf("it has said %d bytes to other actives", now-said)
	}
	if s := o.Status(); s.RaftRole == "leader" {
		t.Errorf("%s leads", other)
	}
	c.kill(barred)
	if err := c.refused(c.configs[barred]); !errors.Is(err, protocol.ErrRolledBack) || !strings.Contains(err.Error(), c.configs[barred].Dir) {
		t.Errorf("the next start: got %v, want %v and the directory", err, protocol.ErrRolledBack)
	}
	c.again(leader)
	c.put(c.client(c.members[leader]), "k", "served without it")
}

// A copy of a passive beside its original: no active has a say in it, and the
// membership keeps both. The one that has run for less time finds the other where the
// membership says, and stops.
func TestCopyOfARunningPassiveStops(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, in(c.dir()), func(cfg *Config) { cfg.Actives = 1 })
	p := c.start("p1", protocol.RolePassive, in(c.dir()))
	c.put(c.client(p), "k", "v")
	c.equal()
	c.eventually("the passive remembers whom it knows", func() error {
		_, err := os.Stat(filepath.Join(c.configs["p1"].Dir, addressesFile))
		return err
	})
	cfg := c.beside("p1")
	for start := range 3 { // by the word of a voter or by its own look: that one it takes again each time
		if err := c.refused(cfg); !errors.Is(err, protocol.ErrTwin) || !strings.Contains(err.Error(), "empty directory") {
			t.Errorf("start %d: got %v, want %v and the way out", start+1, err, protocol.ErrTwin)
		}
	}
	if isDone(p) {
		t.Fatalf("the original has stopped: %v", p.Err())
	}
	c.kill("p1")
	c.put(c.client(c.again("p1")), "k", "after a restart")
	c.equal()
}

// Two that hold one id are shown while both answer, and no longer. Here it is the
// only voter's: nobody is there to refuse the copy.
func TestTwoHoldersOfAnIDAreShown(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a := c.start("a1", protocol.RoleActive, in(c.dir()), func(cfg *Config) { cfg.Actives = 1 })
	p := c.start("p1", protocol.RolePassive)
	c.put(c.client(p), "k", "v")
	c.eventually("the voter remembers whom it knows", func() error {
		b, err := os.ReadFile(filepath.Join(c.configs["a1"].Dir, addressesFile))
		if err == nil && !strings.Contains(string(b), p.Addr()) {
			err = errors.New("not the passive")
		}
		return err
	})
	cfg := c.beside("a1")
	twin, err := Open(c.ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer twin.Kill()
	shows := func(want string) func() error {
		return func() error {
			for _, x := range p.Status().Members {
				if x.ID == a.ID() && x.Other != want {
					return fmt.Errorf("%s at %s and at %q", x.Name, x.Address, x.Other)
				}
			}
			return nil
		}
	}
	c.eventually("the second holder is shown", shows(twin.Addr()))
	twin.Kill()
	c.eventually("the second holder is shown no more", shows(""))
	if isDone(a) {
		t.Errorf("the original has stopped: %v", a.Err())
	}
}

// frozen is a connection whose near end has stopped with its process: the kernel
// takes what comes, and nobody reads it.
type frozen struct {
	net.Conn
	stops atomic.Bool
	ended chan struct{}
}

// Read implements net.Conn.
func (f *frozen) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if f.stops.Load() {
		<-f.ended
		return 0, net.ErrClosed
	}
	return n, err
}

// [S] A greeting says how far the directory had come when this run began. With what was
// fetched from others since, a directory that was put back would come level with what is
// remembered of it, and hide the votes that it has forgotten.
func TestAGreetingSaysWhereItsRunBegan(t *testing.T) {
	c := newCluster(t)
	c.actives()
	m := c.members["a2"]
	before := m.hello()
	c.put(c.client(m), "k", "v")
	c.equal()
	if now, said := m.log.DurableSequence(), m.hello(); said != before || now <= said.Sequence {
		t.Errorf("got greeting %+v at record %d, want %+v as before", said, now, before)
	}
	if said := m.dirs.watermark().Sequence; said <= before.Sequence {
		t.Errorf("says on its streams that it has come to record %d, want more than %d", said, before.Sequence)
	}
}

// A host that vanished leaves streams at the others that nobody ends. Its member
// comes back, on another host, with the same address: it has to be let in.
func TestARestartAfterAHostVanishedIsWelcome(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.actives()
	c.put(c.client(c.members["a1"]), "k", "v")
	c.equal()
	a3 := c.members["a3"]
	hello := a3.hello()
	c.kill("a3")
	for _, name := range []string{"a1", "a2"} {
		m, states := c.members[name], make(chan error, 64)
		nc := &frozen{ended: make(chan struct{})}
		link := wire.NewPeer(wire.PeerConfig{
			ID: m.ID(), Address: m.Addr(), Hello: func() protocol.Hello { return hello }, OnState: func(_ string, err error) { states <- err },
		}, func(ctx context.Context, address string) (conn net.Conn, err error) {
			nc.Conn, err = security.Plaintext().Dial(ctx, address)
			return nc, err
		})
		link.Connect()
		if err := <-states; err != nil {
			t.Fatal(err)
		}
		nc.stops.Store(true)
		defer func() {
			close(nc.ended)
			_ = link.Close()
		}()
	}
	c.again("a3")
	c.watched("a3", "a1", "a2")
	c.put(c.client(c.members["a3"]), "k", "after it")
	c.equal()
}

// A member whose log is damaged and whose directory is a copy is told so while it
// asks the others for entries, before it has any role.
func TestADamagedCopyIsRefusedWhileItRepairs(t *testing.T) {
	c := newCluster(t)
	c.actives()
	caller := c.client(c.members["a1"])
	for i := range 20 {
		c.put(caller, fmt.Sprint("k", i), "v")
	}
	c.equal()
	cfg := c.beside("a3")
	damages[0].do(t, cfg.Dir, 0.5)
	if _, err := wal.Verify(vfs.OS(), cfg.Dir); !errors.Is(err, protocol.ErrCorrupt) {
		t.Fatalf("the copy verifies as %v, want %v", err, protocol.ErrCorrupt)
	}
	c.refusedTwice(cfg, protocol.ErrTwin)
	if m := c.members["a3"]; isDone(m) {
		t.Errorf("the original has stopped: %v", m.Err())
	}
	c.put(caller, "k", "after the copy")
	c.equal()
}

// A directory that was refused can still be what a lost cluster begins anew from.
func TestRecoverTakesARefusedDirectory(t *testing.T) {
	c := newCluster(t)
	c.actives()
	c.put(c.client(c.members["a1"]), "k", "v")
	c.equal()
	cfg := c.beside("a3")
	c.refusedTwice(cfg, protocol.ErrTwin)
	for _, name := range []string{"a1", "a2", "a3"} {
		c.kill(name)
	}
	if _, err := recovery.Recover(c.ctx, recovery.Options{Dir: cfg.Dir, Registry: testRegistry(t)}); err != nil {
		t.Fatal(err)
	}
	m, err := Open(c.ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Kill()
	if got := c.get(c.client(m), "k"); got != "v" {
		t.Errorf("got %q, want v", got)
	}
}

// Where members announce names, the configuration has names: what is said of
// directories would never count if the numbers were dialled that they meant once.
func TestANameInTheConfigurationIsWhatIsDialled(t *testing.T) {
	for _, test := range []struct {
		configured string
		peer       protocol.Peer
		want       place
	}{
		{"a1.example:1", protocol.Peer{Address: "10.0.0.1:1", Host: "a1.example:1"}, place{"a1.example:1", "10.0.0.1:1"}},
		{"10.0.0.1:1", protocol.Peer{Address: "10.0.0.1:1"}, place{address: "10.0.0.1:1"}},
		{"a1.example:1", protocol.Peer{Address: "10.0.0.7:1", Host: "a7.example:1"}, place{address: "10.0.0.7:1"}}, // it has moved
		{"", protocol.Peer{Address: "10.0.0.1:1", Host: "p1.example:1"}, place{address: "10.0.0.1:1"}},
	} {
		if got := placeOf(test.configured, &test.peer); got != test.want {
			t.Errorf("%q and %+v: got %+v, want %+v", test.configured, test.peer, got, test.want)
		}
	}
}
