package replica

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
)

// Where no majority of the actives has one state, an operator may say whose is to be everybody's.
//
// [S] That is an entry of the log, a ruling, never a word beside it: all hold their own state against it at the
// same place, those that start later and those that were not heard as well. It names the digest at a checkpoint
// entry of which the leader, whose state it is, keeps a checkpoint, and no checkpoint entry lies between the two:
// who has another one, or does not know what it had, gives its state up and finds that checkpoint to begin from.

// rulingPatience is for how long the actives are asked what they have, at least, before an operator
// decides, where not all of them answer.
const rulingPatience = 5 * time.Second

// checkpointWanted is how long ago the last checkpoint entry is, at least, before an operator's wish has
// another one proposed, because no checkpoint was kept at that.
const checkpointWanted = 10 * time.Second

// Impose makes the state of a member, which has to be this one, and to lead, everybody's. It is answered once: with OK
// when that is committed; or with why nothing happened: not_leader, no_leader, no_quorum; invalid
// if another member was named, nothing is in dispute, or its own state must not be read; unavailable if it is not
// known yet who has what, or no checkpoint is kept that the others could begin from. After unknown_outcome the
// status says whether the dispute goes on.
func Impose(r *Replica, now protocol.Instant, request uint64, who protocol.MemberID) {
	q := &r.membershipChanges
	index, err := q.impose(now, &r.checkpoints, who)
	if err != nil {
		q.out.answer(request, protocol.Failed(err))
	} else {
		q.changes = append(q.changes, changing{index: index, term: q.log.lead().Term(), request: request})
	}
	r.pump(now)
}

func (q *membershipChanges) impose(now protocol.Instant, c *checkpoints, who protocol.MemberID) (protocol.Index, error) {
	if err := q.leading(); err != nil {
		return 0, err
	}
	if who != q.cfg.ID {
		return 0, protocol.ErrInvalid.With(fmt.Sprintf("%s does not lead: `starling transfer` the lead to the member whose state is to be everybody's", q.flock.labelOf(who)))
	}
	m, err := c.ruling(now)
	if err != nil {
		return 0, err
	}
	i, err := q.log.lead().Propose(now, []active.Proposal{{Kind: protocol.EntryRuling, Data: protocol.EncodeConfirmation(m)}})
	if err == nil {
		d := &c.audit.confirmations
		d.imposed, d.ruling, d.ruledIn = m.Index, i, q.log.lead().Term()
	}
	return i, err
}

// ruling returns what can be everybody's: the state here at the newest checkpoint entry.
func (c *checkpoints) ruling(now protocol.Instant) (protocol.Confirmation, error) {
	d, lead := c.audit, c.log.lead()
	none := protocol.Confirmation{}
	moment := func(text string) (protocol.Confirmation, error) { return none, protocol.ErrUnavailable.With(text) }
	term, held := c.log.logTerms().TermAt(c.log.applied)
	switch {
	case !c.standing.may(mayVouch):
		return none, protocol.ErrInvalid.With(fmt.Sprintf("the state of %s cannot be everybody's: %v", c.flock.labelOf(c.cfg.ID), c.standing.notServing()))
	case !held || term != lead.Term():
		return moment("this leader has not applied so far what was written before it led")
	case !d.doubts():
		return none, protocol.ErrInvalid.With("no states of the actives are known to differ without a majority for one: nothing has to be imposed")
	case d.imposing():
		return none, protocol.ErrChangeInFlight.With("a state is being imposed")
	case c.proposed > c.log.applied || d.confirmations.sought > c.log.applied || d.confirmations.proposed > d.confirmations.newest:
		return moment("a checkpoint entry, or what a majority has there, is on its way")
	case c.entryAt == 0 || c.newest() != c.entryAt:
		c.wanted = !c.busy && (c.entryAt == 0 || now >= c.at.Add(checkpointWanted))
		return moment(fmt.Sprintf("no checkpoint of the state at %d is kept here so far: it is being taken, or another one is, or the disk has no room for it", c.entryAt))
	case !d.undecided(now, c.entryAt):
		return moment(fmt.Sprintf("the actives are being asked what they have at %d", c.entryAt))
	}
	return protocol.Confirmation{Index: c.entryAt, Digest: c.kept[0].Digest}, nil
}

// imposing reports whether the log holds a ruling that this member has proposed and not applied so far, whoever leads now.
func (d *audit) imposing() bool {
	c := &d.confirmations
	if c.ruling <= d.log.applied {
		return false
	}
	term, held := d.log.logTerms().TermAt(c.ruling)
	return held && term == c.ruledIn
}

// undecided reports whether it is known that no majority of the actives has one state at a checkpoint entry, or not to be
// had: they were asked, one has something else, and others do not answer.
func (d *audit) undecided(now protocol.Instant, i protocol.Index) bool {
	if _, _, known := d.right(i); known {
		return false
	}
	if d.disputedAt == i {
		return true
	}
	x, mine := d.poll(i), [16]byte{}
	mine, _ = findDigest(d.own, i)
	if !x.asking || now < x.until.Add(rulingPatience-digestPatience) {
		d.seek(now, i)
		return false
	}
	for _, c := range x.reports {
		if c.digest != mine {
			return true
		}
	}
	return false
}

// ruled takes what an operator has said. Who does not know what it had there counts as one that had something else.
func (d *audit) ruled(now protocol.Instant, m protocol.Confirmation) {
	mine, known := findDigest(d.own, m.Index)
	text := fmt.Sprintf("an operator has made the state with digest %x at %d everybody's: who has another one gives it up", m.Digest, m.Index)
	if known && mine == m.Digest {
		text += "; it is that of this member"
		d.confirmations.upheld = max(d.confirmations.upheld, m.Index)
	}
	d.out.event(protocol.EventDiverged, text)
	if !known && !d.standing.in[discarded] {
		d.enterQuarantine(now, m.Index, mine, m.Digest, operatorSays)
	}
}
