package changefile

import (
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// A disk that is full, or fails, costs the file, and is said once.
func TestADiskThatFailsCostsTheFileAlone(t *testing.T) {
	for what, harm := range map[string]func(m *vfs.Memory){
		"full":  func(m *vfs.Memory) { m.SetCapacity(100_000) },
		"fails": func(m *vfs.Memory) { m.Fail(vfs.OpWrite, 1, io.ErrUnexpectedEOF) },
		"names": func(m *vfs.Memory) { m.Fail(vfs.OpCreate, 1, io.ErrUnexpectedEOF) },
	} {
		m := disk(t)
		w := newWriter(t, m, Options{Bytes: 4 << 20})
		harm(m)
		r := w.read("a", 0)
		for i := range protocol.Index(5000) {
			w.put(i+1, "a", 1, 100)
			w.flush()
		}
		if _, err := r.Next(); !errors.Is(err, ErrGone) {
			t.Errorf("%s: got %v, want that it is gone", what, err)
		}
		if _, ok := w.Read("a", 5000); ok {
			t.Errorf("%s: it can still be read", what)
		}
		if there, _ := vfs.Exists(m, fileName); there {
			t.Errorf("%s: the file takes room", what)
		}
		if n := strings.Count(w.said.String(), "level=WARN"); n != 1 {
			t.Errorf("%s: said %d times:\n%s", what, n, w.said.String())
		}
	}
}

// Where others need the room the file gives all of it back, and begins anew when there is enough.
func TestTheFileGivesItsRoomBack(t *testing.T) {
	m, spare := disk(t), int64(1<<30)
	w := newWriter(t, m, Options{Bytes: 1 << 20, Spare: func() int64 { return spare }})
	i := protocol.Index(0)
	put := func(n int) {
		for range n {
			i++
			w.put(i, "a", 1, 100)
		}
		w.flush()
	}
	size := func() int64 {
		info, err := m.Stat(fileName)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size
	}
	put(3000)
	if size() < 200_000 {
		t.Fatalf("the file has %d bytes", size())
	}
	spare = -1
	w.Look()
	if size() != 0 {
		t.Errorf("the file has %d bytes, and others lack room, who write nothing for that", size())
	}
	spare = 1 << 20
	w.Look()
	put(3000)
	if size() < 200_000 {
		t.Fatalf("the file has %d bytes", size())
	}
	spare = -1
	put(3000)
	if size() != 0 {
		t.Errorf("the file has %d bytes, and others lack room", size())
	}
	r, _ := w.Read("a", i)
	put(1)
	if _, err := r.Next(); !errors.Is(err, ErrGone) || r.AtEnd() {
		t.Errorf("who had read everything when something was not kept: %v, at the end %t, want %v", err, r.AtEnd(), ErrGone)
	}
	spare = 1<<20 - 1
	w.Look()
	put(20_000)
	if size() != 0 || w.From() != i {
		t.Errorf("the file has %d bytes and goes back to %d of %d, where it has no room", size(), w.From(), i)
	}
	spare = 1 << 20
	w.Look()
	put(2000)
	if size() == 0 || w.From() == i {
		t.Errorf("the file has %d bytes and goes back to %d of %d, where it has room", size(), w.From(), i)
	}
}

// stands is a file system on which no write returns before it may.
type stands struct {
	vfs.FS
	let chan struct{}
}

type standsFile struct {
	vfs.File
	of *stands
}

func (s *stands) Create(name string) (vfs.File, error) {
	f, err := s.FS.Create(name)
	return &standsFile{f, s}, err
}

func (f *standsFile) WriteAt(p []byte, at int64) (int, error) {
	<-f.of.let
	return f.File.WriteAt(p, at)
}

// Counterexample: the disk stood still, and with it whoever applies entries. What it does not
// take is not kept, in bounded memory.
func TestNobodyWaitsForTheDisk(t *testing.T) {
	fsys := &stands{FS: disk(t), let: make(chan struct{})}
	f := New(fsys, fileName, Options{Bytes: 64 << 20})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer f.Close()
		for {
			select {
			case <-stop:
				return
			case <-f.News():
			}
			for f.Step() {
			}
		}
	})
	const entries = 3 * waitingBytesMax / 1000
	for i := range protocol.Index(entries) {
		f.Put(entryOf(i+1, "a", 1, 1000))
		f.mu.Lock()
		waiting := f.waiting
		f.mu.Unlock()
		if waiting > waitingBytesMax {
			t.Fatalf("%d bytes wait", waiting)
		}
	}
	if f.From() < entries/2 {
		t.Errorf("what is kept begins at %d of %d", f.From(), entries)
	}
	close(fsys.let)
	r, ok := f.Read("a", f.From())
	if !ok {
		t.Fatal("nothing is kept")
	}
	for i := f.From() + 1; ; i++ {
		e, err := r.Next()
		if err == io.EOF {
			if i != entries+1 {
				t.Errorf("it ends at %d of %d", i-1, entries)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Changes) == 0 {
			i--
			continue
		}
		if e.Index != i {
			t.Fatalf("%d after %d", e.Index, i-1)
		}
	}
	close(stop)
	wg.Wait()
	if there, _ := vfs.Exists(fsys, fileName); there {
		t.Error("the file is there after the end")
	}
}

// What another run has left is never read, and goes.
func TestTheFileOfAnotherRunIsRemoved(t *testing.T) {
	m := disk(t)
	w := newWriter(t, m, Options{Bytes: 4 << 20})
	for i := range protocol.Index(2000) {
		w.put(i+1, "a", 1, 100)
	}
	w.flush()
	next := newWriter(t, m, Options{Bytes: 4 << 20})
	if there, _ := vfs.Exists(m, fileName); there {
		t.Error("the file is there at the next start")
	}
	if e, err := next.read("a", 0).Next(); err != io.EOF {
		t.Errorf("got entry %d, %v, want nothing", e.Index, err)
	}
}
