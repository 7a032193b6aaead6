package checkpoint

import (
	"context"
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// keeps compares what is kept, newest first: which indexes, and which of them are marked.
func keeps(t *testing.T, s *Store, want ...protocol.Index) {
	t.Helper()
	var got []protocol.Index
	for _, d := range s.Kept() {
		got = append(got, d.Index)
		if d.Confirmed {
			got = append(got, 0)
		}
	}
	if len(got) != len(want) {
		t.Fatalf("kept are %v, want %v (0: the one before is confirmed)", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("kept are %v, want %v (0: the one before is confirmed)", got, want)
		}
	}
}

// [S] Counterexample: checkpoints that nobody knows to be right push out the last one that was known to be.
func TestTheLastConfirmedCheckpointStaysUntilANewerOneIsConfirmed(t *testing.T) {
	disk := vfs.NewMemory(1)
	open := func() *Store {
		s, err := Open(disk, "/c", flat.New(disk), Options{SpaceReserve: 1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	disk.SetCapacity(1 << 40)
	s, h := open(), &house{t: t}
	mark := func(i protocol.Index, on bool) {
		t.Helper()
		if err := s.SetConfirmed(i, on); err != nil {
			t.Fatal(err)
		}
	}
	again := func() {
		s.Close()
		disk.Crash()
		s = open()
	}
	h.take(s, 10, false)
	mark(10, true)
	h.take(s, 20, false)
	again()
	keeps(t, s, 20, 10, 0)
	if _, err := s.BeginIncremental(context.Background(), 30, s.Kept()[1]); !errors.Is(err, protocol.ErrStaleVersion) {
		t.Fatalf("got error %v, want %v: what it would be built on stays", err, protocol.ErrStaleVersion)
	}
	h.take(s, 30, false)
	again()
	keeps(t, s, 30, 10, 0)
	mark(30, true)
	keeps(t, s, 30, 0, 10, 0)
	h.take(s, 40, true)
	again()
	keeps(t, s, 40, 30, 0)
	mark(30, false)
	again()
	keeps(t, s, 40, 30)
	h.take(s, 50, true)
	keeps(t, s, 50, 40)
	if err := s.SetConfirmed(30, true); !errors.Is(err, protocol.ErrNotFound) {
		t.Errorf("got error %v, want %v", err, protocol.ErrNotFound)
	}
	s.Close()
}

// Pointers of the format before have no marks.
func TestAPointerWithoutMarksIsRead(t *testing.T) {
	d := storagetest.Describe(10)
	d.Chunks = []storage.ChunkSum{{1}}
	d.Items, d.Bytes = 1, 20
	b := encodePointer(pointer{store: 3, manifest: d})
	b[8] = 1
	b = encodeSummed(append(b[:20:20], b[21:len(b)-8]...))
	p, err := decodePointer(b)
	if err != nil || p.store != 3 || p.manifest.Index != 10 || p.manifest.Installed || p.manifest.Confirmed {
		t.Errorf("got %+v, %v", p, err)
	}
}
