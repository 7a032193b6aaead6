package active

import (
	"slices"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// truncate drops the entries above after, and with them the configurations
// that they brought.
func (m *Member) truncate(after protocol.Index) {
	invariant.Check(after >= m.hard.Commit, "log truncated to %d, below the commit index %d", after, m.hard.Commit)
	m.emit(protocol.EventTruncated, m.leader, after, "")
	m.logTerms.TruncateAfter(after)
	m.disk.lose(after)
	d := &m.ready.Delta
	d.Cut(after)
	// Whatever is appended now must not overwrite the array that the entries
	// came in: others may still read it.
	d.Entries = slices.Clip(d.Entries)
	if latest, ok := m.configs.Latest(); ok && latest.Index > after {
		m.configs.TruncateAfter(after)
		m.reconfigure()
	}
}

// appendEntries adds entries at the log's end. configs are those among them,
// decoded.
func (m *Member) appendEntries(entries []protocol.Entry, configs []protocol.ConfigurationAt) {
	if len(entries) == 0 {
		return
	}
	if entries[0].Index != m.logTerms.LastIndex()+1 {
		invariant.Check(false, "entry %d appended at %d", entries[0].Index, m.logTerms.LastIndex()+1)
	}
	for i := range entries {
		m.logTerms.Append(entries[i].Term)
	}
	last := &entries[len(entries)-1]
	m.lastTime = last.Time
	entries = slices.Clip(entries)
	if d := &m.ready.Delta; len(d.Entries) == 0 {
		d.Entries = entries
	} else {
		d.Entries = append(d.Entries, entries...)
	}
	m.emit(protocol.EventAppended, m.leader, last.Index, "")
	for _, c := range configs {
		m.configs.Append(c)
	}
	if len(configs) > 0 {
		m.reconfigure()
	}
}

// reconfigure takes over the latest configuration of the log.
func (m *Member) reconfigure() {
	before := m.current.Index
	m.current, _ = m.configs.Latest()
	m.quorum = quorumUnder(m.current.Configuration)
	m.voter = m.current.Configuration.IsVoter(m.cfg.ID)
	m.nameVoters()
	if m.current.Index != before {
		m.emit(protocol.EventConfiguration, protocol.MemberID{}, m.current.Index, m.current.Configuration.String())
	}
	if m.state == StateLeader {
		m.lead.follow(m)
		m.lead.endLease()
	}
}

// commitTo raises the commit index.
func (m *Member) commitTo(i protocol.Index) {
	if i <= m.hard.Commit {
		return
	}
	if i > m.logTerms.LastIndex() {
		invariant.Check(false, "commit %d above the log's end %d", i, m.logTerms.LastIndex())
	}
	before, _ := m.configs.At(m.hard.Commit)
	m.hard.Commit = i
	if after, _ := m.configs.At(i); after.Index != before.Index {
		m.nameVoters()
	}
	m.emit(protocol.EventCommitted, protocol.MemberID{}, i, "")
}

// upToDate reports whether a log that ends with (index, term) is at least as
// up to date as this one (the paper, section 5.4.1).
func (m *Member) upToDate(index protocol.Index, term protocol.Term) bool {
	mine := m.logTerms.LastTerm()
	return term > mine || term == mine && index >= m.logTerms.LastIndex()
}

// lastThatFits returns the highest index up to limit whose term is at most t:
// above it, a log that has an entry of term t at limit must differ.
func (m *Member) lastThatFits(limit protocol.Index, t protocol.Term) protocol.Index {
	return min(limit, m.logTerms.LastBelowTerm(t))
}

// fit returns how far an append that begins at first may reach, and how many
// bytes it has. Entries that no Ready has handed out yet are not in the owner's
// log. Those that are were left behind by an earlier append: most likely the
// bytes are used up, so they count as if they were.
func (m *Member) fit(first, last protocol.Index, bytes int) (protocol.Index, int) {
	last = min(last, first+protocol.AppendEntriesMax-1)
	fresh := m.ready.Delta.Entries
	if len(fresh) > 0 && first >= fresh[0].Index {
		fresh = fresh[first-fresh[0].Index:]
		size := len(fresh[0].Raw)
		i := first
		for i < last && size+len(fresh[i+1-first].Raw) <= bytes {
			i++
			size += len(fresh[i-first].Raw)
		}
		return i, size
	}
	if len(fresh) > 0 {
		last = min(last, fresh[0].Index-1)
	}
	i := m.log.Fit(first, last, bytes)
	if i < first || i > last {
		invariant.Check(false, "log fits %d into %d..%d", i, first, last)
	}
	return i, bytes
}
