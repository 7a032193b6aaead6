package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Counterexample: a leader applies an entry wrongly, and a voter that was cut off finds the log of the
// others begin above its own end. It installs the leader's checkpoint, which is wrong. Two of three
// have one digest then, and the third gives the right state up.
func TestAWrongStateIsNotHandedToWhoIsFarBehind(t *testing.T) {
	s := calmCluster(t, 3, Options{Profile: profileStates})
	wrong := s.leaderNow()
	var far *member
	for _, m := range s.members[:3] {
		if m != wrong {
			far = m
		}
	}
	for _, m := range s.members {
		s.cut(m, far, time.Hour)
		s.cut(far, m, time.Hour)
	}
	end := far.replica.LogTerms().LastIndex()
	if !s.until(s.schedule.now.Add(time.Minute), func() bool { return wrong.replica.LogTerms().FirstIndex() > end+1 }) {
		t.Fatal("the head of the leader's log stays")
	}
	from := protocol.Index(0)
	given := func() bool { // there is a checkpoint of what is wrong
		kept := wrong.store.Kept()
		return wrong.divergedState != nil && len(kept) > 0 && kept[0].Index > from
	}
	for try := 0; !given() && try < 20; try++ {
		s.goWrong(t, wrong, false)
		from = wrong.applied
		s.until(s.schedule.now.Add(20*time.Second), func() bool { return wrong.divergedState == nil || wrong.quarantined() || given() })
	}
	if !given() || wrong.quarantined() {
		t.Fatal("what was wrong is overwritten, or found, before there is a checkpoint of it")
	}
	s.network.heal(wrong, far)
	s.network.heal(far, wrong)
	s.until(s.schedule.now.Add(20*time.Second), func() bool { return far.applied > from })
	s.healLinks()
	s.until(s.schedule.now.Add(30*time.Second), func() bool { return far.applied > from && wrong.divergedState == nil && !wrong.quarantined() })
	if s.violation != nil || s.over || far.applied <= from || wrong.divergedState != nil {
		t.Errorf("violated: %v, ended by wrong states: %t; the one that was far behind is at %d, of %d; the leader of then is wrong: %t",
			s.violation, s.over, far.applied, from, wrong.divergedState != nil)
	}
}
