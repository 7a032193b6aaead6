package wal_test

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// Whoever owns the log needs the sums from the commit index on, to truncate
// there: the tail reaches down to it, however much lies above.
func TestRecoveredTailReachesDownToTheCommitIndex(t *testing.T) {
	fs := vfs.NewMemory(1)
	if err := wal.Init(fs, "/d", id, first(), wal.Options{SegmentBytes: smallSegment}); err != nil {
		t.Fatal(err)
	}
	l, err := wal.Open(fs, "/d", wal.Options{SegmentBytes: smallSegment})
	if err != nil {
		t.Fatal(err)
	}
	sum := l.Opened().LastSum
	const commit, last = 500, 2*storage.TailEntriesMax + 100
	for i := protocol.Index(2); i <= last; {
		n := min(100, last-i+1)
		entries := make([]protocol.Entry, n)
		for k := range entries {
			entries[k] = protocol.Entry{Index: i + protocol.Index(k), Term: 1, Kind: protocol.EntryNoop}
		}
		protocol.EncodeEntries(entries)
		sum = protocol.SumEntries(sum, entries)
		w := protocol.Write{State: protocol.HardState{Term: 1, Commit: min(commit, i)}, First: i, Last: i + n - 1}
		if err := l.Write(w, entries); err != nil {
			t.Fatal(err)
		}
		i += n
	}
	if err := l.Sync(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if l, err = wal.Open(fs, "/d", wal.Options{SegmentBytes: smallSegment}); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rec := l.Opened()
	if rec.State.Commit != commit {
		t.Fatalf("commit %d, want %d", rec.State.Commit, commit)
	}
	if got := rec.Tail[0].Index; got > commit {
		t.Errorf("the tail begins at %d, above the commit index %d", got, commit)
	}
	if got := rec.Tail[len(rec.Tail)-1]; got.Index != last || got.Sum != sum {
		t.Errorf("the tail ends at %d with sum %v, want %d with %v", got.Index, got.Sum, protocol.Index(last), sum)
	}
}
