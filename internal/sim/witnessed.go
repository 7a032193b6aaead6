package sim

import (
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// witnessed is a process with what the checkers know of it.
type witnessed struct {
	process
	log    shadows
	leader protocol.Term // newest term that it was seen to lead
	// rolledBack is what it had on disk before an old copy was put back; nil: none was.
	rolledBack *shadow
	// knew is which configurations its log held when the process ended, and after which
	// index that began.
	knew     []protocol.ConfigurationAt
	knewFrom protocol.Index
}

// follows lets the checkers follow a change.
func (w *witnessed) follows(p *replica.Persist) error {
	switch {
	case p.Drop != 0:
		return nil
	case p.Reset != nil:
		w.tell(colorPlain, "log begins after %d", p.Reset.Index)
		return w.log.reset(w.s.ledger, p.Reset, p.Write.State)
	}
	if w.s.trace.on() {
		w.tell(colorPlain, "%s", w.describeWrite(&p.Write))
	}
	if err := w.log.persist(w.s.ledger, w.number, w.replica.Status(w.now()).Role, p.ID, &p.Write, p.Entries); err != nil {
		return err
	}
	w.s.trace.note(tagPersist, w.number, uint64(p.Write.Last), uint64(p.Write.State.Term))
	if p.Write.Truncate {
		w.s.counts.add(countTruncations, 1)
	}
	w.knows(p.Write.State.Commit)
	return nil
}

// truncates checks that an active keeps what it ever knew to be committed. (A
// passive that starts drops what lies above the commit index on its disk; of two histories
// nothing is known.)
func (w *witnessed) truncates(e *protocol.Event) {
	if !e.Member.IsZero() && e.Index < w.log.commit && !w.s.forked {
		w.s.fail(violated(RuleNotTruncated, "%s truncates its log to %d, it knew %d to be committed", w.name, e.Index, w.log.commit))
	}
}

// leads says that the member acts as the leader of a term. If that is news,
// its log must have everything that earlier terms have committed.
func (w *witnessed) leads(t protocol.Term) {
	if w.leader == t {
		return
	}
	news, err := w.s.ledger.leads(w.number, t)
	if err != nil {
		w.s.fail(err)
		return
	}
	w.leader = t
	if !news {
		return
	}
	w.s.counts.add(countLeaders, 1)
	if now := w.s.members[w.number]; w.s.lastLeader != now {
		w.s.counts.add(countLeaderChanges, 1)
		w.s.lastLeader = now
	}
	w.s.fail(w.s.ledger.complete(w.number, t, w.sumAt))
}

// sumAt returns the log sum at an index of the member's log in memory, or what
// it has written if that is no longer in memory.
func (w *witnessed) sumAt(i protocol.Index) protocol.LogSum {
	if sum, ok := w.replica.SumAt(i); ok {
		return sum
	}
	if i <= w.replica.LogTerms().LastIndex() {
		return w.log.written.sumAt(i)
	}
	return protocol.LogSum{}
}

// knows says that the member takes everything up to an index for committed. It
// may know of more: what it tells another member is bounded by that one's log.
func (w *witnessed) knows(commit protocol.Index) {
	if commit <= w.log.commit {
		return
	}
	commit = max(commit, w.replica.HardState().Commit)
	logTerms := w.replica.LogTerms()
	if commit > logTerms.LastIndex() {
		w.s.fail(violated(RuleOrder, "%s takes %d for committed, its log ends at %d", w.name, commit, logTerms.LastIndex()))
		return
	}
	before := w.s.ledger.frontier()
	if logTerms.PrevIndex > w.log.commit { // it has that from a checkpoint
		if !w.commits(logTerms.PrevIndex, logTerms.PrevTerm, logTerms.PrevSum) {
			return
		}
		w.log.commit = logTerms.PrevIndex
	}
	for i := w.log.commit + 1; i <= commit; i++ {
		t, _ := logTerms.TermAt(i)
		if !w.commits(i, t, w.sumAt(i)) {
			return
		}
	}
	w.log.commit = commit
	if commit > before {
		w.s.fail(w.s.ledger.counted(w.number, w.leader, commit))
		w.s.fail(w.s.ledger.majority(w.number, commit, w.replica.Configurations().All(), w.s.durableSum))
	}
}

// learns takes a batch that is to be applied.
func (w *witnessed) learns(entries []protocol.Entry) {
	w.knows(entries[len(entries)-1].Index)
	for i := range entries {
		e := &entries[i]
		if e.Index > w.s.ledger.frontier() || !w.commits(e.Index, e.Term, e.Sum) {
			return
		}
	}
}

// commits says that the member takes an entry for committed.
func (w *witnessed) commits(i protocol.Index, t protocol.Term, sum protocol.LogSum) (ok bool) {
	err := w.s.ledger.commits(w.s.schedule.now, w.number, w.leader, i, t, sum)
	w.s.fail(err)
	return err == nil
}

// durableSum returns the sum of what a member has on disk at an index.
func (s *checkers) durableSum(id protocol.MemberID, i protocol.Index) protocol.LogSum {
	if m := s.byID(id); m != nil && m.copied != nil && !m.copied.refused {
		return m.copied.copy.log.durable.sumAt(i) // it has taken the place
	} else if m != nil && m.rolledBack != nil {
		return m.rolledBack.sumAt(i)
	} else if m != nil {
		return m.log.durable.sumAt(i)
	}
	if g, gone := s.graves[id]; gone {
		return g.durable.sumAt(i)
	}
	return protocol.LogSum{}
}
