package wal_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// A read that the disk refuses says which file, where in it, and which entries;
// what lies before is given, what lies behind can be read, and all of it again
// when the disk gives it again. It named neither, so nobody could act on it.
func TestReadThatTheDiskRefusesSaysWhere(t *testing.T) {
	fs := vfs.NewMemory(1)
	if err := wal.Init(fs, "/d", id, first(), wal.Options{SegmentBytes: smallSegment}); err != nil {
		t.Fatal(err)
	}
	l, err := wal.Open(fs, "/d", wal.Options{SegmentBytes: smallSegment})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sum := l.Opened().LastSum
	for i := protocol.Index(2); i <= 41; i += 10 {
		entries := make([]protocol.Entry, 10)
		for k := range entries {
			entries[k] = protocol.Entry{Index: i + protocol.Index(k), Term: 1, Kind: protocol.EntryNoop}
		}
		protocol.EncodeEntries(entries)
		sum = protocol.SumEntries(sum, entries)
		if err := l.Write(protocol.Write{State: protocol.HardState{Term: 1, Commit: i}, First: i, Last: i + 9}, entries); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	var at wal.Record // of the entries 12..21
	if _, err := wal.Inspect(fs, "/d", func(r wal.Record) {
		if r.Kind == wal.KindEntries && r.First == 12 {
			at = r
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := fs.FailReads(filepath.Join("/d", "log", at.Segment), at.Offset+3, 1, nil); err != nil {
		t.Fatal(err)
	}
	for _, from := range []protocol.Index{12, 15, 21} {
		_, err := l.Read(from, 41, 1<<20)
		var where *storage.Unreadable
		if !errors.As(err, &where) || !errors.Is(err, vfs.ErrInjected) || !errors.Is(err, protocol.ErrCorrupt) {
			t.Fatalf("reading from %d: %v, want where it cannot be read, and why", from, err)
		}
		if where.Segment != at.Segment || where.Offset != at.Offset || where.Entries != (protocol.Range{First: 12, Last: 21}) {
			t.Errorf("reading from %d: %v, want entries 12 to 21 in %s at %d", from, err, at.Segment, at.Offset)
		}
	}
	for _, c := range []struct{ from, last protocol.Index }{{2, 11}, {22, 41}} {
		got, err := l.Read(c.from, 41, 1<<20)
		if err != nil || len(got) == 0 || got[len(got)-1].Index != c.last {
			t.Errorf("reading from %d: %d entries, %v, want those up to %d", c.from, len(got), err, c.last)
		}
	}
	fs.ReadsWork()
	if got, err := l.Read(12, 41, 1<<20); err != nil || len(got) != 30 {
		t.Errorf("when the disk reads again: %d entries, %v, want 30", len(got), err)
	}
}
