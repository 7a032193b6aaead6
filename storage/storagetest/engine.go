package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/vfs"
)

// Engine is an engine with an empty folder for its stores.
type Engine struct {
	Engine engine.Engine
	Folder string
	// FS is where the engine's files are.
	FS vfs.FS
	// Disk is FS if it can be broken.
	Disk *vfs.Memory
	// LayersMax is how many stores may begin as one another, each with one change,
	// before the last one is crowded; 0: that depends on other things.
	LayersMax int
}

// EngineFactory makes engines. The seed decides everything that is random.
type EngineFactory func(t *testing.T, seed uint64) *Engine

// RunEngine runs the suite for engine.Engine: what the store of checkpoints relies on.
func RunEngine(t *testing.T, factory EngineFactory) {
	for _, c := range []struct {
		name string
		test func(*testing.T, EngineFactory)
		disk bool
	}{
		{"HoldsWhatWasWritten", testEngineHolds, false},
		{"CursorWalksInOrder", testEngineOrder, false},
		{"ItemsAtTheirLimits", testEngineLimits, false},
		{"BeginsAsAnotherAndLeavesItAlone", testEngineBase, false},
		{"NeedsOnlyTheFilesItNames", testEngineUse, false},
		{"ViewChangesNothing", testEngineView, false},
		{"EndsWithoutFlush", testEngineUnflushed, false},
		{"RemovesAll", testEngineRemove, false},
		{"BecomesCrowdedOrNever", testEngineCrowded, false},
		{"FailedCallsAreTold", testEngineFailedCalls, true},
		{"DurableWhenClosed", testEngineDurable, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.disk && factory(t, 0).Disk == nil {
				t.Skip("this engine has no disk that can be broken")
			}
			c.test(t, factory)
		})
	}
}

// bench drives one engine: it does the store's part of the work.
type bench struct {
	*Engine
	t *testing.T
}

func newBench(t *testing.T, factory EngineFactory, seed uint64) *bench {
	t.Helper()
	return &bench{factory(t, seed), t}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) path(store int) string {
	return filepath.Join(b.Folder, fmt.Sprintf("store-%d", store))
}

// files are those of a store that are needed.
func (b *bench) files(store int) (list []engine.File, err error) {
	names, err := b.FS.ReadDir(b.path(store))
	for _, name := range names {
		if b.Engine.Engine.Use(name) == engine.Unneeded {
			continue
		}
		info, e := b.FS.Stat(filepath.Join(b.path(store), name))
		list, err = append(list, engine.File{Name: name, Size: info.Size}), errors.Join(err, e)
	}
	return list, err
}

// create begins a store, as another one if base is not 0. fault hears what goes wrong in
// the background.
func (b *bench) create(store, base int, fault func(error)) (engine.Database, error) {
	n := engine.New{Folder: b.path(store), At: protocol.Index(store), Fault: fault}
	if err := b.FS.MkdirAll(n.Folder); err != nil {
		return nil, err
	}
	if base > 0 {
		files, err := b.files(base)
		if err != nil {
			return nil, err
		}
		n.Base = files
		for _, f := range files {
			from, to := filepath.Join(b.path(base), f.Name), filepath.Join(n.Folder, f.Name)
			clone := vfs.Copy
			if b.Engine.Engine.Use(f.Name) == engine.Linked {
				clone = vfs.LinkOrCopy
			}
			if err := clone(b.FS, from, to); err != nil {
				return nil, err
			}
		}
	}
	return b.Engine.Engine.Create(n)
}

// write makes a store that is complete: of the items, a nil value removes its key.
func (b *bench) write(store, base int, items map[string][]byte) error {
	var faults []error
	db, err := b.create(store, base, func(err error) { faults = append(faults, err) })
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(items)) {
		if value := items[key]; value == nil {
			err = errors.Join(err, db.Remove([]byte(key)))
		} else {
			err = errors.Join(err, db.Set([]byte(key), value))
		}
	}
	if err == nil {
		err = db.Flush()
	}
	err = errors.Join(err, db.Close())
	return errors.Join(err, errors.Join(faults...)) // all that it had to say has been said when it is closed
}

func (b *bench) view(store int) (engine.View, error) {
	files, err := b.files(store)
	if err != nil {
		return nil, err
	}
	return b.Engine.Engine.View(engine.Complete{Folder: b.path(store), Files: files, At: protocol.Index(store), Links: b.Folder})
}

// read returns all that a complete store has.
func (b *bench) read(store int) (map[string][]byte, error) {
	v, err := b.view(store)
	if err != nil {
		return nil, err
	}
	items, err := walk(v.Cursor(), nil)
	out := map[string][]byte{}
	for _, it := range items {
		out[it.key] = it.value
	}
	return out, errors.Join(err, v.Close())
}

type pair struct {
	key   string
	value []byte
}

// walk goes to the end from a key on.
func walk(cur engine.Cursor, from []byte) (out []pair, err error) {
	defer cur.Close()
	cur.Seek(from)
	for {
		key, value, ok, err := cur.Next()
		if err != nil || !ok {
			return out, err
		}
		out = append(out, pair{string(key), bytes.Clone(value)})
	}
}

func (b *bench) want(store int, want map[string][]byte) {
	b.t.Helper()
	got, err := b.read(store)
	b.must(err)
	sameContent(b.t, got, want)
}

func sameContent(t *testing.T, got, want map[string][]byte) {
	t.Helper()
	if !maps.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("got %d items, want %d, or others: %s", len(got), len(want), firstDifference(got, want))
	}
}

func firstDifference(got, want map[string][]byte) string {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if value, ok := got[key]; !ok || !bytes.Equal(value, want[key]) {
			return fmt.Sprintf("%.40q has %d bytes (there: %t), want %d", key, len(value), ok, len(want[key]))
		}
	}
	return "there is more than was written"
}

// some are items as the store of checkpoints writes them: no key is empty, and no
// value.
func some(from, to int) map[string][]byte {
	out := map[string][]byte{}
	for i := from; i < to; i++ {
		out[fmt.Sprintf("\x00\x01key-%03d", i)] = bytes.Repeat([]byte{byte(i)}, 1+i*7%300)
	}
	return out
}

func testEngineHolds(t *testing.T, factory EngineFactory) {
	b := newBench(t, factory, 1)
	for store, items := range []map[string][]byte{{}, some(0, 1), some(0, 200)} {
		b.must(b.write(store+1, 0, items))
		b.want(store+1, items)
	}
}

func testEngineOrder(t *testing.T, factory EngineFactory) {
	b := newBench(t, factory, 1)
	db, err := b.create(1, 0, func(err error) { t.Error(err) })
	b.must(err)
	keys := []string{"b", "\x00", "\xff\xff", "a\x00", "a", "ab", "\x00\x01", "\xff", "a\xff"}
	for i, key := range keys {
		b.must(db.Set([]byte(key), []byte{byte(i)}))
	}
	b.must(db.Set([]byte("a"), []byte("again")))
	b.must(db.Remove([]byte("ab")))
	b.must(db.Flush())
	sorted := slices.DeleteFunc(slices.Sorted(slices.Values(keys)), func(key string) bool { return key == "ab" })
	ordered := func(what string, cur func() engine.Cursor) {
		t.Helper()
		for _, from := range append(slices.Clone(sorted), "", "aa", "zz", "\xff\xff\xff") {
			got, err := walk(cur(), []byte(from))
			b.must(err)
			at, _ := slices.BinarySearch(sorted, from)
			var names []string
			for _, it := range got {
				names = append(names, it.key)
				if it.key == "a" && string(it.value) != "again" {
					t.Errorf("%s: a is %q, want what was written last", what, it.value)
				}
			}
			if !slices.Equal(names, sorted[at:]) {
				t.Errorf("%s, from %q: got %q, want %q", what, from, names, sorted[at:])
			}
		}
	}
	ordered("while it is written", db.Cursor)
	b.must(db.Close())
	v, err := b.view(1)
	b.must(err)
	ordered("complete", v.Cursor)
	b.must(v.Close())
}

func testEngineLimits(t *testing.T, factory EngineFactory) {
	b := newBench(t, factory, 1)
	items := map[string][]byte{}
	for i := range 3 {
		key := bytes.Repeat([]byte{byte(i), 0xff}, storage.SpaceBytesMax+1+protocol.KeyBytesMax/2)
		items[string(key)] = bytes.Repeat([]byte{byte(i)}, storage.ItemValueBytesMax+8)
	}
	b.must(b.write(1, 0, items))
	b.want(1, items)
}

func testEngineBase(t *testing.T, factory EngineFactory) {
	b := newBench(t, factory, 1)
	first := some(0, 100)
	b.must(b.write(1, 0, first))
	changes := some(90, 120)
	for key := range some(10, 20) {
		changes[key] = nil
	}
	b.must(b.write(2, 1, changes))
	second := maps.Clone(first)
	maps.Copy(second, changes)
	maps.DeleteFunc(second, func(_ string, value []byte) bool { return value == nil })
	b.want(2, second)
	b.want(1, first)
	b.must(b.write(3, 2, nil))
	b.want(3, second)
	b.must(b.Engine.Engine.Remove(b.path(1)))
	b.must(b.Engine.Engine.Remove(b.path(2)))
	b.want(3, second)
}

// What a store does not name as needed is not: it is gone in a copy.
func testEngineUse(t *testing.T, factory EngineFactory) {
	b := newBench(t, factory, 1)
	b.must(b.write(1, 0, some(0, 100)))
	names, err := b.FS.ReadDir(b.path(1))
	b.must(err)
	needed := 0
	for _, name := range names {
		if b.Engine.Engine.Use(name) == engine.Unneeded {
			b.must(b.FS.Remove(filepath.Join(b.path(1), name)))
			continue
		}
		needed++
	}
	if needed == 0 {
		t.Error("no file is needed")
	}
	b.want(1, some(0, 100))
	for _, name := range []string{"sums", "pointer-1", engine.ViewPrefix + "1"} {
		if b.Engine.Engine.Use(name) != engine.Unneeded {
			t.Errorf("%s, which is the store's own, is needed", name)
		}
	}
}

// state says what is in a store's folder.
func (b *bench) state(store int) string {
	b.t.Helper()
	names, err := b.FS.ReadDir(b.path(store))
	b.must(err)
	var out []byte
	for _, name := range names {
		content, err := vfs.ReadFile(b.FS, filepath.Join(b.path(store), name), 1<<30)
		b.must(err)
		out = fmt.Appendf(out, "%s %x\n", name, content)
	}
	return string(out)
}

func testEngineView(t *testing.T, factory EngineFactory) {
	b := newBench(t, factory, 1)
	b.must(b.write(1, 0, some(0, 50)))
	before := b.state(1)
	one, err := b.view(1)
	b.must(err)
	other, err := b.view(1)
	b.must(err)
	for _, v := range []engine.View{one, other} {
		if items, err := walk(v.Cursor(), nil); err != nil || len(items) != 50 {
			t.Errorf("got %d items, error %v; want 50", len(items), err)
		}
	}
	b.must(one.Close())
	if items, err := walk(other.Cursor(), nil); err != nil || len(items) != 50 {
		t.Errorf("after the end of another view: got %d items, error %v; want 50", len(items), err)
	}
	b.must(other.Close())
	if after := b.state(1); after != before {
		t.Error("a view changed the store")
	}
	names, err := b.FS.ReadDir(b.Folder)
	b.must(err)
	if !slices.Equal(names, []string{"store-1"}) {
		t.Errorf("%v is left, want the store alone", names)
	}
}

// A store that nobody wants ends, and is removed.
func testEngineUnflushed(t *testing.T, factory EngineFactory) {
	b := newBench(t, factory, 1)
	b.must(b.write(1, 0, some(0, 50)))
	for store, base := range []int{0, 1} {
		db, err := b.create(store+2, base, func(err error) { t.Error(err) })
		b.must(err)
		for key, value := range some(0, 80) {
			b.must(db.Set([]byte(key), value))
		}
		b.must(db.Close())
		b.must(b.Engine.Engine.Remove(b.path(store + 2)))
	}
	b.want(1, some(0, 50))
}

func testEngineRemove(t *testing.T, factory EngineFactory) {
	b := newBench(t, factory, 1)
	b.must(b.write(1, 0, some(0, 50)))
	for range 2 { // the second time there is none
		b.must(b.Engine.Engine.Remove(b.path(1)))
	}
	if _, err := b.FS.Stat(b.path(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want that the folder is gone", err)
	}
}

// crowdedSteps is far more than an engine lets one store begin as another.
const crowdedSteps = 64

// An engine whose stores are read ever more slowly says so, and not of a full one.
func testEngineCrowded(t *testing.T, factory EngineFactory) {
	b := newBench(t, factory, 1)
	items := map[string][]byte{"key": bytes.Repeat([]byte{1}, 600)}
	b.must(b.write(1, 0, items))
	for store := 1; store <= crowdedSteps; store++ {
		v, err := b.view(store)
		b.must(err)
		crowded := v.Crowded(603)
		b.must(v.Close())
		if crowded {
			if store == 1 || b.LayersMax > 0 && store != b.LayersMax {
				t.Errorf("a store is crowded when it begins as the %d. one; want %d", store, b.LayersMax)
			}
			b.want(store, items)
			return
		}
		b.must(b.write(store+1, store, items))
		b.must(b.Engine.Engine.Remove(b.path(store)))
	}
	files, err := b.files(crowdedSteps + 1)
	b.must(err)
	if len(files) > 2 {
		t.Errorf("%d files are in a store that is not crowded", len(files))
	}
}
