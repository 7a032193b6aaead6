package checkpoint

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

func TestPeekChangesNothing(t *testing.T) {
	fsys := vfs.NewMemory(1)
	if kept, err := Peek(fsys, "/none"); err != nil || len(kept) != 0 {
		t.Fatalf("of a folder that does not exist: %v, %v", kept, err)
	}
	s, err := Open(fsys, "/store", flat.New(fsys), Options{BootID: "boot"})
	if err != nil {
		t.Fatal(err)
	}
	for i, index := range []protocol.Index{10, 20, 30} {
		d := storagetest.Describe(10)
		d.Index, d.Configuration.Index = index, 1
		w, err := s.BeginFull(t.Context(), d.Index, 0)
		if err != nil {
			t.Fatal(i, err)
		}
		if _, err := w.Commit(t.Context(), d); err != nil {
			t.Fatal(i, err)
		}
	}
	before, _ := fsys.ReadDir("/store")
	kept, err := Peek(fsys, "/store")
	if err != nil || len(kept) != 2 || kept[0].Index != 30 || kept[1].Index != 20 {
		t.Fatalf("got %v, %v; want those at 30 and 20", kept, err)
	}
	after, _ := fsys.ReadDir("/store")
	if len(before) != len(after) {
		t.Errorf("the folder had %v, has %v", before, after)
	}
}
