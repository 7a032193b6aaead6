package runtime

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/dev/hostile"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// hostilePerKind is how many messages of each kind a villain sends.
const hostilePerKind = 1000

// besieged is three voters under fire, and who fires.
type besieged struct {
	*cluster
	voters []*Member
	others []protocol.MemberID
}

// sceneAt is what a villain knows of a member.
func (b *besieged) sceneAt(m *Member) *hostile.Scene {
	s := m.published.Load()
	return &hostile.Scene{
		Self: m.ID(), Members: b.others, Term: s.Term, Run: m.run, Commit: s.Commit, CommitTerm: s.Term,
		Last: s.Last, LastTerm: s.Term, Request: uint64(s.Commit),
	}
}

// stranger fires over streams of its own, under an id that nobody knows.
func (b *besieged) stranger() {
	b.t.Helper()
	id, rng := protocol.MemberID{0: 0xba, 15: 1}, rand.New(rand.NewPCG(1, 7))
	links := make([]*wire.Peer, len(b.voters))
	for i, m := range b.voters {
		links[i] = wire.NewPeer(wire.PeerConfig{ID: m.ID(), Address: m.Addr(), Hello: func() protocol.Hello {
			return protocol.Hello{Cluster: m.identity.Cluster, Member: id, Name: "stranger", Starts: 1, Run: 1}
		}}, security.Plaintext().Dial)
		defer links[i].Close()
		links[i].Send([]protocol.Message{&protocol.Heartbeat{Term: 1<<64 - 1}})
		b.eventually("the stranger's link", func() error {
			if !links[i].Connected() {
				return errors.New("not connected")
			}
			return nil
		})
	}
	for _, kind := range protocol.Kinds() {
		for n := range hostilePerKind {
			at := rng.IntN(len(b.voters))
			if m := hostile.Message(rng, kind, b.sceneAt(b.voters[at])); m != nil {
				links[at].Send([]protocol.Message{m})
			}
			if n%100 == 99 {
				for _, l := range links {
					if err := l.Drain(b.ctx); err != nil {
						b.t.Fatal(err)
					}
				}
			}
		}
	}
	for i, l := range links {
		if l.Dropped() > 0 {
			b.t.Errorf("%d messages to %s did not leave", l.Dropped(), b.voters[i].Name())
		}
	}
}

// villain is a member that fires while it does what it should.
type villain struct {
	b     *besieged
	rng   *rand.Rand
	fires atomic.Bool
	sent  atomic.Int64
	total int64
}

// perCall is how many messages a villain adds to what it sends.
const perCall = 100

func newVillain(b *besieged, seed uint64) *villain {
	return &villain{b: b, rng: rand.New(rand.NewPCG(seed, 8)), total: int64(len(protocol.Kinds()) * hostilePerKind)}
}

// twist belongs to the villain's loop, so that it may look at its own log.
func (v *villain) twist(m *Member, list []replica.Send) []replica.Send {
	if !v.fires.Load() {
		return list
	}
	kinds := protocol.Kinds()
	for n := v.sent.Load(); n < v.total; n++ {
		target := v.b.voters[v.rng.IntN(len(v.b.voters))]
		scene := v.b.sceneAt(target)
		scene.Commit = m.replica.HardState().Commit
		scene.Sum, _ = m.replica.SumAt(scene.Commit)
		if x := hostile.Message(v.rng, kinds[int(n)%len(kinds)], scene); x != nil {
			list = append(list, replica.Send{Envelope: protocol.Envelope{From: m.ID(), To: target.ID(), Message: x}})
		}
		v.sent.Store(n + 1)
		if (n+1)%perCall == 0 {
			break
		}
	}
	return list
}

// fire lets a villain send all that it has, and fails if much of it was lost.
func (v *villain) fire(m *Member) {
	v.b.t.Helper()
	dropped := func() (n uint64) {
		counted := make(chan struct{})
		m.mailbox.put(func(in *mail) {
			in.calls = append(in.calls, func() {
				for _, link := range m.transport.links {
					n += link.Dropped()
				}
				close(counted)
			})
		})
		<-counted
		return n
	}
	before := dropped()
	defer func() {
		if n := dropped() - before; n > uint64(v.total)/20 {
			v.b.t.Errorf("%d messages of %d did not leave", n, v.total)
		}
	}()
	v.fires.Store(true)
	v.b.eventually("the villain has sent everything", func() error {
		if n := v.sent.Load(); n < v.total {
			return fmt.Errorf("%d of %d", n, v.total)
		}
		return nil
	})
	v.fires.Store(false)
}

// stand fails unless all voters run, a write goes through, and the voters hold
// the same; and returns the highest term of them.
func (b *besieged) stand(who string) (highest protocol.Term) {
	b.t.Helper()
	for _, m := range b.voters {
		if isDone(m) {
			b.t.Fatalf("after the messages of a %s: %s has stopped: %v", who, m.Name(), m.Err())
		}
	}
	b.put(b.client(b.voters[1]), "after a "+who, "v")
	b.eventually("equal voters", func() error {
		want := b.voters[0].Status()
		for _, m := range b.voters {
			s := m.Status()
			if highest = max(highest, s.Term); s.Applied != want.Applied || s.Digest != want.Digest {
				return fmt.Errorf("%s has applied %d, %s %d", want.Name, want.Applied, s.Name, s.Applied)
			}
			if !s.Serving {
				return fmt.Errorf("%s does not serve: %s", s.Name, s.Reason)
			}
		}
		return nil
	})
	return highest
}

func isDone(m *Member) bool {
	select {
	case <-m.Done():
		return true
	default:
		return false
	}
}

// [S] A thousand messages of every kind from a stranger, from a passive and from a
// learner, over real sockets: the voters run on, their terms are what their own
// elections made them, and what is written afterwards is everywhere.
func TestHostileMessagesOverSockets(t *testing.T) {
	c := newCluster(t)
	b := &besieged{cluster: c}
	// Nobody is to be without a leader for ten election timeouts because the
	// machine is busy: it would listen to anybody.
	patient := func(cfg *Config) { cfg.Election, cfg.Heartbeat = time.Second, 50*time.Millisecond }
	for _, name := range []string{"a1", "a2", "a3"} {
		b.voters = append(b.voters, c.start(name, protocol.RoleActive, patient))
	}
	c.voters(3)
	passive, learner := newVillain(b, 2), newVillain(b, 3)
	p := c.start("p1", protocol.RolePassive, patient, func(cfg *Config) { cfg.twist = passive.twist })
	l := c.start("l1", protocol.RoleActive, patient, func(cfg *Config) { cfg.twist = learner.twist })
	for _, m := range append([]*Member{p, l}, b.voters...) {
		b.others = append(b.others, m.ID())
	}
	c.promote(l)
	before := b.stand("friend")

	b.stranger()
	passive.fire(p)
	after := b.stand("stranger and a passive")
	if after < before || after-before > 1000 {
		t.Errorf("a voter is in term %d, it was %d", after, before)
	}
	for _, m := range b.voters {
		got := make(chan uint64, 1)
		m.inTurn(func() { got <- m.replica.Status(m.clock.Now()).Unheeded }, func(protocol.Result) { got <- 0 })
		if n := <-got; n < 1000 {
			t.Errorf("%s has counted %d messages that did not count: the test does not get there", m.Name(), n)
		}
	}

	learner.fire(l)
	raised := b.stand("learner")
	if raised <= after || raised > 1<<62 {
		t.Errorf("the voters are in term %d after a learner's messages, %d before", raised, after)
	}
}

// promote makes a member a learner, and keeps the policy from doing more.
func (c *cluster) promote(m *Member) {
	c.t.Helper()
	c.eventually("a learner", func() error {
		for _, leader := range c.members {
			if !leader.published.Load().Leads {
				continue
			}
			got := make(chan protocol.Result, 1)
			leader.serveMembershipChange(&protocol.MembershipChange{
				Version: leader.published.Load().conf, Promote: []protocol.MemberID{m.ID()}, Autopilot: &protocol.Autopilot{Off: true},
			}, func(r protocol.Result) { got <- r })
			if r := <-got; r.Code != protocol.OK {
				return fmt.Errorf("%s: %s", r.Code, r.Text)
			}
			return nil
		}
		return errors.New("nobody leads")
	})
}
