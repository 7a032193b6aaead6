package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Disks of all actives are full, appends wait, leaders go: others are elected all the same,
// by votes that are written ahead.
func TestLeadersAreElectedWhileAppendsWait(t *testing.T) {
	var counts Counts
	for seed := uint64(1); seed <= 4; seed++ {
		o := Options{Duration: 30 * time.Second, Profile: profileRoom}
		r := Run(seed, o)
		if r.Violation != nil {
			t.Errorf("%s: %v\n%s", r.Replay(o.Duration), r.Violation, r.Stack)
		}
		counts.Add(&r.Counts)
	}
	t.Logf("%d writes without room, %d votes ahead, %d leaders elected by them", counts[countNoSpace], counts[countVotesAhead], counts[countElectedAhead])
	if counts[countVotesAhead] < 8 || counts[countElectedAhead] < 3 {
		t.Errorf("%d votes ahead, %d leaders elected by them: the test is not worth much", counts[countVotesAhead], counts[countElectedAhead])
	}
}

// What the checkers know of a disk on which a vote goes ahead of a write that waits.
func TestTheCheckersFollowVotesAhead(t *testing.T) {
	a, b := protocol.MemberID{1}, protocol.MemberID{2}
	begin := func() (*ledger, *shadows) {
		l, m := testLedger(), &shadows{name: "m0"}
		wantRule(t, write(m, l, protocol.RoleActive, protocol.Write{State: protocol.HardState{Term: 1, Commit: 1}, First: 1, Last: 2}, 1), "")
		m.synced(0)
		wantRule(t, write(m, l, protocol.RoleActive, protocol.Write{State: protocol.HardState{Term: 1, Commit: 2}, First: 3, Last: 3}, 1), "")
		_, err := m.vote(l, 7, a, 1) // ahead of the third
		wantRule(t, err, "")
		m.synced(1)
		return l, m
	}
	sum := func(n uint64) protocol.LogSum { return protocol.LogSum{n} }
	for _, c := range []struct {
		name  string
		half  int
		state protocol.HardState
		last  protocol.Index
		rule  string
	}{
		{"the vote, and nothing of what waits", 1, protocol.HardState{Term: 7, Vote: a, Commit: 1}, 2, ""},
		{"both", 0, protocol.HardState{Term: 7, Vote: a, Commit: 2}, 3, ""},
		{"a vote that is gone", 1, protocol.HardState{Term: 1, Commit: 1}, 2, RuleHardState},
		{"the term goes back when what waited lands", 0, protocol.HardState{Term: 1, Commit: 2}, 3, RuleHardState},
		{"a commit index beyond the log", 1, protocol.HardState{Term: 7, Vote: a, Commit: 2}, 2, RuleDurable},
	} {
		t.Log(c.name)
		l, m := begin()
		wantRule(t, m.onOpened(l, c.half > 0, c.half, c.state, c.last, sum(uint64(c.last))), c.rule)
	}
	l, m := begin()
	wantRule(t, m.promises(&protocol.VoteAnswer{Term: 7, Granted: true}, a, b), "")
	wantRule(t, m.promises(&protocol.AppendAnswer{Term: 7, Index: 2}, a, b), "")
	wantRule(t, m.promises(&protocol.AppendAnswer{Term: 7, Index: 3}, a, b), RulePromise)
	_, err := m.vote(l, 7, b, 1)
	wantRule(t, err, RuleHardState)
}
