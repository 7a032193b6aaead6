package checkpoint

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/engine/flat"
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
		s, err := Open(disk, "/c", flat.New(disk), Options{})
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
			if s, err = Open(disk, "/c", flat.New(disk), Options{}); err != nil {
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

// grown takes checkpoints of a state of which a third, or all, changes between each
// two, and returns their manifests and what gives their chunks.
func grown(t *testing.T, all bool, indexes ...protocol.Index) (*Store, []storage.Manifest) {
	t.Helper()
	ctx := context.Background()
	s, err := NewMemory(Options{})
	if err != nil {
		t.Fatal(err)
	}
	items := sample()
	var out []storage.Manifest
	for i, index := range indexes {
		w, err := s.BeginFull(ctx, index, 0)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			for k := range items {
				if all || items[k].Space == "" {
					items[k].Value = append(bytes.Clone(items[k].Value), byte(i))
				}
			}
		}
		if err := w.Write(ctx, items); err != nil {
			t.Fatal(err)
		}
		d, err := w.Commit(ctx, storagetest.Describe(index))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Pin(index); err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return s, out
}

// fetch adds the chunks that are missing, up to a number, and returns how many.
func fetch(t *testing.T, from *Store, in storage.CheckpointInstall, d storage.Manifest, most int) int {
	t.Helper()
	missing := in.Missing(most)
	for _, n := range missing {
		b, err := from.ReadChunk(context.Background(), d.Index, n)
		if err == nil {
			err = in.Add(n, b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return len(missing)
}

// What the spool has of other checkpoints is bounded by the size of the one that
// is installed, however many offers follow one another, and nothing of it is left
// at the end.
func TestSpoolIsBounded(t *testing.T) {
	ctx := context.Background()
	var indexes []protocol.Index
	for i := range protocol.Index(12) {
		indexes = append(indexes, 5000+i)
	}
	from, all := grown(t, false, indexes...)
	disk := vfs.NewMemory(1)
	disk.SetCapacity(1 << 40)
	s, err := Open(disk, "/c", flat.New(disk), Options{})
	if err != nil {
		t.Fatal(err)
	}
	packed := false
	last := int64(0)
	for i, d := range all {
		in, err := s.Install(ctx, d)
		if err != nil {
			t.Fatal(err)
		}
		info, err := disk.Stat("/c/" + spoolName)
		if err != nil {
			t.Fatal(err)
		}
		if limit := 2*int64(d.Bytes) + int64(2*spoolHeader*len(d.Chunks)); info.Size > limit {
			t.Errorf("offer %d: the spool has %d bytes, want %d at most: twice the checkpoint", i, info.Size, limit)
		}
		packed = packed || info.Size < last
		if got, want := fetch(t, from, in, d, len(d.Chunks)), len(d.Chunks)*2/3; i > 0 && got > want {
			t.Errorf("offer %d: fetched %d of %d chunks, want %d at most: two thirds of the items are as before", i, got, len(d.Chunks), want)
		}
		if info, err = disk.Stat("/c/" + spoolName); err != nil {
			t.Fatal(err)
		}
		last = info.Size
	}
	if !packed {
		t.Error("the spool never became smaller: the test tests nothing")
	}
	in, err := s.Install(ctx, all[len(all)-1])
	if err == nil {
		err = in.Commit(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{spoolName, installName} {
		if there, _ := vfs.Exists(disk, "/c/"+name); there {
			t.Errorf("%s is left after the installation", name)
		}
	}
}

// A checkpoint of this member's own that reaches an installation ends it: what was
// fetched would lie on the disk for ever.
func TestOutgrownInstallationIsRemoved(t *testing.T) {
	ctx := context.Background()
	from, all := grown(t, false, 5000)
	disk := vfs.NewMemory(1)
	disk.SetCapacity(1 << 40)
	s, err := Open(disk, "/c", flat.New(disk), Options{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Install(ctx, all[0])
	if err != nil {
		t.Fatal(err)
	}
	fetch(t, from, in, all[0], 3)
	for _, index := range []protocol.Index{4999, 5000} {
		w, err := s.BeginFull(ctx, index, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(ctx, storagetest.Describe(index)); err != nil {
			t.Fatal(err)
		}
		there, _ := vfs.Exists(disk, "/c/"+spoolName)
		if want := index < all[0].Index; there != want {
			t.Errorf("after a checkpoint at %d, and one at %d half fetched: the spool is there: %t, want %t", index, all[0].Index, there, want)
		}
	}
}

// A full disk is no reason to keep what was fetched of another checkpoint.
func TestSpoolGivesWayOnAFullDisk(t *testing.T) {
	ctx := context.Background()
	from, all := grown(t, true, 5000, 5001)
	disk := vfs.NewMemory(1)
	disk.SetCapacity(1 << 40)
	s, err := Open(disk, "/c", flat.New(disk), Options{SpaceReserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Install(ctx, all[0])
	if err != nil {
		t.Fatal(err)
	}
	fetch(t, from, in, all[0], len(all[0].Chunks))
	free, err := disk.FreeSpace("/c")
	if err != nil {
		t.Fatal(err)
	}
	disk.SetCapacity(1<<40 - int64(free) + int64(writeFactor*all[1].Bytes) + int64(all[1].Bytes)/2)
	if in, err = s.Install(ctx, all[1]); err != nil {
		t.Fatalf("got %v with as much in the spool as is missing", err)
	}
	fetch(t, from, in, all[1], len(all[1].Chunks))
	if err := in.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}
