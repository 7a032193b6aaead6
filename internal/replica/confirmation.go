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
	// said is what applied confirmations say, oldest first, at most digestsKept, and newest the
	// highest checkpoint entry among them.
	said   []digestAt
	newest protocol.Index
	// proposed is the highest one that this leader has proposed a confirmation of, in term.
	proposed protocol.Index
	term     protocol.Term
	// stranded is from when on a leader of that term that waits for a confirmation hands over.
	stranded protocol.Instant
	// sought is the checkpoint entry that a leader without a state has proposed to get one, in soughtIn.
	sought   protocol.Index
	soughtIn protocol.Term
	// imposed is the one that this member has proposed a ruling of, in the entry at ruling, of the term ruledIn.
	imposed, ruling protocol.Index
	ruledIn         protocol.Term
	// upheld is the highest one of which a ruling names what this member has.
	upheld protocol.Index
	// from is the checkpoint of others that the state came from, while the log has not confirmed it.
	from protocol.Index
}

// confirm lets a leader that has applied all of the terms before ask for what a majority has at the newest
// checkpoint entry, and propose it at the newest one where that is known: under load there is always a newer one. Without a
// majority nothing is confirmed, and it is asked again. A leader whose own state is not confirmed does it like
// any other, or it would wait for ever if its log did not confirm it: its own word does not count.
func (d *audit) confirm(now protocol.Instant) {
	c := &d.confirmations
	term := d.log.lead().Term()
	if t, held := d.log.logTerms().TermAt(d.log.applied); !held || t != term || d.standing.quarantined() {
		return
	}
	if c.term != term {
		c.term, c.proposed, c.stranded = term, 0, now.Add(digestPatience)
	}
	if t, held := d.log.logTerms().TermAt(c.sought); !held || t != c.soughtIn {
		c.sought = 0 // another leader's entry took its place
	}
	newest := c.sought
	var known digestAt
	for _, x := range append([]digestAt{{index: c.sought}}, d.own...) {
		newest = max(newest, x.index)
		if digest, polled := findDigest(d.polled, x.index); polled && x.index > known.index {
			known = digestAt{x.index, digest}
		}
	}
	from := max(c.newest, c.proposed)
	if newest > from && newest > known.index {
		d.seek(now, newest)
	}
	if known.index <= from {
		return
	}
	entry := protocol.EncodeConfirmation(protocol.Confirmation{Index: known.index, Digest: known.digest})
	// Refused only by an overloaded or a deposed leader: later, or others.
	if _, err := d.log.lead().Propose(now, []active.Proposal{{Kind: protocol.EntryConfirmation, Data: entry}}); err == nil {
		c.proposed = known.index
	}
}

// strandedAt returns the checkpoint of others that a leader's state came from, if its log does not confirm it and the
// others have not for a while, or 0. It would serve nobody, where another one may.
func (d *audit) strandedAt(now protocol.Instant) protocol.Index {
	c := &d.confirmations
	if d.standing.in[unconfirmed] && c.term == d.log.lead().Term() && now >= c.stranded {
		return c.from
	}
	return 0
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
	c.said = keepDigest(c.said, digestAt{m.Index, m.Digest})
	says := logConfirms
	if e.Kind == protocol.EntryRuling {
		says = operatorSays
		d.ruled(now, m)
	}
	d.decide(now, m.Index, m.Digest, says)
	if mine, known := findDigest(d.own, m.Index); known && mine == m.Digest && d.standing.in[unconfirmed] && m.Index >= c.from {
		d.standing.set(unconfirmed, false)
		c.from = 0
	}
}

// Who says which digest is right.
const (
	logConfirms  = "the log confirms"
	majoritySays = "a majority of the actives has"
	operatorSays = "an operator has made everybody's"
)

// confirms reports whether the log says that a checkpoint is right. [S] That a majority was heard to have its
// digest is not enough: whoever gets the checkpoint could not find that in its own log.
func (d *audit) confirms(c *storage.Manifest) bool {
	said, known := findDigest(d.confirmations.said, c.Index)
	return c.Confirmed || known && said == c.Digest
}

// right returns which digest is right at a checkpoint entry, as the log says or else a majority, and who says it.
func (d *audit) right(i protocol.Index) (digest [16]byte, says string, known bool) {
	if digest, known = findDigest(d.confirmations.said, i); known {
		return digest, logConfirms, true
	}
	digest, known = findDigest(d.polled, i)
	return digest, majoritySays, known
}

// isRight reports whether a checkpoint is known to be right, by the log or a majority.
func (d *audit) isRight(c *storage.Manifest) bool {
	right, _, known := d.right(c.Index)
	return d.confirms(c) || known && right == c.Digest
}

// contradicts reports whether a checkpoint that is offered is known to be of a wrong state.
func (d *audit) contradicts(from protocol.MemberID, c *storage.Manifest) bool {
	right, says, known := d.right(c.Index)
	if !known || right == c.Digest {
		return false
	}
	d.out.Events = append(d.out.Events, protocol.Event{Kind: protocol.EventRefused, Index: c.Index, Member: from, Text: fmt.Sprintf("a checkpoint of a state with digest %x, where %s %x", c.Digest, says, right)})
	return true
}

// awaits notes that the state is that of a checkpoint of others. [S] Until this member's log says that
// it is right, it serves, feeds and testifies nothing; should the log say something else, it is given up
// like any other. It may lead: whoever is elected has the confirmation in its log.
func (d *audit) awaits(c *storage.Manifest) {
	waits := !d.confirms(c)
	d.confirmations.from = 0
	if waits {
		d.confirmations.from = c.Index
	}
	d.standing.set(unconfirmed, waits)
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
	mine, known := findDigest(d.own, i)
	doubted := d.standing.in[discarded]
	if later := &d.standing.quarantine.later; doubted && i == later.index {
		mine, known = later.digest, true
	}
	same := known && mine == right
	if same {
		d.differences.settle(i)
		d.stood(i)
		if i >= d.disputedAt {
			d.disputed, d.disputedAt = "", 0
			d.differences.refuse()
		}
	}
	switch {
	case same && doubted:
		d.acquit(now)
	case says == majoritySays && i <= d.confirmations.upheld:
		// [S] A majority may be of before an operator has decided, and nobody else may have the state that counts.
	case known && !same && !doubted:
		d.enterQuarantine(now, i, mine, right, says)
	}
}

// stood notes that the state was right at a checkpoint entry. A state that keeps going bad is right each time after
// it was fetched and replayed: only a checkpoint entry that it has come to in service, by itself, says that it does no more.
func (d *audit) stood(i protocol.Index) {
	if q := &d.standing.quarantine; d.standing.may(mayVouch) && i > q.fetched {
		q.falls = 0
	}
}
