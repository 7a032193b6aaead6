package passive

import (
	"fmt"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// examine judges a run without changing anything. For Taken it returns the new
// entries (a copy with sums), the log sum after them and the configurations
// that they bring.
func (m *Member) examine(run Run) (Verdict, []protocol.Entry, protocol.LogSum, []protocol.ConfigurationAt) {
	none := protocol.LogSum{}
	if !contiguous(run.Entries) {
		return Mismatch, nil, none, nil
	}
	lastIndex := m.logTerms.LastIndex()
	first := run.Entries[0].Index
	last := min(run.Entries[len(run.Entries)-1].Index, run.Commit)
	if last <= lastIndex || last < first {
		return Old, nil, none, nil
	}
	if first > lastIndex+1 {
		return Gap, nil, none, nil
	}
	// The overlap is verified by the sum where the run joins: it depends on
	// every byte before.
	overlap := int(lastIndex + 1 - first)
	sum := run.Before
	for i := range run.Entries[:overlap] {
		sum = sum.Next(run.Entries[i].Raw)
	}
	if sum != m.lastSum {
		return Mismatch, nil, none, nil
	}
	return m.extend(run.Entries[overlap : last-first+1])
}

// extend judges entries that begin just above the log's end.
func (m *Member) extend(entries []protocol.Entry) (Verdict, []protocol.Entry, protocol.LogSum, []protocol.ConfigurationAt) {
	none := protocol.LogSum{}
	if !protocol.TermsFit(m.logTerms.LastTerm(), entries) {
		return Mismatch, nil, none, nil
	}
	var changes []protocol.ConfigurationAt
	level := m.confs.LevelAt(entries[0].Index - 1)
	for i := range entries {
		e := &entries[i]
		if !level.Has(e.Kind) {
			return Mismatch, nil, none, nil
		}
		if e.Kind != protocol.EntryConfiguration {
			continue
		}
		c, err := protocol.DecodeConfiguration(e.Data)
		if err != nil {
			return Mismatch, nil, none, nil
		}
		changes = append(changes, protocol.ConfigurationAt{Index: e.Index, Configuration: c})
		level = c.Level
	}
	if m.unwritten > 0 && m.unwritten+protocol.RawSize(entries) > UnwrittenBytesMax {
		return Full, nil, none, nil
	}
	fresh := append([]protocol.Entry(nil), entries...)
	sum := protocol.SumEntries(m.lastSum, fresh)
	return Taken, fresh, sum, changes
}

// appendRun appends verified entries to the log.
func (m *Member) appendRun(fresh []protocol.Entry, sum protocol.LogSum, changes []protocol.ConfigurationAt) {
	invariant.Check(fresh[0].Index == m.logTerms.LastIndex()+1,
		"entry %d taken over by a log that ends at %d", fresh[0].Index, m.logTerms.LastIndex())
	for i := range fresh {
		m.logTerms.Append(fresh[i].Term)
		m.lastTime = max(m.lastTime, fresh[i].Time)
		m.wait(fresh[i].Index, len(fresh[i].Raw))
	}
	for _, at := range changes {
		m.confs.Append(at)
		m.event(protocol.EventConfiguration, protocol.MemberID{}, at.Index, at.Configuration.String())
	}
	last := fresh[len(fresh)-1]
	m.lastSum = sum
	m.state.Commit = last.Index
	m.raiseTerm(last.Term)
	m.ready.Delta.Entries, m.ready.Delta.Summed = append(m.ready.Delta.Entries, fresh...), true
	m.event(protocol.EventCommitted, protocol.MemberID{}, last.Index, "")
}

// wait adds an entry to what waits for the disk.
func (m *Member) wait(i protocol.Index, bytes int) {
	m.unwritten += bytes
	if n := len(m.waiting); n > 0 && m.waiting[n-1].bytes+bytes <= writeBytesMax {
		m.waiting[n-1] = piece{i, m.waiting[n-1].bytes + bytes}
		return
	}
	m.waiting = append(m.waiting, piece{i, bytes})
}

// raiseTerm takes over a higher term. The vote belonged to the lower one.
func (m *Member) raiseTerm(t protocol.Term) {
	if t <= m.state.Term {
		return
	}
	m.state.Term, m.state.Vote = t, protocol.MemberID{}
	m.dirty = true
}

// contiguous reports whether entries are a run that a log could hold: at least
// one, indexes from 1 on without holes, terms that never fall.
func contiguous(entries []protocol.Entry) bool {
	if len(entries) == 0 || entries[0].Index == 0 {
		return false
	}
	for i := range entries {
		e := &entries[i]
		if e.Index != entries[0].Index+protocol.Index(i) || e.Index < entries[0].Index ||
			e.Term == 0 || len(e.Raw) == 0 {
			return false
		}
		if i > 0 && e.Term < entries[i-1].Term {
			return false
		}
	}
	return true
}

// Step takes a message of Raft's. A member that is passive is spoken to by
// Raft when a leader replicates to a newcomer that has not seen the entry that
// makes it a learner.
//
// [S] The term of a message is not entered, only that of an entry: to hear of a
// term binds nobody who does not vote, whoever sends a message may make its term
// up, and a passive that had entered one would bring it to the actives when it
// becomes one of them. It answers in the message's term, or the sender would not
// listen.
func (m *Member) Step(now protocol.Instant, from protocol.MemberID, msg protocol.Message) {
	if m.signed {
		m.stepUnsigned(from, msg)
		return
	}
	switch msg := msg.(type) {
	case *protocol.Append:
		// What a deposed leader says is not wrong, as far as it is committed,
		// but it must hear of the newer term before anything else.
		if msg.Term >= m.state.Term {
			m.onAppend(from, msg)
		}
		m.answer(from, msg.Term)
	case *protocol.InstallCheckpoint:
		m.onInstallCheckpoint(from, msg)
	case *protocol.Heartbeat:
		// It is answered with the last index, never with the round: a passive counts
		// for no quorum, and the leader learns where to go on.
		m.answer(from, msg.Term)
	}
}

// stepUnsigned takes nothing from a message of Raft's: not its entries, not its
// term, no checkpoint. It says where the log ends, in the term of the message,
// or the sender would not listen. The entries come signed, from the flock.
func (m *Member) stepUnsigned(from protocol.MemberID, msg protocol.Message) {
	var term protocol.Term
	switch msg := msg.(type) {
	case *protocol.Append:
		term = msg.Term
	case *protocol.InstallCheckpoint:
		term = msg.Term
	case *protocol.Heartbeat:
		term = msg.Term
	default:
		return
	}
	m.answer(from, term)
}

// onAppend treats an append as a frame: it takes the entries up to the
// leader's commit index. An append carries no log sum; by log matching, equal
// index and term are the same entry, and so is all that precedes it.
func (m *Member) onAppend(from protocol.MemberID, a *protocol.Append) {
	lastIndex := m.logTerms.LastIndex()
	if a.PrevIndex > lastIndex || len(a.Entries) == 0 {
		return // a gap: the answer says where the log ends
	}
	if !contiguous(a.Entries) || a.Entries[0].Index != a.PrevIndex+1 {
		m.rejected(from, "an append contradicts itself")
		return
	}
	if t, held := m.logTerms.TermAt(a.PrevIndex); held && t != a.PrevTerm {
		m.rejected(from, fmt.Sprintf("an append follows %d@%d, the log has %d@%d", a.PrevIndex, a.PrevTerm, a.PrevIndex, t))
		return
	}
	end := a.Entries[len(a.Entries)-1].Index
	last := min(a.Commit, end)
	if last <= lastIndex {
		return // nothing new that is committed
	}
	overlap := a.Entries[:lastIndex-a.PrevIndex]
	for i := range overlap {
		if t, held := m.logTerms.TermAt(overlap[i].Index); held && t != overlap[i].Term {
			m.rejected(from, fmt.Sprintf("an append has %s, the log has term %d there", overlap[i], t))
			return
		}
	}
	verdict, fresh, sum, changes := m.extend(a.Entries[len(overlap) : last-a.PrevIndex])
	switch verdict {
	case Taken:
		m.appendRun(fresh, sum, changes)
	case Mismatch:
		m.rejected(from, "an append does not continue the log")
	}
}

func (m *Member) rejected(from protocol.MemberID, why string) {
	m.event(protocol.EventRejected, from, m.logTerms.LastIndex(), why)
}

// answer tells the leader of a term where the log ends, marked as not durable.
func (m *Member) answer(to protocol.MemberID, term protocol.Term) {
	m.ready.Messages = append(m.ready.Messages, protocol.Envelope{From: m.id, To: to, Message: &protocol.AppendAnswer{
		Term: max(term, m.state.Term), Passive: true, Index: m.logTerms.LastIndex(),
	}})
}
