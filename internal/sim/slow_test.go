package sim

import (
	"testing"
	"time"
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
