package wal_test

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// fullSegment makes a log whose first segment, of 64 MiB, is full of entries of so
// many bytes, and returns its directory.
func fullSegment(tb testing.TB, fsys vfs.FS, dir string, entryBytes int) {
	tb.Helper()
	if err := wal.Init(fsys, dir, id, nil, wal.Options{}); err != nil {
		tb.Fatal(err)
	}
	l, err := wal.Open(fsys, dir, wal.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	f := feeder{log: l, batch: make([]protocol.Entry, max(1, 64<<10/entryBytes))}
	data := make([]byte, entryBytes)
	for written := 0; written < 62<<20; written += len(f.batch) * entryBytes {
		f.next(data)
		if err := l.Write(protocol.Write{State: protocol.HardState{Term: 1, Commit: f.index}, First: f.batch[0].Index, Last: f.index}, f.batch); err != nil {
			tb.Fatal(err)
		}
	}
	if err := l.Sync(); err != nil {
		tb.Fatal(err)
	}
}

// A start takes little memory, however large a segment is: a machine may start many
// members at once.
func TestOpeningAFullSegmentTakesLittleMemory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	fullSegment(t, vfs.OS(), dir, 1<<10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	l, err := wal.Open(vfs.OS(), dir, wal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	defer l.Close()
	recovered := l.Opened()
	if last := recovered.LogTerms.LastIndex(); last < 60_000 {
		t.Errorf("the log ends at %d", last)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 24<<20 {
		t.Errorf("opening has allocated %d MiB, want a few", got>>20)
	} else {
		t.Logf("opening has allocated %.1f MiB", float64(got)/(1<<20))
	}
}

// BenchmarkOpen opens a log with a full segment; B/op is all that it allocates.
func BenchmarkOpen(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "d")
	fullSegment(b, vfs.OS(), dir, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		l, err := wal.Open(vfs.OS(), dir, wal.Options{})
		if err != nil {
			b.Fatal(err)
		}
		l.Close()
	}
}
