package sim

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// A call of the operating system that fails once, for want of something or because
// the disk did not answer, says nothing about what is on the disk. A member may end of
// it, or not start; nothing is lost, and the next start needs no help.

// callSort is a kind of call, where it may fail, and with which errors. Each name is
// as likely: of files of checkpoints, of the log, or any ("").
type callSort struct {
	op    vfs.Op
	names []string
	errs  []error
}

// callSorts returns all kinds there are.
func callSorts() []callSort {
	return []callSort{
		{vfs.OpCreate, []string{"", "store-*/*", "store-*/*.sst", "store-*/MANIFEST-REWRITE", "store-*/sums", "checkpoints/*", "log/*"}, wants},
		{vfs.OpOpen, []string{"", "store-*/*", "store-*/MANIFEST", "view-*/*", "checkpoints/*", "log/*", "log", "checkpoints"}, wants},
		{vfs.OpWrite, []string{"", "store-*/*", "store-*/MANIFEST", "store-*/*.sst", "pointer-*", "checkpoints/*", "log/*"}, room},
		{vfs.OpSync, []string{"", "store-*/*", "store-*/MANIFEST", "store-*/*.sst", "pointer-*", "checkpoints/*", "log/*"}, failing},
		{vfs.OpSyncDir, []string{"", "store-*", "checkpoints", "log", directory}, failing},
		{vfs.OpAllocate, []string{"", "log/*"}, room},
		{vfs.OpTruncate, []string{"", "store-*/MANIFEST"}, failing},
		{vfs.OpRename, []string{"", "store-*/MANIFEST", "checkpoints/*", "log/*", "data/*"}, denied},
		{vfs.OpLink, []string{"", "store-*/*.sst", "view-*/*.sst"}, []error{syscall.EIO, syscall.EMLINK, syscall.EPERM}},
		{vfs.OpRemove, []string{"", "store-*/*", "view-*/*", "checkpoints/*", "log/*"}, denied},
		{vfs.OpMkdir, []string{"", "store-*", "view-*"}, []error{syscall.EIO, syscall.EMLINK, vfs.ErrNoSpace}},
		{vfs.OpRead, []string{"", "store-*/*", "view-*/*", "checkpoints/*", "log/*"}, []error{syscall.EIO, syscall.ENOMEM}},
		{vfs.OpReadDir, []string{"", "store-*", "view-*", "checkpoints", "log"}, []error{syscall.EIO, syscall.ENOMEM}},
		{vfs.OpStat, []string{"", "log/*", "data/*"}, []error{syscall.EIO, syscall.ENOMEM}},
		{vfs.OpFreeSpace, []string{""}, []error{syscall.EIO, syscall.EINTR}},
	}
}

// Errors of several kinds of calls.
var (
	wants   = []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO, syscall.EINTR}
	room    = []error{syscall.EIO, vfs.ErrNoSpace, syscall.EDQUOT}
	failing = []error{syscall.EIO, syscall.EDQUOT}
	denied  = []error{syscall.EIO, syscall.EACCES}
)

// draw returns a call of the kind that is to fail: one of the next few.
func (c callSort) draw(r *rand.Rand) vfs.Trouble {
	return vfs.Trouble{Op: c.op, Name: c.names[r.IntN(len(c.names))], N: 1 + r.IntN(3), Err: c.errs[r.IntN(len(c.errs))]}
}

// troublesMax is how many calls of a member may be about to fail at a time.
const troublesMax = 3

// ailments let calls fail, and places of disks become unreadable, while a run lasts.
type ailments struct{ s *nemesis }

func (a ailments) strike() {
	s := a.s
	if s.quiet {
		return
	}
	r, sorts := s.random.calls, callSorts()
	if m := s.machines()[r.IntN(len(s.machines()))]; s.faultFreeFor == 0 && s.copying == nil {
		switch {
		case chance(r, s.plan.sectors):
			if m.up() && m.rolledBack == nil {
				m.rot = rotUnreadable
			}
		case len(m.disk.fs.Troubles()) < troublesMax:
			m.disk.fs.FailCall(sorts[r.IntN(len(sorts))].draw(r))
		}
	}
	s.schedule.after(around(r, s.plan.ails), a.strike)
}

// watches has the simulation hear of the calls of a disk that fail.
func (d *disk) watches(s *stage, m *member) {
	d.excused = 0
	d.fs.OnTrouble(func(err error) {
		s.counts.add(countFailedCalls, 1)
		s.trace.note(tagFault, m.number, 300, 0)
		m.tell(colorTrouble, "%% %v", err)
	})
}

// ails reports whether a call has failed since a process was started on the disk last:
// then there is a cause for it to end, or not to start.
func (d *disk) ails() bool { return d.fs.Counters().Faults > d.excused }

// unseen does something on a disk that is not its member's doing: no call of it fails.
func (d *disk) unseen(do func()) {
	list, before := d.fs.Troubles(), d.fs.Counters().Faults
	d.fs.CallsWork()
	do()
	for _, t := range list {
		d.fs.FailCall(t)
	}
	d.excused += d.fs.Counters().Faults - before
}

// ailing is what ails a member's disk.
type ailing struct {
	*witnessed
	hurt  bool // the disk is damaged: the member counts as lost
	found bool // the damage has been found at a start
	// damaged says that the disk has rotted since it was last opened, unreadable that
	// there are places that cannot be read, losing that it is about to be an empty one.
	damaged, unreadable, losing bool
	rot                         rot // happens to the disk when the log is at rest
	// patched says that the log was about to be replaced by a repaired one, repairs
	// how often that has not helped.
	patched bool
	repairs int
	// unsure says that the process died while it made its log begin after a
	// checkpoint, at a start.
	unsure bool
}

// mayStart begins a start, and reports whether there is one.
func (x *ailing) mayStart() bool {
	x.disk.excused = x.disk.fs.Counters().Faults
	x.damaged = x.damaged || x.unreadable
	refusal, err := wal.ReadRefusal(x.disk.fs, directory)
	switch {
	case err != nil:
		x.startFails(err)
	case refusal != nil:
		x.tell(colorFault, "x does not start: its directory was refused")
		x.refused("its directory")
	}
	return err == nil && refusal == nil
}

// refuses reports whether a start has failed for what says nothing about the data.
func (x *ailing) refuses(err error) bool {
	switch {
	case x.noRoom(err):
		x.tell(colorFault, "x has no room to start")
		x.s.counts.add(countStartsWithoutRoom, 1)
		x.s.schedule.after(time.Second, x.restart)
		x.disk.crash(false)
		return true
	case err != nil && x.disk.ails() && !errors.Is(err, protocol.ErrCorrupt):
		x.startFails(err)
		return true
	}
	return false
}

// startFails ends a start that the operating system has refused. It is made again.
func (x *ailing) startFails(err error) {
	x.s.counts.add(countStartsRefused, 1)
	x.tell(colorFault, "x does not start: %v", err)
	x.ends()
	x.s.schedule.after(time.Second, x.restart)
}

// unreads makes a part of a file one that the disk does not give, for a while, mostly.
// A log is at rest then.
func (x *ailing) unreads() {
	r := x.s.random.calls
	x.disk.unseen(func() { x.s.fail(x.disk.unreadSome(r, x.s.plan.places)) })
	x.s.counts.add(countUnreadable, uint64(x.s.plan.places))
	x.tell(colorTrouble, "%% a place of its disk cannot be read")
	x.hurt, x.damaged, x.unreadable, x.found = true, true, true, false
	if chance(r, 0.2) {
		return // for good
	}
	fs := x.disk.fs
	x.s.schedule.after(between(r, time.Second, 20*time.Second), func() {
		if fs == x.disk.fs {
			x.readsAgain()
		}
	})
}

// sector is a place of a file.
type sector struct {
	name  string
	at, n int64
}

// unreadSome makes so many places unreadable. More than one is in segments of the log
// only, since what is there in two copies outlives the loss of one.
func (d *disk) unreadSome(r *rand.Rand, places int) error {
	var list []sector // drawn before there are any: it takes reading
	for len(list) < places {
		x, err := d.drawSector(r)
		if err != nil {
			return err
		}
		if places == 1 || filepath.Ext(x.name) == ".wal" {
			list = append(list, x)
		}
	}
	for _, x := range list {
		if err := d.fs.FailReads(x.name, x.at, x.n, syscall.EIO); err != nil {
			return err
		}
	}
	return nil
}

func (d *disk) drawSector(r *rand.Rand) (sector, error) {
	names, sizes, err := d.segments()
	if err != nil {
		return sector{}, err
	}
	k := r.IntN(len(names))
	if last := len(names) - 1; filepath.Ext(names[last]) == ".wal" && chance(r, 0.7) {
		k = last - r.IntN(min(2, len(names))) // which somebody may soon read
	}
	at, n := int64(0), int64(pageBytes)
	if filepath.Ext(names[k]) == ".wal" {
		at, err = d.place(r, names[k], sizes[k])
	} else {
		at = r.Int64N(sizes[k])
	}
	return sector{names[k], at, 1 + r.Int64N(n)}, err
}

// readsAgain ends that.
func (x *ailing) readsAgain() {
	if !x.unreadable {
		return
	}
	x.disk.fs.ReadsWork()
	x.unreadable = false
	x.tell(colorPlain, "its disk can be read again")
	if x.up() {
		x.hurt, x.damaged = false, false // as if nothing had been
	}
}

// heals ends all that ails the disk.
func (x *ailing) heals() {
	x.disk.fs.CallsWork()
	x.readsAgain()
}
