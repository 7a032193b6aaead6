package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// loseTheQuorum lets three voters lose one disk, and asks their leader a while
// later to take the seat of the other follower. It returns the answer, if there
// is one before the end of the settling.
func loseTheQuorum(t *testing.T, after time.Duration, foreseen bool) (*simulation, protocol.Code) {
	t.Helper()
	s := calmCluster(t, 3, Options{Passives: -1})
	leader := s.leaderNow()
	var followers []*member
	for _, m := range s.members {
		if m != leader {
			followers = append(followers, m)
		}
	}
	s.crash(followers[0], true, "for good")
	if err := s.wipe(followers[0]); err != nil {
		t.Fatal(err)
	}
	s.run(t, after)
	if foreseen {
		clear(s.heard)
	}
	code := protocol.Code("none")
	conf, _ := leader.latest()
	n := leader.serving.request(func(r protocol.Result) { code = r.Code })
	leader.replica.Change(leader.now(), n, replica.Change{Version: conf.Index, Remove: []protocol.MemberID{followers[1].id}})
	leader.serve()
	s.settle()
	return s, code
}

// A disk that is lost just before a change which counts on it: nobody can be
// elected any more, and no progress can be asked.
func TestQuorumLostByAnUnforeseeableChangeIsNoViolation(t *testing.T) {
	s, _ := loseTheQuorum(t, time.Millisecond, false)
	wantRule(t, s.violation, "")
	if got := s.counts[countStuck]; got != 1 {
		t.Errorf("got %d quorums lost by a change, want 1", got)
	}
}

// If the leader had not heard from the lost member for an election timeout, it
// had to know better.
func TestQuorumLostByAForeseeableChangeIsFound(t *testing.T) {
	s, _ := loseTheQuorum(t, time.Millisecond, true)
	wantRule(t, s.violation, RuleLiveness)
	s, code := loseTheQuorum(t, 3*time.Second, false) // and it does
	wantRule(t, s.violation, "")
	if code != protocol.ErrWouldLoseQuorum.Code || s.counts[countStuck] != 0 {
		t.Errorf("got %q and %d quorums lost, want %q and none", code, s.counts[countStuck], protocol.ErrWouldLoseQuorum.Code)
	}
}
