package active

import (
	"fmt"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// becomeFollower enters a term, or gives up whatever the member was in the
// current one. leader is zero if it is not known.
func (m *Member) becomeFollower(term protocol.Term, leader protocol.MemberID) {
	if term < m.hard.Term {
		invariant.Check(false, "term %d entered from term %d", term, m.hard.Term)
	}
	was := m.state
	if term > m.hard.Term {
		m.hard.Term, m.hard.Vote = term, protocol.MemberID{}
	} else if was == StateFollower && leader == m.leader {
		return
	}
	lead := m.lead
	m.state, m.leader, m.lead, m.ballots = StateFollower, leader, nil, nil
	if m.now < m.disk.pace.until { // that election is over
		m.disk.pace.until = 0
		m.armElection()
	}
	if was == StateLeader {
		m.led = m.now
		m.armElection()
		m.refuseReads(lead)
	}
	m.emit(protocol.EventBecameFollower, leader, m.logTerms.LastIndex(), "")
}

// heedTerm handles the term of a message (the paper, section 5.1): a higher
// one is entered, and the answer is whether the message is of an older one.
func (m *Member) heedTerm(from protocol.MemberID, term protocol.Term) (old bool) {
	if term > m.hard.Term {
		if m.state == StateLeader {
			m.emit(protocol.EventSteppedDown, from, m.hard.Commit, fmt.Sprintf("%s is in term %d", m.label(from), term))
		}
		m.becomeFollower(term, protocol.MemberID{})
	}
	return term < m.hard.Term
}

// follow handles the sender of an append, a heartbeat or an offer: it leads its
// term, and whoever hears it follows. See rivals for a second one of a term.
func (m *Member) follow(from protocol.MemberID, term protocol.Term) {
	m.streamed = m.now
	hear(m, from, term)
}

// hear notes that a leader was heard, by stream or by datagram.
func hear(m *Member, from protocol.MemberID, term protocol.Term) {
	m.becomeFollower(term, from)
	m.heard, m.asked = m.now, false
	if m.names(from) {
		m.heardNamed = m.now
	}
	m.armElection()
}

// hearsLeader reports whether a leader was heard within the shortest election
// timeout. Elections are ignored until then (the paper, section 6): a member
// that was removed or cut off must not depose a leader that works.
func (m *Member) hearsLeader() bool {
	if m.state == StateLeader {
		return true // check-quorum ends it if that is wrong
	}
	return !m.leader.IsZero() && m.now < m.heard.Add(m.cfg.Election)
}

// onAppend is AppendEntries, receiver's side (the paper, figure 2).
func (m *Member) onAppend(from protocol.MemberID, a *protocol.Append) {
	if a.Term < m.hard.Term {
		// The answer's term tells a leader that was cut off, or one that a
		// member with a higher term follows in vain, that it is over.
		m.send(from, &protocol.AppendAnswer{Term: m.hard.Term, Reject: true, Index: a.PrevIndex})
		return
	}
	configs, err := checkAppend(a, levelAbove(m, a.PrevIndex, a.PrevTerm))
	if err != nil {
		m.emit(protocol.EventRefused, from, a.PrevIndex, err.Error())
		return
	}
	if m.rivals(from, a.Term) {
		return
	}
	m.follow(from, a.Term)
	if m.installing {
		return
	}
	prev, prevTerm, entries := a.PrevIndex, a.PrevTerm, a.Entries
	last := prev + protocol.Index(len(entries))
	if prev < m.hard.Commit {
		// What is committed is in the leader's log as it is in this one, and
		// may be below this log's beginning: start above it.
		if last <= m.hard.Commit {
			index, term := prev, prevTerm
			if n := len(entries); n > 0 {
				term, index = entries[n-1].Term, last
			}
			if m.disagrees(from, a, index, term) {
				return
			}
			m.promise(from, m.acknowledgement(m.hard.Commit), m.hard.Commit)
			return
		}
		skip := m.hard.Commit - prev
		prev, prevTerm, entries = m.hard.Commit, entries[skip-1].Term, entries[skip:]
	}
	if t, ok := m.logTerms.TermAt(prev); !ok || t != prevTerm {
		if !m.disagrees(from, a, prev, prevTerm) {
			m.rejectAppend(from, a)
		}
		return
	}
	if forgets(m, entries, configs, a.Commit) {
		return
	}
	m.takeEntries(entries, configs)
	m.commitTo(min(a.Commit, last))
	m.promise(from, m.acknowledgement(last), last)
}

// acknowledgement says that the log equals the leader's up to an index.
func (m *Member) acknowledgement(i protocol.Index) *protocol.AppendAnswer {
	return &protocol.AppendAnswer{Term: m.hard.Term, Index: i, Run: m.cfg.Run}
}

// disagrees reports whether the leader of a term has another entry at an index
// than is committed here. Then there are two histories, and the member stops;
// unless this member has its commit index not from a leader but from the flock
// or from a checkpoint, and the leader does not say that its entry is committed:
// then this member may know of commits that a leader which was deposed since does
// not know of, and takes nothing from it.
func (m *Member) disagrees(from protocol.MemberID, a *protocol.Append, index protocol.Index, term protocol.Term) bool {
	t, held := m.logTerms.TermAt(index)
	if index > m.hard.Commit || !held || t == term {
		return false
	}
	if m.hard.Commit > m.committedElsewhere || a.Commit >= index {
		m.contradicted(fmt.Sprintf("committed entry %d is of term %d here, and of term %d at %s, the leader of term %d", index, t, term, m.label(from), a.Term))
		return true
	}
	m.emit(protocol.EventRefused, from, index, fmt.Sprintf("term %d where term %d is committed: its leader was deposed", term, t))
	return true
}

// takeEntries appends what is new. Entries that conflict go, with all that
// follow them; entries that are held already stay, because a late append may
// carry fewer than are here (the paper, section 5.3).
func (m *Member) takeEntries(entries []protocol.Entry, configs []protocol.ConfigurationAt) {
	for len(entries) > 0 {
		t, ok := m.logTerms.TermAt(entries[0].Index)
		if !ok {
			break
		}
		if t != entries[0].Term {
			m.truncate(entries[0].Index - 1)
			break
		}
		entries = entries[1:]
	}
	for len(configs) > 0 && (len(entries) == 0 || configs[0].Index < entries[0].Index) {
		configs = configs[1:]
	}
	m.appendEntries(entries, configs)
}

// rejectAppend says where this log may still agree with the leader's: at the
// highest index, up to the one that did not fit, whose term is at most the
// leader's there. It saves the leader a round for each entry of a term that
// only one of them has.
func (m *Member) rejectAppend(from protocol.MemberID, a *protocol.Append) {
	hint := m.lastThatFits(min(a.PrevIndex, m.logTerms.LastIndex()), a.PrevTerm)
	term, _ := m.logTerms.TermAt(hint)
	m.emit(protocol.EventRejected, from, a.PrevIndex, "")
	m.send(from, &protocol.AppendAnswer{
		Term: m.hard.Term, Reject: true, Index: a.PrevIndex, HintIndex: hint, HintTerm: term, Run: m.cfg.Run,
	})
}

// levelAbove is the format level in force above an entry of this log. Above one that it does
// not hold any will do: nothing is taken from there, and the leader has to hear so.
func levelAbove(m *Member, i protocol.Index, term protocol.Term) protocol.FormatLevel {
	if t, held := m.logTerms.TermAt(i); !held || t != term {
		return protocol.FormatLevelMax
	}
	return m.configs.LevelAt(i)
}

// checkAppend refuses entries that no leader of the term can have, before any
// of them is taken, and returns the configurations among them. level is the format level
// in force above PrevIndex.
func checkAppend(a *protocol.Append, level protocol.FormatLevel) (configs []protocol.ConfigurationAt, err error) {
	index, term := a.PrevIndex, a.PrevTerm
	for i := range a.Entries {
		e := &a.Entries[i]
		index++
		if e.Index != index || e.Term < term || e.Term > a.Term {
			return nil, fmt.Errorf("append of term %d after %d@%d has %s as entry %d", a.Term, a.PrevIndex, a.PrevTerm, *e, i)
		}
		term = e.Term
		if !level.Has(e.Kind) {
			return nil, fmt.Errorf("%s in a log at format level %d", *e, level.Number())
		}
		if e.Kind == protocol.EntryConfiguration {
			c, err := protocol.DecodeConfiguration(e.Data)
			if err != nil {
				return nil, fmt.Errorf("configuration in %s: %w", *e, err)
			}
			configs = append(configs, protocol.ConfigurationAt{Index: e.Index, Configuration: c})
			level = c.Level
		}
	}
	return configs, nil
}

// onHeartbeat follows the leader and its commit index. It is answered at
// once, whatever the disk does: the answer promises only that this member has
// not entered a higher term yet, and whoever it may have elected in one waited
// for the write that says so.
func (m *Member) onHeartbeat(from protocol.MemberID, h *protocol.Heartbeat) {
	if h.Term < m.hard.Term {
		m.send(from, &protocol.HeartbeatAnswer{Term: m.hard.Term, Unfit: m.unfit != ""})
		return
	}
	if m.rivals(from, h.Term) {
		return
	}
	m.follow(from, h.Term)
	if h.Round != 0 {
		m.rounds.term, m.rounds.round = h.Term, h.Round
	}
	if h.Commit > m.logTerms.LastIndex() {
		// The leader speaks of what this member acknowledged. It has lost
		// entries, and must not take others for them.
		m.emit(protocol.EventRefused, from, h.Commit, fmt.Sprintf("commit index of a heartbeat above the log's end %d", m.logTerms.LastIndex()))
	} else {
		m.commitTo(h.Commit)
	}
	if h.Round != 0 {
		m.send(from, &protocol.HeartbeatAnswer{Term: h.Term, Round: h.Round, Unfit: m.unfit != "", Token: m.cfg.tokenFor(from)})
	}
}
