package snapshotter_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// stores returns the folders of the kept checkpoints, by the time when they were made.
func (h *home) stores() (folders []string) {
	h.t.Helper()
	names, err := h.disk.ReadDir(dir + "/checkpoints")
	h.must(err)
	for _, name := range names {
		if strings.HasPrefix(name, "store-") {
			folders = append(folders, dir+"/checkpoints/"+name)
		}
	}
	return folders
}

// loses makes the disk give up a place in each file of a folder.
func (h *home) loses(folder string, why error) {
	h.t.Helper()
	files, err := h.disk.ReadDir(folder)
	h.must(err)
	for _, file := range files {
		h.must(h.disk.FailReads(folder+"/"+file, 0, 1, why))
	}
}

// [S] A start that the disk does not give the newest checkpoint begins with the older one
// and the log. Nothing is deleted: when the disk gives it again it can be put back.
func TestStartWithTheOlderWhereTheDiskDoesNotGiveTheNewest(t *testing.T) {
	h := newHome(t, flat, 2)
	h.must(h.start())
	all := history(9, 180, 1)
	h.grow(all)
	h.wantKept(150, 100)
	stores := h.stores()
	if len(stores) != 2 {
		t.Fatalf("got %d stores, want 2", len(stores))
	}
	h.loses(stores[1], syscall.EIO)
	h.startAgain()
	if h.restored.Applied != 100 || len(h.restored.Kept) != 1 || h.restored.Kept[0].Index != 100 {
		t.Fatalf("restored to %d with %v kept, want 100", h.restored.Applied, h.restored.Kept)
	}
	if len(h.told) != 1 || h.told[0].Kind != protocol.EventRefused || h.told[0].Index != 150 || !strings.Contains(h.told[0].Text, "put-back") {
		t.Errorf("told were %v, want a word on the one at 150 and the way back", h.told)
	}
	h.replay()
	h.wantState(all)
	h.startAgain() // and it stays so
	h.wantKept(100)
	if aside := h.store.Aside(); len(aside) != 1 || aside[0].Index != 150 {
		t.Errorf("set aside are %v, want the one at 150", aside)
	}
	h.disk.ReadsWork()
	h.must(h.store.Retry(context.Background()))
	h.wantKept(150, 100)
	h.startAgain()
	if h.restored.Applied != 150 {
		t.Errorf("restored to %d, want 150", h.restored.Applied)
	}
}

// [S] A start is refused, and nothing given up, where the disk gives no checkpoint that
// the log goes on from: it may be one that was not plugged in, on all members at once. So it
// is with want of something, which says nothing about the disk.
func TestStartGivesNothingUpThatHasNoOther(t *testing.T) {
	for _, test := range []struct {
		what  string
		why   error
		lost  int // of two stores
		begin protocol.Index
	}{
		{"both are lost", syscall.EIO, 2, 0},
		{"the log begins above the older", syscall.EIO, 1, 150},
		{"want of descriptors", syscall.EMFILE, 1, 0},
	} {
		h := newHome(t, flat, 3)
		h.must(h.start())
		h.grow(history(9, 180, 1))
		h.wantKept(150, 100)
		if test.begin > 0 {
			dropped, err := h.log.DropHead(test.begin)
			h.must(err)
			if dropped.Index <= 100 {
				t.Fatalf("%s: the log begins after %d", test.what, dropped.Index)
			}
		}
		stores := h.stores()
		for _, folder := range stores[len(stores)-test.lost:] {
			h.loses(folder, test.why)
		}
		h.close()
		err := h.start()
		if !errors.Is(err, protocol.ErrDirectory) || errors.Is(err, protocol.ErrCorrupt) || errors.Is(err, storage.ErrUnreadable) != (test.why == syscall.EIO) {
			t.Errorf("%s: got %v, want %v", test.what, err, protocol.ErrDirectory)
		}
		if aside := h.store.Aside(); len(aside) > 0 {
			t.Errorf("%s: %v were set aside", test.what, aside)
		}
		h.disk.ReadsWork()
		h.startAgain()
		if h.restored.Applied != 150 {
			t.Errorf("%s: restored to %d, want 150", test.what, h.restored.Applied)
		}
	}
}
