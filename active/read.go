package active

import (
	"fmt"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// readRoundsMax is how many rounds may be under way for reads alone. Reads that
// arrive meanwhile wait and share the next one.
const readRoundsMax = 4

// read is one read-index request at a leader.
type read struct {
	origin  protocol.MemberID
	run     protocol.RunID
	request uint64
}

// readable is where reads may be served: an index, and the log sum there. The
// index alone does not tell one history from another.
type readable struct {
	index protocol.Index
	sum   protocol.LogSum
}

// round is one heartbeat round under way. Once a majority has answered it, no
// leader of a higher term can have committed anything before it was sent; so
// whatever was acknowledged by then is at most at commit, and reads that
// arrived before it was sent may be served at commit.
type round struct {
	number uint64
	at     protocol.Instant // when it was sent, by the larger clock
	commit readable         // when it was sent; without a sum unless settled
	// ownTermCommitted says that commit was at least the own term's first entry. An
	// earlier round proves nothing: the former leader may have acknowledged
	// more than this one knew to be committed.
	ownTermCommitted bool
	reads            []read
}

// ReadIndex asks for an index at which a linearizable read may be served. The
// answer to an own request (Origin is this member) comes in Ready.Reads, with
// a code if it failed; a lost one does not come at all: the owner asks again.
// A request of another member, taken over by the owner, is answered there.
func (m *Member) ReadIndex(now protocol.Instant, r protocol.ReadIndex) {
	m.advance(now)
	m.onReadIndex(r.Origin, r)
}

func (m *Member) onReadIndex(from protocol.MemberID, r protocol.ReadIndex) {
	q := read{origin: r.Origin, run: r.Run, request: r.Request}
	switch {
	case m.state == StateLeader && m.holdsLease() && r.Held <= m.hard.Commit:
		m.answerRead(q, m.readableNow())
	case m.state == StateLeader && len(m.lead.reads) >= m.cfg.ReadsMax:
		m.refuseRead(q, protocol.ErrOverloaded.Code)
	case m.state == StateLeader:
		m.lead.reads = append(m.lead.reads, q)
		m.due = true
	case m.leader.IsZero():
		m.refuseRead(q, protocol.ErrNoLeader.Code)
	case from != r.Origin:
		// It was passed on once: two members that take one another for the
		// leader must not play with it.
		m.refuseRead(q, protocol.ErrNotLeader.Code)
	case r.Origin != m.cfg.ID && m.cfg.NamedOnly && !m.voter:
		m.refuseRead(q, protocol.ErrNotLeader.Code) // a learner passes nothing on: it is not heeded
	default:
		m.send(m.leader, &r)
	}
}

// startReadRound sends a round for the reads that wait, if it would prove
// anything and not too many are under way.
func (m *Member) startReadRound() {
	if len(m.lead.reads) == 0 || !m.hasCommittedOwnTerm() {
		return
	}
	under := 0
	for i := range m.lead.rounds {
		if len(m.lead.rounds[i].reads) > 0 {
			under++
		}
	}
	if under < readRoundsMax {
		m.startRound(false)
	}
}

// startRound sends a heartbeat to the voters, or to all members, and hangs the
// waiting reads on it. Their number is bounded by check-quorum: unanswered
// ones end with the leadership.
func (m *Member) startRound(all bool) {
	l := m.lead
	l.round++
	r := round{number: l.round, at: m.Longest(m.now), ownTermCommitted: m.hasCommittedOwnTerm()}
	if r.ownTermCommitted {
		r.commit = m.readableNow()
		r.reads, l.reads = l.reads, nil
	}
	l.rounds = append(l.rounds, r)
	if all {
		l.heartbeatAt = m.now.Add(m.cfg.Heartbeat)
	}
	for i := range l.progress {
		p := &l.progress[i]
		if !all && !p.voter || p.putBack != 0 {
			continue
		}
		c := min(m.hard.Commit, p.match)
		p.sentCommit = max(p.sentCommit, c)
		m.send(p.id, &protocol.Heartbeat{Term: m.hard.Term, Commit: c, Round: l.round, Token: m.cfg.tokenFor(p.id)})
		if all {
			sendPulse(m, p.id)
		}
	}
	m.confirmRounds() // a single voter's word is enough
}

// confirmRounds serves the rounds that a majority has answered. An answer to a
// later round confirms the earlier ones too.
func (m *Member) confirmRounds() {
	m.renewLease()
	l := m.lead
	confirmed := m.quorumOf(l.round, roundOf)
	n, fresh := 0, -1
	for n < len(l.rounds) && l.rounds[n].number <= confirmed {
		r := &l.rounds[n]
		if r.ownTermCommitted {
			fresh = n
		}
		for _, q := range r.reads {
			m.answerRead(q, r.commit)
		}
		n++
	}
	if fresh >= 0 {
		r := &l.rounds[fresh]
		m.ready.Fresh = append(m.ready.Fresh, protocol.Fresh{Index: r.commit.index, Sum: r.commit.sum, At: r.at})
	}
	if n > 0 {
		m.due = m.due || len(l.reads) > 0
		l.rounds = append(l.rounds[:0], l.rounds[n:]...)
	}
}

// readableNow is what a settled leader has committed.
func (m *Member) readableNow() readable {
	sum, known := m.log.SumAt(m.hard.Commit)
	if !known {
		invariant.Check(false, "the log sum at the commit index %d of a leader is not known", m.hard.Commit)
	}
	return readable{m.hard.Commit, sum}
}

// answerRead says at what index a read may be served.
func (m *Member) answerRead(q read, at readable) {
	m.tellReader(q, protocol.ReadIndexAnswer{Index: at.index, Sum: at.sum, Code: protocol.OK})
}

// refuseRead says why there is no index.
func (m *Member) refuseRead(q read, code protocol.Code) {
	m.tellReader(q, protocol.ReadIndexAnswer{Code: code})
}

// tellReader sends an answer to where the request came from.
func (m *Member) tellReader(q read, a protocol.ReadIndexAnswer) {
	a.Run, a.Request, a.Leader, a.Term = q.run, q.request, m.leader, m.hard.Term
	if q.origin == m.cfg.ID {
		m.ready.Reads = append(m.ready.Reads, protocol.Read(a))
		return
	}
	m.send(q.origin, &a)
}

// refuseReads answers what a leader that is no longer one leaves behind.
func (m *Member) refuseReads(l *leadership) {
	for i := range l.rounds {
		for _, q := range l.rounds[i].reads {
			m.refuseRead(q, protocol.ErrNotLeader.Code)
		}
	}
	for _, q := range l.reads {
		m.refuseRead(q, protocol.ErrNotLeader.Code)
	}
}

// onReadIndexAnswer takes the leader's answer to an own request. [S] One to
// another run is dropped: that run's request 7 was not this run's, and its
// index may be older than what this run's reader has seen acknowledged.
func (m *Member) onReadIndexAnswer(from protocol.MemberID, a *protocol.ReadIndexAnswer) {
	if a.Run != m.cfg.Run {
		m.emit(protocol.EventRefused, from, a.Index, fmt.Sprintf("read index %d of another run", a.Request))
		return
	}
	m.ready.Reads = append(m.ready.Reads, protocol.Read{Run: a.Run, Request: a.Request, Index: a.Index, Sum: a.Sum, Code: a.Code, Leader: a.Leader})
}
