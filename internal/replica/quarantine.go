package replica

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// quarantine is a state that has diverged from what a majority of the actives
// has, until it is as far again as it was.
//
// First it is discarded: nothing more is applied, and a checkpoint of the others is
// wanted. Then the log is replayed from there.
//
// The log is as good as anybody's, only the state is not. So the state is
// thrown away and replaced by a checkpoint of the others, an older one than
// what was applied if need be, whose digest a majority of the actives confirms;
// the entries above it are applied again from this member's own log. To wait
// for a checkpoint above what was applied instead would be simpler, and could
// take for ever: while nobody writes there is no next checkpoint entry.
//
// [S] The member serves nobody before it has come to where it was: reads would
// go back. Its own checkpoints of the bad states are given up, before anybody
// installs one. That it is in quarantine is noted on disk, and its next run goes on
// with it: see resume.
type quarantine struct {
	at    protocol.Index // where the majority disagreed
	right [16]byte       // what it has there
	until protocol.Index // what has to be applied again
	// resumed is the checkpoint that this run has begun from in quarantine; 0: none, or
	// another one takes its place. It may be a good one, and is kept until that is known.
	resumed protocol.Index
	// falls counts quarantines with no good checkpoint entry between them: a state that
	// keeps going bad is fetched ever more rarely.
	falls int
	// fetched is up to where the state came from others, or was replayed: see stood.
	fetched protocol.Index
	// installing says that the good state is on its way to the state machine: what
	// that answers before is still of the bad one.
	installing bool
	// later is the newest checkpoint entry above "at" whose checkpoint was counted and kept here
	// before the quarantine, or the one that this run has begun from; 0: none. If a majority
	// has had that digest, what was wrong has been overwritten since, or was not in it.
	later digestAt
	// doubted are the checkpoint entries that the state has come to since it is in doubt, and what it
	// was there: if it is kept, this member testifies to them as to any other.
	doubted []digestAt
	text    string
	unnoted string // why it is not on disk; empty: it is, or is on its way
}

const (
	// fallPause is between two quarantines in a row, doubled each time up to
	// fallPauseMax.
	fallPause, fallPauseMax = time.Second, time.Minute
)

// enterQuarantine gives the state up: another one is right, as says tells.
func (d *audit) enterQuarantine(now protocol.Instant, i protocol.Index, mine, theirs [16]byte, says string) {
	q := &d.standing.quarantine
	d.standing.set(discarded, true)
	d.standing.set(replaying, false)
	d.standing.set(unconfirmed, false)
	q.at, q.right = i, theirs
	q.until = max(q.until, d.log.applied, d.log.handed)
	q.text = fmt.Sprintf("the state of this member at %d has digest %x, %s %x: it serves nobody and is fetched anew from the others", i, mine, says, theirs)
	d.out.event(protocol.EventDiverged, q.text)
	again := protocol.Instant(0)
	if q.falls > 0 {
		again = now.Add(min(fallPause<<min(q.falls-1, 8), fallPauseMax))
	}
	q.falls++
	q.doubted, q.resumed = nil, 0
	d.noteQuarantine()
	d.joint.fell(now, again)
	d.own, d.disputed, d.disputedAt = nil, "", 0
	d.differences.surrender()
	d.appeal(now)
}

// lookBack notes the newest checkpoint entry above the wrong one whose checkpoint is kept, of the
// kept ones, the newest first.
func (d *audit) lookBack(kept []storage.Manifest) {
	q := &d.standing.quarantine
	q.later = digestAt{}
	if len(kept) > 0 && kept[0].Index > q.at {
		q.later = digestAt{kept[0].Index, kept[0].Digest}
	}
}

// appeal asks the actives about the newest checkpoint entry that the state had come to. Who was
// wrong at a checkpoint entry, heard of it late, and has been right since would otherwise have to
// be healed by a majority, which two such members of three keep from coming about for
// ever: whoever is in quarantine has no say. It is asked for whenever a checkpoint is
// offered, whether or not that one is taken, and once a digestPause at most: a leader
// offers with every heartbeat.
func (d *audit) appeal(now protocol.Instant) {
	i := d.standing.quarantine.later.index
	if !d.standing.in[discarded] || i == 0 {
		return
	}
	d.seek(now, i)
}

// acquit ends a quarantine whose cause is overwritten.
//
// [S] A digest is of the whole state. So a state that a majority of the actives has had
// at a later checkpoint entry, this member among them or not, is right there, whatever it was at an
// earlier one. That of this member counts if its checkpoint was kept: then it was
// counted anew over all that the state holds, and does not only continue older ones.
// Checkpoints that are given up stay so, and meanwhile nobody is served as before. What the
// state was at that checkpoint entry, and has been at those since, others may ask for again: of two
// that were in doubt, the other one needs this word. A run that has begun from that checkpoint comes
// to where the state was first.
func (d *audit) acquit(now protocol.Instant) {
	q := &d.standing.quarantine
	text := fmt.Sprintf("the state that had diverged at %d was right again at %d, as a majority of the actives has it: it is kept", q.at, q.later.index)
	for _, m := range append([]digestAt{q.later}, q.doubted...) {
		d.own = keepDigest(d.own, m)
	}
	kind := protocol.EventRepaired
	if d.log.handed < q.until {
		kind = protocol.EventCheckpoint
		text = fmt.Sprintf("the checkpoint at %d, which this run has begun from in quarantine, is as a majority of the actives has it: the log is applied from there", q.later.index)
		q.resumed, q.later, q.doubted = 0, digestAt{}, nil
		d.standing.set(replaying, true)
	} else {
		d.endQuarantine()
	}
	d.standing.set(discarded, false)
	d.joint.acquitted(now)
	d.out.event(kind, text)
}

// giveUpBad gives up checkpoints that were made from a bad state: those from
// where the majority disagreed on. Those below agreed with their leader's entry,
// and one that did not would be found again.
func (d *audit) giveUpBad(kept []storage.Manifest) {
	for k := range kept {
		c := &kept[k]
		if q := &d.standing.quarantine; c.Index >= q.at && c.Index != q.resumed && !d.isRight(c) {
			d.out.Install = append(d.out.Install, InstallStep{GiveUp: c.Index})
		}
	}
}

// trusts reports whether a checkpoint that was offered to a member in quarantine
// may be installed: if the log confirms it or a majority of the actives has had its digest. They are
// asked if that is not known, and the offer is taken up again when they answer. By their word it is
// fetched only: its own log, of which it applies nothing now, has to confirm it before it counts.
//
// [S] Whoever made the offer may be the next one to have diverged.
func (d *audit) trusts(now protocol.Instant, o *protocol.ManifestOffer, c *storage.Manifest) bool {
	if c.Index <= d.log.commit && Join(d.log.logTerms(), d.log.tail.sumAt, c) == JoinReset {
		d.out.Events = append(d.out.Events, protocol.Event{Kind: protocol.EventRefused, Index: c.Index, Member: o.From, Text: "a checkpoint that contradicts the committed log"})
		return false
	}
	if d.isRight(c) {
		return true
	}
	x := d.poll(c.Index)
	x.offer = o
	if !x.asking {
		x.reports = nil // of before: some may have been healed since
	}
	d.ask(now, c.Index)
	return false
}

// reinstalled says that the state is that of a good checkpoint of others now.
func (d *audit) reinstalled(at protocol.Index) {
	d.standing.quarantine.fetched = max(d.standing.quarantine.fetched, at)
	if s := d.standing; s.in[discarded] {
		s.set(discarded, false)
		s.set(replaying, true)
		s.quarantine.installing, s.quarantine.doubted = true, nil
	}
}

// healed ends the quarantine when the state is as far as it was, and says so.
func (d *audit) healed() bool {
	q := &d.standing.quarantine
	if !d.standing.in[replaying] || q.installing || d.log.applied < q.until {
		return false
	}
	d.endQuarantine()
	d.standing.set(replaying, false)
	d.out.event(protocol.EventRepaired, fmt.Sprintf("the state that had diverged has been replaced by that of a good checkpoint and has come to %d again", d.log.applied))
	return true
}
