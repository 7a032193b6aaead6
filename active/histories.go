package active

import (
	"fmt"
	"math"

	"github.com/starlinghq/starling/protocol"
)

// What follows when somebody puts a directory back to an old copy, or runs a copy
// beside its original. None of it can come of crashes alone, and none of it is a
// fault of this member, so it is said in sentences and not by a panic.

// forgot reports whether a rejection proves that the member's directory was put
// back: another run than the one that acknowledged match says that its log lacks
// some of that. Which entries it rejects is no matter: whoever holds the leader's
// log up to match rejects no append that follows one of those, and finds a place
// at or above match where the logs may meet.
//
// The owner hands over what the runs of a member say in the order of the runs.
// What a run itself says may be late: it rejected entries before it got them.
func (p *progress) forgot(a *protocol.AppendAnswer) bool {
	held := p.held()
	return held > 0 && p.run != 0 && a.Run != 0 && a.Run != p.run && (a.Index <= held || a.HintIndex < held)
}

// held is what the member has acknowledged in this term, to be counted or not.
func (p *progress) held() protocol.Index { return max(p.match, p.owed) }

// condemn takes back all that a member whose directory was put back counts for:
// what it has acknowledged it does not hold, and it may have voted for others in
// this term. It counts for nothing, and is said nothing, as long as this member
// leads and the configuration keeps it, until another run of it is let in.
func (m *Member) condemn(p *progress, a *protocol.AppendAnswer) {
	m.emit(protocol.EventPutBack, p.id, p.match, fmt.Sprintf(
		"%s acknowledged %d in this term, and after a restart it has at most %d: its directory was put back, and it counts no more", m.label(p.id), p.held(), a.HintIndex))
	m.ready.PutBack = append(m.ready.PutBack, protocol.RunOf{Member: p.id, Run: a.Run})
	p.probe(m.logTerms.LastIndex() + 1)
	p.owed, p.putBack = p.held(), a.Run
	p.match, p.round, p.sentCommit = 0, 0, 0
	p.heard, p.answered, p.pulsed = math.MinInt64, false, math.MinInt64
	p.told, p.unfit, p.room, p.takes = false, false, false, 0
	m.lead.endLease()
}

// condemned reports whether a member's word counts for nothing.
func (m *Member) condemned(id protocol.MemberID) bool {
	if m.state != StateLeader {
		return false
	}
	p := m.lead.find(id)
	return p != nil && p.putBack != 0
}

// LetIn says that what a run of a member says counts from now on: whoever keeps its
// streams apart has let it in, with the first stream of that run or another one. If the run before it is condemned, this one
// is fed again, for the right directory may have been found. It is proof again if it
// lacks what the member owes.
func (m *Member) LetIn(now protocol.Instant, id protocol.MemberID, run protocol.RunID) {
	m.advance(now)
	letInToken(m, id, run)
	if m.state != StateLeader {
		return
	}
	if p := m.lead.find(id); p != nil && p.putBack != 0 && p.putBack != run {
		p.putBack, p.heard = 0, m.now
		m.due = true
	}
}

// contradicted ends the member: what is committed here contradicts what others
// have. Nothing is truncated, and nothing is said any more.
func (m *Member) contradicted(what string) {
	end(m, protocol.TwoHistories(what))
}

// end ends the member: it says and takes nothing any more.
func end(m *Member, why error) {
	if m.stopped {
		return
	}
	m.silence()
	m.ready.Stop = why
}

// forgets ends the member if it lacks a configuration, among entries above its commit index, that is committed and
// needs it, and reports that.
func forgets(m *Member, entries []protocol.Entry, configs []protocol.ConfigurationAt, commit protocol.Index) bool {
	for _, c := range configs {
		if len(entries) == 0 || c.Index < entries[0].Index || c.Index > commit || !c.Configuration.Needs(m.cfg.ID) {
			continue
		}
		if t, held := m.logTerms.TermAt(c.Index); !held || t != entries[c.Index-entries[0].Index].Term {
			end(m, protocol.HasForgotten(m.cfg.ID, c))
			return true
		}
	}
	return false
}

// Silence ends this member's part in this run: its owner has been told that its
// directory was put back, or is a copy. It hears nothing, says nothing and leads
// nothing any more. [S] To keep its messages back is not enough: the only voter of an
// old configuration elects itself and commits, and passives would take that.
func (m *Member) Silence(now protocol.Instant) {
	m.advance(now)
	m.silence()
}

func (m *Member) silence() {
	m.stopped = true
	m.ready.Messages = nil
	if m.state != StateFollower {
		m.becomeFollower(m.hard.Term, protocol.MemberID{})
	}
}

// rivals reports whether the sender leads the term in which this member leads.
// Then a voter has voted twice, and both may have committed entries.
func (m *Member) rivals(from protocol.MemberID, term protocol.Term) bool {
	if m.state != StateLeader || term != m.hard.Term {
		return false
	}
	m.contradicted(fmt.Sprintf("%s leads term %d, and so does this member", m.label(from), term))
	return true
}
