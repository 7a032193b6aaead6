package sim

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// ledger is what all members together have shown so far: who led which term,
// which entry stood where, and what was committed when. It checks the Raft
// invariants, each as soon as a member shows something new.
//
// Log matching is checked through log sums: two entries of the same index and
// term must have the same sum, and a sum covers all entries before it.
type ledger struct {
	names     func(member int) string
	ran       func(member int) time.Duration // see host.runFor; nil: clocks run as they like
	leaders   map[protocol.Term]int
	reigns    map[protocol.Term]*reign
	entries   [][]shown // by index-1: one for each term that stood there
	committed []commitment
	ahead     map[protocol.Term]bool // in which a vote was written ahead of what had no room
	blind     bool                   // for a test: there is no one history any more
}

// shown is an entry that a member was seen to hold.
type shown struct {
	term   protocol.Term
	sum    protocol.LogSum
	member int // the first
}

// commitment is a committed entry and when that was first known to anybody. in
// is the term in which it was committed: that of the leader which knew it first.
// It may be above the entry's own term, and never sinks from one index to the
// next.
type commitment struct {
	term protocol.Term
	in   protocol.Term
	sum  protocol.LogSum
	at   Time
}

func newLedger(names func(int) string) *ledger {
	return &ledger{names: names, leaders: map[protocol.Term]int{}, reigns: map[protocol.Term]*reign{}, ahead: map[protocol.Term]bool{}}
}

// leads says that a member acts as the leader of a term. It reports whether
// that is news.
func (l *ledger) leads(member int, t protocol.Term) (news bool, err error) {
	if l.blind {
		return false, nil
	}
	other, known := l.leaders[t]
	if !known {
		l.leaders[t] = member
		if l.ran != nil {
			l.reigns[t] = &reign{began: l.ran(member)}
		}
		return true, nil
	}
	if other != member {
		return false, violated(RuleElectionSafety, "%s and %s both lead term %d", l.names(other), l.names(member), t)
	}
	return false, nil
}

// holds says that a member's log has an entry.
func (l *ledger) holds(member int, e *protocol.Entry) error {
	for protocol.Index(len(l.entries)) < e.Index {
		l.entries = append(l.entries, nil)
	}
	at := l.entries[e.Index-1]
	for i := range at {
		if at[i].term != e.Term {
			continue
		}
		if at[i].sum != e.Sum {
			return violated(RuleLogMatching, "%s and %s both hold an entry %d@%d, their logs up to it differ (%s, %s)",
				l.names(at[i].member), l.names(member), e.Index, e.Term, at[i].sum, e.Sum)
		}
		return nil
	}
	l.entries[e.Index-1] = append(at, shown{term: e.Term, sum: e.Sum, member: member})
	return nil
}

// frontier is the highest index that anybody knows to be committed.
func (l *ledger) frontier() protocol.Index { return protocol.Index(len(l.committed)) }

// at returns what is committed at an index up to the frontier.
func (l *ledger) at(i protocol.Index) commitment { return l.committed[i-1] }

// upTo returns what is committed up to an index, as a log.
func (l *ledger) upTo(i protocol.Index) *shadow {
	s := &shadow{}
	for _, c := range l.committed[:i] {
		s.terms, s.sums = append(s.terms, c.term), append(s.sums, c.sum)
	}
	return s
}

// isCommitted reports whether just this entry is known to be committed.
func (l *ledger) isCommitted(i protocol.Index, sum protocol.LogSum) bool {
	return i <= l.frontier() && l.committed[i-1].sum == sum
}

// commits says that a member, which last led the term in, takes an entry for
// committed. Entries must be told in order; those below the frontier must be the
// ones that are there.
func (l *ledger) commits(now Time, member int, in protocol.Term, i protocol.Index, t protocol.Term, sum protocol.LogSum) error {
	if l.blind {
		return nil
	}
	if i <= l.frontier() {
		if c := l.committed[i-1]; c.sum != sum || c.term != t {
			return violated(RuleStateMachine, "%s takes %d@%d (%s) for committed, another member %d@%d (%s)",
				l.names(member), i, t, sum, i, c.term, c.sum)
		}
		return nil
	}
	if i != l.frontier()+1 {
		return violated(RuleOrder, "%s takes %d for committed while nobody does %d", l.names(member), i, l.frontier()+1)
	}
	l.committed = append(l.committed, commitment{term: t, in: in, sum: sum, at: now})
	return nil
}

// complete checks the log of a new leader of term t against all that was
// committed in earlier terms (Raft, section 5.4). sumAt returns the sum of its
// log at an index, zero if it does not hold it.
//
// What counts is the term in which an entry was committed, not its own: an entry
// of term 8 that the leader of term 10 commits may be missing in the log of a
// leader of term 9 whose votes arrive only then. That one commits nothing.
func (l *ledger) complete(member int, t protocol.Term, sumAt func(protocol.Index) protocol.LogSum) error {
	if l.blind {
		return nil
	}
	i := l.frontier()
	for i > 0 && l.committed[i-1].in >= t {
		i--
	}
	if i == 0 {
		return nil
	}
	if have := sumAt(i); have != l.committed[i-1].sum {
		return violated(RuleLeaderCompleteness, "%s leads term %d without the entry %d@%d, committed in term %d (%s, it has %s)",
			l.names(member), t, i, l.committed[i-1].term, l.committed[i-1].in, l.committed[i-1].sum, have)
	}
	return nil
}

// counted checks that the leader of term t which takes the entry i for committed,
// before anybody else does, has made that entry itself (Raft, section 5.4.2).
func (l *ledger) counted(member int, t protocol.Term, i protocol.Index) error {
	if l.blind {
		return nil
	}
	if c := l.at(i); c.term != t {
		return violated(RuleOwnTerm, "%s, which last led term %d, takes %d@%d for committed before anybody else", l.names(member), t, i, c.term)
	}
	return nil
}

// majority checks that an entry which nobody took for committed before is
// durable on a majority of the voters; durable returns the log sum that a
// member has on disk at an index. The configuration that counts is the newest
// in the leader's log; it may have been appended in this very step, so the one
// before it will do as well. Of a joint one each half takes its majority.
func (l *ledger) majority(member int, i protocol.Index, all []protocol.ConfigurationAt, durable func(protocol.MemberID, protocol.Index) protocol.LogSum) error {
	if l.blind {
		return nil
	}
	sum := l.at(i).sum
	for k := len(all) - 1; k >= 0 && k >= len(all)-2; k-- {
		enough := true
		for _, voters := range [][]protocol.MemberID{all[k].Configuration.Voters(), all[k].Configuration.OutgoingVoters()} {
			have := 0
			for _, id := range voters {
				if durable(id, i) == sum {
					have++
				}
			}
			enough = enough && (2*have > len(voters) || len(voters) == 0)
		}
		if enough {
			return nil
		}
	}
	return violated(RuleMajority, "%s takes %d for committed, but no majority of the voters has it on disk", l.names(member), i)
}

// trueAge returns how old the state at index applied is: the time since the
// first commit above it.
func (l *ledger) trueAge(now Time, applied protocol.Index) int64 {
	if applied >= l.frontier() {
		return 0
	}
	return int64(now - l.committed[applied].at)
}

// age checks a reported bound on the age of the state at index applied.
func (l *ledger) age(now Time, member int, applied protocol.Index, reported int64) error {
	if l.blind {
		return nil
	}
	if age := l.trueAge(now, applied); reported < age {
		return violated(RuleAge, "%s says that its state at %d is at most %d ns old, %d was committed %d ns ago",
			l.names(member), applied, reported, applied+1, age)
	}
	return nil
}
