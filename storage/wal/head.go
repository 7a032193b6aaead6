package wal

import (
	"errors"
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

// dropFirst drops the first segment, and reports whether its file is gone. A disk
// that has no room even for a change of names keeps it, as a crash would, and it
// is tried again when the head is dropped next: whoever makes room must not fail
// for the lack of it.
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

// errStays says that a file could not be removed for lack of room.
var errStays = errors.New("no room to remove a file")

// remove removes a file of the log for good.
func (l *Log) remove(name string) error {
	err := l.fsys.Remove(l.path(name))
	switch {
	case errors.Is(err, vfs.ErrNoSpace):
		return errStays
	case err != nil:
		return l.fail(err)
	}
	return l.syncNames()
}

// recycle keeps a segment that is no longer part of the log as a spare, or
// removes it. Its old name is gone for good before it can be written again: the
// sums of its old records have another nonce, but a segment that came back with
// another's records in it would look damaged. errStays: it has done nothing.
func (l *Log) recycle(s *segment) error {
	l.mu.Lock()
	busy := s.readers > 0
	s.dropped = true
	l.mu.Unlock()
	if !busy {
		s.file.Close()
	}
	if busy || s.size != l.options.SegmentBytes || l.spares.count() >= l.options.SparesMax {
		return l.remove(s.name)
	}
	name := l.spares.fresh()
	if err := l.fsys.Rename(l.path(s.name), l.path(name)); errors.Is(err, vfs.ErrNoSpace) {
		return l.remove(s.name)
	} else if err != nil {
		return l.fail(err)
	}
	if err := l.syncNames(); err != nil {
		return err
	}
	if !l.spares.add(name) {
		if err := l.fsys.Remove(l.path(name)); err != nil && !errors.Is(err, vfs.ErrNoSpace) {
			return l.fail(err) // without room it goes at the next opening
		}
	}
	return nil
}

func (l *Log) syncNames() error {
	if err := l.fsys.SyncDir(l.path("")); err != nil {
		return l.fail(err)
	}
	return nil
}

// guard watches free space, with two marks so that service does not flap.
type guard struct {
	mu   sync.Mutex
	full bool
}

// Full implements storage.Log. It asks the operating system each time: a few
// microseconds.
func (l *Log) Full() (bool, error) {
	if err := l.usable(); err != nil {
		return true, err
	}
	free, err := l.fsys.FreeSpace(l.dir)
	if err != nil {
		return false, protocol.ErrDirectory.Because(err)
	}
	g := &l.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case free < l.options.SpaceLow:
		g.full = true
	case free >= l.options.SpaceHigh:
		g.full = false
	}
	return g.full, nil
}
