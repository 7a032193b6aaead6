package sim

import (
	"github.com/starlinghq/starling/protocol"
)

// Where no progress can be asked.
//
// A leader that changes seats makes sure that a majority of the voters it leaves
// answers. It cannot do better than to have heard them within an election timeout:
// one whose disk was lost since then still counts. If the change took away the
// voter whose loss the cluster was to survive, no majority of the new
// configuration is left, it can never be committed, and whoever has it in its log
// refuses its vote to those who have not. Raft has no way out of that; people
// have: starling recover.
//
// That is asked for narrowly. The change must have been proposed while its leader
// had heard from the lost voters within an election timeout, and when the time to
// recover is over, it must still stand uncommitted in the log of a live member, and
// nobody at all may be able to win an election.

// link between two ids: answers of one to the other.
type answering struct{ from, to protocol.MemberID }

// proposal names a configuration that was proposed.
type proposal struct {
	index protocol.Index
	term  protocol.Term
}

// answers notes that a leader got an answer, which is what it goes by.
func (s *checkers) answers(from, to protocol.MemberID) {
	s.heard[answering{from, to}] = s.schedule.now
}

// proposes looks at a configuration that the member has in its log since this
// step. If it is the leader that made it, and could not know that too few of its
// voters are left, that is remembered.
func (w *witnessed) proposes(i protocol.Index) {
	s := w.s
	latest, _ := w.latest()
	if latest.Index != i || !w.replica.Status(w.now()).Leads {
		return
	}
	lost := func(id protocol.MemberID) bool { _, gone := s.graves[id]; return gone }
	long := func(id protocol.MemberID) bool {
		at, heard := s.heard[answering{id, w.id}]
		return lost(id) && (!heard || w.now() >= w.clock.at(at).Add(s.plan.election))
	}
	if !decides(latest.Configuration, lost) && decides(latest.Configuration, long) {
		term, _ := w.replica.LogTerms().TermAt(i)
		s.unforeseen[proposal{i, term}] = true
	}
}

// decides reports whether a majority of the voters, of each half, is not lost.
func decides(c protocol.Configuration, lost func(protocol.MemberID) bool) bool {
	for _, voters := range [][]protocol.MemberID{c.Voters(), c.OutgoingVoters()} {
		left := 0
		for _, id := range voters {
			if !lost(id) {
				left++
			}
		}
		if len(voters) > 0 && 2*left <= len(voters) {
			return false
		}
	}
	return true
}

// stuck reports whether nothing can be asked of the cluster any more: such a
// change stands in the log of a live member, and nobody can win an election.
func (s *checkers) stuck() bool {
	found := false
	for _, m := range s.machines() {
		if !m.up() {
			return false // nothing excuses that
		}
		latest, known := m.latest()
		term, held := m.replica.LogTerms().TermAt(latest.Index)
		found = found || known && held && latest.Index > s.ledger.frontier() && s.unforeseen[proposal{latest.Index, term}]
		if m.electable() {
			return false
		}
	}
	return found
}

// electable reports whether the member would be elected if everybody who lives
// and whose log is not newer gave it a vote.
func (p *process) electable() bool {
	latest, known := p.latest()
	own := p.replica.LogTerms()
	return known && decides(latest.Configuration, func(id protocol.MemberID) bool {
		other := p.s.byID(id)
		if other == nil || !other.up() {
			return true
		}
		log := other.replica.LogTerms()
		return log.LastTerm() > own.LastTerm() || log.LastTerm() == own.LastTerm() && log.LastIndex() > own.LastIndex()
	})
}
