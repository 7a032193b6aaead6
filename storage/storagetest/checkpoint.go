package storagetest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// CheckpointStore is the home of one store of checkpoints, empty when the
// factory returns it.
type CheckpointStore struct {
	// Open opens the store. The suite has at most one open at a time.
	Open func() (storage.CheckpointStore, error)
	// Kill ends the process of an open store: nothing that was written is lost.
	Kill func(storage.CheckpointStore)
	// Crash cuts the power. Nil if the store cannot.
	Crash func(storage.CheckpointStore)
	// Disk is the file system below all of it, if it can be broken.
	Disk *vfs.Memory
	// Slow says that the store's own arithmetic, which is the same on all engines, is
	// tried on fewer contents than elsewhere.
	Slow bool
}

// CheckpointFactory makes stores. The seed decides everything that is random.
type CheckpointFactory func(t *testing.T, seed uint64) *CheckpointStore

// RunCheckpoints runs the suite for storage.CheckpointStore.
func RunCheckpoints(t *testing.T, factory CheckpointFactory) {
	tests := []struct {
		name string
		test func(*testing.T, CheckpointFactory)
		disk bool
	}{
		{"Empty", testCheckpointEmpty, false},
		{"TwoKeptAndReadableAfterReopen", testCheckpointTwoKept, false},
		{"VersionsSurvive", testCheckpointVersions, false},
		{"OnlyOnTopOfTheSameLog", testCheckpointSameLog, false},
		{"LeftoversDoNotShowThroughAnInstall", testCheckpointLeftovers, false},
		{"RefusedKeysAreRefusedHere", testCheckpointLimits, false},
		{"IncrementalEqualsFull", testCheckpointDeterminism, false},
		{"Chunks", testCheckpointChunks, false},
		{"InstallResumes", testCheckpointInstall, false},
		{"InstallNeverBelow", testCheckpointInstallBelow, false},
		{"InstallCarriedOver", testCheckpointCarried, false},
		{"BadFallsBack", testCheckpointBad, false},
		{"Cancelled", testCheckpointCancelled, false},
		{"ReadWhileWriting", testCheckpointConcurrent, false},
		{"PinnedIsNotGivenUp", testCheckpointPinned, false},
		{"PinnedWhileWriting", testCheckpointPinnedConcurrent, false},
		{"NothingChanged", testCheckpointNothingChanged, false},
		{"CrashAtEveryStep", testCheckpointCrash, true},
		{"FailedWrites", testCheckpointFailedWrites, true},
		{"FullDisk", testCheckpointFullDisk, true},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			if c.disk && factory(t, 0).Disk == nil {
				t.Skip("this store has no disk that can be broken")
			}
			c.test(t, factory)
		})
	}
}

// Content is the model of a checkpoint: what it must hold.
type Content struct {
	items map[string]storage.Item // by space, 0, key
}

// NewContent returns an empty one.
func NewContent() *Content { return &Content{items: map[string]storage.Item{}} }

// Clone returns an independent copy.
func (c *Content) Clone() *Content {
	out := NewContent()
	for name, it := range c.items {
		out.items[name] = it
	}
	return out
}

// Put makes the changes of items.
func (c *Content) Put(items ...storage.Item) {
	for _, it := range items {
		name := it.Space + "\x00" + string(it.Key)
		if it.Deleted {
			delete(c.items, name)
		} else {
			c.items[name] = it
		}
	}
}

// Since returns the items that differ from those of an older content, in no order,
// some of them twice.
func (c *Content) Since(old *Content, r *rand.Rand) []storage.Item {
	var out []storage.Item
	for name, it := range c.items {
		if was, there := old.items[name]; !there || was.Index != it.Index || !bytes.Equal(was.Value, it.Value) {
			out = append(out, it)
		}
	}
	for name, it := range old.items {
		if _, there := c.items[name]; !there {
			out = append(out, storage.Item{Space: it.Space, Key: it.Key, Deleted: true})
		}
	}
	slices.SortFunc(out, func(a, b storage.Item) int {
		return cmp.Or(cmp.Compare(a.Space, b.Space), bytes.Compare(a.Key, b.Key))
	})
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return append(out, out[:len(out)/8]...)
}

// Items returns all items in order.
func (c *Content) Items() []storage.Item {
	out := make([]storage.Item, 0, len(c.items))
	for _, it := range c.items {
		out = append(out, it)
	}
	slices.SortFunc(out, func(a, b storage.Item) int {
		return cmp.Or(cmp.Compare(a.Space, b.Space), bytes.Compare(a.Key, b.Key))
	})
	return out
}

// Change draws changes at indexes above from up to to, in no order, each key
// once, and makes them.
func (c *Content) Change(r *rand.Rand, n int, from, to protocol.Index) []storage.Item {
	existing := c.Items()
	seen := map[string]bool{}
	var out []storage.Item
	for range n {
		it := storage.Item{
			Space: []string{"", "map", "map\x00", "ma", "queue\x00\x01x"}[r.IntN(5)],
			Key:   fmt.Appendf(nil, "\x00%c-%d", r.IntN(256), r.IntN(4*n)),
			Index: from + 1 + protocol.Index(r.Uint64N(uint64(to-from))),
		}
		if len(existing) > 0 && r.IntN(2) == 0 {
			old := existing[r.IntN(len(existing))]
			it.Space, it.Key, it.Deleted = old.Space, old.Key, r.IntN(3) == 0
		}
		if name := it.Space + "\x00" + string(it.Key); seen[name] {
			continue
		} else {
			seen[name] = true
		}
		if !it.Deleted {
			it.Value = make([]byte, []int{0, 1, 30, 300, 3000, 40000}[r.IntN(6)])
			for i := 0; i < len(it.Value); i += 8 {
				var word [8]byte
				binary.LittleEndian.PutUint64(word[:], r.Uint64())
				copy(it.Value[i:], word[:])
			}
		}
		out = append(out, it)
	}
	c.Put(out...)
	return out
}

// Describe returns a manifest of a checkpoint, without what the store fills
// in.
func Describe(index protocol.Index) storage.Manifest {
	return storage.Manifest{
		Index: index, Term: 3, LogSum: protocol.LogSum{uint64(index), 7}, Digest: [16]byte{byte(index), 1},
		Configuration: protocol.ConfigurationAt{Index: 1, Configuration: protocol.Configuration{Target: 3,
			Members: []protocol.ActiveMember{{ID: protocol.MemberID{9}, Name: "a", Address: "a:1", Suffrage: protocol.SuffrageVoter}}}},
	}
}

// checkpoints drives one store beside its model.
type checkpoints struct {
	t     *testing.T
	home  *CheckpointStore
	store storage.CheckpointStore
	want  map[protocol.Index]*Content
	now   *Content

	random *rand.Rand
}

func newCheckpoints(t *testing.T, factory CheckpointFactory, seed uint64) *checkpoints {
	t.Helper()
	c := &checkpoints{t: t, home: factory(t, seed), want: map[protocol.Index]*Content{}, now: NewContent(), random: rand.New(rand.NewPCG(seed, 13))}
	c.open()
	t.Cleanup(func() { c.store.Close() })
	return c
}

func (c *checkpoints) open() {
	c.t.Helper()
	var err error
	if c.store, err = c.home.Open(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *checkpoints) reopen() {
	c.t.Helper()
	c.must(c.store.Close())
	c.open()
}

func (c *checkpoints) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *checkpoints) wantError(err, want error) {
	c.t.Helper()
	if !errors.Is(err, want) {
		c.t.Fatalf("got error %v, want %v", err, want)
	}
}

// full takes a full checkpoint of the content now.
func (c *checkpoints) full(index protocol.Index) (storage.Manifest, error) {
	w, err := c.store.BeginFull(context.Background(), index, 0)
	if err != nil {
		return storage.Manifest{}, err
	}
	return c.commit(w, index, c.now.Items())
}

// incremental takes one of the content now, on top of the older one of two.
func (c *checkpoints) incremental(index protocol.Index) (storage.Manifest, error) {
	kept := c.store.Kept()
	base := kept[len(kept)-1]
	w, err := c.store.BeginIncremental(context.Background(), index, base)
	if err != nil {
		return storage.Manifest{}, err
	}
	return c.commit(w, index, c.now.Since(c.want[base.Index], c.random))
}

// next takes a checkpoint as a member does: incremental if that can be.
func (c *checkpoints) next(index protocol.Index) (storage.Manifest, error) {
	if len(c.store.Kept()) < 2 {
		return c.full(index)
	}
	return c.incremental(index)
}

func (c *checkpoints) commit(w storage.CheckpointWriter, index protocol.Index, items []storage.Item) (storage.Manifest, error) {
	defer w.Abort()
	c.want[index] = c.now.Clone()
	for part := range slices.Chunk(items, 100) {
		if err := w.Write(context.Background(), part); err != nil {
			return storage.Manifest{}, err
		}
	}
	return w.Commit(context.Background(), Describe(index))
}

// kept checks which checkpoints are kept, and all of their content.
func (c *checkpoints) kept(want ...protocol.Index) {
	c.t.Helper()
	got := []protocol.Index{}
	for _, d := range c.store.Kept() {
		got = append(got, d.Index)
	}
	if !slices.Equal(got, want) {
		c.t.Fatalf("got checkpoints at %v, want %v", got, want)
	}
	for _, d := range c.store.Kept() {
		c.check(d)
	}
}

func (c *checkpoints) check(d storage.Manifest) {
	c.t.Helper()
	want := Describe(d.Index)
	want.Items, want.Bytes, want.Chunks = d.Items, d.Bytes, d.Chunks
	if !bytes.Equal(storage.EncodeManifest(d), storage.EncodeManifest(want)) {
		c.t.Fatalf("manifest of %d: got %v, want %v", d.Index, d, want)
	}
	var got []storage.Item
	c.must(c.store.Iterate(context.Background(), d.Index, func(it storage.Item) error {
		it.Key, it.Value = bytes.Clone(it.Key), bytes.Clone(it.Value)
		got = append(got, it)
		return nil
	}))
	sameItems(c.t, got, c.want[d.Index].Items())
	if d.Items != uint64(len(got)) {
		c.t.Fatalf("manifest of %d: got %d items, want %d", d.Index, d.Items, len(got))
	}
}

func sameItems(t *testing.T, got, want []storage.Item) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d items, want %d", len(got), len(want))
	}
	for i := range got {
		a, b := &got[i], &want[i]
		if a.Space != b.Space || !bytes.Equal(a.Key, b.Key) || a.Index != b.Index || !bytes.Equal(a.Value, b.Value) {
			t.Fatalf("item %d: got %q %q of %d, want %q %q of %d", i, a.Space, a.Key, a.Index, b.Space, b.Key, b.Index)
		}
	}
}

// chunks reads all chunks of a checkpoint.
func (c *checkpoints) chunks(d storage.Manifest) [][]byte {
	c.t.Helper()
	var out [][]byte
	for n, sum := range d.Chunks {
		b, err := c.store.ReadChunk(context.Background(), d.Index, n)
		c.must(err)
		if got := storage.ChunkSum(xxh3.Hash128(b).Bytes()); got != sum {
			c.t.Fatalf("chunk %d: got sum %x, want %x", n, got, sum)
		}
		out = append(out, b)
	}
	return out
}

func random(t *testing.T, seed uint64) *rand.Rand {
	t.Helper()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 11))
}
