package sim

import (
	"testing"
	"time"
)

// Half the passives are cut off for ten minutes, while the others go on and give
// up the heads of their logs. The halves share no entry by then: whoever was away
// takes a checkpoint, and in the end all hold the same. The checkers watch on the
// way that no reported age is below the true one, and that no read is of another
// state than its index says.
func TestHalfTheFlockIsAwayWhileLogsAreCompacted(t *testing.T) {
	for seed := uint64(1); seed <= 2; seed++ {
		s := calmCluster(t, seed, Options{Passives: 14, Duration: 15 * time.Minute})
		const away = 10 * time.Minute
		exiled := func(m *member) bool { return m.number >= s.options.Actives && m.number%2 == 1 }
		for _, a := range s.members {
			for _, b := range s.members {
				if exiled(a) != exiled(b) {
					s.cut(a, b, away)
				}
			}
		}
		before := s.counts
		s.run(t, away)
		heads, installs := s.counts[countHeads]-before[countHeads], s.counts[countInstalls]
		ages := s.counts[countAges] - before[countAges]
		behind := s.ledger.frontier()
		for _, m := range s.members {
			if exiled(m) {
				behind = min(behind, m.replica.HardState().Commit)
			}
		}
		s.settle()
		wantRule(t, s.violation, "")
		t.Logf("seed %d: %d of %d entries while they were away, %d heads given up, %d checkpoints installed after, %d ages read",
			seed, s.ledger.frontier()-behind, s.ledger.frontier(), heads, s.counts[countInstalls]-installs, ages)
		if heads == 0 || s.counts[countInstalls] == installs {
			t.Errorf("seed %d: %d heads given up, %d checkpoints installed: the test is not worth much", seed, heads, s.counts[countInstalls]-installs)
		}
		if s.counts[countSettled] == 0 || ages == 0 {
			t.Errorf("seed %d: settled %d times, %d ages read", seed, s.counts[countSettled], ages)
		}
	}
}
