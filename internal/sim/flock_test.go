package sim

import (
	"slices"
	"testing"
	"time"
)

// flockAt starts a calm cluster at the pace of a network, in which all see each other.
func flockAt(t *testing.T, seed uint64, passives int) *simulation {
	t.Helper()
	s := newSimulation(seed, Options{Profile: "calm", Passives: passives, Duration: 10 * time.Minute})
	quiet(s)
	s.membership.pace = networkPace()
	begin(t, s)
	if !s.until(s.schedule.now.Add(30*time.Second), func() bool { return s.apart() == "" }) {
		t.Fatalf("at the start %s: %v", s.apart(), s.violation)
	}
	return s
}

// meets waits until all see each other, and says how long that took.
func (s *simulation) meets(t *testing.T, within time.Duration) {
	t.Helper()
	began := s.schedule.now
	if !s.until(began.Add(within), func() bool { return s.apart() == "" }) {
		t.Fatalf("seed %d: after %v %s: %v", s.seed, within, s.apart(), s.violation)
	}
	t.Logf("seed %d: all see each other after %v", s.seed, s.schedule.now.Sub(began).Round(time.Millisecond))
}

// parts cuts all links between some members and the others for a while, and plays it.
func (s *simulation) parts(t *testing.T, d time.Duration, away ...string) {
	t.Helper()
	for _, a := range s.members {
		for _, b := range s.members {
			if slices.Contains(away, a.name) != slices.Contains(away, b.name) {
				s.cut(a, b, d)
			}
		}
	}
	s.run(t, d)
}

// Two of four passives are apart from all others for two minutes: for longer than the dead are
// found out, by two that look for five, and remembered. By itself memberlist would leave it at that.
func TestASplitForLongerThanTheDeadAreRememberedHeals(t *testing.T) {
	for seed := range uint64(3) {
		s := flockAt(t, seed, 4)
		s.parts(t, 2*time.Minute, "p1", "p2")
		for _, m := range s.members {
			want := 5
			if m.name == "p1" || m.name == "p2" {
				want = 2
			}
			if got := m.eyes.list.Known(); got != want {
				t.Errorf("seed %d: %s knows %d members, want %d: the others are not forgotten", seed, m.name, got, want)
			}
		}
		if s.counts[countHalfGone] == 0 {
			t.Errorf("seed %d: nobody has forgotten half of the flock", seed)
		}
		s.meets(t, 5*time.Second)
		s.settle()
		wantRule(t, s.violation, "")
	}
}

// Half of the members are away, for as long as memberlist holds them dead and tells them so.
func TestHalfOfTheFlockIsAwayAndComesBack(t *testing.T) {
	for seed := range uint64(3) {
		for _, away := range []time.Duration{15 * time.Second, 25 * time.Second} {
			s := flockAt(t, seed, 3)
			s.parts(t, away, "p1", "p2", "p3")
			s.meets(t, 5*time.Second)
			s.settle()
			wantRule(t, s.violation, "")
		}
	}
}

// A member hears all, and nobody hears it: it is held dead, and cannot deny that.
func TestAMemberThatHearsAndIsNotHeardIsFoundAgain(t *testing.T) {
	for seed := range uint64(3) {
		for _, d := range []time.Duration{20 * time.Second, 90 * time.Second} {
			s := flockAt(t, seed, 2)
			silent := s.members[len(s.members)-1]
			for _, other := range s.members {
				s.cut(silent, other, d)
			}
			s.run(t, d)
			for _, other := range s.members {
				if other != silent && other.sees(silent) {
					t.Errorf("seed %d: %s sees it after %v", seed, other.name, d)
				}
			}
			s.meets(t, 5*time.Second)
			s.settle()
			wantRule(t, s.violation, "")
		}
	}
}

// A member is stopped until it is forgotten, and knows the others by what its directory
// remembers alone: nobody has told it where to look.
func TestWhatADirectoryRemembersBringsAMemberBack(t *testing.T) {
	s := flockAt(t, 1, 2)
	m := s.members[len(s.members)-1]
	m.ends()
	s.run(t, 90*time.Second)
	if len(m.known) != len(s.members)-1 {
		t.Fatalf("it remembers %d, want all others", len(m.known))
	}
	m.given = []string{}
	for _, other := range s.members {
		if other != m {
			other.eyes.flock.Forget(m.id)
		}
	}
	s.restart(m)
	s.meets(t, 5*time.Second)
}
