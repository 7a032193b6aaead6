package active

import (
	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// flush sends what a leader has to send. It runs when a Ready is taken, so that
// everything proposed and acknowledged since the last one goes out together.
func (m *Member) flush() {
	if !m.due {
		return
	}
	m.due = false
	if m.state != StateLeader {
		return
	}
	m.startReadRound()
	for i := range m.lead.progress {
		p := &m.lead.progress[i]
		m.feed(p)
		m.announce(p)
	}
}

// feed sends entries as far as the member's state and window allow.
func (m *Member) feed(p *progress) {
	if p.putBack != 0 {
		return
	}
	switch p.state {
	case ProgressCatchUp:
		m.offer(p)
	case ProgressReplicate:
		for last := m.logTerms.LastIndex(); p.next <= last && p.flying.room(&m.cfg); {
			sent, bytes := m.sendAppend(p, m.cfg.AppendBytesMax)
			p.flying.add(sent, bytes, m.now)
			p.next = sent + 1
		}
	case ProgressProbe:
		if p.probing || p.passive && p.next > m.hard.Commit {
			return
		}
		m.sendAppend(p, min(probeBytesMax, m.cfg.AppendBytesMax))
		p.probing, p.probeAt = true, m.now
	}
}

// sendAppend sends the entries from next on, up to a number of bytes. It returns
// the last of them, and how many bytes they take, as far as that is known.
func (m *Member) sendAppend(p *progress, bytes int) (last protocol.Index, size int) {
	prev := p.next - 1
	last = m.logTerms.LastIndex()
	if prev < last {
		last, size = m.fit(p.next, last, bytes)
	}
	m.sendRange(p, prev, last)
	return last, size
}

// sendRange sends the append (prev, last].
func (m *Member) sendRange(p *progress, prev, last protocol.Index) {
	term, held := m.logTerms.TermAt(prev)
	if !held {
		invariant.Check(false, "append after %d to %s, the log is %d..%d", prev, p.id.Short(), m.logTerms.FirstIndex(), m.logTerms.LastIndex())
	}
	p.sentCommit = max(p.sentCommit, min(m.hard.Commit, last))
	m.send(p.id, &protocol.Append{
		Term: m.hard.Term, PrevIndex: prev, PrevTerm: term, Commit: m.hard.Commit, Last: last,
	})
}

// announce tells a member of a commit index that no append has told it. A lost
// announcement is made good by the next heartbeat.
func (m *Member) announce(p *progress) {
	if c := min(m.hard.Commit, p.match); c > p.sentCommit && !p.passive {
		p.sentCommit = c
		m.send(p.id, &protocol.Heartbeat{Term: m.hard.Term, Commit: c})
	}
}

// recheck looks for appends that were lost with nothing behind them to show it:
// if the oldest has been under way for a heartbeat, an empty append at the end
// of what was sent is rejected by whoever lacks something before it.
func (m *Member) recheck(p *progress) {
	if p.state != ProgressReplicate || len(p.flying.list) == 0 {
		return
	}
	oldest := &p.flying.list[0]
	if m.now < oldest.at.Add(m.cfg.Heartbeat) {
		return
	}
	oldest.at = m.now
	m.sendRange(p, p.next-1, p.next-1)
}

// onAppendAnswer follows what a member says of its log.
func (m *Member) onAppendAnswer(from protocol.MemberID, a *protocol.AppendAnswer) {
	if m.heedTerm(from, a.Term) || m.state != StateLeader {
		return
	}
	p := m.lead.find(from)
	if p == nil {
		return
	}
	p.hears(m.now)
	m.due = true
	switch {
	case a.Passive:
		m.passiveAnswered(p, a.Index)
	case a.Reject && p.forgot(a):
		m.condemn(p, a)
	case a.Reject:
		m.rejected(p, a)
	case a.Index > m.logTerms.LastIndex():
		m.emit(protocol.EventRefused, from, a.Index, "acknowledged what was never sent")
	case p.acknowledged(a, m.feedsAfter()):
		m.maybeCommit()
		if m.state == StateLeader {
			m.handOver()
		}
	}
}

// passiveAnswered moves next, in both directions, because a passive's last index may
// fall back in a power cut. [S] It never moves match: what a passive holds is
// not durable, and a match that is too high would make the leader ignore every
// later rejection.
func (m *Member) passiveAnswered(p *progress, lastIndex protocol.Index) {
	next := min(lastIndex+1, m.logTerms.LastIndex()+1)
	stuck := p.probing && p.passive && next == p.next
	p.passive = true
	p.run, p.owed = 0, 0 // a passive may drop what it acknowledged as an active and was not committed
	if next <= m.feedsAfter() {
		m.catchUp(p, next)
		return
	}
	p.probe(next)
	if stuck { // it takes nothing: ask again after a while only
		p.probing, p.probeAt = true, m.now
	}
}

// rejected backs off. Late and repeated rejections are recognised by what they
// reject; a member in catch-up is sent nothing that it could reject. Whoever has
// no entry in common with what is left of the log needs a checkpoint.
func (m *Member) rejected(p *progress, a *protocol.AppendAnswer) {
	if a.Index <= p.match || p.state == ProgressCatchUp {
		return
	}
	m.emit(protocol.EventRejected, p.id, a.Index, "")
	if p.state == ProgressReplicate {
		// An append was lost: up to match it holds all.
		p.probe(max(p.match, m.feedsAfter()) + 1)
		return
	}
	if a.Index != p.next-1 {
		return
	}
	fits := max(p.match, m.lastThatFits(min(a.HintIndex, a.Index-1), a.HintTerm))
	if fits < m.feedsAfter() {
		m.catchUp(p, fits+1)
		return
	}
	p.probe(fits + 1)
}
