package replica

import (
	"fmt"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// confirmations is how the log comes to say which digest the state has at its checkpoint entries.
//
// A leader asks the actives at each checkpoint entry, and proposes what a majority has, once. Every
// member holds its own digest against that, passives too: none has to ask.
//
// [S] A checkpoint is given to others only if the log says that its digest is right, and this
// member has applied that. A member that is wrong and does not know it would hand its state to
// a voter that is far behind, and two of three would convict the third.
type confirmations struct {
	// newest is the highest checkpoint entry that an applied confirmation speaks of.
	newest protocol.Index
	// proposed is the highest one that this leader has proposed a confirmation of, in term.
	proposed protocol.Index
	term     protocol.Term
	// sought is the checkpoint entry that a leader without a state has proposed to get one.
	sought protocol.Index
	// from is the checkpoint of others that the state came from, while the log has not confirmed it.
	from protocol.Index
}

// confirm lets a leader that has applied all of the terms before propose what a majority has had
// at the newest checkpoint entry, or ask for it. Without a majority nothing is confirmed, and it
// is asked again.
func (d *audit) confirm(now protocol.Instant) {
	c := &d.confirmations
	term := d.log.lead().Term()
	if t, held := d.log.logTerms().TermAt(d.log.applied); !held || t != term || !d.standing.may(mayVouch) {
		return
	}
	if c.term != term {
		c.term, c.proposed = term, 0
	}
	i := c.sought
	for k := range d.own {
		i = max(i, d.own[k].index)
	}
	if i <= max(c.newest, c.proposed) {
		return
	}
	right, known := findDigest(d.right, i)
	if !known {
		d.seek(now, i)
		return
	}
	entry := protocol.EncodeConfirmation(protocol.Confirmation{Index: i, Digest: right})
	// Refused only by an overloaded or a deposed leader: later, or others.
	if _, err := d.log.lead().Propose(now, []active.Proposal{{Kind: protocol.EntryConfirmation, Data: entry}}); err == nil {
		c.proposed = i
	}
}

// seek asks the actives what they have at a checkpoint entry, once a digestPause at most.
func (d *audit) seek(now protocol.Instant, i protocol.Index) {
	x := d.poll(i)
	if x.asking || now < x.next {
		return
	}
	x.reports = nil // of before: some may have been healed since
	d.ask(now, i)
	d.conclude(now, i) // a sole voter is a majority
}

// confirmed takes what the log says of a checkpoint entry.
func (d *audit) confirmed(now protocol.Instant, e *protocol.Entry) {
	m, err := protocol.DecodeConfirmation(e.Data)
	if err != nil || m.Index >= e.Index {
		return // nobody proposes that
	}
	c := &d.confirmations
	c.newest = max(c.newest, m.Index)
	d.decide(now, m.Index, m.Digest, "the log confirms")
	if mine, known := findDigest(d.own, m.Index); known && mine == m.Digest && d.standing.in[unconfirmed] && m.Index >= c.from {
		d.standing.set(unconfirmed, false)
		c.from = 0
	}
}

// confirms reports whether the digest of a checkpoint is known to be right.
func (d *audit) confirms(c *storage.Manifest) bool {
	right, known := findDigest(d.right, c.Index)
	return known && right == c.Digest
}

// contradicts reports whether a checkpoint that is offered is known to be of a wrong state.
func (d *audit) contradicts(from protocol.MemberID, c *storage.Manifest) bool {
	right, known := findDigest(d.right, c.Index)
	if !known || right == c.Digest {
		return false
	}
	d.out.Events = append(d.out.Events, protocol.Event{Kind: protocol.EventRefused, Index: c.Index, Member: from, Text: "a checkpoint of a state that a majority of the actives does not have"})
	return true
}

// awaits notes that the state is that of a checkpoint of others. [S] Until this member's log says that
// it is right, it serves, feeds and testifies nothing; should the log say something else, it is given up
// like any other. It may lead: whoever is elected has the confirmation in its log.
func (d *audit) awaits(c *storage.Manifest) {
	if !d.confirms(c) {
		d.confirmations.from = c.Index
		d.standing.set(unconfirmed, true)
	}
}

// awaiting says that the state is not confirmed so far; empty: it is, or came from nobody else.
func (d *audit) awaiting() string {
	if !d.standing.in[unconfirmed] {
		return ""
	}
	return fmt.Sprintf("the checkpoint at %d, which the state came from, is not confirmed by the log so far: it is served as soon as it is", d.confirmations.from)
}

// decide takes which digest is right at a checkpoint entry, as a majority of the actives or the log
// has it: who has another one gives its state up.
func (d *audit) decide(now protocol.Instant, i protocol.Index, right [16]byte, says string) {
	d.right = keepDigest(d.right, digestAt{i, right})
	mine, known := findDigest(d.own, i)
	doubted := d.standing.in[discarded]
	if later := &d.standing.quarantine.later; doubted && i == later.index {
		mine, known = later.digest, true
	}
	same := known && mine == right
	if same {
		d.differences.settle(i)
		d.standing.quarantine.falls = 0
		if i >= d.disputedAt {
			d.disputed, d.disputedAt = "", 0
		}
	}
	switch {
	case same && doubted:
		d.acquit(now)
	case known && !same && !doubted:
		d.enterQuarantine(now, i, mine, right, says)
	}
}
