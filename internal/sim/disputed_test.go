package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// Counterexample: two of three actives are wrong, each in its own way, so nobody knows who is
// right; and for ever one read of the map has another answer than the next, each of them "linearizable".
func TestWhatNobodyKnowsToBeRightIsNotRead(t *testing.T) {
	s := calmCluster(t, 3, Options{Profile: profileStates})
	differ := func() bool {
		for _, m := range s.members[:3] {
			if replica.SituationOf(m.replica).Differs == nil {
				return false
			}
		}
		return true
	}
	for try := 0; !differ() && try < 20; try++ {
		for _, m := range s.members[1:3] { // one after the other: each applies another entry wrongly
			if m.divergedState == nil && !m.quarantined() {
				s.goWrong(t, m, false)
				wrong := m.applied
				s.until(s.schedule.now.Add(10*time.Second), func() bool { return s.members[1].applied >= wrong && s.members[2].applied >= wrong })
			}
		}
		s.until(s.schedule.now.Add(10*time.Second), differ)
	}
	if !differ() {
		t.Fatal("no member finds out")
	}
	local := func(m *member, resource string) protocol.Code {
		q := &protocol.Query{Resource: resource, Type: kvmap.Type.Name(), Operation: kvmap.Size.Describe().Name, Consistency: protocol.Local}
		r, ok := m.serving.reads().NoForwarding(t.Context(), q)
		if !ok {
			t.Errorf("%s does not answer a read of %s", m.name, resource)
		}
		return r.Code
	}
	for _, m := range s.members[:3] {
		if got := local(m, mapName); got != protocol.ErrDisputed.Code {
			t.Errorf("%s answers a read of what differs with %q", m.name, got)
		}
		if got := local(m, "another"); got != protocol.OK {
			t.Errorf("%s answers a read of what does not differ with %q", m.name, got)
		}
	}
	refused := s.counts[countDisputedRefused]
	s.until(s.schedule.now.Add(20*time.Second), func() bool { return s.counts[countDisputedRefused] > refused })
	if s.counts[countDisputedRefused] == refused {
		t.Error("no client is refused")
	}
	if s.violation != nil {
		t.Error(s.violation)
	}
}
