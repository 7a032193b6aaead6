package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/engine/badgerengine"
	"github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/engine/standin"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// sickEngine fails as Badger does, in the stores that its functions name.
type sickEngine struct {
	engine.Engine
	flushing func(folder string, fault func(error)) error // nil: as it is
	closing  func(folder string)                          // may hang
	viewing  func(folder string, v engine.View) (engine.View, error)
}

func (e *sickEngine) Hangs() bool { return true }

func (e *sickEngine) Create(s engine.New) (engine.Database, error) {
	db, err := e.Engine.Create(s)
	return &sickDatabase{db, e, s.Folder, s.Fault}, err
}

func (e *sickEngine) View(s engine.Complete) (engine.View, error) {
	v, err := e.Engine.View(s)
	if err == nil && e.viewing != nil {
		return e.viewing(s.Folder, v)
	}
	return v, err
}

type sickDatabase struct {
	engine.Database
	e      *sickEngine
	folder string
	fault  func(error)
}

func (d *sickDatabase) Flush() error {
	if d.e.flushing != nil {
		if err := d.e.flushing(d.folder, d.fault); err != nil {
			return err
		}
	}
	return d.Database.Flush()
}

func (d *sickDatabase) Close() error {
	if d.e.closing != nil {
		d.e.closing(d.folder)
	}
	return d.Database.Close()
}

// clinic is a store with checkpoints at 10 and 20, whose engine is well still.
func clinic(t *testing.T) (*Store, *sickEngine, *vfs.Memory) {
	t.Helper()
	disk := vfs.NewMemory(1)
	e := &sickEngine{Engine: flat.New(disk)}
	s, err := Open(disk, "/c", e, Options{BootID: "b", SpaceReserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	s.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	(&house{t: t}).take(s, 10, false)
	(&house{t: t}).take(s, 20, false)
	return s, e, disk
}

// taken takes a checkpoint on top of the older one.
func taken(s *Store, index protocol.Index) error {
	ctx := context.Background()
	w, err := s.BeginIncremental(ctx, index, s.Kept()[1])
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := w.Write(ctx, []storage.Item{{Space: "s", Key: []byte{byte(index)}, Index: index}}); err != nil {
		return err
	}
	_, err = w.Commit(ctx, storagetest.Describe(index))
	return err
}

// smallBadger keeps Badger's files small.
func smallBadger() engine.Engine {
	return badgerengine.New(badgerengine.Options{MemTableBytes: 8 << 20, BlockCacheBytes: 1 << 20})
}

func wantIndexes(t *testing.T, s *Store, want ...protocol.Index) {
	t.Helper()
	var got []protocol.Index
	for _, d := range s.Kept() {
		got = append(got, d.Index)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("kept are %v, want %v", got, want)
	}
	if err := use(s); err != nil {
		t.Fatal(err)
	}
}

// A flush that fails in the background, and that nobody is told of but the log.
func TestBackgroundErrorIsNeverPublished(t *testing.T) {
	s, e, disk := clinic(t)
	defer s.Close()
	e.flushing = func(_ string, fault func(error)) error {
		fault(errors.New("error flushing memtable to disk: input/output error, retrying"))
		return nil
	}
	if err := taken(s, 30); !errors.Is(err, protocol.ErrDirectory) || !strings.Contains(err.Error(), "flushing memtable") {
		t.Fatalf("got error %v, want %v with what happened", err, protocol.ErrDirectory)
	}
	wantIndexes(t, s, 20, 10)
	e.flushing = nil
	(&house{t: t}).take(s, 40, false)
	wantIndexes(t, s, 40, 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(disk, "/c", e, Options{BootID: "b", SpaceReserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	wantIndexes(t, s, 40, 20)
	if ok, err := vfs.Exists(disk, "/c/"+storeName(3)); ok || err != nil {
		t.Errorf("the store with the error is still there (%v)", err)
	}
}

// The list has the record of a table that is gone.
func TestStoreThatCannotBeOpenedAgainIsNeverPublished(t *testing.T) {
	s, e, _ := clinic(t)
	defer s.Close()
	e.viewing = func(folder string, v engine.View) (engine.View, error) {
		if folder == "/c/"+storeName(3) {
			return nil, errors.New("file does not exist for table 2")
		}
		return v, nil
	}
	if err := taken(s, 30); !errors.Is(err, protocol.ErrCorrupt) {
		t.Fatalf("got error %v, want %v", err, protocol.ErrCorrupt)
	}
	wantIndexes(t, s, 20, 10)
	if n := len(s.Aside()); n != 0 {
		t.Errorf("%d are set aside", n)
	}
}

// What was written is not there when the store is opened again.
func TestStoreThatHasLostItemsIsNeverPublished(t *testing.T) {
	s, e, _ := clinic(t)
	defer s.Close()
	e.viewing = func(folder string, v engine.View) (engine.View, error) {
		if folder == "/c/"+storeName(3) {
			v.(*flat.View).Items = v.(*flat.View).Items[1:]
		}
		return v, nil
	}
	if err := taken(s, 30); !errors.Is(err, protocol.ErrCorrupt) {
		t.Fatalf("got error %v, want %v", err, protocol.ErrCorrupt)
	}
	wantIndexes(t, s, 20, 10)
}

// No engine sees a file that is not what was written: damage could end the process in a
// goroutine of its own. Whatever the engine is, its store is set aside.
func TestNoEngineSeesWhatWasNotWritten(t *testing.T) {
	h := newHouse(t, 2)
	if err := h.disk.FlipBit("/c/"+storeName(2)+"/"+flat.File, 8*20); err != nil {
		t.Fatal(err)
	}
	opened := h.engine.opened
	s := h.start()
	if err := use(s); !errors.Is(err, protocol.ErrCorrupt) {
		t.Fatalf("got error %v, want %v", err, protocol.ErrCorrupt)
	}
	if h.engine.opened != opened {
		t.Error("the engine opened a store that is damaged")
	}
	h.wantKept(s, 1, 1)
	if err := use(s); err != nil {
		t.Fatal(err)
	}
}

// Both kept checkpoints stay apart, file by file, whatever damages one of them.
func TestTwoKeptCheckpointsNeverShareAFile(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(vfs.OS(), dir, smallBadger(), Options{SpaceReserve: 1 << 20, BootID: "a"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	(&house{t: t}).take(s, 10, false)
	if _, err := s.BeginIncremental(context.Background(), 20, s.Kept()[0]); !errors.Is(err, protocol.ErrStaleVersion) {
		t.Fatalf("got error %v, want %v: there is one only", err, protocol.ErrStaleVersion)
	}
	(&house{t: t}).take(s, 20, false)
	if _, err := s.BeginIncremental(context.Background(), 30, s.Kept()[0]); !errors.Is(err, protocol.ErrStaleVersion) {
		t.Fatalf("got error %v, want %v: it is the newest", err, protocol.ErrStaleVersion)
	}
	inherited := 0
	for index := protocol.Index(30); index <= 80; index += 10 {
		base := files(t, filepath.Join(dir, storeName(s.kept[1].store)))
		if err := taken(s, index); err != nil {
			t.Fatal(err)
		}
		newest, other := files(t, filepath.Join(dir, storeName(s.kept[0].store))), files(t, filepath.Join(dir, storeName(s.kept[1].store)))
		for _, file := range newest {
			if among(other, file) {
				t.Fatalf("the two at %d and below have %s in common", index, file.Name())
			}
			if among(base, file) {
				inherited++
			}
		}
	}
	if inherited == 0 {
		t.Error("no checkpoint had a table of the one that it replaced: none was incremental")
	}
}

// Tables that overlap do not become ever more: now and then a checkpoint is full, and
// the store of the next one is small again.
func TestStoreDoesNotBecomeCrowded(t *testing.T) {
	disk := vfs.NewMemory(1)
	disk.SetCapacity(1 << 40)
	s, err := Open(disk, "/c", standin.New(disk, chunkBytesLeast), Options{SpaceReserve: 1, BootID: "a", ChunkBytes: chunkBytesLeast})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	full, most := 0, 0
	for index := protocol.Index(1); index <= 100; index++ {
		var w storage.CheckpointWriter
		if index > 2 {
			w, err = s.BeginIncremental(ctx, index, s.Kept()[1])
		}
		if index <= 2 || errors.Is(err, protocol.ErrStaleVersion) {
			full++
			w, err = s.BeginFull(ctx, index, 0)
		}
		if err == nil {
			err = w.Write(ctx, []storage.Item{{Space: "s", Key: []byte("key"), Index: index, Value: make([]byte, 1000)}})
		}
		if err == nil {
			_, err = w.Commit(ctx, storagetest.Describe(index))
		}
		if err != nil {
			t.Fatal(err)
		}
		names, err := disk.ReadDir(s.path(storeName(s.kept[0].store)))
		if err != nil {
			t.Fatal(err)
		}
		tables := slices.DeleteFunc(names, func(name string) bool { return filepath.Ext(name) != ".sst" })
		most = max(most, len(tables))
	}
	if full < 5 || full > 25 || most < 3 || most > 20 {
		t.Errorf("%d of 100 were full, and a store had %d tables; want about one in ten", full, most)
	}
}

// files returns what is in a folder.
func files(t *testing.T, folder string) []os.FileInfo {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var out []os.FileInfo
	for _, entry := range entries {
		info, err := os.Stat(filepath.Join(folder, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info)
	}
	return out
}

// among reports whether a file is one of a list, whatever its name there.
func among(list []os.FileInfo, file os.FileInfo) bool {
	return slices.ContainsFunc(list, func(other os.FileInfo) bool { return os.SameFile(file, other) })
}

// A disk that refuses for ever: the error comes at once, a few stores are left
// behind and no more, and the end is not held.
func TestStoreThatDoesNotEndHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e, _ := clinic(t)
		never := make(chan struct{})
		e.flushing = func(_ string, fault func(error)) error {
			fault(errors.New("error flushing memtable to disk"))
			<-never
			return nil
		}
		e.closing = func(string) { <-never }
		began := time.Now()
		for n := range 2 * leftMax {
			err := takeFull(s, protocol.Index(30+n))
			if want := n >= leftMax; !errors.Is(err, protocol.ErrDirectory) || strings.Contains(err.Error(), "have not ended") != want {
				t.Fatalf("attempt %d: got error %v", n, err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the errors took %v", took)
		}
		wantIndexes(t, s, 20, 10)
		if err := s.Close(); !errors.Is(err, protocol.ErrDirectory) || time.Since(began) > closeWait {
			t.Errorf("closing took %v and returned %v", time.Since(began), err)
		}
		close(never)
	})
}

// A sync that takes for ever does not hold who has to end.
func TestContextEndsACheckpointOnADiskThatDoesNotAnswer(t *testing.T) {
	s, e, _ := clinic(t)
	never, reached := make(chan struct{}), make(chan struct{})
	e.flushing = func(string, func(error)) error {
		close(reached)
		<-never
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	w, err := s.BeginFull(ctx, 30, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		<-reached
		cancel()
	}()
	if _, err := w.Commit(ctx, storagetest.Describe(30)); !errors.Is(err, context.Canceled) {
		t.Fatalf("got error %v, want %v", err, context.Canceled)
	}
	w.Abort()
	close(never)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Want of descriptors is no damage: it is tried again, then refused, and both
// checkpoints stay where they are.
func TestPassingErrorIsNoDamage(t *testing.T) {
	for _, cause := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR, syscall.EAGAIN, syscall.EIO,
		errors.New("Cannot acquire directory lock on \"x\". Another process is using this Badger database. error: interrupted system call")} {
		s, e, disk := clinic(t)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open(disk, "/c", e, Options{BootID: "b", SpaceReserve: 1})
		if err != nil {
			t.Fatal(err)
		}
		pauses := 0
		s.pause = func(ctx context.Context, _ time.Duration) error { pauses++; return ctx.Err() }
		failures := viewTries - 1
		e.viewing = func(_ string, v engine.View) (engine.View, error) {
			if failures--; failures >= 0 {
				return nil, fmt.Errorf("opening: %w", cause)
			}
			return v, nil
		}
		wantIndexes(t, s, 20, 10)
		if pauses != viewTries-1 {
			t.Errorf("%v: %d pauses, want %d", cause, pauses, viewTries-1)
		}
		s.Close()
		if s, err = Open(disk, "/c", e, Options{BootID: "b", SpaceReserve: 1}); err != nil {
			t.Fatal(err)
		}
		s.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
		failures = 100
		err = use(s)
		if !errors.Is(err, protocol.ErrDirectory) || !strings.Contains(err.Error(), cause.Error()) {
			t.Fatalf("%v: got error %v, want %v with the cause", cause, err, protocol.ErrDirectory)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := s.Iterate(ctx, 20, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: got error %v, want that of the context", cause, err)
		}
		failures = 0
		wantIndexes(t, s, 20, 10)
		if n := len(s.Aside()); n != 0 {
			t.Errorf("%v: %d are set aside", cause, n)
		}
		s.Close()
	}
}

// What was set aside does not take the disk for ever, and comes back if it can be
// read after all.
func TestAsideIsBoundedAndComesBack(t *testing.T) {
	s, e, disk := clinic(t)
	defer s.Close()
	bad := ""
	e.viewing = func(folder string, v engine.View) (engine.View, error) {
		if folder == bad {
			return nil, errors.New("no")
		}
		return v, nil
	}
	reopen := func() {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if s, err = Open(disk, "/c", e, Options{BootID: "b", SpaceReserve: 1}); err != nil {
			t.Fatal(err)
		}
	}
	for index := protocol.Index(30); index <= 80; index += 10 {
		reopen()
		bad = "/c/" + storeName(s.kept[0].store)
		if err := use(s); !errors.Is(err, protocol.ErrCorrupt) {
			t.Fatalf("got error %v, want %v", err, protocol.ErrCorrupt)
		}
		bad = ""
		(&house{t: t}).take(s, index, false)
		if index%20 == 0 {
			(&house{t: t}).take(s, index+1, false)
		}
	}
	if n := len(s.Aside()); n > asideMax+1 || n < asideMax {
		t.Errorf("%d are set aside", n)
	}
	reopen()
	newest := s.Kept()[0].Index
	bad = "/c/" + storeName(s.kept[0].store)
	use(s)
	bad = ""
	if err := s.Retry(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := s.Kept(); len(got) != 2 || got[0].Index != newest {
		t.Errorf("%d came back, want two and the one at %d", len(got), newest)
	}
	if err := use(s); err != nil {
		t.Fatal(err)
	}
}

// A store that cannot be removed now kept all others that were to be removed.
func TestStoreThatStaysDoesNotKeepOthers(t *testing.T) {
	s, _, disk := clinic(t)
	for _, name := range []string{"store-00000097", "store-00000098", "store-00000099"} {
		if err := disk.MkdirAll("/c/" + name); err != nil {
			t.Fatal(err)
		}
	}
	disk.FailCall(vfs.Trouble{Op: vfs.OpRemove, Name: "c/store-00000097", Err: syscall.EIO})
	if err := s.sweep(); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want %v", err, syscall.EIO)
	}
	left := func() (out []string) {
		names, err := disk.ReadDir("/c")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasPrefix(name, "store-0000009") {
				out = append(out, name)
			}
		}
		return out
	}
	if got := left(); !slices.Equal(got, []string{"store-00000097"}) {
		t.Errorf("left is %v, want the first", got)
	}
	if err := s.sweep(); err != nil || len(left()) > 0 {
		t.Errorf("the second time: %v, left is %v", err, left())
	}
}

// [S] A rename that a server of files answers late, or that is made on a disk that
// goes away, may have been made: nobody knows which pointer there is.
func TestPointerInDoubtIsFinal(t *testing.T) {
	for cause, final := range map[error]bool{
		syscall.EIO: true, syscall.ETIMEDOUT: true, syscall.ESTALE: true, syscall.ENXIO: true, syscall.ENODEV: true, syscall.EINTR: true,
		syscall.EACCES: false, syscall.EMFILE: false, syscall.ENOMEM: false, syscall.ENOSPC: false, syscall.EROFS: false,
	} {
		s, _, disk := clinic(t)
		disk.FailCall(vfs.Trouble{Op: vfs.OpRename, Name: "c/pointer-*", Err: cause})
		err := takeFull(s, 30)
		if err == nil || errors.Is(err, protocol.ErrDiskFailed) != final {
			t.Errorf("%v: got %v, final %t", cause, err, final)
		}
		if err := takeFull(s, 40); (err != nil) != final {
			t.Errorf("%v: the next one: %v", cause, err)
		}
	}
}
