package changefile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

const fileName = "/d/changes"

func disk(t *testing.T) *vfs.Memory {
	t.Helper()
	m := vfs.NewMemory(1)
	if err := m.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	return m
}

// writer is a file whose writes are made one by one.
type writer struct {
	*File
	t    *testing.T
	said bytes.Buffer
}

func newWriter(t *testing.T, fsys vfs.FS, o Options) *writer {
	w := &writer{t: t}
	o.Logger = slog.New(slog.NewTextHandler(&w.said, nil))
	w.File = New(fsys, fileName, o)
	return w
}

// flush writes all that is full.
func (w *writer) flush() {
	for w.Step() {
	}
}

// put has an entry set some keys to a value that tells which they are.
func (w *writer) put(i protocol.Index, resource string, keys, valueBytes int) {
	w.Put(entryOf(i, resource, keys, valueBytes))
}

func entryOf(i protocol.Index, resource string, keys, valueBytes int) *Entry {
	e := &Entry{Index: i, Resource: resource, Kind: "map"}
	for k := range keys {
		c := protocol.Change{Kind: protocol.ChangePut, Key: fmt.Appendf(nil, "%s-%d-%d", resource, i, k), Value: bytes.Repeat([]byte{byte(i)}, valueBytes)}
		if k%5 == 4 {
			c.Kind, c.Value = protocol.ChangeDelete, nil
		}
		if c.PreviousKind = protocol.PreviousKind(k % 3); c.PreviousKind == protocol.PreviousValue {
			c.Previous = bytes.Repeat([]byte{byte(i) + 1}, valueBytes/2)
		}
		e.Changes = append(e.Changes, c)
	}
	return e
}

// rest reads what is left, entries in one piece.
func rest(r *Reader) (out []Entry, err error) {
	more := false
	for {
		e, err := r.Next()
		switch {
		case err == io.EOF:
			return out, nil
		case err != nil:
			return out, err
		case len(e.Changes) == 0:
		case more:
			last := &out[len(out)-1]
			if last.Index != e.Index {
				return out, fmt.Errorf("entry %d goes on with %d", last.Index, e.Index)
			}
			last.Changes = append(last.Changes, e.Changes...)
			more = e.More
		default:
			more, e.More = e.More, false
			out = append(out, e)
		}
	}
}

func (w *writer) read(resource string, after protocol.Index) *Reader {
	w.t.Helper()
	r, ok := w.Read(resource, after)
	if !ok {
		w.t.Fatalf("what was changed in %s after %d is not here: it begins at %d", resource, after, w.From())
	}
	return r
}

func (w *writer) isRest(r *Reader, resource string, want []*Entry) {
	w.t.Helper()
	got, err := rest(r)
	if err != nil {
		w.t.Fatalf("%s: %v after %d entries", resource, err, len(got))
	}
	k := 0
	for _, e := range want {
		if e.Resource != resource {
			continue
		}
		if k == len(got) || fmt.Sprint(got[k]) != fmt.Sprint(*e) {
			w.t.Fatalf("%s: entry %d is told otherwise, as %d of %d", resource, e.Index, k, len(got))
		}
		k++
	}
	if k != len(got) {
		w.t.Errorf("%s: %d entries, want %d", resource, len(got), k)
	}
}

// What was put is read from wherever a reader begins, on the disk, on the way there and in memory, and
// nothing else.
func TestWhatWasPutIsRead(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	w := newWriter(t, disk(t), Options{Bytes: 1 << 20})
	var put []*Entry
	for i := protocol.Index(1); i <= 3000; i++ {
		for _, resource := range []string{"a", "bb"} {
			if r.IntN(3) > 0 {
				e := entryOf(i, resource, 1+r.IntN(8), r.IntN(400))
				if r.IntN(300) == 0 {
					e = entryOf(i, resource, 1+r.IntN(2000), 50)
				}
				w.Put(e)
				put = append(put, e)
			}
		}
		if r.IntN(100) == 0 {
			w.flush()
		}
		if r.IntN(50) > 0 {
			continue
		}
		after := w.From()
		if i%2 == 0 {
			after += protocol.Index(r.IntN(int(i - after + 1)))
		}
		var want []*Entry
		for _, e := range put {
			if e.Index > after {
				want = append(want, e)
			}
		}
		for _, resource := range []string{"a", "bb", "c"} {
			reader := w.read(resource, after)
			w.isRest(reader, resource, want)
			if !reader.AtEnd() {
				t.Errorf("%s after %d: not at the end", resource, after)
			}
		}
	}
	if _, ok := w.Read("a", w.From()-1); ok || w.From() < 100 {
		t.Errorf("it has 1 MiB and begins at %d", w.From())
	}
	if info, err := w.fsys.Stat(fileName); err != nil || info.Size > 1<<20 || info.Size < 1<<19 {
		t.Errorf("the file has %d bytes, %v", info.Size, err)
	}
}

// A reader that has read everything goes on with what is put then, in the same block and in the next ones.
func TestAReaderGoesOnWhereItWas(t *testing.T) {
	w := newWriter(t, disk(t), Options{Bytes: 4 << 20})
	r := w.read("a", 0)
	for i := protocol.Index(1); i < 2000; i++ {
		e := entryOf(i, "a", 1+int(i%7), 90)
		w.Put(e)
		if i%3 == 0 {
			w.flush()
		}
		if i%90 > 60 {
			continue
		}
		got, err := rest(r)
		if err != nil || len(got) == 0 || got[len(got)-1].Index != i || fmt.Sprint(got[len(got)-1]) != fmt.Sprint(*e) {
			t.Fatalf("%d: got %d entries, %v", i, len(got), err)
		}
		if !r.AtEnd() {
			t.Errorf("%d: not at the end", i)
		}
	}
}

// [S] Counterexample: a reader had read everything, the file began anew, and it went on with what was put
// then: what came between was never told.
func TestAReaderHearsThatTheFileBeganAnew(t *testing.T) {
	for _, entries := range []int{0, 1, 2000} {
		w := newWriter(t, disk(t), Options{Bytes: 4 << 20})
		for i := range entries {
			w.put(protocol.Index(i+1), "a", 1, 100)
		}
		w.flush()
		r := w.read("a", 0)
		if _, err := rest(r); err != nil || !r.AtEnd() {
			t.Fatal(err)
		}
		w.Reset(5000)
		if r.AtEnd() {
			t.Errorf("%d entries: what comes next follows, it says", entries)
		}
		w.put(5001, "a", 1, 100)
		if e, err := r.Next(); !errors.Is(err, ErrGone) {
			t.Errorf("%d entries: got entry %d, %v, want that there is a gap", entries, e.Index, err)
		}
		w.isRest(w.read("a", 5000), "a", []*Entry{entryOf(5001, "a", 1, 100)})
		if _, ok := w.Read("a", 4999); ok {
			t.Errorf("%d entries: it has what was changed after 4999", entries)
		}
	}
}

// [S] Counterexample: a bit of the file flips, or the disk lost what was written, and a watch is told a
// change that nobody made.
func TestWhatTheDiskHasChangedIsNotTold(t *testing.T) {
	for what, harm := range map[string]func(m *vfs.Memory) error{
		"a flipped bit":    func(m *vfs.Memory) error { return m.FlipBit(fileName, 8*70_000+3) },
		"a bit of a value": func(m *vfs.Memory) error { return m.FlipBit(fileName, 8*70_040) },
		"a bit elsewhere":  func(m *vfs.Memory) error { return m.FlipBit(fileName, 8*70_080+1) },
		"a sector":         func(m *vfs.Memory) error { return m.FailReads(fileName, 70_000, 10, io.ErrUnexpectedEOF) },
		"a short file": func(m *vfs.Memory) error {
			f, err := m.OpenWrite(fileName)
			if err != nil {
				return err
			}
			defer f.Close()
			return f.Truncate(70_000)
		},
	} {
		m := disk(t)
		w := newWriter(t, m, Options{Bytes: 4 << 20})
		var put []*Entry
		for i := range protocol.Index(3000) {
			put = append(put, entryOf(i+1, "a", 1, 100))
			w.Put(put[i])
		}
		w.flush()
		before, early := w.read("a", 0), w.read("a", 2900)
		if err := harm(m); err != nil {
			t.Fatal(what, err)
		}
		got, err := rest(before)
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v after %d entries, want that it is damaged", what, err, len(got))
		}
		for i, e := range got {
			if fmt.Sprint(e) != fmt.Sprint(*put[i]) {
				t.Fatalf("%s: entry %d is told otherwise", what, i+1)
			}
		}
		if from := w.From(); int(from) <= len(got) || from > 2000 && what != "a short file" {
			t.Errorf("%s: what is kept begins at %d, and %d were told", what, from, len(got))
		}
		if what == "a flipped bit" {
			w.isRest(early, "a", put[2900:])
		}
		if n := strings.Count(w.said.String(), "level=WARN"); n != 1 {
			t.Errorf("%s: said %d times:\n%s", what, n, w.said.String())
		}
	}
}

// late is a file system on whose files something happens before each read.
type late struct {
	vfs.FS
	before func()
}

type lateFile struct {
	vfs.File
	of *late
}

func (l *late) Create(name string) (vfs.File, error) {
	f, err := l.FS.Create(name)
	return &lateFile{f, l}, err
}

func (f *lateFile) ReadAt(p []byte, at int64) (int, error) {
	if before := f.of.before; before != nil {
		f.of.before = nil
		before()
	}
	return f.File.ReadAt(p, at)
}

// [S] Counterexample: while a block was read another one took its place, or the file gave back its room.
func TestABlockThatIsOverwrittenMeanwhileIsGone(t *testing.T) {
	for what, o := range map[string]Options{"overwritten": {Bytes: 256 << 10}, "given back": {Bytes: 256 << 10, Spare: func() int64 { return 0 }}} {
		fsys := &late{FS: disk(t)}
		spare := o.Spare
		o.Spare = nil
		w := newWriter(t, fsys, o)
		for i := range protocol.Index(2000) {
			w.put(i+1, "a", 1, 100)
		}
		w.flush()
		from := w.From()
		r := w.read("a", from)
		fsys.before = func() {
			w.o.Spare = spare
			for i := range protocol.Index(2000) {
				w.put(2000+i+1, "a", 1, 100)
				w.flush()
			}
		}
		if e, err := r.Next(); !errors.Is(err, ErrGone) {
			t.Errorf("%s: got entry %d, %v, want that it is gone", what, e.Index, err)
		}
		if strings.Contains(w.said.String(), "damaged") {
			t.Errorf("%s: it is said to be damaged:\n%s", what, w.said.String())
		}
	}
}
