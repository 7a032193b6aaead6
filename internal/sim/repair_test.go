package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// All three voters at once, each with damage that another one can help with: the
// cluster goes on with all that it had.
func TestVotersThatAreAllDamagedHealOneAnother(t *testing.T) {
	together, all := uint64(0), uint64(0)
	for seed := uint64(1); seed <= 6; seed++ {
		s := calmCluster(t, seed, Options{})
		for range 5 {
			s.strikeRotSeveral()
			s.run(t, 6*time.Second)
		}
		s.settle()
		wantRule(t, s.violation, "")
		together += s.counts[countDamagedTogether]
		all += s.counts[countDamagedAll]
		if got := s.counts[countWiped]; got != 0 {
			t.Errorf("seed %d: %d disks had to be wiped", seed, got)
		}
		if repaired := s.counts[countRepaired]; repaired < 2*s.counts[countDamagedTogether] {
			t.Errorf("seed %d: %d logs repaired, at least two were damaged %d times", seed, repaired, s.counts[countDamagedTogether])
		}
	}
	if together < 3 || all == 0 {
		t.Errorf("several damaged at once %d times, all %d times: too rare", together, all)
	}
}

// A repaired log that lacks what was committed, or holds something else, is told.
func TestALogThatIsRepairedWrongIsFound(t *testing.T) {
	s := calmCluster(t, 1, Options{})
	m := s.members[1]
	rec := func() storage.Opened {
		logTerms := *m.replica.LogTerms()
		return storage.Opened{State: m.log.durable.state, LogTerms: logTerms.Clone(), LastSum: m.log.durable.sumAt(logTerms.LastIndex())}
	}
	s.until(s.schedule.now.Add(time.Second), func() bool { return len(m.log.pending) == 0 && m.log.durable.last() > 3 })
	good := rec()
	wantRule(t, m.repaired(&good, m.wal), "")
	other := rec()
	other.LastSum[0]++
	wantRule(t, m.repaired(&other, m.wal), RuleDurable)
	short := rec()
	last := short.LogTerms.LastIndex()
	short.LogTerms.TruncateAfter(last - 2)
	short.LastSum = m.log.durable.sumAt(last - 2)
	wantRule(t, m.repaired(&short, m.wal), RuleDurable)
	old := rec()
	old.State.Term--
	wantRule(t, m.repaired(&old, m.wal), RuleHardState)
	(&repairing{ailing: &m.ailing}).sends([]protocol.Envelope{{To: s.members[0].id, Message: &protocol.VoteAnswer{}}})
	wantRule(t, s.violation, RuleRepairing)
}
