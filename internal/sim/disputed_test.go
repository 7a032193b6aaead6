package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// threeStates is a cluster whose three actives have three states, and know it. The first one is right.
func threeStates(t *testing.T) *simulation {
	t.Helper()
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
	return s
}

// Counterexample: two of three actives are wrong, each in its own way, so nobody knows who is
// right; and for ever one read of the map has another answer than the next, each of them "linearizable".
func TestWhatNobodyKnowsToBeRightIsNotRead(t *testing.T) {
	s := threeStates(t)
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

// An operator says whose state is right where each has another one: the others give theirs up, fetch it, and serve again,
// passives too.
func TestAnOperatorEndsWhatNobodyCan(t *testing.T) {
	s := threeStates(t)
	right := s.members[0]
	s.until(s.schedule.now.Add(20*time.Second), func() bool {
		if l := s.leaderNow(); l != nil && l != right {
			l.replica.Transfer(l.now(), l.serving.request(func(protocol.Result) {}), right.id)
			l.serve()
		}
		return s.leaderNow() == right
	})
	var imposed bool
	var last protocol.Result
	for try := 0; !imposed && try < 300; try++ {
		n := right.serving.request(func(r protocol.Result) { imposed, last = r.Code == protocol.OK, r })
		replica.Impose(right.replica, right.now(), n, right.id)
		right.serve()
		s.until(s.schedule.now.Add(time.Second), func() bool { return imposed })
	}
	if !imposed {
		t.Fatalf("it is not imposed: %s %s", last.Code, last.Text)
	}
	healed := func() bool {
		for _, m := range s.machines() {
			if m.divergedState != nil || m.quarantined() || m.unconfirmed() || replica.SituationOf(m.replica).Differs != nil {
				return false
			}
		}
		return true
	}
	s.until(s.schedule.now.Add(time.Minute), healed)
	if !healed() || s.violation != nil {
		for _, m := range s.machines() {
			situation := replica.SituationOf(m.replica)
			t.Logf("%s: wrong %t, quarantine %q, in dispute %q", m.name, m.divergedState != nil, situation.Quarantine, situation.Disputed)
		}
		t.Fatalf("the dispute goes on, or: %v", s.violation)
	}
	if s.counts[countHealed] < 2 {
		t.Errorf("%d states were given up and healed, want those of both others", s.counts[countHealed])
	}
	puts := s.counts[countApplied]
	s.until(s.schedule.now.Add(20*time.Second), func() bool { return s.counts[countApplied] > puts+100 })
	if s.violation != nil || s.counts[countApplied] <= puts+100 {
		t.Errorf("nothing is written any more, or: %v", s.violation)
	}
}
