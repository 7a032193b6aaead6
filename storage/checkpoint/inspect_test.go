package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// Whoever looks at checkpoints changes nothing, also where files are damaged: Badger
// removes tables that a damaged list does not name, even if it only reads.
func TestInspectChangesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: each look is by one goroutine, at one damaged file after the other")
	}
	dir := filepath.Join(t.TempDir(), "checkpoints")
	buildForDamage(t, dir)
	files := filesBelow(t, dir)
	r := rand.New(rand.NewPCG(3, 3))
	for i, name := range files.names {
		damaged := []damage{{"nothing", func(_ *rand.Rand, b []byte) []byte { return b }}, damages[3], damages[4]}
		if ext := filepath.Ext(name); ext == ".vlog" || len(files.content[i]) == 0 {
			continue
		}
		for _, d := range damaged {
			copied := filepath.Join(t.TempDir(), "c")
			files.write(t, copied, i, d.do(r, bytes.Clone(files.content[i])))
			if err := vfs.WriteFile(vfs.OS(), filepath.Join(copied, "store-00000002", "00009.mem"), nil); err != nil {
				t.Fatal(err)
			}
			before := storagetest.Tree(t, copied)
			s, err := checkpoint.Inspect(vfs.OS(), copied, onBadger(), small())
			if err != nil {
				t.Fatal(err)
			}
			if lost, want := s.Lost(), d.name != "nothing" && strings.HasPrefix(name, "pointer-"); (len(lost) == 1 && lost[0] == name) != want {
				t.Errorf("%s, %s: the damaged pointers are %v", name, d.name, lost)
			}
			for _, k := range s.Kept() {
				if bad, _ := wrong(s, k); bad {
					t.Errorf("%s, %s: wrong data at %d", name, d.name, k.Index)
				}
			}
			if _, err := s.BeginFull(context.Background(), 1000, 0); !errors.Is(err, protocol.ErrInvalid) {
				t.Errorf("got error %v, want %v", err, protocol.ErrInvalid)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if after := storagetest.Tree(t, copied); after != before {
				t.Fatalf("%s, %s: looking changed\n%s\nto\n%s", name, d.name, before, after)
			}
		}
	}
}

// A write buffer that a kill left behind empty is in nobody's way.
func TestEmptyWriteBufferIsInNobodysWay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	buildForDamage(t, dir)
	for _, name := range filesBelow(t, dir).names {
		if filepath.Base(name) == "MANIFEST" {
			if err := vfs.WriteFile(vfs.OS(), filepath.Join(dir, filepath.Dir(name), "00009.mem"), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	s, err := checkpoint.Open(vfs.OS(), dir, onBadger(), small())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	kept := s.Kept()
	if len(kept) != 2 {
		t.Fatalf("%d are kept, want 2", len(kept))
	}
	for _, d := range kept {
		if bad, err := wrong(s, d); bad || err != nil {
			t.Errorf("the one at %d: wrong %v, error %v", d.Index, bad, err)
		}
	}
}
