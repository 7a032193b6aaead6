package storagetest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

func testCheckpointEmpty(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 1)
	c.kept()
	_, err := c.full(5)
	c.must(err)
	c.kept(5)
	c.reopen()
	c.kept(5)
	_, err = c.next(6)
	c.must(err)
	c.kept(6, 5)
	_, err = c.store.ReadChunk(context.Background(), 6, 0)
	c.wantError(err, protocol.ErrNotFound)
	c.wantError(c.store.Iterate(context.Background(), 4, nil), protocol.ErrNotFound)
	c.must(c.store.Close())
	c.must(c.store.Close())
	_, err = c.store.BeginFull(context.Background(), 9, 0)
	c.wantError(err, protocol.ErrClosed)
	c.wantError(c.store.Iterate(context.Background(), 5, nil), protocol.ErrClosed)
	c.open()
}

// Exactly two are kept, over full and incremental ones, and both survive.
func testCheckpointTwoKept(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 2)
	r := random(t, 2)
	var last []protocol.Index
	for i := range protocol.Index(12) {
		index := 100 * (i + 1)
		c.now.Change(r, 150, index-100, index)
		var err error
		if i%4 == 0 {
			_, err = c.full(index)
		} else {
			_, err = c.next(index)
		}
		c.must(err)
		last = append([]protocol.Index{index}, last[:min(1, len(last))]...)
		c.kept(last...)
		if i%3 == 2 {
			c.reopen()
			c.kept(last...)
		}
	}
	c.home.Kill(c.store)
	c.open()
	c.kept(last...)
}

// A key changed at 57 still says 57 after a checkpoint at 100 and a restart.
func testCheckpointVersions(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 3)
	it := storage.Item{Space: "map", Key: []byte("k"), Index: 57, Value: []byte("v")}
	c.now.Put(it)
	_, err := c.full(100)
	c.must(err)
	_, err = c.full(150)
	c.must(err)
	_, err = c.incremental(200)
	c.must(err)
	c.reopen()
	c.must(c.store.Iterate(context.Background(), 200, func(got storage.Item) error {
		sameItems(t, []storage.Item{got}, []storage.Item{it})
		return nil
	}))
}

func testCheckpointSameLog(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 4)
	ctx := context.Background()
	c.now.Put(storage.Item{Key: []byte("a"), Index: 1})
	d, err := c.full(10)
	c.must(err)
	_, err = c.store.BeginIncremental(ctx, 20, d) // the only one: both would be in one store
	c.wantError(err, protocol.ErrStaleVersion)
	_, err = c.full(15)
	c.must(err)
	other := d
	other.LogSum[1]++
	_, err = c.store.BeginIncremental(ctx, 20, other)
	c.wantError(err, protocol.ErrStaleVersion)
	other = d
	other.Term++
	_, err = c.store.BeginIncremental(ctx, 20, other)
	c.wantError(err, protocol.ErrStaleVersion)
	_, err = c.store.BeginIncremental(ctx, 10, d)
	c.wantError(err, protocol.ErrStaleVersion)
	_, err = c.store.BeginFull(ctx, 9, 0)
	c.wantError(err, protocol.ErrStaleVersion)
	twenty, err := c.incremental(20)
	c.must(err)
	_, err = c.store.BeginIncremental(ctx, 30, d) // no longer kept
	c.wantError(err, protocol.ErrStaleVersion)
	_, err = c.store.BeginIncremental(ctx, 30, twenty) // not the older one
	c.wantError(err, protocol.ErrStaleVersion)

	w, err := c.store.BeginFull(ctx, 40, 0)
	c.must(err)
	_, err = c.store.BeginFull(ctx, 40, 0) // one at a time
	c.wantError(err, protocol.ErrInvalid)
	_, err = w.Commit(ctx, Describe(41))
	c.wantError(err, protocol.ErrInvalid)
	w.Abort()
	c.kept(20, 15)
}

// Checkpoint at 10 {b}, a crashed one at 20 left c, an install at 30 {a}.
func testCheckpointLeftovers(t *testing.T, factory CheckpointFactory) {
	ctx := context.Background()
	from := newCheckpoints(t, factory, 5)
	from.now.Put(storage.Item{Key: []byte("a"), Index: 25, Value: []byte("30")})
	d, err := from.full(30)
	from.must(err)

	c := newCheckpoints(t, factory, 6)
	c.now.Put(storage.Item{Key: []byte("b"), Index: 5})
	five, err := c.full(5)
	c.must(err)
	_, err = c.full(10)
	c.must(err)
	w, err := c.store.BeginIncremental(ctx, 20, five)
	c.must(err)
	c.must(w.Write(ctx, leftovers()))
	c.home.Kill(c.store)
	c.open()
	c.kept(10, 5)

	in, err := c.store.Install(ctx, d)
	c.must(err)
	for n, b := range from.chunks(d) {
		c.must(in.Add(n, b))
	}
	c.must(in.Commit(ctx))
	c.want[30] = from.want[30]
	c.kept(30, 10)
	c.reopen()
	c.kept(30, 10)
	// Nor through what is built on top of the install.
	c.now = from.now.Clone()
	_, err = c.full(35)
	c.must(err)
	_, err = c.incremental(40)
	c.must(err)
	c.kept(40, 35)

	// A crashed one that is replayed from the same log is harmless, also with
	// another index.
	w, err = c.store.BeginIncremental(ctx, 60, c.store.Kept()[1])
	c.must(err)
	c.must(w.Write(ctx, []storage.Item{{Key: []byte("x"), Index: 45}, {Key: []byte("a"), Deleted: true}}))
	c.home.Kill(c.store)
	c.open()
	c.now.Put(storage.Item{Key: []byte("x"), Index: 45})
	_, err = c.incremental(50)
	c.must(err)
	c.kept(50, 40)
	c.now.Put(storage.Item{Key: []byte("a"), Deleted: true})
	_, err = c.incremental(70)
	c.must(err)
	c.kept(70, 50)
}

// leftovers are so many bytes that a store does not hold all of them back until
// the commit.
func leftovers() []storage.Item {
	var out []storage.Item
	for i := range 12 {
		out = append(out, storage.Item{Key: []byte{'c', byte(i)}, Index: 15, Value: make([]byte, 300<<10)})
	}
	return out
}

// What the store below cannot keep is refused by limits that all members share,
// and what is within them is kept: Badger's reserved prefix, the longest keys.
func testCheckpointLimits(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 7)
	ctx := context.Background()
	long := bytes.Repeat([]byte{0}, protocol.KeyBytesMax)
	space := string(bytes.Repeat([]byte{0}, storage.SpaceBytesMax))
	c.now.Put(
		storage.Item{Key: []byte("!badger!txn"), Index: 1},
		storage.Item{Key: []byte{0}, Index: 1},
		storage.Item{Space: space, Key: long, Index: 2, Value: make([]byte, storage.ItemValueBytesMax)},
		storage.Item{Space: space, Key: bytes.Repeat([]byte{255}, protocol.KeyBytesMax), Index: 3, Value: make([]byte, storage.ItemValueBytesMax)},
	)
	_, err := c.full(9)
	c.must(err)
	c.kept(9)
	c.reopen()
	c.kept(9)
	for _, b := range c.chunks(c.store.Kept()[0]) {
		if len(b) > storage.ChunkBytesLimit {
			t.Errorf("got a chunk of %d bytes, the limit is %d", len(b), storage.ChunkBytesLimit)
		}
	}

	w, err := c.store.BeginFull(ctx, 10, 0)
	c.must(err)
	defer w.Abort()
	for _, bad := range []struct {
		it   storage.Item
		want error
	}{
		{storage.Item{Index: 1}, protocol.ErrInvalid},
		{storage.Item{Key: append(long, 0), Index: 1}, protocol.ErrTooLarge},
		{storage.Item{Space: space + "x", Key: []byte("k"), Index: 1}, protocol.ErrTooLarge},
		{storage.Item{Key: []byte("k"), Index: 1, Value: make([]byte, storage.ItemValueBytesMax+1)}, protocol.ErrTooLarge},
		{storage.Item{Key: []byte("k"), Index: 11}, protocol.ErrInvalid},
		{storage.Item{Key: []byte("k")}, protocol.ErrInvalid},
		{storage.Item{Key: []byte("k"), Index: 1, Deleted: true}, protocol.ErrInvalid},
	} {
		c.wantError(w.Write(ctx, []storage.Item{bad.it}), bad.want)
	}
}

// Whatever way led to a content, all members describe it equally.
func testCheckpointDeterminism(t *testing.T, factory CheckpointFactory) {
	seeds := uint64(6)
	if testing.Short() || factory(t, 0).Slow {
		seeds = 1
	}
	for seed := range seeds {
		r := random(t, seed)
		a, b := newCheckpoints(t, factory, seed), newCheckpoints(t, factory, seed+100)
		a.now.Change(r, 800, 0, 100)
		_, err := a.full(100)
		a.must(err)
		for i := range protocol.Index(6) {
			index := 200 + 100*i
			a.now.Change(r, []int{1, 3, 40, 400}[r.IntN(4)], index-100, index)
			got, err := a.next(index)
			a.must(err)
			b.now = a.now
			want, err := b.full(index)
			b.must(err)
			if !bytes.Equal(storage.EncodeManifest(got), storage.EncodeManifest(want)) {
				t.Fatalf("seed %d, checkpoint %d: incremental has %d items in %d chunks, full %d in %d, or other sums",
					seed, index, got.Items, len(got.Chunks), want.Items, len(want.Chunks))
			}
			if len(got.Chunks) < 5 {
				t.Fatalf("got %d chunks: too few to say anything", len(got.Chunks))
			}
		}
	}
}

func testCheckpointChunks(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 8)
	c.now.Change(random(t, 8), 600, 0, 100)
	d, err := c.full(100)
	c.must(err)
	before := c.chunks(d)
	total := uint64(0)
	for n, b := range before {
		total += uint64(len(b))
		if n < len(before)-1 && len(b) < storage.ChunkBytesMin || len(b) > storage.ChunkBytesMax {
			t.Errorf("chunk %d: got %d bytes, want %d to %d", n, len(b), storage.ChunkBytesMin, storage.ChunkBytesMax)
		}
	}
	if total != d.Bytes {
		t.Errorf("got %d bytes in all chunks, want %d", total, d.Bytes)
	}
	c.reopen() // and without a table in memory
	if after := c.chunks(d); !slices.EqualFunc(before, after, bytes.Equal) {
		t.Error("got other chunks after a restart")
	}
	_, err = c.store.ReadChunk(context.Background(), 100, len(before))
	c.wantError(err, protocol.ErrNotFound)
	_, err = c.store.ReadChunk(context.Background(), 100, -1)
	c.wantError(err, protocol.ErrNotFound)
}

// Bad gives up one; the other is used, and nothing is built on top of it.
func testCheckpointBad(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 12)
	r := random(t, 12)
	c.now.Change(r, 50, 0, 10)
	_, err := c.full(10)
	c.must(err)
	c.now.Change(r, 50, 10, 20)
	_, err = c.full(20)
	c.must(err)
	c.must(c.store.Bad(20))
	c.wantError(c.store.Bad(20), protocol.ErrNotFound)
	c.kept(10)
	c.reopen()
	c.kept(10)
	_, err = c.incremental(30)
	c.wantError(err, protocol.ErrStaleVersion)
	c.now.Change(r, 50, 20, 30)
	_, err = c.full(30)
	c.must(err)
	c.kept(30, 10)
	_, err = c.incremental(40)
	c.must(err)
	c.kept(40, 30)
	c.must(c.store.Bad(30))
	c.must(c.store.Bad(40))
	c.kept()
	c.wantError(c.store.Retry(context.Background()), protocol.ErrNotFound)
	c.reopen()
	c.kept()
	_, err = c.full(30)
	c.must(err)
	c.kept(30)
}

func testCheckpointCancelled(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 13)
	c.now.Change(random(t, 13), 600, 0, 10)
	_, err := c.full(10)
	c.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	w, err := c.store.BeginFull(ctx, 20, 0)
	c.must(err)
	c.must(w.Write(ctx, c.now.Items()))
	cancel()
	_, err = w.Commit(ctx, Describe(20))
	c.wantError(err, context.Canceled)
	w.Abort()
	c.wantError(c.store.Iterate(ctx, 10, func(storage.Item) error { return nil }), context.Canceled)
	stop := errors.New("enough")
	c.wantError(c.store.Iterate(context.Background(), 10, func(storage.Item) error { return stop }), stop)
	c.kept(10)
	c.reopen()
	c.kept(10)
}

// Readers go on while checkpoints are taken, and see what they asked for or
// that it is gone.
func testCheckpointConcurrent(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 14)
	r := random(t, 14)
	c.now.Change(r, 400, 0, 100)
	_, err := c.full(100)
	c.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				for _, d := range c.store.Kept() {
					n := uint64(0)
					err := c.store.Iterate(ctx, d.Index, func(storage.Item) error { n++; return nil })
					if err == nil && n != d.Items {
						t.Errorf("checkpoint %d: got %d items, want %d", d.Index, n, d.Items)
					}
					if err == nil && len(d.Chunks) > 0 {
						_, err = c.store.ReadChunk(ctx, d.Index, len(d.Chunks)-1)
					}
					if err != nil && !errors.Is(err, protocol.ErrNotFound) && ctx.Err() == nil {
						t.Errorf("checkpoint %d: %v", d.Index, err)
					}
				}
			}
		})
	}
	for i := range protocol.Index(10) {
		index := 200 + 100*i
		c.now.Change(r, 50, index-100, index)
		if i%3 == 2 {
			_, err = c.full(index)
		} else {
			_, err = c.next(index)
		}
		if err != nil {
			break
		}
	}
	cancel()
	readers.Wait()
	c.must(err)
	c.kept(1100, 1000)
}
