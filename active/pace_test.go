package active

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// slowVoyages runs something for some seeds, with writes of half to one and a half
// times the given time at the members that are named; at the others they are fast.
func slowVoyages(t *testing.T, takes time.Duration, voters, slow []string, test func(v *voyage)) {
	t.Helper()
	for seed := uint64(1); seed <= 8; seed++ {
		v := newVoyage(seed, voters...)
		v.slowDisks(takes, slow...)
		if err := v.violation(func() { test(v) }); err != nil {
			t.Fatalf("writes of %v at %v of %v, seed %d, after %v: %v", takes, slow, voters, seed, v.now.Sub(1_000_000_000), err)
		}
	}
}

func (v *voyage) slowDisks(takes time.Duration, names ...string) {
	v.disk = func(n *node) time.Duration {
		for _, name := range names {
			if n.name == name {
				return takes/2 + v.between(0, takes)
			}
		}
		return v.between(100*time.Microsecond, 3*time.Millisecond)
	}
}

// With syncs that are longer than an election timeout there were elections without
// end, and never a leader: a candidate gave up before its own vote was on its disk.
func TestClusterWithSyncsOfTwoSecondsMakesProgress(t *testing.T) {
	three := five[:3]
	for _, c := range []struct {
		takes        time.Duration
		voters, slow []string
	}{
		{800 * time.Millisecond, three, three},
		{2 * time.Second, three, three[:2]},
		{2 * time.Second, three, three},
		{2 * time.Second, five, five[1:4]},
		{4 * time.Second, three, three},
	} {
		slowVoyages(t, c.takes, c.voters, c.slow, func(v *voyage) {
			v.lead(20*time.Second + 10*c.takes)
			leaders := v.leaders
			on := v.load(300*time.Millisecond, 2)
			v.sail(60 * time.Second)
			invariant.Check(v.leaders == leaders, "%d leaders in a minute in which nothing happened", v.leaders-leaders)
			invariant.Check(len(v.told) > 200, "%d commands acknowledged in a minute", len(v.told))
			v.stop(v.lead(time.Second), time.Hour)
			v.lead(20*time.Second + 10*c.takes)
			*on = false
			v.slowDisks(0)
			v.sail(2 * c.takes)
			v.arrive()
		})
	}
}

// Disks that become slow cost the cluster the elections in which it finds out, and
// no more.
func TestDisksThatBecomeSlowCostFewElections(t *testing.T) {
	slowVoyages(t, 0, five[:3], nil, func(v *voyage) {
		v.lead(3 * time.Second)
		on := v.load(300*time.Millisecond, 2)
		v.sail(5 * time.Second)
		v.slowDisks(2*time.Second, five[:3]...)
		leaders := v.leaders
		v.sail(60 * time.Second)
		invariant.Check(v.leaders-leaders <= 2, "%d elections", v.leaders-leaders)
		leaders, told := v.leaders, len(v.told)
		v.sail(60 * time.Second)
		invariant.Check(v.leaders == leaders, "%d elections in the second minute", v.leaders-leaders)
		invariant.Check(len(v.told)-told > 200, "%d commands acknowledged in the second minute", len(v.told)-told)
		*on = false
	})
}

// A leader whose own disk is slow leads on, and what it proposes is committed when a
// majority of the others has it.
func TestLeaderWithASlowDiskCommitsByItsFollowers(t *testing.T) {
	slowVoyages(t, 0, five[:3], nil, func(v *voyage) {
		l := v.lead(3 * time.Second)
		v.slowDisks(600*time.Millisecond, l.name)
		v.sail(time.Second)
		for range 20 {
			told := len(v.told)
			v.request(1)
			v.sail(20 * time.Millisecond)
			invariant.Check(len(v.told) == told+1, "a command that both followers have is not committed")
			v.sail(v.between(0, time.Second))
		}
		invariant.Check(v.leader() == l, "%s leads no more", l.name)
	})
}

// [S] However long elections may take: a vote leaves when its sync is done, and not
// before; nor does a candidate ask for votes, nor count its own.
func TestStretchedTimeoutNeverLetsAVoteLeaveBeforeItsSync(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.async = true
	equal(t, "answers to the vote request", len(h.says("b", &protocol.Vote{Term: 2, LastIndex: 9, LastTerm: 1, Wait: 9 * time.Second})), 0)
	for range 60 {
		h.tick(500 * time.Millisecond)
		for _, m := range h.sent() {
			if a, ok := m.(*protocol.VoteAnswer); ok {
				t.Fatalf("%s left while the write hangs", describe(a))
			}
		}
	}
	h.persist(h.n)
	h.settle(h.n)
	equal(t, "the vote, when its write is done", one[*protocol.VoteAnswer](t, h.sent()).Granted, true)

	h = newHub(t, 1, 1, 1)
	h.n.async = true
	h.campaign("a")
	h.sent()
	h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true, Write: 3 * time.Second})
	for range 60 {
		equal(t, "state", h.n.m.state, StateCandidate)
		equal(t, "messages while the own vote hangs", len(h.sent()), 0)
		equal(t, "term", h.n.m.hard.Term, 2)
		h.says("b", &protocol.VoteAnswer{Term: 1})
		h.tick(500 * time.Millisecond)
	}
	h.persist(h.n)
	h.settle(h.n)
	asked := h.sent()
	equal(t, "requests when the own vote is durable", len(asked), 2)
	equal(t, "how long it says that it waits", asked[0].(*protocol.Vote).Wait, h.n.m.disk.pace.stretchMax())
}

// What promises nothing leaves while a write hangs: a leader's heartbeats, its read
// rounds and what they confirm; a follower's answers to heartbeats and pre-votes.
func TestHeartbeatsLeaveWhileAWriteHangs(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	h.n.async = true
	if _, err := h.propose("a", "x"); err != nil {
		t.Fatal(err)
	}
	h.sent()
	for i := range uint64(3) {
		h.tick(LAN.Heartbeat)
		var beats []*protocol.Heartbeat
		for _, m := range h.sent() {
			if b, ok := m.(*protocol.Heartbeat); ok {
				beats = append(beats, b)
			}
		}
		equal(t, "heartbeats", len(beats), 2)
		h.n.reads = nil
		h.n.m.ReadIndex(h.now, protocol.ReadIndex{Origin: idOf("a"), Run: h.n.m.cfg.Run, Request: i})
		h.settle(h.n)
		round := one[*protocol.Heartbeat](t, h.sent()[:1])
		h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: round.Round})
		equal(t, "reads served", len(h.n.reads), 1)
	}

	h = newHub(t, 1, 1, 1)
	h.n.async = true
	h.says("b", appendOf(2, 1, 1, 1, logOf(1, 2)))
	for i := range uint64(3) {
		h.tick(LAN.Heartbeat)
		equal(t, "round answered", one[*protocol.HeartbeatAnswer](t, h.says("b", &protocol.Heartbeat{Term: 2, Round: i + 1})).Round, i+1)
	}
	equal(t, "state of a follower whose write hangs", h.n.m.state, StateFollower)
	h.tick(LAN.Election)
	h.sent()
	a := one[*protocol.VoteAnswer](t, h.says("c", &protocol.Vote{Term: 3, Pre: true, LastIndex: 9, LastTerm: 2}))
	equal(t, "pre-vote", a.Granted, true)
	equal(t, "what a write takes, by one that is under way", a.Write, 3*LAN.Heartbeat+LAN.Election)
}

// Whoever has given its vote to a candidate that waits for disks leaves it that
// time; what comes of a later term it heeds at once.
func TestElectionThatWaitsForDisksIsNotDisturbed(t *testing.T) {
	ask := &protocol.Vote{Term: 3, Pre: true, LastIndex: 9, LastTerm: 1}
	for _, c := range []struct{ wait, leaves time.Duration }{
		{0, 0}, {4 * time.Second, 4 * time.Second}, {time.Hour, 10 * time.Second}, {-time.Second, 0},
	} {
		h := newHub(t, 1, 1, 1)
		h.says("b", &protocol.Vote{Term: 2, LastIndex: 9, LastTerm: 1, Wait: c.wait})
		m := h.n.m
		for until := h.now.Add(c.leaves); h.now < until; h.now = h.now.Add(250 * time.Millisecond) {
			m.Tick(h.now)
			equal(t, "state of a voter", m.state, StateFollower)
			equal(t, "pre-vote while the vote's disks have time", one[*protocol.VoteAnswer](t, h.says("c", ask)).Granted, false)
		}
		equal(t, "pre-vote afterwards", one[*protocol.VoteAnswer](t, h.says("c", ask)).Granted, true)
		if wait := m.electionAt.Sub(h.now); wait < LAN.Election || wait >= 2*LAN.Election {
			t.Errorf("a voter that is to wait %v campaigns %v after that, want one to two election timeouts", c.wait, wait)
		}
	}
	h := newHub(t, 1, 1, 1)
	h.says("b", &protocol.Vote{Term: 2, LastIndex: 9, LastTerm: 1, Wait: 9 * time.Second})
	equal(t, "a vote of a later term", one[*protocol.VoteAnswer](t, h.says("c", &protocol.Vote{Term: 3, LastIndex: 9, LastTerm: 1})).Granted, true)
	h.says("b", &protocol.Vote{Term: 4, LastIndex: 9, LastTerm: 1, Wait: 9 * time.Second})
	h.says("b", &protocol.Heartbeat{Term: 4, Round: 1}) // it was elected
	h.tick(LAN.Election)
	equal(t, "a pre-vote when the leader is silent", one[*protocol.VoteAnswer](t, h.says("c", &protocol.Vote{Term: 5, Pre: true, LastIndex: 9, LastTerm: 1})).Granted, true)
	h.says("b", &protocol.Vote{Term: 5, LastIndex: 9, LastTerm: 1, Wait: 9 * time.Second})
	h.says("c", &protocol.Vote{Term: 6}) // which gets no vote
	if wait := h.n.m.electionAt.Sub(h.now); wait >= 2*LAN.Election {
		t.Errorf("whoever has learned of a later term still waits %v for the election before", wait)
	}
}

// What fits into an election timeout as it is makes nobody wait longer: fail-over
// with fast disks is what it was.
func TestFastDisksStretchNothing(t *testing.T) {
	for _, c := range []struct {
		election, write, want time.Duration
	}{
		{500 * time.Millisecond, 0, 0},
		{500 * time.Millisecond, 125 * time.Millisecond, 0},
		{500 * time.Millisecond, 200 * time.Millisecond, 150 * time.Millisecond},
		{500 * time.Millisecond, 2 * time.Second, 3750 * time.Millisecond},
		{500 * time.Millisecond, time.Hour, 10 * time.Second},
		{500 * time.Millisecond, 1<<63 - 1, 10 * time.Second}, // as others may say
		{500 * time.Millisecond, -1, 0},
		{150 * time.Millisecond, time.Hour, 3 * time.Second},
		{3 * time.Second, 2 * time.Second, 2500 * time.Millisecond},
		{3 * time.Second, time.Minute, 10 * time.Second},
	} {
		p := pace{election: c.election}
		equal(t, c.election.String()+" and writes of "+c.write.String(), p.stretch(c.write), c.want)
	}
}

// A slow write counts for a while after the last one, then it is forgotten; a member
// that writes nothing forgets nothing.
func TestSlowWriteIsForgottenAfterAWhile(t *testing.T) {
	const T = 500 * time.Millisecond
	p := pace{election: T}
	now := protocol.Instant(time.Hour)
	p.took(now, 2*time.Second)
	equal(t, "at once", p.done(), 2*time.Second)
	now = now.Add(paceWindow*T - 1)
	p.took(now, time.Millisecond)
	equal(t, "within the window", p.done(), 2*time.Second)
	now = now.Add(time.Hour)
	equal(t, "after an hour without a write", p.done(), 2*time.Second)
	p.took(now, time.Millisecond)
	equal(t, "in the next window", p.done(), 2*time.Second)
	now = now.Add(paceWindow * T)
	p.took(now, time.Millisecond)
	equal(t, "in the one after it", p.done(), time.Millisecond)
}
