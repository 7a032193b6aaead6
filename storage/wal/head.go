package wal

import (
	"errors"
	"io/fs"
	"slices"
	"sync"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// DropHead implements storage.Log. The log can begin only at a segment: its
// header carries what is needed there, the hard state and the configuration in
// force among it, and nothing later may have cut the log below it.
func (l *Log) DropHead(below protocol.Index) (storage.Begin, error) {
	if err := l.writable(); err != nil {
		return storage.Begin{}, err
	}
	checkDropHead(below, l.begin.index, l.last.index, l.state.Commit)
	k := l.beginFor(max(below, l.begin.index+1))
	if k > 0 {
		l.beginAt(l.segments[k])
	}
	if k > 0 {
		if gone, err := l.dropReplaced(); err != nil {
			return storage.Begin{}, err
		} else if !gone {
			k = 0
		}
	}
	// One by one, oldest first: a crash leaves no hole among the segments.
	for ; k > 0; k-- {
		if dropped, err := l.dropFirst(); err != nil {
			return storage.Begin{}, err
		} else if !dropped {
			break
		}
	}
	return beginOf(l.begin, &l.configurations), nil
}

// beginAt lets the log begin at a segment. Those before it are of no further
// use, and what their headers say of the log's begin is not looked at: with a
// cut or a reset in them they may begin above it.
func (l *Log) beginAt(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.before.index <= l.begin.index {
		return // reset to here, or above
	}
	l.begin = s.before
	dropConfigurations(&l.configurations, l.begin.index)
}

// beginFor returns the last segment that the log may begin at so that it holds
// below, or 0.
func (l *Log) beginFor(below protocol.Index) int {
	low := l.last.index
	for k := len(l.segments) - 1; k > 0; k-- {
		s := l.segments[k]
		low = min(low, s.low)
		if s.good && s.before.index < below && s.before.index <= low {
			return k
		}
	}
	return 0
}

// dropReplaced removes the files that a start could not, and reports whether all are
// gone. [S] Only then may a segment go that replaces one of them: without it the old
// file counts again, and what was dropped looks lost.
func (l *Log) dropReplaced() (bool, error) {
	for len(l.replaced) > 0 {
		if err := l.recycle(l.replaced[0]); err != nil {
			if err == errStays {
				err = nil
			}
			return false, err
		}
		l.replaced = l.replaced[1:]
	}
	return true, nil
}

// dropFirst drops the first segment, and reports whether its file is gone. One that
// cannot be removed stays, as after a crash, and is tried again when the head is dropped
// next: nothing hangs on it, and whoever makes room must not fail for the lack of it.
func (l *Log) dropFirst() (bool, error) {
	l.mu.Lock()
	dropped, all := l.segments[0], l.segments
	l.segments = slices.Clone(all[1:])
	k := 0
	for k < len(l.items) && l.items[k].segment == dropped {
		k++
	}
	l.items = slices.Clone(l.items[k:])
	l.mu.Unlock()
	err := l.recycle(dropped)
	if err != errStays {
		return err == nil, err
	}
	l.mu.Lock()
	l.segments = all
	l.mu.Unlock()
	return false, nil
}

// errStays says that a file could not be removed now.
var errStays = errors.New("the file stays for now")

// stays is the error of a removal that has failed. Only what no system says ends the
// log.
func (l *Log) stays(err error) error {
	if vfs.OfSystem(err) {
		return errStays
	}
	return l.fail(err)
}

// recycle keeps a segment that is no longer part of the log as a preallocated segment, or
// removes it. Its old name is gone for good before it can be written again: the
// sums of its old records have another nonce, but a segment that came back with
// another's records in it would look damaged. errStays: it is tried again.
//
// The folder is opened first: once a name has changed, only the sync of the names can
// fail, and that is final.
func (l *Log) recycle(s *segment) error {
	l.mu.Lock()
	busy := s.readers > 0
	s.dropped = true
	l.mu.Unlock()
	if !busy {
		s.file.Close()
	}
	folder, err := l.fsys.OpenDir(l.path(""))
	if err != nil {
		return l.stays(err)
	}
	defer folder.Close()
	spare := ""
	if !busy && s.size == l.options.SegmentBytes && l.preallocated.count() < l.options.PreallocatedMax {
		name := l.preallocated.fresh()
		if err := l.fsys.Rename(l.path(s.name), l.path(name)); err == nil {
			spare = name
		} else if !vfs.OfSystem(err) {
			return l.fail(err)
		} else if !vfs.Undone(err) {
			_ = l.preallocated.drop(name) // it may have it
		}
	}
	if spare == "" {
		if err := l.fsys.Remove(l.path(s.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return l.stays(err)
		}
	}
	if err := folder.Sync(); err != nil {
		return l.fail(err)
	}
	if spare != "" && !l.preallocated.add(spare) {
		_ = l.preallocated.drop(spare)
	}
	return nil
}

// guard watches free space, with two limits so that service does not flap.
type guard struct {
	mu   sync.Mutex
	full bool
}

// Space implements storage.Log. It asks the operating system each time: a few
// microseconds. Below the low mark the unused segments go back to the disk, if it is
// above it with them; otherwise they stay, for votes and for what frees space. Until
// there is plenty again no segment is made ahead of its use.
func (l *Log) Space() (storage.Space, error) {
	s := storage.Space{Full: true, Low: l.options.SpaceLow, High: l.options.SpaceHigh}
	if err := l.usable(); err != nil {
		return s, err
	}
	g := &l.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	free, err := l.fsys.FreeSpace(l.dir)
	if err == nil && free < s.Low && l.preallocated.giveBack(s.Low-free) {
		free, err = l.fsys.FreeSpace(l.dir)
	}
	if err != nil {
		return storage.Space{Low: s.Low, High: s.High}, protocol.ErrDirectory.Because(err)
	}
	switch {
	case free < s.Low:
		g.full = true
		l.preallocated.tight.Store(true)
	case free >= s.High:
		g.full = false
		l.preallocated.tight.Store(false)
	}
	s.Free, s.Full = free, g.full
	return s, nil
}
