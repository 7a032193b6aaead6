package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// With syncs of two to ten election timeouts at a majority, for good, a cluster of
// whole members, with checkpoints, sessions and a policy, keeps its leader, goes on
// when that dies, and breaks no promise.
func TestMajorityOfSlowDisksMakesProgress(t *testing.T) {
	seed := uint64(0)
	for _, timeouts := range []time.Duration{2, 4, 6, 8} {
		s := &simulation{}
		s.plan.inflight = 1
		for s.plan.inflight > 0 { // an entry for each sync would be all
			seed++
			s = calmCluster(t, seed, Options{})
		}
		s.plan.sluggish = timeouts * s.plan.election
		s.run(t, 30*time.Second) // they find out
		committed, changes := s.ledger.frontier(), s.counts[countLeaderChanges]
		s.run(t, 60*time.Second)
		if n := s.counts[countLeaderChanges] - changes; n > 0 {
			t.Errorf("syncs of %d election timeouts: %d leader changes in a minute without a fault", timeouts, n)
		}
		// Clients of the simulator ask again after 2 s, and take no answer to what they
		// asked before: it says little what they hear.
		if n := s.ledger.frontier() - committed; n < 40 {
			t.Errorf("syncs of %d election timeouts: %d entries committed in a minute", timeouts, n)
		}
		committed = s.ledger.frontier()
		leader := s.leaderNow()
		if leader == nil {
			t.Fatalf("syncs of %d election timeouts: nobody leads", timeouts)
		}
		s.crash(leader, false, "for a test")
		began := s.schedule.now
		if !s.until(began.Add(60*time.Second), func() bool { return s.ledger.frontier() > committed+1 }) {
			t.Errorf("syncs of %d election timeouts: nothing is committed a minute after the leader's end", timeouts)
		}
		t.Logf("syncs of %v: commits again %v after the leader's end, %d elections in all", s.plan.sluggish, s.schedule.now.Sub(began), s.counts[countElections])
		s.settle()
		wantRule(t, s.violation, "")
	}
}

const bySyncs, starved = "syncs of 200 ms", "a fifth of the time"

// busy is a cluster of three voters without faults whose clients hardly think.
func busy(t *testing.T, seed uint64, o Options) *simulation {
	t.Helper()
	o.Duration = 4 * time.Minute
	s := calmCluster(t, seed, o)
	s.plan.think = 5 * time.Millisecond
	s.run(t, 5*time.Second)
	return s
}

// written returns how many writes are acknowledged in a time.
func (s *simulation) written(t *testing.T, d time.Duration) uint64 {
	t.Helper()
	before := s.counts[countAcknowledged]
	s.run(t, d)
	return s.counts[countAcknowledged] - before
}

// withoutTimes lets nobody hear what a write takes others, as in a flock of an earlier release:
// whoever leads leads on.
func withoutTimes(_ *member, msg protocol.Message, bytes []byte) [][]byte {
	if a, is := msg.(*protocol.HeartbeatAnswer); is {
		said := *a
		said.Takes = 0
		return [][]byte{protocol.AppendMessage(nil, &said)}
	}
	return [][]byte{bytes}
}

// A leader that is slow and not dead hands over, once, within some seconds. Writes go on at a
// better rate than where it leads on, if it was starved; its disk alone they do not wait for.
func TestALeaderThatIsSlowHandsOver(t *testing.T) {
	for name, slow := range map[string]func(drags, *member){
		bySyncs: func(d drags, m *member) { d.slow(m, 200*time.Millisecond) },
		starved: func(d drags, m *member) { d.starve(m, time.Minute) },
	} {
		// Rates are those of a few clients, which wait for each other's outcomes now and then: single
		// seeds differ tenfold.
		var rates [2]uint64
		seeds := map[string]uint64{bySyncs: 3, starved: 8}[name]
		for mode, times := range []bool{false, true} {
			for seed := uint64(1); seed <= seeds; seed++ {
				s := busy(t, seed, Options{})
				if !times {
					s.network.newer = withoutTimes
				}
				old, changes := s.leaderNow(), s.counts[countLeaderChanges]
				slow(drags{&s.nemesis}, old)
				s.run(t, 15*time.Second)
				n := s.written(t, 20*time.Second)
				t.Logf("%s, seed %d, times are told %t: %d writes in 20 s; %s", name, seed, times, n, old.replica.Status(old.now()).Slow)
				rates[mode] += n
				if got, want := s.counts[countSlowHandOvers], uint64(mode); got != want || s.counts[countLeaderChanges] != changes+want {
					t.Errorf("%s, seed %d: %d hand-overs and %d leader changes, want %d", name, seed, got, s.counts[countLeaderChanges]-changes, want)
				}
				wantRule(t, s.violation, "")
			}
		}
		if percent := map[string]uint64{bySyncs: 80, starved: 100}[name]; rates[1] < rates[0]*percent/100 {
			t.Errorf("%s: %d writes after the hand-overs, and %d where the leader leads on", name, rates[1], rates[0])
		}
	}
}

// Where nobody is clearly faster, or a follower is slow, a hand-over gains nothing.
func TestSlowDisksAreNoReasonToHandOver(t *testing.T) {
	for name, is := range map[string]func(m, leader *member) bool{
		"all are slow":              func(_, _ *member) bool { return true },
		"a follower is slow":        func(m, leader *member) bool { return m.number == (leader.number+1)%3 },
		"the leader and a follower": func(m, leader *member) bool { return m == leader || m.number == (leader.number+1)%3 },
	} {
		s := busy(t, 2, Options{})
		leader := s.leaderNow()
		for _, m := range s.members[:3] {
			if is(m, leader) {
				drags{&s.nemesis}.slow(m, 200*time.Millisecond)
			}
		}
		if n := s.written(t, time.Minute); n == 0 {
			t.Errorf("%s: nothing is written", name)
		}
		if l := s.leaderNow(); l != leader || s.counts[countSlowHandOvers] != 0 {
			t.Errorf("%s: %d hand-overs", name, s.counts[countSlowHandOvers])
		}
		wantRule(t, s.violation, "")
	}
}

// Where to lead is what makes a member slow, the lead does not go to and fro.
func TestTheLeadDoesNotGoToAndFro(t *testing.T) {
	s := busy(t, 3, Options{})
	s.again(starvedEvery, 1000, func() bool {
		if l := s.leaderNow(); l != nil && !l.paused {
			l.pause(starvedFor)
		}
		return true
	})
	s.run(t, 2*time.Minute)
	if n := s.counts[countSlowHandOvers]; n != 1 {
		t.Errorf("%d hand-overs in two minutes, want one", n)
	}
	s.settle()
	wantRule(t, s.violation, "")
}
