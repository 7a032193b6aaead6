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
// take for ever: while nobody writes there is no next mark.
//
// [S] The member serves nobody before it has come to where it was: reads would
// go back. Its own checkpoints of the bad states are given up, before anybody
// installs one. That it is in quarantine it knows in memory only; a restart
// begins with what is left on disk, and what is bad there is found at the next
// mark.
type quarantine struct {
	at    protocol.Index // where the majority disagreed
	until protocol.Index // what has to be applied again
	// falls counts quarantines with no good mark between them: a state that
	// keeps going bad is fetched ever more rarely.
	falls int
	// adopting says that the good state is on its way to the state machine: what
	// that answers before is still of the bad one.
	adopting bool
	text     string
}

const (
	// fallPause is between two quarantines in a row, doubled each time up to
	// fallPauseMax.
	fallPause, fallPauseMax = time.Second, time.Minute
)

// enterQuarantine gives the state up. A majority of the actives has another one.
func (r *Replica) enterQuarantine(now protocol.Instant, i protocol.Index, mine, theirs [16]byte) {
	q := &r.standing.quarantine
	r.standing.set(discarded, true)
	r.standing.set(replaying, false)
	q.at = i
	q.until = max(q.until, r.log.applied, r.log.handed)
	q.text = fmt.Sprintf("the state of this member at %d has digest %x, a majority of the actives has %x: it serves nobody and is fetched anew from the others", i, mine, theirs)
	r.out.event(protocol.EventDiverged, q.text)
	if q.falls > 0 {
		r.install.retryAt = max(r.install.retryAt, now.Add(min(fallPause<<min(q.falls-1, 8), fallPauseMax)))
	}
	q.falls++
	r.reads.failWith(r.standing.notServing())
	r.apply.tellFit(now)
	r.giveUpBad(r.checkpoints.kept)
	r.digests.own, r.digests.disputed, r.digests.disputedAt = nil, "", 0
	r.offerKept(now)
}

// giveUpBad gives up checkpoints that were made from a bad state: those from
// where the majority disagreed on. Those below agreed with their leader's mark,
// and one that did not would be found again.
func (r *Replica) giveUpBad(kept []storage.Description) {
	for k := range kept {
		d := &kept[k]
		right, known := findDigest(r.digests.right, d.Index)
		if d.Index >= r.standing.quarantine.at && (!known || right != d.Digest) {
			r.out.Install = append(r.out.Install, InstallStep{GiveUp: d.Index})
		}
	}
}

// trusts reports whether a checkpoint that was offered to a member in quarantine
// may be installed: if a majority of the actives has had its digest. They are
// asked if that is not known, and the offer is taken up again when they answer.
//
// [S] Whoever made the offer may be the next one to have diverged.
func (r *Replica) trusts(now protocol.Instant, o *protocol.Offer, d *storage.Description) bool {
	if len(r.apply.flights) > 0 || d.Index+1 < r.checkpoints.dropped {
		return false // it will be offered again
	}
	if d.Index <= r.log.commit && Join(r.log.shape(), r.log.tail.sumAt, d) == JoinReset {
		r.out.Events = append(r.out.Events, protocol.Event{Kind: protocol.EventRefused, Index: d.Index, Member: o.From, Text: "a checkpoint that contradicts the committed log"})
		return false
	}
	if right, known := findDigest(r.digests.right, d.Index); known {
		if right != d.Digest {
			r.out.Events = append(r.out.Events, protocol.Event{Kind: protocol.EventRefused, Index: d.Index, Member: o.From, Text: "a checkpoint of a state that a majority of the actives does not have"})
		}
		return right == d.Digest
	}
	x := r.digests.round(d.Index)
	x.offer = o
	if !x.asking {
		x.claims = nil // of before: some may have been healed since
	}
	r.askDigests(now, d.Index)
	return false
}

// reinstalled says that the state is that of a good checkpoint now.
func (r *Replica) reinstalled() {
	if s := &r.standing; s.in[discarded] {
		s.set(discarded, false)
		s.set(replaying, true)
		s.quarantine.adopting = true
	}
}

// healed ends the quarantine when the state is as far as it was.
func (r *Replica) healed(now protocol.Instant) {
	q := &r.standing.quarantine
	if !r.standing.in[replaying] || q.adopting || r.log.applied < q.until {
		return
	}
	*q = quarantine{falls: q.falls}
	r.standing.set(replaying, false)
	r.apply.tellFit(now)
	r.offerKept(now)
	r.out.event(protocol.EventRepaired, fmt.Sprintf("the state that had diverged was fetched from the others and has come to %d again", r.log.applied))
}
