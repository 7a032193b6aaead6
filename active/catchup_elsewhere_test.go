package active

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Counterexample 4 is played in the screenplay removed_while_away.

func TestAdoptVerdicts(t *testing.T) {
	flock := logOf(1, 1, 2, 2, 3)
	garbage := logOf(1, 1, 2)
	garbage[2].Kind, garbage[2].Data = protocol.EntryConfiguration, []byte("garbage")
	for _, test := range []struct {
		name   string
		run    Run
		want   Verdict
		commit protocol.Index
		terms  []int // of the log afterwards
	}{
		{"replaces what is not committed", Run{Entries: flock, Commit: 5}, CaughtUp, 5, []int{1, 1, 2, 2, 3}},
		{"joins the commit index", Run{Entries: flock[2:4], Commit: 9}, CaughtUp, 4, []int{1, 1, 2, 2}},
		{"nothing above its commit index", Run{Entries: flock, Commit: 3}, CaughtUp, 3, []int{1, 1, 2}},
		{"what is held stays", Run{Entries: logOf(1, 1, 1), Commit: 3}, CaughtUp, 3, []int{1, 1, 1, 1}},
		{"committed here", Run{Entries: flock[:2], Commit: 5}, Old, 2, []int{1, 1, 1, 1}},
		{"not committed there", Run{Entries: flock, Commit: 2}, Old, 2, []int{1, 1, 1, 1}},
		{"leaves a gap", Run{Entries: flock[3:], Commit: 5}, Gap, 2, []int{1, 1, 1, 1}},
		{"contradicts what is committed", Run{Entries: logOf(1, 2, 2), Commit: 3}, Mismatch, 2, []int{1, 1, 1, 1}},
		{"has a hole", Run{Entries: append(logOf(1, 1)[1:], logOf(1, 1, 1, 1)[3]), Commit: 4}, Mismatch, 2, []int{1, 1, 1, 1}},
		{"its term falls", Run{Entries: logOf(1, 1, 2, 1), Commit: 4}, Mismatch, 2, []int{1, 1, 1, 1}},
		{"no configuration", Run{Entries: garbage, Commit: 3}, Mismatch, 2, []int{1, 1, 1, 1}},
		{"empty", Run{Commit: 3}, Mismatch, 2, []int{1, 1, 1, 1}},
	} {
		h := newHub(t, 1, 2, 1, 1, 1, 1)
		if got := h.n.m.CatchUp(h.now, test.run); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
		h.cluster.settle(h.n)
		equal(t, test.name+": commit", h.n.m.hard.Commit, test.commit)
		equal(t, test.name+": entries", len(h.n.log), len(test.terms))
		for i, term := range termsOf(h.n.log) {
			equal(t, test.name+": term", term, test.terms[i])
		}
		equal(t, test.name+": messages", len(h.sent()), 0)
	}
}

// Any entry that is caught-up raises the term to at least its own, and the vote
// belonged to the lower one.
func TestAdoptRaisesTheTerm(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.says("b", &protocol.Vote{Term: 2, LastIndex: 9, LastTerm: 1})
	h.n.m.CatchUp(h.now, Run{Entries: logOf(1, 7), Commit: 2})
	h.cluster.settle(h.n)
	equal(t, "hard state", h.n.durable.state.Term, 7)
	equal(t, "vote", h.n.durable.state.Vote, protocol.MemberID{})
}

func TestLeaderStepsDownBeforeItAdoptsAHigherTerm(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	equal(t, "own term", h.n.m.CatchUp(h.now, Run{Entries: h.n.log, Commit: 2}), Old)
	equal(t, "state", h.n.m.state, StateLeader)
	equal(t, "higher term", h.n.m.CatchUp(h.now, Run{Entries: logOf(1, 3, 3), Commit: 3}), CaughtUp)
	equal(t, "state", h.n.m.state, StateFollower)
	h.cluster.settle(h.n)
	equal(t, "term", h.n.m.hard.Term, 3)
	equal(t, "entries", len(h.n.log), 3)
}

func TestLeaderlessAfterTwoElectionTimeouts(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	equal(t, "at start", h.n.m.IsLeaderless(h.now), false)
	h.tick(999 * time.Millisecond)
	equal(t, "before", h.n.m.IsLeaderless(h.now), false)
	h.tick(time.Millisecond)
	equal(t, "after", h.n.m.IsLeaderless(h.now), true)
	h.says("b", &protocol.Heartbeat{Term: 5})
	equal(t, "a leader is heard", h.n.m.IsLeaderless(h.now), false)
	h.tick(2 * time.Second)
	h.lead()
	equal(t, "leads", h.n.m.IsLeaderless(h.now), false)
	h.tick(3 * time.Second)
	equal(t, "deposed just now", h.n.m.IsLeaderless(h.now), false)
}
