package active

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/dev/hostile"
	"github.com/starlinghq/starling/protocol"
)

// hostilePerKind is how many messages of each kind are sent.
const hostilePerKind = 1000

// raftKinds are what the core takes at all.
var raftKinds = []protocol.MessageKind{
	protocol.KindVote, protocol.KindVoteAnswer, protocol.KindAppend, protocol.KindAppendAnswer, protocol.KindHeartbeat,
	protocol.KindHeartbeatAnswer, protocol.KindReadIndex, protocol.KindReadIndexAnswer, protocol.KindTimeoutNow, protocol.KindInstallCheckpoint,
}

// asks reports whether a kind is a request of a leader or a candidate.
func asks(kind protocol.MessageKind) bool {
	return slices.Contains([]protocol.MessageKind{
		protocol.KindVote, protocol.KindAppend, protocol.KindHeartbeat, protocol.KindTimeoutNow, protocol.KindInstallCheckpoint,
	}, kind)
}

// heeding is a cluster of three voters and the learner l, with the passives p
// and x, whose members listen to those that their logs name.
func heeding(t *testing.T, seed uint64) *cluster {
	t.Helper()
	c := newCluster()
	c.base.Configuration = configurationOf("a", "b", "c")
	c.tune = func(cfg *Config) { cfg.NamedOnly, cfg.Seed = true, cfg.Seed^seed<<8 }
	for _, name := range []string{"a", "b", "c", "l", "p", "x"} {
		c.add(name, image{})
	}
	c.pass(2 * time.Second)
	l := c.leader()
	if _, err := c.change(l.name, l.m.current.Configuration.With(protocol.ActiveMember{ID: idOf("l"), Name: "l", Suffrage: protocol.SuffrageLearner})); err != nil {
		t.Fatal(err)
	}
	c.pass(300 * time.Millisecond)
	if c.member("l") == nil {
		t.Fatal("l is no learner")
	}
	return c
}

// sceneOf is what somebody knows who wishes a node ill.
func sceneOf(c *cluster, n *node) *hostile.Scene {
	m := n.m
	s := &hostile.Scene{
		Self: n.id, Term: m.hard.Term, Run: m.cfg.Run, Commit: m.hard.Commit,
		Last: m.logTerms.LastIndex(), LastTerm: m.logTerms.LastTerm(), Request: 7,
	}
	s.CommitTerm, _ = m.logTerms.TermAt(m.hard.Commit)
	for _, other := range c.nodes {
		s.Members = append(s.Members, other.id)
	}
	return s
}

// hostileTo draws a message to a node; nil if the decoder refuses it.
func hostileTo(c *cluster, n *node, rng *rand.Rand, kind protocol.MessageKind) protocol.Message {
	m := hostile.Message(rng, kind, sceneOf(c, n))
	return m
}

// kept is all of a member that is persisted, or is to be.
type kept struct {
	state   protocol.HardState
	durable image
	log     []protocol.Entry
	writes  protocol.WriteID
	configs []protocol.ConfigurationAt
}

func keptOf(n *node) kept {
	return kept{
		state: n.m.hard, log: slices.Clone(n.log), writes: n.m.disk.lastID, configs: slices.Clone(n.m.configs.All()),
		durable: image{n.durable.state, slices.Clone(n.durable.log), n.durable.begin},
	}
}

// changes lets a node take a message and reports whether anything of it that is
// persisted changed.
func changes(c *cluster, n *node, from string, msg protocol.Message) bool {
	before := keptOf(n)
	c.step(n, idOf(from), msg)
	return !reflect.DeepEqual(before, keptOf(n))
}

// actives are the nodes that run the core.
func actives(c *cluster) (list []*node) {
	for _, n := range c.nodes {
		if n.m != nil {
			list = append(list, n)
		}
	}
	return list
}

// weather lets something happen among the honest: mostly heartbeats, sometimes a
// write, a lost leader, an election.
func weather(c *cluster, rng *rand.Rand) {
	switch rng.IntN(12) {
	case 0:
		if l := c.leader(); l != nil {
			_, _ = c.propose(l.name, "u", "v")
		}
	case 1:
		c.tick(time.Duration(rng.IntN(700)) * time.Millisecond)
	case 2:
		c.wire = nil // all is lost
	case 3:
		c.tick(time.Duration(rng.IntN(200)) * time.Millisecond)
		for range rng.IntN(5) {
			if len(c.wire) > 0 {
				c.deliver(0)
			}
		}
	default:
		c.tick(25 * time.Millisecond)
		c.stabilize()
	}
}

// calm ends the trouble: within two elections there is a leader that commits.
func calm(t *testing.T, c *cluster) {
	t.Helper()
	c.stabilize()
	c.pass(4 * LAN.Election)
	l := c.leader()
	if l == nil {
		t.Fatal("no leader within two elections after the last message")
	}
	if _, err := c.propose(l.name, "the end"); err != nil {
		t.Fatal(err)
	}
	c.pass(300 * time.Millisecond)
	for _, n := range actives(c) {
		equal(t, n.name+" has committed", n.commit(), l.commit())
	}
	equal(t, "the leader's last entry", string(l.log[len(l.log)-1].Data), "the end")
}

// [S] No message of somebody whom the log does not name changes a byte of what a
// member persists, in whatever it is doing; and when they stop, all is as if they
// had not been.
func TestStrangersChangeNothing(t *testing.T) {
	for _, kind := range raftKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			c, rng := heeding(t, uint64(kind)), rand.New(rand.NewPCG(uint64(kind), 1))
			states := map[State]int{}
			for i := range hostilePerKind {
				weather(c, rng)
				if c.leader() == nil && i%20 == 0 {
					c.pass(2 * time.Second) // the honest are not to be lost for ever
				}
				list := actives(c)
				n := list[rng.IntN(len(list))]
				m := hostileTo(c, n, rng, kind)
				if m == nil {
					continue
				}
				from := []string{"x", "p"}[rng.IntN(2)]
				states[n.m.State()]++
				if changes(c, n, from, m) {
					t.Fatalf("%s, a %s, is changed by %s of %s (seed %d, message %d)", n.name, n.m.State(), describe(m), from, kind, i)
				}
			}
			for _, s := range []State{StateLeader, StateFollower, StateLearner, StatePreCandidate} {
				if states[s] < 3 {
					t.Errorf("%d messages came to a %s: the test does not get there", states[s], s)
				}
			}
			calm(t, c)
		})
	}
}

// [S] What a learner asks changes nothing, as if it were a stranger; what it
// answers costs one election, whatever term it names; and a voter that was away
// all the while comes along although the terms have left it far behind.
func TestLearnersMessageCostsOneElectionAtMost(t *testing.T) {
	for _, kind := range raftKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			c, rng := heeding(t, uint64(kind)), rand.New(rand.NewPCG(uint64(kind), 2))
			c.tampered = true // a learner may say of itself that its directory was
			away := actives(c)[0]
			if away == c.leader() {
				away = actives(c)[1]
			}
			for _, n := range c.nodes {
				c.cut[[2]protocol.MemberID{n.id, away.id}] = n != away
				c.cut[[2]protocol.MemberID{away.id, n.id}] = n != away
			}
			elections := 0
			for i := range hostilePerKind {
				c.tick(25 * time.Millisecond)
				c.stabilize()
				if rng.IntN(4) == 0 {
					_, _ = c.propose(c.leader().name, "u")
				}
				list := slices.DeleteFunc(actives(c), func(n *node) bool { return n == away || n.name == "l" })
				n := list[rng.IntN(len(list))]
				m := hostileTo(c, n, rng, kind)
				if m == nil {
					continue
				}
				before := c.check.counts.elections
				changed := changes(c, n, "l", m)
				if changed && asks(kind) {
					t.Fatalf("%s, a %s, is changed by %s (seed %d, message %d)", n.name, n.m.State(), describe(m), kind, i)
				}
				c.stabilize()
				if leads := slices.ContainsFunc(list, func(n *node) bool { return n.m.state == StateLeader }); !leads {
					c.pass(4 * LAN.Election)
				}
				cost := c.check.counts.elections - before
				if cost > 1 || c.leader() == nil {
					t.Fatalf("%s costs %d elections, and then %v leads (seed %d, message %d)", describe(m), cost, c.leader(), kind, i)
				}
				elections += cost
			}
			if kind == protocol.KindHeartbeatAnswer && elections < 5 {
				t.Errorf("%d elections: the test does not get there", elections)
			}
			c.heal()
			if l := c.leader(); l.m.condemned(idOf("l")) { // it has contradicted itself
				l.m.stepDown("for the test")
			}
			r := &randomRun{c: c}
			r.catchUpAll(4 * time.Second)
			calm(t, c)
		})
	}
}

// FuzzStrangers sends what strangers send in any order to a cluster at work.
func FuzzStrangers(f *testing.F) {
	f.Add(uint64(1), []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
	f.Add(uint64(2), []byte{2, 2, 2, 12, 22, 32})
	f.Fuzz(func(t *testing.T, seed uint64, script []byte) {
		c, rng := heeding(t, seed%64), rand.New(rand.NewPCG(seed, 3))
		for _, b := range script[:min(len(script), 200)] {
			weather(c, rng)
			list := actives(c)
			n := list[int(b/10)%len(list)]
			m := hostileTo(c, n, rng, raftKinds[b%10])
			if m != nil && !n.m.Lost(c.now) && changes(c, n, "x", m) {
				t.Fatalf("%s, a %s, is changed by %s", n.name, n.m.State(), describe(m))
			}
		}
		r := &randomRun{c: c} // who was cut off for long fetches what it lacks
		r.catchUpAll(4 * time.Second)
		calm(t, c)
	})
}

// A term counts up to a distance from the log's entries, not from the own term:
// else the bound itself is moved, by a message at a time, and whoever was alone
// when they came is refused by all others for good.
func TestTermsAreBoundedByEntries(t *testing.T) {
	for _, test := range []struct {
		name  string
		from  string
		leaps []protocol.Term // heartbeats, or answers of the learner, one after the other
		want  protocol.Term
	}{
		{"a voter, just within", "b", []protocol.Term{protocol.VoterLeapMax}, protocol.VoterLeapMax},
		{"a voter, above", "b", []protocol.Term{protocol.VoterLeapMax + 1}, 0},
		{"a voter, step by step", "b", []protocol.Term{protocol.VoterLeapMax, protocol.VoterLeapMax + 1, 2 * protocol.VoterLeapMax}, protocol.VoterLeapMax},
		{"the learner, just within", "l", []protocol.Term{protocol.LeapMax}, protocol.LeapMax},
		{"the learner, above", "l", []protocol.Term{protocol.LeapMax + 1}, 0},
		{"a stranger", "x", []protocol.Term{1}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := heeding(t, 1)
			n := c.leader()
			if n.name == test.from {
				t.Fatal("another seed is needed")
			}
			last := n.m.logTerms.LastTerm()
			for _, leap := range test.leaps {
				var m protocol.Message = &protocol.Heartbeat{Term: last + leap}
				if test.from == "l" {
					m = &protocol.HeartbeatAnswer{Term: last + leap}
				}
				c.step(n, idOf(test.from), m)
			}
			equal(t, "term", n.m.hard.Term, last+test.want)
		})
	}
}

// A learner gets no further while nothing is committed, however many leaders
// come and go.
func TestLearnersTermIsMeasuredFromWhatIsCommitted(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.m.cfg.NamedOnly = true
	h.lead()
	m := h.n.m
	m.hard.Term += 5 // elections whose first entries nobody else has
	m.hard.Vote = protocol.MemberID{}
	committed, _ := m.logTerms.TermAt(m.hard.Commit)
	m.logTerms.Append(m.hard.Term)
	equal(t, "at the bound", m.leaps(idOf("z"), &protocol.HeartbeatAnswer{Term: committed + protocol.LeapMax}), false)
	equal(t, "above", m.leaps(idOf("z"), &protocol.HeartbeatAnswer{Term: committed + protocol.LeapMax + 1}), true)
	equal(t, "a voter, from the last entry", m.leaps(idOf("b"), &protocol.HeartbeatAnswer{Term: m.logTerms.LastTerm() + protocol.VoterLeapMax}), false)
}

// [S] Who asks for another that has not asked yet would give it an answer that is
// older than its question: a stale read. Actives pass questions on, once, and are
// believed; learners do not.
func TestNobodyAsksForAReadOfAnother(t *testing.T) {
	c := heeding(t, 1)
	l := c.leader()
	voter := actives(c)[0]
	if voter == l {
		voter = actives(c)[1]
	}
	for _, test := range []struct {
		from, origin string
		answers      int
	}{
		{"p", "p", 1}, {"x", "p", 0}, {"l", "p", 0}, {"x", l.name, 0}, {"x", voter.name, 0}, {voter.name, "p", 1}, {voter.name, voter.name, 1}, {"l", "l", 1},
	} {
		c.stabilize()
		c.step(l, idOf(test.from), &protocol.ReadIndex{Origin: idOf(test.origin), Run: 5, Request: 9})
		got := 0
		for len(c.wire) > 0 {
			if a, ok := c.wire[0].Message.(*protocol.ReadIndexAnswer); ok && a.Request == 9 {
				got++
			}
			c.deliver(0)
		}
		equal(t, fmt.Sprintf("answers to a question of %s for %s", test.from, test.origin), got, test.answers)
	}
	learner := c.node("l")
	before := len(c.wire)
	c.step(learner, idOf("p"), &protocol.ReadIndex{Origin: idOf("p"), Run: 5, Request: 9})
	equal(t, "messages of a learner", len(c.wire)-before, 1)
	answer, ok := c.wire[before].Message.(*protocol.ReadIndexAnswer)
	if !ok || answer.Leader != l.id || answer.Code != protocol.ErrNotLeader.Code {
		t.Errorf("a learner that is asked says %s, want who leads", describe(c.wire[before].Message))
	}
}

// Indexes that no log has are nobody's either, not even a voter's.
func TestIndexesAreBounded(t *testing.T) {
	c := heeding(t, 1)
	n := c.node("l")
	from := c.leader()
	for _, i := range []protocol.Index{protocol.IndexMax + 1, 1<<64 - 1} {
		for _, m := range []protocol.Message{
			&protocol.Append{Term: n.m.hard.Term, PrevIndex: i, PrevTerm: 1}, &protocol.Append{Term: n.m.hard.Term, Commit: i},
			&protocol.Heartbeat{Term: n.m.hard.Term, Commit: i}, &protocol.Vote{Term: 99, LastIndex: i, LastTerm: 99},
		} {
			before := n.m.Unheeded()
			if changes(c, n, from.name, m) {
				t.Errorf("%s changes it", describe(m))
			}
			equal(t, fmt.Sprintf("unheeded after %s", describe(m)), n.m.Unheeded(), before+1)
		}
	}
}

// [S] Counterexample 35 (a) and (b): after ten election timeouts without a leader
// that the log names anybody counts; that others whom it names are heard, who
// lead nobody, makes no difference.
func TestLostMemberListensToAnybody(t *testing.T) {
	c := heeding(t, 1)
	n := actives(c)[0]
	if n == c.leader() {
		n = actives(c)[1]
	}
	other := c.leader()
	c.partition([]string{n.name})
	c.wire = nil
	c.tick(0)
	heard := n.m.heardNamed
	vote := func() *protocol.Vote {
		return &protocol.Vote{Term: n.m.hard.Term + 1, LastIndex: 99, LastTerm: n.m.hard.Term}
	}
	for c.now < heard.Add(10*LAN.Election-25*time.Millisecond) {
		c.tick(25 * time.Millisecond)
		c.step(n, other.id, &protocol.Vote{Term: n.m.hard.Term, Pre: true, LastIndex: 1}) // refused: its log is older
		if changes(c, n, "x", vote()) {
			t.Fatalf("it votes for a stranger after %v", c.now.Sub(heard))
		}
	}
	equal(t, "lost", n.m.Lost(c.now), false)
	c.now = heard.Add(10 * LAN.Election)
	equal(t, "lost", n.m.Lost(c.now), true)
	if !changes(c, n, "x", vote()) || n.m.hard.Vote != idOf("x") {
		t.Error("it still listens to nobody")
	}
	// A leader that the log names ends that.
	c.step(n, other.id, &protocol.Heartbeat{Term: n.m.hard.Term + 1})
	equal(t, "lost", n.m.Lost(c.now), false)
	if changes(c, n, "x", vote()) {
		t.Error("it listens to a stranger although a leader was heard")
	}
}

// Whoever hears no leader, and is called by one that its log does not name, asks
// the flock after one election timeout. While a leader is heard nobody can send
// it there, nor a leader.
func TestCalledMemberAsksAtOnce(t *testing.T) {
	c := heeding(t, 1)
	l := c.leader()
	n := actives(c)[0]
	if n == l {
		n = actives(c)[1]
	}
	call := func() { c.step(n, idOf("x"), &protocol.Heartbeat{Term: n.m.hard.Term + 1}) }
	heard := n.m.heard
	call()
	c.now = heard.Add(LAN.Election)
	equal(t, "called while a leader was heard", n.m.IsLeaderless(c.now), false)
	call()
	equal(t, "called after that", n.m.IsLeaderless(c.now), true)
	c.step(l, idOf("x"), &protocol.Heartbeat{Term: l.m.hard.Term + 1})
	equal(t, "a leader", l.m.IsLeaderless(c.now), false)
	c.step(n, l.id, &protocol.Heartbeat{Term: l.m.hard.Term})
	equal(t, "its leader is back", n.m.IsLeaderless(c.now), false)
	c.now = c.now.Add(LAN.Election)
	equal(t, "nobody has called since", n.m.IsLeaderless(c.now), false)
}

// Whom the log names: the voters of the configuration at the commit index and of
// all above, in either half.
func TestNamedAreTheVotersThatMayBeInForce(t *testing.T) {
	names := func(m *Member) (s string) {
		for _, id := range m.Named() {
			s += nameOf(id)
		}
		return s
	}
	c := newCluster("a", "b", "c")
	c.add("d", image{})
	c.campaign("a")
	c.stabilize()
	equal(t, "at first", names(c.member("b")), "abc")
	with := func(name string, seat protocol.Suffrage) protocol.Configuration {
		return c.member("a").current.Configuration.With(protocol.ActiveMember{ID: idOf(name), Name: name, Suffrage: seat})
	}
	_, _ = c.change("a", with("d", protocol.SuffrageLearner))
	c.pass(200 * time.Millisecond)
	equal(t, "a learner", names(c.member("b")), "abc")
	equal(t, "at the learner", names(c.member("d")), "abc")
	next := with("d", protocol.SuffrageVoter).Without(idOf("c"))
	_, _ = c.change("a", next)
	equal(t, "the joint one, not committed", names(c.member("a")), "abcd")
	equal(t, "before it is known", names(c.member("b")), "abc")
	c.pass(300 * time.Millisecond)
	equal(t, "the final one, committed", names(c.member("a")), "abd")
	equal(t, "everywhere", names(c.member("b")), "abd")

	// The outgoing leader leads on while the joint one is in force.
	c = newCluster()
	c.base.Configuration = configurationOf("a", "b").Toward(configurationOf("b", "c"))
	equal(t, "a joint one that is committed", names(c.add("b", image{}).m), "abc")
}

// Who has lost its vote, and does not know it, stands for election as before. That does
// not count, and is not taken for the doing of a stranger.
func TestWhoHasLostItsVoteIsNoStranger(t *testing.T) {
	c := heeding(t, 1)
	l := c.leader()
	gone := "a"
	if l.name == gone {
		gone = "b"
	}
	if _, err := c.change(l.name, l.m.current.Configuration.Without(idOf(gone))); err != nil {
		t.Fatal(err)
	}
	c.pass(300 * time.Millisecond)
	for _, test := range []struct {
		from    string
		counted uint64
	}{{gone, 0}, {"x", 1}, {"l", 1}} {
		for _, m := range []protocol.Message{&protocol.Vote{Term: 9, LastIndex: 99, LastTerm: 9, Pre: true}, &protocol.Heartbeat{Term: l.m.hard.Term}} {
			before := l.m.Unheeded()
			if changes(c, l, test.from, m) {
				t.Errorf("%s of %s changes the leader", describe(m), test.from)
			}
			equal(t, fmt.Sprintf("what %s of %s counts as refused", describe(m), test.from), l.m.Unheeded()-before, test.counted)
		}
	}
}
