package sim

import (
	"syscall"
	"time"

	"github.com/starlinghq/starling/internal/changefile"
	"github.com/starlinghq/starling/storage/vfs"
)

// Most runs of a member keep the changes that leave their memory in a file (internal/changefile), and watches
// fall behind their short memory all the time. The file is on a disk beside that of the log, which is as slow
// and as full, fails and dies with it: so logs have the histories that they have without.

const (
	changesName = "changes"
	// failedChanges is the share of writes to the file that fail, slowChanges of those that take seconds.
	failedChanges, slowChanges = 0.002, 0.03
	// damagedChanges is how often a bit of the file flips, each time that it is looked at.
	damagedChanges = 0.2
)

// behind is what one run of a member keeps behind the changes in its memory.
type behind struct {
	ring    int              // of the changes in memory
	file    *changefile.File // nil: none
	writing bool
}

// keepsChanges begins a run. The file of the run before is there, unless it was lost with the power.
func (x *applying) keepsChanges() {
	r := x.s.random.behind
	x.behind = behind{ring: 4 << r.IntN(5)}
	o := changefile.Options{Bytes: 1 << 10 << r.IntN(7), BlockBytes: 64 << r.IntN(3), WaitingBytes: 512 << r.IntN(6)}
	if chance(r, 0.7) { // else a write finds out
		o.Spare = func() int64 {
			if x.full {
				return -1
			}
			return 1 << 40
		}
	}
	if chance(r, 0.8) {
		x.behind.file = changefile.New(x.disk.changes, changesName, o)
	}
}

// looksAtChanges gives room back where others lack it, and now and then lets the file rot.
func (x *applying) looksAtChanges() {
	f, r := x.behind.file, x.s.random.behind
	if f == nil {
		return
	}
	f.Look()
	if info, err := x.disk.changes.Stat(changesName); err == nil && info.Size > 0 && chance(r, damagedChanges) && !x.s.quiet {
		if x.disk.changes.FlipBit(changesName, r.Int64N(8*info.Size)) == nil {
			x.s.counts.add(countChangesDamaged, 1)
		}
	}
	x.later(changefile.LookEvery, x.looksAtChanges)
}

// writesChanges begins to write, if there is something.
func (x *applying) writesChanges() {
	b := &x.behind
	if b.file == nil || b.writing {
		return
	}
	select {
	case <-b.file.News():
		b.writing = true
		x.later(x.changesTime(), x.writeChanges)
	default:
	}
}

// changesTime is how long the disk takes for a block.
func (x *applying) changesTime() time.Duration {
	r := x.s.random.behind
	if chance(r, slowChanges) {
		return between(r, 0, 4*time.Second)
	}
	return around(r, x.s.plan.write)
}

// writeChanges writes a block.
func (x *applying) writeChanges() {
	if wait := x.stalled.Sub(x.s.schedule.now); wait > 0 {
		x.later(wait, x.writeChanges)
		return
	}
	f, r := x.behind.file, x.s.random.behind
	if chance(r, failedChanges) && !x.s.quiet {
		x.disk.changes.Fail([]vfs.Op{vfs.OpWrite, vfs.OpAny}[r.IntN(2)], 1, syscall.EIO)
	}
	before, ever := f.Keeps()
	if f.Step() {
		x.later(x.changesTime(), x.writeChanges)
		return
	}
	now, later := f.Keeps()
	switch {
	case ever && !later:
		x.s.counts.add(countChangesGivenUp, 1)
		x.tell(colorTrouble, "%% no file of changes any more")
	case before && !now:
		x.s.counts.add(countChangesWithoutRoom, 1)
	}
	x.behind.writing = false
	x.writesChanges()
}
