package wal_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// atRotation returns a log whose next large record needs a new segment, with all that
// it holds synced, and with a segment that was prepared or without one.
func atRotation(t *testing.T, prepared bool) *lab {
	l := newLab(t, 1)
	l.append(0, 8, 1000, 1)
	for had := l.disk.Counters().Creates; l.disk.Counters().Creates == had; {
		l.must(l.large()) // until there is no spare
	}
	if prepared {
		l.must(l.log.Prepare())
	}
	l.sync()
	return l
}

// large writes an entry that fills most of a segment, without the test's end at an
// error.
func (l *lab) large() error {
	i := protocol.Index(len(l.entries)) + 1
	e := []protocol.Entry{{Index: i, Term: 1, Kind: protocol.EntryCommand, Data: make([]byte, 11_000)}}
	protocol.EncodeEntries(e)
	protocol.SumEntries(l.entries[i-2].Sum, e)
	if err := l.log.Write(protocol.Write{State: l.state, First: i, Last: i}, e); err != nil {
		return err
	}
	l.entries = append(l.entries, e...)
	return nil
}

// A disk that has no room for a new segment, or for a change of names, stopped the
// member when the log needed one: the rename was not expected to fail. The log goes
// on in the segment that it has, which has no room for the record, and takes it when
// there is room.
func TestNoRoomForANewSegmentIsNoFailure(t *testing.T) {
	for _, prepared := range []bool{false, true} {
		ops := map[string]vfs.Op{"write": vfs.OpWrite, "sync": vfs.OpSync, "rename": vfs.OpRename}
		if !prepared {
			ops["create"], ops["allocate"] = vfs.OpCreate, vfs.OpAllocate
		}
		for name, op := range ops {
			t.Run(fmt.Sprintf("%s, prepared %t", name, prepared), func(t *testing.T) {
				l := atRotation(t, prepared)
				segments := len(l.segments())
				for range 3 {
					l.disk.Fail(op, 1, vfs.ErrNoSpace)
					if err := l.large(); !errors.Is(err, protocol.ErrNoSpace) {
						t.Fatalf("got %v, want %v", err, protocol.ErrNoSpace)
					}
				}
				if got := len(l.segments()); got != segments {
					t.Fatalf("%d segments after the failures, want %d", got, segments)
				}
				l.must(l.large())
				if got := len(l.segments()); got != segments+1 {
					t.Fatalf("%d segments, want %d: the test rotates nothing", got, segments+1)
				}
				l.sync()
				last := protocol.Index(len(l.entries))
				l.disk.Crash()
				l.log.Close()
				l.open()
				l.expect(last)
				l.must(l.large())
				l.log.Close()
			})
		}
	}
}

// Nor does the preparation of a segment stop anybody.
func TestNoRoomToPrepareASegmentIsNoFailure(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpAllocate, vfs.OpWrite, vfs.OpSync, vfs.OpRename} {
		l := atRotation(t, false)
		l.disk.Fail(op, 1, vfs.ErrNoSpace)
		if err := l.log.Prepare(); !errors.Is(err, protocol.ErrNoSpace) {
			t.Fatalf("operation %d: got %v, want %v", op, err, protocol.ErrNoSpace)
		}
		l.must(l.large())
		l.sync()
		l.must(l.log.Prepare())
		l.log.Close()
	}
}

// [S] After the name of a new segment has changed there is no way back: a record that
// went on in the segment before would not exist for whoever finds the new one.
func TestSegmentThatHasItsNameIsNotGivenUp(t *testing.T) {
	l := atRotation(t, true)
	l.disk.Fail(vfs.OpSyncDir, 1, vfs.ErrNoSpace)
	if err := l.large(); !errors.Is(err, protocol.ErrDiskFailed) {
		t.Fatalf("got %v, want %v", err, protocol.ErrDiskFailed)
	}
	if err := l.large(); !errors.Is(err, protocol.ErrDiskFailed) {
		t.Fatalf("and then %v, want %v", err, protocol.ErrDiskFailed)
	}
	last := protocol.Index(len(l.entries))
	l.disk.Kill()
	l.log.Close()
	l.open()
	l.expect(last)
	l.log.Close()
}

// [S] Nor if the rename that failed may have been made all the same.
func TestRenameThatFailedAndWasMadeIsFinal(t *testing.T) {
	l := atRotation(t, true)
	l.log.Close()
	disk := &renamesAndFails{FS: l.disk}
	log, err := wal.Open(disk, labDir, l.options)
	l.must(err)
	l.log = log
	disk.on = true
	for err = nil; err == nil; {
		err = l.large()
	}
	if !errors.Is(err, protocol.ErrDiskFailed) {
		t.Fatalf("got %v, want %v", err, protocol.ErrDiskFailed)
	}
	log.Close()
}

// renamesAndFails is a file system that says that there was no room for what it has
// done.
type renamesAndFails struct {
	vfs.FS
	on bool
}

func (r *renamesAndFails) Rename(from, to string) error {
	if err := r.FS.Rename(from, to); err != nil || !r.on {
		return err
	}
	return vfs.ErrNoSpace
}

// What cannot be said of the free space stops nothing.
func TestUnknownFreeSpaceIsNoFailure(t *testing.T) {
	l := newLab(t, 1)
	l.log.Close()
	log, err := wal.Open(&mute{l.disk}, labDir, l.options)
	l.must(err)
	l.log = log
	if _, err := log.Space(); err == nil {
		t.Error("the free space is known: the test tests nothing")
	}
	l.append(0, 3, 1000, 1)
	l.sync()
	l.must(log.Prepare())
	log.Close()
}

// mute is a file system that does not say how full it is.
type mute struct{ vfs.FS }

func (*mute) FreeSpace(string) (uint64, error) { return 0, errors.New("function not implemented") }
