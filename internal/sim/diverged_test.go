package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// goWrong makes a member's state wrong, in memory or by an entry.
func (s *simulation) goWrong(t *testing.T, m *member, flip bool) {
	t.Helper()
	m.misapplies = !flip
	s.until(s.schedule.now.Add(20*time.Second), func() bool {
		if flip && m.divergedState == nil {
			m.flipState()
		}
		return m.divergedState != nil
	})
	if m.divergedState == nil {
		t.Fatalf("the state of %s did not go wrong", m.name)
	}
}

// A state that is wrong, at a leader, a follower or a passive, is found out at the
// checkpoint entries, by a majority of the actives; nobody else is taken for wrong.
func TestAWrongStateIsFoundServesNobodyAndHeals(t *testing.T) {
	for _, flip := range []bool{true, false} {
		for _, who := range []string{"leader", "follower", "passive"} {
			s := calmCluster(t, 3, Options{Profile: profileStates})
			for try := 0; s.counts[countHealed] == 0 && try < 20; try++ {
				m := s.members[4]
				for _, a := range s.members[:3] {
					if leads := a == s.leaderNow(); who != "passive" && leads == (who == "leader") {
						m = a
					}
				}
				s.goWrong(t, m, flip)
				for k := 0; m.divergedState != nil && k < 30; k++ { // it may be overwritten before a checkpoint entry
					s.run(t, time.Second)
				}
				s.run(t, 5*time.Second)
			}
			if s.counts[countQuarantined] == 0 || s.counts[countHealed] != s.counts[countQuarantined] {
				t.Errorf("%s, flipped: %t: %d states given up, %d healed", who, flip, s.counts[countQuarantined], s.counts[countHealed])
			}
			for _, m := range s.members {
				if m.divergedState != nil || m.quarantined() {
					t.Errorf("%s, flipped: %t: the state of %s is wrong", who, flip, m.name)
				}
			}
		}
	}
}

func TestAWrongStateThatNobodyNoticesIsFound(t *testing.T) {
	s := calmCluster(t, 3, Options{Profile: profileStates})
	m := s.members[4]
	for try := 0; s.violation == nil && try < 20; try++ {
		s.goWrong(t, m, true)
		m.divergedState.entries = checkpointEntriesMax
		s.until(s.schedule.now.Add(20*time.Second), func() bool { return m.divergedState == nil || m.quarantined() })
	}
	wantRule(t, s.violation, RuleQuarantine)
}

func TestARightStateThatIsGivenUpIsFound(t *testing.T) {
	s := calmCluster(t, 3, Options{Profile: profileStates})
	m := s.members[4]
	s.until(s.schedule.now.Add(20*time.Second), func() bool { return len(m.store.Kept()) > 0 })
	m.replica.Recounted(m.now(), m.store.Kept()[0].Index, [16]byte{1})
	m.serve()
	s.until(s.schedule.now.Add(10*time.Second), nil)
	wantRule(t, s.violation, RuleQuarantine)
}

// The exemption from equal digests is of a state that is known to be wrong.
func TestAnEntryThatIsAppliedWronglyIsFound(t *testing.T) {
	s := calmCluster(t, 3, Options{Profile: profileStates})
	s.goWrong(t, s.members[4], false)
	s.members[4].divergedState = nil
	s.until(s.schedule.now.Add(10*time.Second), nil)
	wantRule(t, s.violation, RuleDigest)
}

func TestAReadInQuarantineIsFound(t *testing.T) {
	s := calmCluster(t, 3, Options{Profile: profileStates})
	m := s.members[4]
	for try := 0; !m.quarantined() && try < 20; try++ {
		s.goWrong(t, m, false)
		s.until(s.schedule.now.Add(20*time.Second), func() bool { return m.divergedState == nil || m.quarantined() })
	}
	if r, ok := m.serving.reads().NoForwarding(t.Context(), &protocol.Query{Consistency: protocol.Session}); !ok || r.Code != protocol.ErrNotServing.Code {
		t.Errorf("in quarantine a session is answered with %q", r.Code)
	}
	m.serving.mayRead(m.applied, 0)
	wantRule(t, s.violation, RuleQuarantine)
}

// Counterexample: a member gives its state up, and dies before its bad checkpoints are gone. Its next
// run begins from one of them, and knows nothing: it serves it, and gives it to others.
func TestAQuarantineOutlivesItsProcess(t *testing.T) {
	for _, power := range []bool{false, true} {
		for _, late := range []bool{false, true} { // a good checkpoint has taken the bad one's place
			s := calmCluster(t, 3, Options{Profile: profileStates})
			m := s.members[4]
			began := false
			s.until(s.schedule.now.Add(10*time.Minute), func() bool {
				if m.up() && m.divergedState == nil && !m.shut {
					m.misapplies = true
				}
				began = m.shut && m.disk.quarantine && m.quarantined() && (!late || m.applied < m.until)
				return began
			})
			if !began {
				t.Fatalf("power cut: %t, late: %t: no quarantine has begun", power, late)
			}
			m.misapplies = false
			wasAt := m.until
			s.crash(m, power, "for the test")
			s.until(s.schedule.now.Add(20*time.Second), m.up)
			if !m.quarantined() {
				t.Errorf("power cut: %t, late: %t: it has forgotten", power, late)
			}
			if r, ok := m.serving.reads().NoForwarding(t.Context(), &protocol.Query{Consistency: protocol.Local}); !ok || r.Code != protocol.ErrNotServing.Code {
				t.Errorf("power cut: %t, late: %t: a read is answered with %q", power, late, r.Code)
			}
			s.until(s.schedule.now.Add(20*time.Second), func() bool { return !m.quarantined() && !m.disk.quarantine })
			if m.quarantined() || m.disk.quarantine || m.divergedState != nil || m.applied < wasAt || s.counts[countQuarantineResumed] != 1 {
				t.Errorf("power cut: %t, late: %t: in quarantine: %t, on disk: %t, wrong: %t, at %d of %d, resumed %d times, want a state that is healed", power, late,
					m.quarantined(), m.disk.quarantine, m.divergedState != nil, m.applied, wasAt, s.counts[countQuarantineResumed])
			}
			if err := s.violation; err != nil {
				t.Errorf("power cut: %t, late: %t: %v", power, late, err)
			}
		}
	}
}

func TestTheEndOfAQuarantineIsJudged(t *testing.T) {
	wantRule(t, healed("m0", false, 20, 20), "")
	wantRule(t, healed("m0", false, 19, 20), RuleQuarantine)
	wantRule(t, healed("m0", true, 20, 20), RuleQuarantine)
}

// One wrong state is a fault like a lost disk: a second one at a voter of three is
// more than anybody promises to survive.
func TestWrongStatesCountAgainstTheTolerated(t *testing.T) {
	s := calmCluster(t, 3, Options{Profile: profileStates})
	a, b := s.members[0], s.members[1]
	s.goWrong(t, a, false)
	if s.mayStray(b) || s.tolerates(b) {
		t.Error("a second voter may be lost or go wrong while one is wrong")
	}
	s.mostAreRight()
	if s.over {
		t.Error("one wrong state of three ends the run")
	}
	b.strays("for the test")
	s.mostAreRight()
	if !s.over || s.counts[countBeyond] != 1 {
		t.Error("two wrong states of three do not end the run")
	}
}
