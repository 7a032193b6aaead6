package replica

import (
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// disk orders the writes of the roles, across switches, into one at a time.
type disk struct {
	next    uint64
	epoch   uint64 // counts the roles
	queue   []queued
	flying  *queued
	ahead   *queued        // a vote, ahead of what flies
	written protocol.Index // highest index handed to the disk, in order
	// committed is the highest commit index that this run has handed to the disk,
	// in order: what the log itself knows to be committed is at least that.
	committed protocol.Index
	cut       bool // the log on disk is to lose everything above written
	failed    error
}

// queued is a write and whom to tell.
type queued struct {
	id    uint64
	epoch uint64         // of the role; 0: nobody
	write protocol.Write // without entries if one of the following is set
	drop  protocol.Index // give up the head below it
	reset *storage.Begin // begin anew after it
	since protocol.Instant
	// waited says that it found no room, or goes ahead of what has found none: what it took
	// says nothing of how slow the disk is.
	waited bool
}

// measured reports whether what it takes says what a write takes.
func (q *queued) measured() bool { return q.write.Sync && q.reset == nil && !q.waited }

// underWay is how long the write has taken that has not come back; 0: none has not.
func (d *disk) underWay(now protocol.Instant) time.Duration {
	if q := d.flying; q != nil && q.measured() {
		return now.Sub(q.since)
	}
	return 0
}

// change follows a change of the log in memory. Writes that have not begun lose
// the entries that the log has lost: a later write makes the truncation.
func (d *disk) change(delta *protocol.Delta) {
	if !delta.Truncate || delta.After >= d.written {
		return
	}
	d.written, d.cut = delta.After, true
	for i := range d.queue {
		if w := &d.queue[i].write; w.Last > delta.After {
			w.Last = max(delta.After, w.First-1)
		}
	}
}

// add queues the write of a role.
func (d *disk) add(epoch uint64, w protocol.Write) {
	d.queue = append(d.queue, queued{epoch: epoch, write: w})
	if w.Truncate {
		d.cut = false
		d.written = w.After
	}
	if !w.Empty() {
		if w.First != d.written+1 {
			invariant.Check(false, "write begins at %d, the disk ends at %d", w.First, d.written)
		}
		d.written = w.Last
	}
}

// drop queues that the log gives up its head.
func (d *disk) drop(below protocol.Index) {
	d.queue = append(d.queue, queued{drop: below, write: protocol.Write{First: 1, Last: 0}})
}

// withJoin says in a truncation what the log is up to where it is cut, as long as that is
// what it was: before anything else is cut.
func (t *tail) withJoin(w protocol.Write, logTerms *protocol.LogTerms) protocol.Write {
	if w.Truncate {
		term, held := logTerms.TermAt(w.After)
		sum, known := t.sumAt(w.After)
		w.AfterTerm, w.AfterSum, w.Joined = term, sum, held && known
	}
	return w
}

// settle queues what the log in memory holds and no role has asked to write:
// at a switch, the old role's gathering write is written on nobody's behalf.
func (d *disk) settle(state protocol.HardState, logTerms *protocol.LogTerms, t *tail) {
	last := t.last()
	if !d.cut && d.written == last {
		return
	}
	w := protocol.Write{State: state, First: d.written + 1, Last: last}
	if d.cut {
		w.Truncate, w.After = true, d.written
	}
	d.add(0, t.withJoin(w, logTerms))
}

// vote hands out a vote of a role, ahead of all else.
func (d *disk) vote(out *outbox, a *protocol.Ahead) {
	// One of an earlier role has been answered: the first write of this one is behind it.
	invariant.Check(d.ahead == nil, "two votes ahead of what waits")
	d.next++
	w := protocol.Write{ID: a.ID, State: protocol.HardState{Term: a.Term, Vote: a.Vote}, First: 1, Sync: true}
	d.ahead = &queued{id: d.next, epoch: d.epoch, write: w, waited: true}
	out.Ahead = &Persist{ID: d.next, Vote: true, Write: w}
}

// settled returns the highest index up to which nothing waits for the disk.
func (d *disk) settled() protocol.Index {
	low := d.written
	if d.flying != nil && !d.flying.write.Empty() {
		low = min(low, d.flying.write.First-1)
	}
	for i := range d.queue {
		if w := &d.queue[i].write; !w.Empty() {
			low = min(low, w.First-1)
		}
	}
	return low
}

// start hands out the next write if none is in flight.
func (d *disk) start(now protocol.Instant, out *outbox, t *tail) {
	if d.flying != nil || len(d.queue) == 0 || d.failed != nil {
		return
	}
	q := d.queue[0]
	d.queue = d.queue[1:]
	d.next++
	q.id, q.since = d.next, now
	d.flying = &q
	if q.drop != 0 {
		// [S] What the log gives up it must know to be committed. The commit index
		// in memory may be above what any write has said, and a log that began
		// above the commit index on its disk could not be opened.
		q.drop = min(q.drop, d.committed+1)
	} else {
		// [S] What was gathered while the log was begun anew speaks of the commit index
		// before it. A log that began above its own commit index could not be opened.
		q.write.State.Commit = max(q.write.State.Commit, d.committed)
		d.committed = q.write.State.Commit
	}
	p := &Persist{ID: q.id, Write: q.write, Drop: q.drop, Reset: q.reset}
	if !q.write.Empty() {
		p.Entries = t.slice(q.write.First, q.write.Last)
	}
	out.Persist = p
}

// Waits says that a change finds no room, or lacks something else that may come: nothing
// of it is on the disk. It need be said once. Votes go ahead of it until it is done.
func (r *Replica) Waits(now protocol.Instant, id uint64) {
	if d := &r.disk; d.flying == nil || d.flying.id != id {
		return
	}
	r.disk.flying.waited = true
	r.log.role.SetWaiting(now, true)
	r.pump(now)
}

// Persisted says that a write is done. With an error the disk has failed: the
// replica acknowledges nothing more, and its owner stops it.
func (r *Replica) Persisted(now protocol.Instant, id uint64, err error) {
	d := &r.disk
	q := d.take(id)
	if q == nil {
		return
	}
	if err != nil {
		d.failed = err
		r.failAll(protocol.ErrUnknownOutcome.Because(err))
		return
	}
	if d.flying == nil {
		r.log.role.SetWaiting(now, false)
	}
	if q.measured() {
		r.transferees.slow.tempo.writes.add(now.Sub(q.since))
	}
	if q.reset != nil {
		r.install.reset(now, q.reset)
	} else if q.epoch == d.epoch {
		r.log.role.Persisted(now, q.write.ID)
	}
	r.pump(now)
}

// take returns what was in flight under a number, or nil.
func (d *disk) take(id uint64) (q *queued) {
	switch {
	case d.ahead != nil && d.ahead.id == id:
		q, d.ahead = d.ahead, nil
	case d.flying != nil && d.flying.id == id:
		q, d.flying = d.flying, nil
	}
	return q
}

// Dropped answers a Persist with Drop: the log begins after b now.
func (r *Replica) Dropped(now protocol.Instant, id uint64, b storage.Begin, err error) {
	d := &r.disk
	if d.flying == nil || d.flying.id != id {
		return
	}
	if err != nil {
		r.Persisted(now, id, err)
		return
	}
	d.flying = nil
	r.log.role.SetWaiting(now, false)
	if b.Index > r.log.logTerms().PrevIndex {
		invariant.Check(b.Index <= r.log.commit && b.Index <= r.log.applied, "head dropped to %d, applied is %d", b.Index, r.log.applied)
		r.log.role.DropHead(b.Index, b.Sum)
	}
	r.pump(now)
}
