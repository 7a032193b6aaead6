package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// deadly is an engine that kills the process when it opens some stores.
type deadly struct {
	engine.Engine
	folders map[string]bool
	opened  int
}

// death is the panic that stands for the end of the process: nobody between the
// engine and the test catches it, and what was on disk stays.
type death struct{}

func (d *deadly) View(s engine.Complete) (engine.View, error) {
	if d.folders[s.Folder] {
		panic(death{})
	}
	d.opened++
	return d.Engine.View(s)
}

// dies reports whether f ends with a death.
func dies(f func()) (died bool) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case death{}:
			died = true
		default:
			panic(r)
		}
	}()
	f()
	return false
}

// house is a directory with a checkpoint at 10 in store 1, and with one at 20 in
// store 2 if there are two.
type house struct {
	t      *testing.T
	disk   *vfs.Memory
	engine *deadly
	boot   string
}

func newHouse(t *testing.T, checkpoints int) *house {
	t.Helper()
	disk := vfs.NewMemory(1)
	h := &house{t: t, disk: disk, boot: "a", engine: &deadly{Engine: flat.New(disk), folders: map[string]bool{}}}
	s := h.start()
	for n := range checkpoints {
		h.take(s, protocol.Index(10*(n+1)), false)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) start() *Store {
	h.t.Helper()
	h.disk.Kill()
	s, err := Open(h.disk, "/c", h.engine, Options{BootID: h.boot, SpaceReserve: 1})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *house) take(s *Store, index protocol.Index, incremental bool) {
	h.t.Helper()
	ctx := context.Background()
	var w storage.CheckpointWriter
	var err error
	if incremental {
		w, err = s.BeginIncremental(ctx, index, s.Kept()[1])
	} else {
		w, err = s.BeginFull(ctx, index, 0)
	}
	if err == nil {
		err = w.Write(ctx, []storage.Item{{Space: "s", Key: []byte{byte(index)}, Index: index}})
	}
	if err == nil {
		_, err = w.Commit(ctx, storagetest.Describe(index))
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// use is what a member does at its start; it may die of it.
func use(s *Store) error {
	for _, d := range s.Kept() {
		if err := s.Iterate(context.Background(), d.Index, func(storage.Item) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

func (h *house) dieInOpen() {
	h.t.Helper()
	s := h.start()
	if !dies(func() { use(s) }) {
		h.t.Fatal("the process should have died")
	}
}

func (h *house) wantKept(s *Store, kept, aside int) {
	h.t.Helper()
	if a, b := len(s.Kept()), len(s.Aside()); a != kept || b != aside {
		h.t.Fatalf("got %d checkpoints kept and %d aside, want %d and %d", a, b, kept, aside)
	}
}

// Power returns, all members open Badger, the power blips, twice: nobody's
// checkpoint is lost.
func TestTwoDeathsDoNotLoseTheState(t *testing.T) {
	h := newHouse(t, 1)
	h.engine.folders["/c/store-00000001"] = true
	h.dieInOpen()
	h.dieInOpen()
	h.engine.folders = nil
	s := h.start()
	h.wantKept(s, 1, 0)
	if err := use(s); err != nil {
		t.Fatal(err)
	}
	// They are forgotten now: it takes three again.
	s.Close()
	h.engine.folders = map[string]bool{"/c/store-00000001": true}
	h.dieInOpen()
	h.dieInOpen()
	h.wantKept(h.start(), 1, 0)
}

func TestDeathsOfAnotherBootDoNotCount(t *testing.T) {
	h := newHouse(t, 1)
	h.engine.folders["/c/store-00000001"] = true
	for _, boot := range []string{"a", "a", "b", "b", "c", "c"} {
		h.boot = boot
		h.dieInOpen()
	}
	h.wantKept(h.start(), 1, 0)
}

func TestThreeDeathsSetAsideAndNeverDelete(t *testing.T) {
	for checkpoints := 1; checkpoints <= 2; checkpoints++ {
		h := newHouse(t, checkpoints)
		newest := fmt.Sprintf("/c/store-%08d", checkpoints)
		kept, aside := checkpoints-1, 1
		h.engine.folders[newest] = true
		for range 3 {
			h.dieInOpen()
		}
		s := h.start()
		h.wantKept(s, kept, aside)
		if err := use(s); err != nil { // the older one, if there is one
			t.Fatal(err)
		}
		if checkpoints == 1 {
			// With none to be had it is tried again, and that too may kill.
			if !dies(func() { s.Retry(context.Background()) }) {
				t.Fatal("the process should have died")
			}
			s = h.start()
			h.wantKept(s, kept, aside)
			h.engine.folders = nil
			if err := s.Retry(context.Background()); err != nil {
				t.Fatal(err)
			}
			h.wantKept(s, 1, 0)
			if err := use(s); err != nil {
				t.Fatal(err)
			}
			s.Close()
			s = h.start()
			h.wantKept(s, 1, 0)
			continue
		}
		for _, index := range []protocol.Index{30, 40, 50} {
			h.take(s, index, false)
		}
		s.Close()
		h.wantKept(h.start(), 2, 1)
		if ok, err := vfs.Exists(h.disk, newest+"/"+flat.File); !ok || err != nil {
			t.Errorf("the store that was set aside is gone: %v", err)
		}
	}
}

// A death while a checkpoint is read counts like one in Open.
func TestDeathsWhileReadingCount(t *testing.T) {
	h := newHouse(t, 1)
	for range 3 {
		s := h.start()
		died := dies(func() {
			// Only the end of the process leaves the marker behind.
			_, home, err := s.use(context.Background(), 10)
			if err != nil {
				t.Fatal(err)
			}
			if err := home.reading.begin(); err != nil {
				t.Fatal(err)
			}
			panic(death{})
		})
		if !died {
			t.Fatal("the process should have died")
		}
	}
	s := h.start()
	h.wantKept(s, 0, 1)
	if err := s.Retry(context.Background()); err != nil {
		t.Fatal(err)
	}
	h.wantKept(s, 1, 0)
}

// A store that cannot be opened, without a death, is set aside at once.
func TestStoreThatCannotBeOpened(t *testing.T) {
	h := newHouse(t, 2)
	s := h.start()
	s.engine = refusing{s.engine, "/c/store-00000002"}
	if err := use(s); !errors.Is(err, protocol.ErrCorrupt) {
		t.Fatalf("got error %v, want %v", err, protocol.ErrCorrupt)
	}
	h.wantKept(s, 1, 1)
	if err := use(s); err != nil {
		t.Fatal(err)
	}
}

type refusing struct {
	engine.Engine
	folder string
}

func (r refusing) View(s engine.Complete) (engine.View, error) {
	if s.Folder == r.folder {
		return nil, errors.New("no")
	}
	return r.Engine.View(s)
}

// What the disk does not give while it is waited for is no damage, and any other error
// of a pointer refuses the start: it is not known to be bad.
func TestPointerThatCannotBeReadNow(t *testing.T) {
	h := newHouse(t, 2)
	for slot := 1; slot <= slots; slot++ {
		if err := h.disk.FailReads("/c/"+pointerName(slot), 30, 1, syscall.EIO); err != nil {
			t.Fatal(err)
		}
	}
	h.disk.ReadsWorkAfter(3)
	s := h.start()
	h.wantKept(s, 2, 0)
	s.Close()
	if err := h.disk.FailReads("/c/"+pointerName(1), 30, 1, syscall.EMFILE); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(h.disk, "/c", h.engine, Options{BootID: "b", SpaceReserve: 1}); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("got %v, %v; want %v", s, err, syscall.EMFILE)
	}
	h.disk.ReadsWork()
	h.wantKept(h.start(), 2, 0)
}

// What of a fetched checkpoint cannot be read is fetched again, and a marker of deaths
// that cannot be read counts none: neither refuses a start.
func TestBadSectorsBesideTheCheckpoints(t *testing.T) {
	for _, name := range []string{installName, spoolName, openingName(1), readingName(2)} {
		h := newHouse(t, 2)
		if err := vfs.WriteFile(h.disk, "/c/"+name, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if err := h.disk.FailReads("/c/"+name, 3, 1, syscall.EIO); err != nil {
			t.Fatal(err)
		}
		s := h.start()
		h.wantKept(s, 2, 0)
		if err := use(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Opening the directory opens no Badger.
func TestOpenTouchesNoStore(t *testing.T) {
	h := newHouse(t, 2)
	before := h.engine.opened
	s := h.start()
	h.wantKept(s, 2, 0)
	if got := h.engine.opened - before; got != 0 {
		t.Errorf("got %d stores opened, want none", got)
	}
}

// Either pointer may be damaged, or lie where the disk cannot be read: the other
// checkpoint is used, and no store is removed as long as nobody knows what the damaged
// one names.
func TestDamagedPointer(t *testing.T) {
	for slot := 1; slot <= 2*slots; slot++ {
		h := newHouse(t, 2)
		var err error
		if slot > slots {
			err = h.disk.FailReads("/c/"+pointerName(slot-slots), 30, 1, syscall.EIO)
		} else {
			err = h.disk.FlipBit("/c/"+pointerName(slot), 8*30)
		}
		if err != nil {
			t.Fatal(err)
		}
		if list, err := Peek(h.disk, "/c"); len(list) != 1 || err != nil {
			t.Errorf("a look at it sees %d checkpoints, %v; want 1", len(list), err)
		}
		s := h.start()
		h.wantKept(s, 1, 0)
		for _, store := range []string{"1", "2"} {
			if ok, err := vfs.Exists(h.disk, "/c/store-0000000"+store+"/"+flat.File); !ok || err != nil {
				t.Errorf("store %s is gone: %v", store, err)
			}
		}
		h.take(s, 30, false)
		h.wantKept(s, 2, 0)
		h.take(s, 40, false)
		if s.doubt {
			t.Error("no pointer is damaged any more, and nothing is removed")
		}
		s.Close()
		s = h.start()
		h.wantKept(s, 2, 0)
		if err := use(s); err != nil {
			t.Fatal(err)
		}
	}
}
