package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// level waits until all members are level with the leader.
func (s *simulation) level(t *testing.T, within time.Duration) {
	t.Helper()
	s.clients = nil
	why := "nothing was looked at"
	if !s.until(s.schedule.now.Add(within), func() bool { why = s.unsettled(); return why == "" }) {
		t.Fatalf("after %v: %s (%v)", within, why, s.violation)
	}
}

// UDP is closed between all hosts from the start, for good: a cluster forms, passives
// follow, and all say why it costs more.
func TestAClusterFormsWithoutDatagrams(t *testing.T) {
	s := newSimulation(5, Options{Profile: "calm", Duration: time.Minute})
	quiet(s)
	s.network.closing.all = true
	for i := range s.options.Actives + s.options.Passives {
		for k := range s.options.Actives + s.options.Passives {
			s.network.Link(i, k).NoDatagrams = true
		}
	}
	begin(t, s)
	s.run(t, 20*time.Second)
	for _, m := range s.members {
		streamed := replica.Streamed(m.replica)
		if len(streamed) != len(s.members)-1 {
			t.Errorf("%s sends to %d members by stream, want %d", m.name, len(streamed), len(s.members)-1)
		}
	}
	s.level(t, 10*time.Second)
	if s.counts[countDatagramsLost] < uint64(len(s.members)) {
		t.Errorf("%d warnings of %d members", s.counts[countDatagramsLost], len(s.members))
	}
	s.network.closing = closing{at: -1}
	s.healLinks()
	s.run(t, 20*time.Second)
	for _, m := range s.members {
		if list, text := replica.Streamed(m.replica), replica.SituationOf(m.replica).DatagramsLost; len(list) > 0 || text != "" {
			t.Errorf("%s still sends to %d members by stream: %q", m.name, len(list), text)
		}
	}
}

// TCP is closed between the leader and all others, UDP is open: others can elect one of
// themselves, who have streams to a majority, and must; when it is open again all are
// level.
func TestALeaderWithoutStreamsIsReplaced(t *testing.T) {
	s := calmCluster(t, 9, Options{Duration: time.Minute})
	old := s.leaderNow()
	for _, m := range s.members {
		if m != old {
			s.network.link(old, m).NoStream, s.network.link(m, old).NoStream = true, true
		}
	}
	replaced := func() bool {
		for _, m := range s.members {
			if st := m.replica.Status(m.now()); m != old && st.Leads && st.Role == protocol.RoleActive {
				return true
			}
		}
		return false
	}
	if !s.until(s.schedule.now.Add(10*time.Second), replaced) {
		t.Fatalf("nobody leads instead of %s", old.name)
	}
	s.run(t, 5*time.Second)
	s.healLinks()
	s.run(t, 5*time.Second)
	s.level(t, 10*time.Second)
}

// TCP is closed between two passives and all others, and UDP with it for a second now
// and then: what is missing then is too large for a datagram, and streams are closed to answers.
func TestPassivesWithoutStreamsFollow(t *testing.T) {
	for seed := range uint64(3) {
		s := calmCluster(t, seed, Options{Passives: 4, Duration: time.Minute})
		wall := func(datagrams bool) {
			for _, m := range s.members[len(s.members)-2:] {
				for _, other := range s.members {
					for _, l := range []*link{s.network.link(m, other), s.network.link(other, m)} {
						l.NoStream, l.NoDatagrams = true, datagrams
					}
				}
			}
		}
		for range 10 {
			wall(true)
			s.run(t, 1200*time.Millisecond)
			wall(false)
			s.run(t, 500*time.Millisecond)
			committed := s.leaderNow().replica.Status(s.leaderNow().now()).Commit
			followed := func() bool {
				for _, m := range s.members {
					if len(m.replica.Peers()) < len(s.members)-1 {
						return true // somebody is taken for dead: that is the membership's
					}
				}
				for _, m := range s.members {
					if m.replica.Status(m.now()).Applied < committed {
						return false
					}
				}
				return true
			}
			if !s.until(s.schedule.now.Add(3*time.Second), followed) {
				t.Fatalf("seed %d: a passive has not come to %d after three seconds", seed, committed)
			}
		}
		s.healLinks()
		s.run(t, 5*time.Second)
		s.level(t, 10*time.Second)
	}
}
