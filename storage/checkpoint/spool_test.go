package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// A chunk that rots in the spool is wanted again: after a restart at once, else
// when it is used.
func TestDamagedSpool(t *testing.T) {
	ctx := context.Background()
	from, err := NewMemory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	w, err := from.BeginFull(ctx, 5000, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(ctx, sample()); err != nil {
		t.Fatal(err)
	}
	d, err := w.Commit(ctx, storagetest.Describe(5000))
	if err != nil {
		t.Fatal(err)
	}
	for _, restart := range []bool{true, false} {
		disk := vfs.NewMemory(1)
		s, err := OpenFlat(disk, "/c", Options{})
		if err != nil {
			t.Fatal(err)
		}
		in, err := s.Install(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		var chunks [][]byte
		for n := range d.Chunks {
			b, err := from.ReadChunk(ctx, 5000, n)
			if err != nil {
				t.Fatal(err)
			}
			chunks = append(chunks, bytes.Clone(b))
			if err := in.Add(n, b); err != nil {
				t.Fatal(err)
			}
		}
		if err := disk.FlipBit("/c/"+spoolName, int64(8*(len(chunks[0])+2*spoolHeader+100))); err != nil {
			t.Fatal(err)
		}
		if restart {
			disk.Kill()
			if s, err = OpenFlat(disk, "/c", Options{}); err != nil {
				t.Fatal(err)
			}
			if in, err = s.Install(ctx, d); err != nil {
				t.Fatal(err)
			}
		} else if err := in.Iterate(ctx, func(storage.Item) error { return nil }); !errors.Is(err, protocol.ErrCorrupt) {
			t.Fatalf("got error %v, want %v", err, protocol.ErrCorrupt)
		}
		if got, want := in.Missing(10), []int{1}; !slices.Equal(got, want) {
			t.Fatalf("got missing %v, want %v", got, want)
		}
		if err := in.Add(1, chunks[1]); err != nil {
			t.Fatal(err)
		}
		if err := in.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
