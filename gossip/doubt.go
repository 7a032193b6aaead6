package gossip

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// avoidFor is how long the origin of frames that do not fit is avoided.
	avoidFor = 30 * time.Second
	// doubtFor is how long an answer is sought, sumPatience how long for from
	// one active, and sumPause how long after all have been asked.
	doubtFor, sumPatience, sumPause = 30 * time.Second, 200 * time.Millisecond, time.Second
	// suspectsMax bounds the origins that are in doubt at once.
	suspectsMax = 8
)

// doubt is the question that a frame which does not fit raises, or a claim about
// freshness: who is wrong, whose word it is or I? An active answers it. Who passed
// a frame on is never blamed: it could not check it either.
type doubt struct {
	base
	log     Log
	heed    *heed
	trust   *trust
	intake  *intake
	verdict verdict

	inquiry
}

// verdict is told that this member's log is of another history than the actives'.
type verdict interface {
	Contradicted(Divergence)
}

// inquiry is the state of doubt.
type inquiry struct {
	open     bool
	index    protocol.Index // where the frame should have joined, or of the claim
	mine     protocol.LogSum
	suspects []protocol.MemberID
	asked    []protocol.MemberID
	to       protocol.MemberID
	at       protocol.Instant // when to ask the next
	until    protocol.Instant
}

// question asks an active for its log sum at an index of this member's log: what a
// suspect says does not go together with it.
func (d *doubt) question(now protocol.Instant, suspect protocol.MemberID, at protocol.Index) {
	if d.self.wrong || d.avoided(now, suspect) {
		return
	}
	if d.open {
		if len(d.suspects) < suspectsMax && !slices.Contains(d.suspects, suspect) {
			d.suspects = append(d.suspects, suspect)
		}
		return
	}
	mine, known := sumBefore(d.log, at+1)
	if !known || at == 0 {
		// An empty log contradicts nobody.
		d.avoid(now, suspect, at)
		return
	}
	d.inquiry = inquiry{
		open: true, index: at, mine: mine,
		suspects: []protocol.MemberID{suspect}, at: now, until: now.Add(doubtFor),
	}
	d.askSum(now)
}

// askSum asks the next active: any that is not in doubt itself before one that
// is, else the diverged could declare everybody else so.
//
// When none of them has come that far the leader is asked for a read index. [S]
// "Not yet" is what an active says that is behind, and what one says for ever whose
// log has lost that entry. The read index tells them apart: it is of a round that
// began after this member held the entry.
func (d *doubt) askSum(now protocol.Instant) {
	if now >= d.until {
		d.inquiry = inquiry{at: never}
		return
	}
	var free, suspect []*member
	asking := 0
	for _, m := range d.members.all {
		if !d.heed.vouches(m) {
			continue
		}
		asking++
		switch {
		case slices.Contains(d.asked, m.id):
		case slices.Contains(d.suspects, m.id) || now < m.avoidUntil:
			suspect = append(suspect, m)
		default:
			free = append(free, m)
		}
	}
	if len(free) == 0 && (len(d.asked) == 0 || asking == len(suspect)) {
		free = suspect
	}
	if len(free) == 0 {
		d.asked, d.to = nil, protocol.MemberID{}
		d.at = now.Add(sumPause)
		d.outbox.ready.Prove = true
		return
	}
	m := free[d.rng.IntN(len(free))]
	d.asked, d.to = append(d.asked, m.id), m.id
	d.at = now.Add(sumPatience)
	d.outbox.send(m.id, &protocol.SumQuestion{Index: d.index})
}

func (d *doubt) onSumQuestion(now protocol.Instant, from protocol.MemberID, q *protocol.SumQuestion) {
	if d.self.Role != protocol.RoleActive || !d.self.source() || !d.members.mayAnswer(now, from) {
		return
	}
	a := &protocol.SumAnswer{Index: q.Index}
	if q.Index <= d.self.LastIndex {
		a.Sum, a.Known = sumBefore(d.log, q.Index+1)
	}
	if a.Known && d.trust.signs() {
		a.Signature = d.cfg.Sign(protocol.SumStatement(a))
	}
	d.outbox.send(from, a)
}

func (d *doubt) onSumAnswer(now protocol.Instant, from protocol.MemberID, a *protocol.SumAnswer) {
	if !d.open || from != d.to || a.Index != d.index {
		return
	}
	if a.Known && d.cfg.checks() {
		if err := d.trust.verify(protocol.SumStatement(a), &a.Signature); err != nil {
			d.trust.forged(now, from, a.Index, "a log sum: "+err.Error())
			a.Known = false
		}
	}
	switch {
	case !a.Known:
		d.askSum(now) // not yet, or no longer: ask another
	case a.Sum == d.mine:
		for _, origin := range d.suspects {
			d.avoid(now, origin, d.index)
		}
		d.inquiry = inquiry{at: never}
	default:
		d.verdict.Contradicted(Divergence{Index: d.index, Mine: d.mine, Theirs: a.Sum, By: from})
	}
}

// avoid reports an origin and prefers others for a while.
func (d *doubt) avoid(now protocol.Instant, origin protocol.MemberID, at protocol.Index) {
	if m := d.members.get(origin); m != nil {
		m.avoidUntil = now.Add(avoidFor)
	}
	d.intake.buffer.dropOrigin(origin)
	d.outbox.event(protocol.EventRefused, origin, at, "what this member says does not fit the committed log")
}

// avoided reports whether a member's frames are left aside.
func (d *doubt) avoided(now protocol.Instant, origin protocol.MemberID) bool {
	m := d.members.get(origin)
	return m != nil && now < m.avoidUntil
}
