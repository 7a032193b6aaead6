package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// notePause is between two attempts to put a quarantine, or its end, on disk.
const notePause = 10 * time.Second

// noteQuarantine puts the quarantine on disk, or takes it from there when it is over.
//
// [S] A crash ends no quarantine: what is left on disk may be a checkpoint of the bad state, and a
// run that began from it would serve it, testify to it and give it to others. Nothing waits
// for the note: that it serves nobody, gives its checkpoints up and fetches another one leaves
// nothing on disk that makes a start without it worse. So a full disk hinders no quarantine.
func (d *audit) noteQuarantine() {
	q := &d.standing.quarantine
	d.noteAt = 0
	d.out.Quarantine = &storage.Quarantine{At: q.at, Until: q.until, Digest: q.right}
}

// QuarantineKept answers Effects.Quarantine: what was wanted is on disk, durably, or why it is not.
func QuarantineKept(r *Replica, now protocol.Instant, err error) {
	q := &r.standing.quarantine
	q.unnoted = ""
	if err != nil {
		r.audit.noteAt = now.Add(notePause)
		if r.standing.quarantined() {
			q.unnoted = "; that is not on disk, and a restart may serve the bad state: " + err.Error()
		}
	}
	r.pump(now)
}

// endQuarantine forgets it, here and on disk.
func (d *audit) endQuarantine() {
	q := &d.standing.quarantine
	*q = quarantine{falls: q.falls, fetched: max(q.fetched, d.log.applied)}
	d.noteQuarantine()
}

// resume goes on with the quarantine in which the run before has ended.
//
// A run that begins from below the entry at which a majority had another state, or from what
// that majority had there, applies its log from there: that state counts as it did
// before, and what comes of it is compared at that entry.
//
// [S] What a run begins from otherwise may be of the bad state, or a good one of others that
// was installed. So it is applied to, served and given no more than the bad state was,
// until a majority of the actives has had its digest, or another one takes its place. It
// serves nobody before it has come to where it was.
func (d *audit) resume(now protocol.Instant, restored *OpenedState) {
	noted, q := restored.Quarantine, &d.standing.quarantine
	if noted.At == 0 {
		return
	}
	q.at, q.until, q.right = noted.At, noted.Until, noted.Digest
	text := fmt.Sprintf("the state of this member had diverged at %d before its last start", q.at)
	if noted.SinceUnknown() {
		text = "the state of this member had diverged before its last start, and since when cannot be read any more"
	} else {
		d.polled = keepDigest(d.polled, digestAt{q.at, q.right})
	}
	if q.until == 0 {
		q.until = d.log.commit
		d.noteQuarantine()
	}
	q.text = text + ": it serves nobody until a majority of the actives vouches for a checkpoint of its own or of others, and it has come to where it was"
	from := restored.Applied
	i := slices.IndexFunc(restored.Kept, func(c storage.Manifest) bool { return c.Index == from })
	switch {
	case from == 0 && len(restored.Kept) == 0 && q.until == 0: // there is no state, and was none
		d.endQuarantine()
		return
	case from < q.at || from == q.at && i >= 0 && restored.Kept[i].Digest == q.right && !noted.SinceUnknown():
		d.standing.set(replaying, true)
		q.text = fmt.Sprintf("%s: it serves nobody until it has come from %d, where it was right, to %d again", text, from, q.until)
	default:
		d.standing.set(discarded, true)
		d.own = nil
		if i >= 0 && from != q.at {
			q.resumed, q.later = from, digestAt{from, restored.Kept[i].Digest}
		}
	}
	d.out.event(protocol.EventDiverged, q.text)
	if from > 0 { // else what is kept cannot be read by this release, which says nothing of it
		d.giveUpBad(restored.Kept)
	}
	d.appeal(now)
}

// givesWay says that another checkpoint takes the place of the one that this run has begun from.
func (d *audit) givesWay(kept []storage.Manifest) {
	if q := &d.standing.quarantine; q.resumed != 0 {
		q.resumed = 0
		d.giveUpBad(kept)
	}
}

// says is why nobody is served; empty without a quarantine.
func (q *quarantine) says() string { return q.text + q.unnoted }
