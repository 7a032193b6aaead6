package active

import (
	"slices"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// transfer is a hand-over of the leadership that is under way (dissertation,
// section 3.10): nothing more is proposed, the transferee catches up, and is then
// told to campaign at once.
type transfer struct {
	to    protocol.MemberID
	until protocol.Instant // given up then
	sent  bool             // TimeoutNow, at least once
}

// Transfer hands the leadership over to a voter, to the best one if to is zero: to
// one that could answer, with room on its disk if there is one, and that holds most. It
// returns at once: the transferee leads when it has caught up and was
// elected. Until then, for one election timeout at most, or longer if this
// member's disk is slow, proposals are refused with ErrNotLeader, which says to
// whom; after that this member leads on as before. Asking again for the same transferee
// changes nothing.
//
// Nothing has happened if it fails: with ErrNotLeader; with ErrChangeInFlight
// while it is being handed over to another; with ErrInvalid if the transferee is not
// another voter that stays one; with ErrNoTransferee if it does not answer, says that it is
// unfit (SetUnfit), or is being brought a checkpoint, or if nobody else could take over.
func (m *Member) Transfer(now protocol.Instant, to protocol.MemberID) error {
	m.advance(now)
	if m.state != StateLeader {
		return protocol.ErrNotLeader
	}
	m.tickTransfer()
	if t := m.lead.transfer; t != nil {
		if to.IsZero() || to == t.to {
			return nil
		}
		return protocol.ErrChangeInFlight.With("the leadership is being handed over to " + m.label(t.to))
	}
	p := m.lead.find(to)
	if to.IsZero() {
		p = m.bestTransferee(0)
	}
	switch {
	case p == nil && to.IsZero():
		return noTransferee(m)
	case p == nil || p.suffrage != protocol.SuffrageVoter:
		return protocol.ErrInvalid.With(m.label(to) + " is not another voter")
	case unable(m, p) != "":
		return protocol.ErrNoTransferee.With(m.label(to) + " " + unable(m, p))
	}
	m.lead.transfer = &transfer{to: p.id, until: m.now.Add(m.cfg.Election + m.disk.pace.stretch(m.disk.takes(m.now)))}
	m.emit(protocol.EventTransfer, p.id, m.logTerms.LastIndex(), "begins")
	m.due = true
	m.handOver()
	return nil
}

// bestTransferee returns the voter to hand over to when nobody has said to whom, nil without one.
func (m *Member) bestTransferee(holds protocol.Index) *progress {
	if list := transfereesOf(m, holds); len(list) > 0 {
		return list[0]
	}
	return nil
}

// transfereesOf returns the voters that could take over, the best first: the one rule for all who
// look for one. Whoever does not answer or needs a checkpoint first is none, nor is who
// says that it is unfit: its state has diverged, or it stands at a command. Of those that
// hold the log up to an index, one whose disk has room goes before one that would take no
// writes: who is told to campaign at once is not elected without what is committed, and
// a transferee that is waited for may lack what it likes. Of equals the one that holds most.
func transfereesOf(m *Member, holds protocol.Index) []*progress {
	var list []*progress
	for i := range m.lead.progress {
		p := &m.lead.progress[i]
		if p.suffrage == protocol.SuffrageVoter && unable(m, p) == "" {
			list = append(list, p)
		}
	}
	slices.SortStableFunc(list, func(a, b *progress) int {
		switch {
		case a.leadsBefore(b, holds):
			return -1
		case b.leadsBefore(a, holds):
			return 1
		}
		return 0
	})
	return list
}

// leadsBefore reports whether one transferee is better than another.
func (p *progress) leadsBefore(than *progress, holds protocol.Index) bool {
	takes := func(p *progress) bool { return p.room && p.match >= holds }
	if takes(p) != takes(than) {
		return takes(p)
	}
	return p.match > than.match
}

// unable says why a voter could not take over; empty: it could.
func unable(m *Member, p *progress) string {
	switch {
	case m.now >= p.heard.Add(m.cfg.Election):
		return "does not answer"
	case p.unfit:
		return "says that it could answer nobody as a leader"
	case p.state == ProgressCatchUp:
		return "is being brought a checkpoint"
	}
	return ""
}

// noTransferee says of each other voter why it could not take over.
func noTransferee(m *Member) error {
	var why []string
	for i := range m.lead.progress {
		if p := &m.lead.progress[i]; p.suffrage == protocol.SuffrageVoter {
			why = append(why, m.label(p.id)+" "+unable(m, p))
		}
	}
	if len(why) == 0 {
		return protocol.ErrInvalid.With(m.label(m.cfg.ID) + " is the only voter: there is nobody to lead in its place")
	}
	return protocol.ErrNoTransferee.With("no other voter can lead: " + strings.Join(why, "; "))
}

// handOver tells the transferee to campaign once it holds all of the log.
//
// [S] From then on the leader gives no lease read for the rest of its term,
// even if the transfer is given up: TimeoutNow may arrive late, and the voters
// heed the election that follows although they hear a leader.
func (m *Member) handOver() {
	t := m.lead.transfer
	if t == nil || t.sent {
		return
	}
	p := m.lead.find(t.to)
	if p == nil || p.match < m.logTerms.LastIndex() {
		return
	}
	t.sent, m.lead.handedOver = true, true
	m.send(t.to, &protocol.TimeoutNow{Term: m.hard.Term})
}

// remindTransferee tells the transferee again, because the word may have been lost. A transferee
// that has campaigned is in a later term, and takes no notice.
func (m *Member) remindTransferee() {
	if t := m.lead.transfer; t != nil && t.sent {
		m.send(t.to, &protocol.TimeoutNow{Term: m.hard.Term})
	}
}

// resign steps down because the committed configuration has no vote for this
// member.
func (m *Member) resign() {
	for i := range m.lead.progress {
		m.announce(&m.lead.progress[i])
	}
	m.nameTransferee()
	m.stepDown("the committed configuration has no vote for it")
}

// successor returns the voter that a leader names when it steps down, nil without one. One
// whose disk waits is succeeded by who has all of its log, if anybody has (see leadsOn). Who
// has been told to campaign already has no rival.
func successor(m *Member) *progress {
	if t := m.lead.transfer; t != nil && t.sent {
		if p := m.lead.find(t.to); p != nil && unable(m, p) == "" {
			return p
		}
	}
	if m.disk.waits {
		return m.bestTransferee(m.logTerms.LastIndex())
	}
	return m.bestTransferee(m.hard.Commit)
}

// nameTransferee tells the best voter to campaign, because this leader is
// about to step down: the others need not wait for a timeout. The word is given
// once; if it is lost, the timeout comes.
func (m *Member) nameTransferee() {
	if p := successor(m); p != nil {
		m.emit(protocol.EventTransfer, p.id, p.match, "by a leader that steps down")
		m.send(p.id, &protocol.TimeoutNow{Term: m.hard.Term})
	}
}

// tickTransfer gives up a transfer that took too long.
func (m *Member) tickTransfer() {
	if t := m.lead.transfer; t != nil && m.now >= t.until {
		m.lead.transfer = nil
		m.emit(protocol.EventTransfer, t.to, m.logTerms.LastIndex(), "given up: the transferee was not elected in time")
	}
}

// mayPropose returns why the leader takes no proposal.
func mayPropose(m *Member) error {
	if m.state != StateLeader {
		return protocol.ErrNotLeader
	}
	m.tickTransfer()
	if t := m.lead.transfer; t != nil {
		return protocol.ErrNotLeader.With("the leadership is being handed over to " + m.label(t.to))
	}
	return nil
}

// label names a member for people.
func (m *Member) label(id protocol.MemberID) string {
	if line, ok := m.current.Configuration.Find(id); ok {
		return line.Label()
	}
	return id.Short()
}
