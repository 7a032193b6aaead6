package wal_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// A disk that is full just when the note that all is durable needs a new segment:
// nothing is lost, the log goes on, and the note is made when there is room.
func TestIdleOnAFullDiskCanBeTriedAgain(t *testing.T) {
	l := newLab(t, 1)
	l.append(0, 1, 1000, 1)
	l.disk.SetCapacity(1)
	for { // until the segment is full to its end
		next := l.state.Noting(l.state.Term+1, protocol.MemberID{1})
		err := l.log.WriteVote(next.Term, next.Vote)
		if errors.Is(err, protocol.ErrNoSpace) {
			break
		}
		l.must(err)
		l.state = next
	}
	l.sync()
	for _, note := range []func() error{l.log.Idle, l.log.Settle} {
		if err := note(); !errors.Is(err, protocol.ErrNoSpace) {
			t.Fatalf("got %v, want %v", err, protocol.ErrNoSpace)
		}
	}
	l.disk.SetCapacity(math.MaxInt64)
	l.must(l.log.Settle())
	l.log.Close()
	l.disk.Crash()
	l.open()
	l.expect(1)
	if got := l.log.Opened().State; got != l.state {
		t.Errorf("got %v, want %v", got, l.state)
	}
	l.log.Close()
}

// What the log has set aside goes back to the disk before it says that there is too little
// space, if that is enough, and none is set aside until there is plenty.
func TestUnusedSegmentsAreGivenBackBeforeTheDiskIsFull(t *testing.T) {
	l := newLab(t, 1)
	l.log.Close()
	segment := int64(16 << 10)
	l.options.SegmentBytes, l.options.PreallocatedMax = segment, 2
	l.options.SpaceLow, l.options.SpaceHigh = uint64(4*segment), uint64(6*segment)
	l.open()
	last := func() protocol.Index { return protocol.Index(len(l.entries)) }
	l.append(last(), 1, 100, 1)
	l.sync()
	l.must(l.log.Prepare())
	free, err := l.disk.FreeSpace(labDir)
	l.must(err)
	used := math.MaxInt64 - int64(free)
	look := func(free int64, full bool, left int64) {
		t.Helper()
		l.disk.SetCapacity(used + free)
		s, err := l.log.Space()
		l.must(err)
		if s.Full != full || int64(s.Free) != left {
			t.Errorf("with %d bytes free: got %+v, want full %v and %d free", free, s, full, left)
		}
	}
	look(2*segment, true, 2*segment)      // one segment more is not enough: it is kept
	look(7*segment, false, 7*segment)     // plenty
	look(3*segment+1, false, 4*segment+1) // it is
	used -= segment                       // that was the unused one
	l.must(l.log.Prepare())               // and there is none now
	look(4*segment+1, false, 4*segment+1)
	look(4*segment-1, true, 4*segment-1)
	look(6*segment, false, 6*segment)
	l.must(l.log.Prepare())
	look(6*segment, false, 5*segment) // one is set aside again
}

// A log on a disk without room for a segment opens in what there is, and takes what is
// small: its member can vote. Where there is no room at all it gives up the unused end of
// its last file.
func TestLogOpensWithoutRoomForASegment(t *testing.T) {
	l := newLab(t, 1)
	l.log.Close()
	l.options.SegmentBytes, l.options.PreallocatedMax = 64<<10, -1
	l.open()
	last := func() protocol.Index { return protocol.Index(len(l.entries)) }
	used := func() int64 {
		l.disk.SetCapacity(math.MaxInt64)
		free, err := l.disk.FreeSpace(labDir)
		l.must(err)
		return math.MaxInt64 - int64(free)
	}
	for _, room := range []struct {
		bytes int64
		opens bool
	}{{0, true}, {24 << 10, true}, {40 << 10, true}, {1 << 20, true}} {
		l.log.Close()
		l.disk.SetCapacity(used() + room.bytes)
		log, err := wal.Open(l.disk, labDir, l.options)
		if opened := err == nil; opened != room.opens || err != nil && !errors.Is(err, protocol.ErrNoSpace) {
			t.Fatalf("with %d bytes free: got %v, want that it opens: %v", room.bytes, err, room.opens)
		}
		if l.log = log; err == nil {
			l.append(last(), 1, 100, 1)
			l.sync()
			l.disk.Crash()
		}
		l.disk.SetCapacity(math.MaxInt64)
		l.open()
		l.expect(last())
		for range 100 { // with room it goes on, whatever the size of the segment is
			l.append(last(), 1, 1000, 1)
		}
		l.sync()
		l.must(l.log.Settle())
	}
	l.log.Close()
}

// Whoever makes room must not fail for the lack of it.
func TestDropHeadOnAFullDiskIsNoFailure(t *testing.T) {
	for _, what := range []struct {
		name string
		ops  []vfs.Op
	}{
		{"renames fail", []vfs.Op{vfs.OpRename}},
		{"renames and removals fail", []vfs.Op{vfs.OpRename, vfs.OpRemove}},
		{"removals fail", []vfs.Op{vfs.OpRemove}},
	} {
		t.Run(what.name, func(t *testing.T) {
			l := newLab(t, 1)
			last := func() protocol.Index { return protocol.Index(len(l.entries)) }
			l.configure(0, 3, 1)
			for len(l.segments()) < 5 {
				l.state.Commit = last()
				l.append(last(), 1, 900, 1)
			}
			l.state.Commit = last()
			l.append(last(), 1, 100, 1)
			l.sync()
			had := len(l.segments())
			for _, op := range what.ops {
				l.disk.Fail(op, 1, vfs.ErrNoSpace)
			}
			begin, err := l.log.DropHead(l.state.Commit)
			if err != nil || begin.Index == 0 {
				t.Fatalf("got %v, the log begins after %d, want no error and a later begin", err, begin.Index)
			}
			l.append(last(), 1, 100, 1) // it goes on
			l.sync()
			if _, err := l.log.DropHead(l.state.Commit); err != nil {
				t.Fatalf("the second time: %v", err)
			}
			if got := len(l.segments()); got >= had || got > 2 {
				t.Errorf("%d segments are left of %d, want the room back", got, had)
			}
			l.log.Close()
			l.disk.Crash()
			l.open()
			if got := l.log.Opened().LogTerms; got.LastIndex() != last() || got.PrevIndex < begin.Index {
				t.Errorf("the log goes from %d to %d, want from %d to %d", got.PrevIndex, got.LastIndex(), begin.Index, last())
			}
			l.log.Close()
		})
	}
}

// Where there is nothing to give up, either, a start says how much it takes: with that it
// opens, and without it does not.
func TestStartWithoutAnyRoomSaysHowMuchItTakes(t *testing.T) {
	for _, unsynced := range []int{0, 30} {
		l := newLab(t, 1)
		l.options.SegmentBytes, l.options.PreallocatedMax = 64<<10, 1
		last := func() protocol.Index { return protocol.Index(len(l.entries)) }
		open := func(free int64) error {
			l.log.Close()
			l.disk.Kill()
			l.disk.SetCapacity(math.MaxInt64)
			all, err := l.disk.FreeSpace(labDir)
			l.must(err)
			l.disk.SetCapacity(math.MaxInt64 - int64(all) + free)
			log, err := wal.Open(l.disk, labDir, l.options)
			if err == nil {
				l.log = log
			}
			return err
		}
		takes := int64(0)
		for bytes := 1; takes == 0; bytes++ { // until the last file is full to its last page
			if bytes == 2000 {
				t.Fatal("each start has found room")
			}
			for range unsynced {
				l.append(last(), 1, 10, 1)
			}
			err := open(0)
			if err == nil {
				l.expect(last())
				l.append(last(), 1, bytes, 1)
				l.sync()
				continue
			}
			if _, after, found := strings.Cut(err.Error(), "a start takes "); !errors.Is(err, protocol.ErrNoSpace) || !found {
				t.Fatalf("got %v, want how much a start takes", err)
			} else if _, err := fmt.Sscanf(after, "%d KiB", &takes); err != nil {
				t.Fatal(err)
			}
		}
		if err := open(takes<<10 - 8<<10); !errors.Is(err, protocol.ErrNoSpace) {
			t.Errorf("with two pages less than the %d KiB that it takes: %v", takes, err)
		}
		if err := open(takes << 10); err != nil {
			t.Errorf("with the %d KiB that it takes: %v", takes, err)
		}
		l.expect(last())
		l.log.Close()
	}
}
