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
	open     bool
	index    protocol.Index // where the frame should have joined, or of the claim
	mine     protocol.LogSum
	suspects []protocol.MemberID
	asked    []protocol.MemberID
	to       protocol.MemberID
	at       protocol.Instant // when to ask the next
	until    protocol.Instant
}

// Refused tells the core that the role found a run not to fit its log. The run
// is fetched again from others, and an active is asked for its log sum.
func (c *Core) Refused(now protocol.Instant, run Run) {
	c.buffer.dropOrigin(run.Origin)
	c.given = c.self.Tip
	if n := len(run.Entries); n > 0 {
		c.evidence(now, run.Entries[n-1].Index, c.grace())
	}
	c.question(now, run.Origin, c.self.Tip)
}

// question asks an active for its log sum at an index of this member's log: what a
// suspect says does not go together with it.
func (c *Core) question(now protocol.Instant, suspect protocol.MemberID, at protocol.Index) {
	d := &c.doubt
	if c.wrong || c.avoided(now, suspect) {
		return
	}
	if d.open {
		if len(d.suspects) < suspectsMax && !slices.Contains(d.suspects, suspect) {
			d.suspects = append(d.suspects, suspect)
		}
		return
	}
	mine, known := c.sumBefore(at + 1)
	if !known || at == 0 {
		// An empty log contradicts nobody.
		c.avoid(now, suspect, at)
		return
	}
	*d = doubt{
		open: true, index: at, mine: mine,
		suspects: []protocol.MemberID{suspect}, at: now, until: now.Add(doubtFor),
	}
	c.askSum(now)
}

// askSum asks the next active: any that is not in doubt itself before one that
// is, else the diverged could declare everybody else so.
//
// When none of them has come that far the leader is asked for a read index. [S]
// "Not yet" is what an active says that is behind, and what one says for ever whose
// log has lost that entry. The read index tells them apart: it is of a round that
// began after this member held the entry.
func (c *Core) askSum(now protocol.Instant) {
	d := &c.doubt
	if now >= d.until {
		*d = doubt{at: never}
		return
	}
	var free, suspect []*member
	asking := 0
	for _, m := range c.members.all {
		if !c.vouches(m) {
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
		c.ready.Prove = true
		return
	}
	m := free[c.rng.IntN(len(free))]
	d.asked, d.to = append(d.asked, m.id), m.id
	d.at = now.Add(sumPatience)
	c.send(m.id, &protocol.SumQuestion{Index: d.index})
}

func (c *Core) onSumQuestion(now protocol.Instant, from protocol.MemberID, q *protocol.SumQuestion) {
	if c.self.Role != protocol.RoleActive || !c.source() || !c.mayAnswer(now, from) {
		return
	}
	a := &protocol.SumAnswer{Index: q.Index}
	if q.Index <= c.self.Tip {
		a.Sum, a.Known = c.sumBefore(q.Index + 1)
	}
	if a.Known && c.signs() {
		a.Seal = c.cfg.Sign(protocol.SumStatement(a))
	}
	c.send(from, a)
}

func (c *Core) onSumAnswer(now protocol.Instant, from protocol.MemberID, a *protocol.SumAnswer) {
	d := &c.doubt
	if !d.open || from != d.to || a.Index != d.index {
		return
	}
	if a.Known && c.checks() {
		if err := c.verify(protocol.SumStatement(a), &a.Seal); err != nil {
			c.forged(now, from, a.Index, "a log sum: "+err.Error())
			a.Known = false
		}
	}
	switch {
	case !a.Known:
		c.askSum(now) // not yet, or no longer: ask another
	case a.Sum == d.mine:
		for _, origin := range d.suspects {
			c.avoid(now, origin, d.index)
		}
		*d = doubt{at: never}
	default:
		c.Contradicted(Divergence{Index: d.index, Mine: d.mine, Theirs: a.Sum, By: from})
	}
}

// Contradicted says that this member's log is of another history than the actives',
// by an active's word. It stays so until the member is started anew.
func (c *Core) Contradicted(d Divergence) {
	if c.wrong {
		return
	}
	d.Holds = c.self.Tip
	c.wrong, c.diverged = true, d.Index
	c.ready.Diverged = &d
	c.event(protocol.EventDiverged, d.By, d.Index, d.String())
	c.ready.Runs = nil
	c.buffer.clear()
	c.pulling.clear()
	c.seek.at = never
	c.doubt = doubt{at: never}
}

// avoid reports an origin and prefers others for a while.
func (c *Core) avoid(now protocol.Instant, origin protocol.MemberID, at protocol.Index) {
	if m := c.members.get(origin); m != nil {
		m.avoidUntil = now.Add(avoidFor)
	}
	c.buffer.dropOrigin(origin)
	c.event(protocol.EventRefused, origin, at, "what this member says does not fit the committed log")
}

// avoided reports whether a member's frames are left aside.
func (c *Core) avoided(now protocol.Instant, origin protocol.MemberID) bool {
	m := c.members.get(origin)
	return m != nil && now < m.avoidUntil
}
