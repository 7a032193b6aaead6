package active

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// A disk without room takes no entries, and may have none for a long time. Term and vote
// take a hundred bytes, for which the log keeps room. So when the owner says that what
// it was given waits (SetWaiting), term and vote are written ahead of that
// (protocol.Ahead):
//
//   - [S] It releases votes, the own one of a candidate among them, and nothing else. An
//     acknowledgement is released by the write with its entries; the commit index is that
//     of the writes before.
//   - [S] The owner raises the state of all that it writes later, the write that waits
//     included, to what was written ahead: the term does not go back when there is room
//     again. flight.state follows.
//   - A vote is given by the log in memory, which may hold what waits, and may lack what a
//     later leader has cut off and the disk still has. Both are right after a crash: what
//     was never durable was never acknowledged; what a leader of a later term did not have
//     can be committed by nobody of an earlier one.
//   - A member whose disk waits campaigns when the others have had their time, and leads
//     until a majority has stored what it cannot: elections that follow one another would
//     use up the room for votes.

// giveWay is how many election timeouts without a leader a member leaves to the others
// whose disk waits.
const giveWay = 3

// ahead is a write of term and vote under way, ahead of the one that waits.
type ahead struct {
	id    protocol.WriteID
	term  protocol.Term
	vote  protocol.MemberID
	since protocol.Instant
}

// SetWaiting says that what the owner was given to write waits for room, of which nothing
// is on the disk yet; or that it waits no more.
func (m *Member) SetWaiting(now protocol.Instant, waiting bool) {
	m.advance(now)
	if m.disk.waits == waiting {
		return
	}
	m.disk.waits = waiting
	if f := m.disk.flight; f != nil {
		f.waited = true
	}
}

// aheadWanted reports whether term and vote are to be written ahead of what waits.
// Whoever takes the role promises nothing before all that it holds is durable.
func aheadWanted(m *Member) bool {
	d := &m.disk
	return d.waits && d.flight != nil && d.ahead == nil && !d.taking && !d.holds(m.hard)
}

// emitAhead puts them into the Ready.
func emitAhead(m *Member) {
	if !aheadWanted(m) {
		return
	}
	d := &m.disk
	d.lastID++
	d.ahead = &ahead{id: d.lastID, term: m.hard.Term, vote: m.hard.Vote, since: m.now}
	m.ready.Ahead = &protocol.Ahead{ID: d.lastID, Term: m.hard.Term, Vote: m.hard.Vote}
}

// persistedAhead says that a term and the vote in it are durable, ahead of what waits. A
// vote may have waited for room itself: what it took says nothing of the disk's pace.
func persistedAhead(m *Member) {
	d := &m.disk
	a := d.ahead
	d.ahead = nil
	d.durable = d.durable.Noting(a.term, a.vote)
	if d.flight != nil {
		d.flight.state = d.flight.state.Noting(a.term, a.vote)
	}
	if !d.holds(m.hard) {
		return // it has changed meanwhile: another one follows
	}
	release(m, d.takeVotes(m.hard.Term))
	if m.state == StateCandidate {
		m.countOwnVote()
	}
}

// takeVotes returns the votes and the requests for them, of a term, that wait for a write.
func (d *disk) takeVotes(term protocol.Term) (votes []held) {
	isVote := func(h held) bool {
		switch h.msg.(type) {
		case *protocol.Vote, *protocol.VoteAnswer:
			return h.term == term
		}
		return false
	}
	take := func(list []held) []held {
		for _, h := range list {
			if isVote(h) {
				votes = append(votes, h)
			}
		}
		return slices.DeleteFunc(list, isVote)
	}
	if d.flight != nil {
		d.flight.held = take(d.flight.held)
	}
	d.held = take(d.held)
	return votes
}

// yields reports whether a member whose disk waits leaves an election to the others for
// now.
func yields(m *Member) bool {
	return m.disk.waits && !m.alone() && m.now < max(m.heard, m.led).Add(giveWay*m.cfg.Election)
}

// leadsOn reports whether a leader whose write has no answer keeps the lead: its disk
// waits, and either no majority stores what that cannot, so that nobody would commit more
// than this leader does, or nobody is sure to be elected. The word to campaign overtakes
// entries that are under way, so that only an acknowledgement of the whole log proves
// that it is there.
func leadsOn(m *Member) bool {
	if !m.disk.waits {
		return false
	}
	if m.hard.Commit <= m.disk.stable {
		return true
	}
	p := successor(m)
	return p == nil || p.match < m.logTerms.LastIndex()
}

// passPause is how many election timeouts are between two attempts to pass the lead on.
const passPause = 20

// passOn lets a leader whose disk waits take no more proposals, where a majority stores what
// that cannot and a voter says that it has room: with entries always under way no voter would
// ever have stored all. Once in passPause elections at most: what frees space, and whom an
// operator or the owner wants as the leader, has its turn between.
func passOn(m *Member) {
	if m.now < m.lead.passAt || m.hard.Commit <= m.disk.stable {
		return
	}
	if p := m.bestTransferee(0); p != nil && p.room {
		m.lead.passAt = m.now.Add(passPause * m.cfg.Election)
		_ = m.Transfer(m.now, p.id) // it can be refused only while there is one
	}
}
