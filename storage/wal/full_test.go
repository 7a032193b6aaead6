package wal_test

import (
	"errors"
	"math"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// A disk that is full just when the note that all is durable needs a new segment:
// nothing is lost, the log goes on, and the note is made when there is room.
func TestIdleOnAFullDiskCanBeTriedAgain(t *testing.T) {
	met := 0
	for bytes := 1000; bytes < 1400; bytes += 8 { // somewhere in there the segment is full
		l := newLab(t, uint64(bytes))
		l.options.SparesMax = 1
		last := func() protocol.Index { return protocol.Index(len(l.entries)) }
		for range 40 {
			l.append(last(), 1, bytes, 1)
			l.sync()
			l.disk.SetCapacity(1)
			err := l.log.Idle()
			if err != nil {
				met++
				if !errors.Is(err, protocol.ErrNoSpace) || !errors.Is(l.log.Settle(), protocol.ErrNoSpace) {
					t.Fatalf("got %v, want %v", err, protocol.ErrNoSpace)
				}
			}
			l.disk.SetCapacity(math.MaxInt64)
			l.must(l.log.Settle())
			if err != nil {
				break
			}
		}
		l.log.Close()
		l.disk.Crash()
		l.open()
		l.expect(last())
		l.log.Close()
	}
	if met == 0 {
		t.Error("the note never needed a new segment")
	}
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
			if got := l.log.Recovered().Shape; got.LastIndex() != last() || got.PrevIndex < begin.Index {
				t.Errorf("the log goes from %d to %d, want from %d to %d", got.PrevIndex, got.LastIndex(), begin.Index, last())
			}
			l.log.Close()
		})
	}
}
