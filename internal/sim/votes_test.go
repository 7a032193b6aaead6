package sim

import (
	"slices"
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

// The leader dies while all disks are full. Of those left one has got all of the log, and
// stores none of it, the other one has missed much, and stores as much as a segment takes. One is
// elected, once, and leads on until there is room.
func TestOneElectionWhereAllDisksAreFull(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		s := newSimulation(seed, Options{Actives: 3, Passives: -1, Profile: "calm", Duration: 5 * time.Minute})
		quiet(s)
		s.plan.clients, s.plan.depth = 12, 4
		s.plan.appendBytes, s.plan.inflight = 300, 32
		begin(t, s)
		s.run(t, 2*time.Second)
		s.plan.think = 5 * time.Millisecond
		a := s.leaderNow()
		left := slices.DeleteFunc(slices.Clone(s.members), func(m *member) bool { return m == a })
		b, c := left[0], left[1]
		fill := func(m *member) {
			m.full = true
			m.disk.fs.SetCapacity(1)
		}
		term := func() protocol.Term { return max(b.replica.Status(b.now()).Term, c.replica.Status(c.now()).Term) }
		fill(b)
		for _, m := range s.members {
			s.cut(c, m, 8*time.Second)
			s.cut(m, c, 8*time.Second)
		}
		s.run(t, 4*time.Second)
		fill(a)
		fill(c)
		a.losing = true // it stays down
		s.crash(a, false, "for the test")
		before := term()
		if !s.until(s.schedule.now.Add(20*time.Second), func() bool { return s.leaderNow() != nil }) {
			t.Fatalf("seed %d: nobody leads: %v", seed, s.violation)
		}
		led := s.leaderNow()
		s.run(t, 20*time.Second)
		if s.leaderNow() != led || term() != before+1 {
			t.Errorf("seed %d: term %d, want that %s leads on in term %d", seed, term(), led.name, before+1)
		}
		acknowledged := s.counts[countAcknowledged]
		a.losing = false
		s.restart(a)
		for _, m := range s.members {
			m.emptied(m.disk.fs)
		}
		s.run(t, 10*time.Second)
		if s.counts[countAcknowledged] == acknowledged {
			t.Errorf("seed %d: nothing is acknowledged when there is room again", seed)
		}
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
