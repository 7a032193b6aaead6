package active

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// Run is a contiguous piece of the committed log, as the flock has it.
type Run struct {
	// From made it from its own log; for events.
	From    protocol.MemberID
	Entries []protocol.Entry
	// Commit is what From knew to be committed. Nothing above it is taken.
	Commit protocol.Index
}

// Verdict is what became of a run.
type Verdict uint8

const (
	// CaughtUp: the committed part of the log grew.
	CaughtUp Verdict = iota + 1
	// Old: everything in the run is known to be committed here, or not
	// committed there; or this member leads, and knows better; or it installs a
	// checkpoint, and its log must not move.
	Old
	// Gap: the run begins above the committed part.
	Gap
	// Mismatch: the run contradicts itself or what is committed here.
	Mismatch
)

// String returns the verdict's name.
func (v Verdict) String() string {
	return protocol.EnumText(v, "verdict", "none", "caught-up", "old", "gap", "mismatch")
}

// IsLeaderless reports whether no leader has been heard on a stream for two election
// timeouts; for one, if somebody has called meanwhile whom the log does not name.
// [S] The owner then asks the flock for committed entries, as a passive does,
// and hands them to CatchUp: a member that was removed while it was away hears of
// it from nobody else, because those who lead do not know it any more.
func (m *Member) IsLeaderless(now protocol.Instant) bool {
	patience := 2 * m.cfg.Election
	if m.asked {
		patience = m.cfg.Election
	}
	return m.state != StateLeader && now >= max(m.streamed, m.led).Add(patience)
}

// CatchUp takes committed entries that came from the flock instead of a leader.
// The owner has verified, by log sum, that the run joins the committed part of
// this log. What conflicts with it here was never committed and goes;
// commit index and term rise. The owner judges the role afterwards.
//
// Nothing is acknowledged: a leader that counts this member asks for itself. A
// leader takes nothing, unless an entry is of a higher term: then it is deposed
// and does not know, and steps down first.
func (m *Member) CatchUp(now protocol.Instant, run Run) Verdict {
	m.advance(now)
	entries, configs, verdict := m.examine(run)
	if verdict != CaughtUp {
		return verdict
	}
	last := &entries[len(entries)-1]
	if m.installing || m.state == StateLeader && last.Term <= m.hard.Term {
		return Old
	}
	if forgets(m, entries, configs, last.Index) {
		return Old
	}
	if m.state == StateLeader {
		m.stepDown(fmt.Sprintf("%s is committed in a higher term", *last))
	}
	term := last.Term
	for i := range entries {
		if t, held := m.logTerms.TermAt(entries[i].Index); held && t != entries[i].Term {
			term = max(term, m.past())
			break
		}
	}
	if term > m.hard.Term || m.state != StateFollower {
		// Ballots are of the configuration and the log that they were asked
		// for.
		m.becomeFollower(max(m.hard.Term, term), protocol.MemberID{})
	}
	m.emit(protocol.EventCaughtUp, run.From, last.Index, "")
	m.takeEntries(entries, configs)
	m.commitTo(last.Index)
	m.committedElsewhere = last.Index
	return CaughtUp
}

// past is the lowest term that a member is in which gives up entries at its
// log's end for committed ones. [S] If the last of its own is of its term, the
// leader of that has them, and not the committed ones: those were committed in a
// later term. In its old one the member would go on to speak to that leader, of a
// log without what it has acknowledged there.
func (m *Member) past() protocol.Term {
	if m.logTerms.LastTerm() == m.hard.Term {
		return m.hard.Term + 1
	}
	return m.hard.Term
}

// examine judges a run without changing anything. For CaughtUp it returns the
// entries above the commit index and the configurations among them.
func (m *Member) examine(run Run) ([]protocol.Entry, []protocol.ConfigurationAt, Verdict) {
	n := len(run.Entries)
	if n == 0 || run.Entries[0].Index == 0 || run.Entries[0].Term == 0 {
		return nil, nil, Mismatch
	}
	first := run.Entries[0].Index
	last := min(run.Entries[n-1].Index, run.Commit)
	if last <= m.hard.Commit {
		return nil, nil, Old
	}
	if first > m.hard.Commit+1 {
		return nil, nil, Gap
	}
	commit, _ := m.logTerms.TermAt(m.hard.Commit)
	a := &protocol.Append{Term: run.Entries[n-1].Term, PrevIndex: first - 1, Entries: run.Entries}
	configs, err := checkAppend(a, m.configs.LevelAt(first-1))
	if err != nil {
		return nil, nil, Mismatch
	}
	skip := m.hard.Commit + 1 - first
	if skip > 0 && run.Entries[skip-1].Term != commit || run.Entries[skip].Term < commit {
		return nil, nil, Mismatch
	}
	entries := run.Entries[skip : last-first+1]
	if m.cfg.NamedOnly && !protocol.TermsFit(commit, entries) {
		return nil, nil, Mismatch
	}
	for len(configs) > 0 && configs[len(configs)-1].Index > last {
		configs = configs[:len(configs)-1]
	}
	return entries, configs, CaughtUp
}
