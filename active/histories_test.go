package active

import (
	"errors"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// histories takes what a member says of directories that were put back. In a
// cluster in which none was, nobody may say so.
func (c *cluster) histories(n *node, r *protocol.Ready) {
	n.putBack = append(n.putBack, r.PutBack...)
	for _, back := range r.PutBack {
		id := back.Member
		invariant.Check(c.solo || c.tampered, "%s takes the directory of %s for one that was put back", n.name, nameOf(id))
		c.trace("%s refuses %s from now on: its directory was put back", n.name, nameOf(id))
	}
	if r.Stop != nil {
		invariant.Check(c.solo || c.tampered, "%s stops: %v", n.name, r.Stop)
		c.trace("%s stops: %v", n.name, r.Stop)
		n.stop = r.Stop
	}
}

// wantStop fails unless the member stops, keeps silent from then on, and says why
// and what to do.
func wantStop(t *testing.T, n *node, what string) {
	t.Helper()
	if !errors.Is(n.stop, protocol.ErrTwoHistories) {
		t.Fatalf("%s: got %v, want that it stops", n.name, n.stop)
	}
	for _, part := range []string{what, "put back", "is kept", "starling verify", "starling recover"} {
		if !strings.Contains(n.stop.Error(), part) {
			t.Errorf("got %q, want that it says %q", n.stop, part)
		}
	}
	n.m.Step(n.m.now, idOf("b"), &protocol.Vote{Term: n.m.hard.Term + 1, LastIndex: 99, LastTerm: n.m.hard.Term})
	n.m.Tick(n.m.now.Add(10 * LAN.Election))
	if rd := n.m.Ready(); len(rd.Messages) > 0 || n.m.state != StateFollower {
		t.Errorf("%s says %v as a %s after it has stopped", n.name, rd.Messages, n.m.state)
	}
}

// acknowledged is a leader in term 2 with entries 1 to 4, all of which run 7 of b
// has acknowledged.
func acknowledged(t *testing.T) *hub {
	h := newHub(t, 1, 1, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 4, Run: 7})
	equal(t, "commit", h.n.m.hard.Commit, 4)
	return h
}

func TestRejectionBelowWhatAnotherRunAcknowledgedProvesADirectoryPutBack(t *testing.T) {
	reject := func(index, hint protocol.Index, run protocol.RunID) *protocol.AppendAnswer {
		return &protocol.AppendAnswer{Term: 2, Reject: true, Index: index, HintIndex: hint, HintTerm: 1, Run: run}
	}
	for name, c := range map[string]struct {
		says  []*protocol.AppendAnswer
		proof bool
	}{
		"an entry that it had":               {[]*protocol.AppendAnswer{reject(4, 3, 8)}, true},
		"an earlier entry":                   {[]*protocol.AppendAnswer{reject(2, 1, 8)}, true},
		"a later entry, with less":           {[]*protocol.AppendAnswer{reject(6, 3, 8)}, true},
		"after it has caught up with a part": {[]*protocol.AppendAnswer{{Term: 2, Index: 3, Run: 8}, reject(4, 3, 8)}, true},
		"a later entry, with all":            {[]*protocol.AppendAnswer{reject(6, 4, 8)}, false},
		"the same run, late":                 {[]*protocol.AppendAnswer{reject(4, 3, 7)}, false},
		"the same run, a later entry":        {[]*protocol.AppendAnswer{reject(6, 1, 7)}, false},
		"the answer to a term that is over":  {[]*protocol.AppendAnswer{reject(4, 0, 0)}, false},
		"an acknowledgement of less":         {[]*protocol.AppendAnswer{{Term: 2, Index: 2, Run: 8}}, false},
		"the last index of a passive":        {[]*protocol.AppendAnswer{{Term: 2, Passive: true, Index: 2}}, false},
		"an active that was a passive since": {[]*protocol.AppendAnswer{{Term: 2, Passive: true, Index: 2}, reject(4, 2, 8)}, false},
		"a run that has acknowledged it too": {[]*protocol.AppendAnswer{{Term: 2, Index: 4, Run: 8}, reject(4, 3, 8)}, false},
	} {
		h := acknowledged(t)
		for _, a := range c.says {
			h.says("b", a)
		}
		if got := len(h.n.putBack) == 1 && h.n.putBack[0] == (protocol.RunOf{Member: idOf("b"), Run: 8}); got != c.proof {
			t.Errorf("%s: got %t, want %t", name, got, c.proof)
		}
	}
}

func TestMemberThatIsReadmittedIsNotHeldToWhatItAcknowledgedBefore(t *testing.T) {
	h := acknowledged(t)
	without := configurationOf("a", "c")
	learner := without.With(protocol.ActiveMember{ID: idOf("b"), Name: "b", Suffrage: protocol.SuffrageLearner})
	for _, next := range []protocol.Configuration{without, learner} {
		if _, err := h.change("a", next); err != nil {
			t.Fatal(err)
		}
		for range 2 { // joint, and final
			h.says("c", &protocol.AppendAnswer{Term: 2, Index: h.n.m.logTerms.LastIndex(), Run: 1})
		}
		equal(t, "joint", h.n.m.current.Configuration.Joint(), false)
	}
	h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 4, HintIndex: 1, HintTerm: 1, Run: 8})
	equal(t, "condemned", len(h.n.putBack), 0)
}

func TestCondemnedMemberCountsForNothing(t *testing.T) {
	h := acknowledged(t)
	proof := &protocol.AppendAnswer{Term: 2, Reject: true, Index: 4, HintIndex: 2, HintTerm: 1, Run: 8}
	equal(t, "messages to it", len(h.says("b", proof)), 0)
	_, err := h.propose("a", "x")
	equal(t, "error", err, nil)
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 5, Run: 8})
	equal(t, "commit after its acknowledgement", h.n.m.hard.Commit, 4)
	h.n.m.ReadIndex(h.now, protocol.ReadIndex{Origin: h.n.id, Run: 1, Request: 1})
	h.cluster.settle(h.n)
	h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round})
	equal(t, "reads after its answer", len(h.n.reads), 0)
	h.says("b", &protocol.HeartbeatAnswer{Term: 9})
	equal(t, "term after its answer", h.n.m.hard.Term, 2)
	h.says("c", &protocol.AppendAnswer{Term: 2, Index: 5, Run: 1})
	equal(t, "commit after another's", h.n.m.hard.Commit, 5)
	h.says("c", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round})
	equal(t, "reads after another's", len(h.n.reads), 1)
	if p := h.n.m.bestTransferee(h.n.m.hard.Commit); p == nil || p.id != idOf("c") {
		t.Errorf("got %v for a transferee, want c", p)
	}
	h.says("b", proof)
	equal(t, "condemned", len(h.n.putBack), 1)
	h.n.m.Tick(h.now.Add(LAN.Election + 1))
	equal(t, "state when only it answers", h.n.m.state, StateFollower)
}

// The right directory may be found: another run is fed again, and counts, unless it
// lacks what the member owes, too.
func TestAnotherRunOfACondemnedMemberIsHeldToWhatItOwes(t *testing.T) {
	for name, c := range map[string]struct {
		says  protocol.AppendAnswer
		proof int
	}{
		"it has all":               {protocol.AppendAnswer{Term: 2, Index: 5, Run: 9}, 1},
		"it is as short as before": {protocol.AppendAnswer{Term: 2, Reject: true, Index: 5, HintIndex: 2, HintTerm: 1, Run: 9}, 2},
		"it has all and no more":   {protocol.AppendAnswer{Term: 2, Reject: true, Index: 5, HintIndex: 4, HintTerm: 2, Run: 9}, 1},
	} {
		h := acknowledged(t)
		h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 4, HintIndex: 2, HintTerm: 1, Run: 8})
		_, err := h.propose("a", "x")
		equal(t, "error", err, nil)
		h.n.m.LetIn(h.now, idOf("b"), 8)
		h.says("b", &protocol.AppendAnswer{Term: 2, Index: 5, Run: 8})
		equal(t, name+": commit after the condemned run's word", h.n.m.hard.Commit, 4)
		h.n.m.LetIn(h.now, idOf("b"), 9)
		h.says("b", &c.says)
		equal(t, name+": proofs", len(h.n.putBack), c.proof)
		if !c.says.Reject {
			equal(t, name+": commit", h.n.m.hard.Commit, 5)
		}
	}
}

func TestCondemnationEndsWithTheLeadership(t *testing.T) {
	h := acknowledged(t)
	h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 4, HintIndex: 2, HintTerm: 1, Run: 8})
	h.n.m.stepDown("for the test")
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 3, Index: 5, Run: 8})
	equal(t, "commit", h.n.m.hard.Commit, 5)
}

// [S] An active that gives entries up for committed ones leaves the term of the
// leader that has them: speaking to that leader of a log without what it had
// acknowledged, it would pass for one whose directory was put back.
func TestWhoGivesUpEntriesOfItsTermLeavesTheTerm(t *testing.T) {
	for name, replace := range map[string]func(*hub){
		"the flock": func(h *hub) {
			equal(t, "caught-up", h.n.m.CatchUp(h.now, Run{From: idOf("c"), Entries: logOf(1, 3), Commit: 2}), CaughtUp)
		},
		"a checkpoint": func(h *hub) { h.n.m.Install(h.now, beginAt(2, 3, "a", "b", "c")) },
	} {
		h := newHub(t, 5, 1, 1)
		h.says("b", appendOf(5, 1, 1, 1, logOf(1, 5, 5)))
		replace(h)
		h.cluster.settle(h.n)
		equal(t, name+": term", h.n.m.hard.Term, 6)
		h.crash(h.n)
		h.cluster.start(h.n, false)
		a := one[*protocol.AppendAnswer](t, h.says("b", &protocol.Append{Term: 5, PrevIndex: 3, PrevTerm: 5, Commit: 1}))
		equal(t, name+": answer to the leader of the old one", *a, protocol.AppendAnswer{Term: 6, Reject: true, Index: 3})
	}
}

// A leader that was deposed and does not know it contradicts what a member has
// from the flock, and is not taken for another history, unless it says that its
// entry is committed.
func TestDeposedLeaderIsNoOtherHistoryUntilItCommits(t *testing.T) {
	for commit, stops := range map[protocol.Index]bool{1: false, 2: true} {
		h := newHub(t, 5, 1, 1)
		equal(t, "caught-up", h.n.m.CatchUp(h.now, Run{From: idOf("c"), Entries: logOf(1, 3), Commit: 2}), CaughtUp)
		h.cluster.settle(h.n)
		h.says("b", appendOf(5, 1, 1, commit, logOf(1, 5)))
		equal(t, "stops", h.n.stop != nil, stops)
		equal(t, "last", h.n.m.logTerms.LastTerm(), 3)
	}
}

// [S] A member whose directory was put back, to a time when it was the only voter,
// elects itself and commits what others decided otherwise: its owner silences it.
func TestSilencedMemberLeadsNothing(t *testing.T) {
	c := newCluster("a")
	n := c.node("a")
	n.m.Tick(n.m.now.Add(10 * LAN.Election))
	c.settle(n)
	equal(t, "state", n.m.state, StateLeader)
	n.m.Silence(n.m.now)
	equal(t, "state", n.m.state, StateFollower)
	if _, err := c.propose("a", "x"); err == nil {
		t.Error("it takes a command")
	}
	n.m.Tick(n.m.now.Add(20 * LAN.Election))
	equal(t, "state much later", n.m.state, StateFollower)
}

// [S] What waits for a write, or for the next Ready, when a member is silenced never leaves: a
// vote, and an acknowledgement.
func TestSilencedMemberReleasesNothing(t *testing.T) {
	for name, msg := range map[string]protocol.Message{
		"a vote":             &protocol.Vote{Term: 7, LastIndex: 9, LastTerm: 6},
		"an acknowledgement": appendOf(5, 1, 1, 1, logOf(1, 5)),
	} {
		h := newHub(t, 5, 1, 1)
		m := h.n.m
		m.Step(h.now.Add(2*LAN.Election), idOf("b"), msg)
		w := m.Ready().Write
		if w == nil {
			t.Fatalf("%s waits for no write", name)
		}
		m.Step(m.now, idOf("c"), &protocol.Vote{Term: 9, Pre: true, LastIndex: 9, LastTerm: 8})
		m.Silence(m.now)
		m.Persisted(m.now, w.ID)
		if said := m.Ready().Messages; len(said) > 0 {
			t.Errorf("%s: a silenced member says %v", name, said)
		}
	}
}
