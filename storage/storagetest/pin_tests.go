package storagetest

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// testCheckpointPinned: what is being sent can be read until its last pin is
// released, however many checkpoints come, in the same store and in others.
func testCheckpointPinned(t *testing.T, factory CheckpointFactory) {
	r := random(t, 21)
	for _, incremental := range []bool{true, false} {
		c := newCheckpoints(t, factory, 21)
		_, err := c.store.Pin(10)
		c.wantError(err, protocol.ErrNotFound)
		c.now.Change(r, 200, 1, 10)
		d, err := c.full(10)
		c.must(err)
		want := c.chunks(d)
		release, err := c.store.Pin(10)
		c.must(err)
		again, err := c.store.Pin(10)
		c.must(err)
		for index := protocol.Index(20); index <= 50; index += 10 {
			c.now.Change(r, 200, index-10, index)
			if incremental {
				_, err = c.next(index)
			} else {
				_, err = c.full(index)
			}
			c.must(err)
		}
		c.kept(50, 40)
		_, err = c.store.ReadChunk(context.Background(), 30, 0)
		c.wantError(err, protocol.ErrNotFound)
		same := func() {
			t.Helper()
			for n, b := range c.chunks(d) {
				if !bytes.Equal(b, want[n]) {
					t.Fatalf("chunk %d is another one", n)
				}
			}
		}
		same()
		c.check(d)
		release()
		release() // only its own pin
		same()
		again()
		_, err = c.store.ReadChunk(context.Background(), 10, 0)
		c.wantError(err, protocol.ErrNotFound)
		_, err = c.store.Pin(10)
		c.wantError(err, protocol.ErrNotFound)
		c.kept(50, 40)
		// A pin does not outlive the process, nor does it keep Close from closing.
		release, err = c.store.Pin(40)
		c.must(err)
		_, err = c.full(60)
		c.must(err)
		c.reopen()
		release()
		c.kept(60, 50)
	}
}

// testCheckpointPinnedConcurrent: others read the chunks of what is pinned while
// the owner takes checkpoint after checkpoint.
func testCheckpointPinnedConcurrent(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 22)
	r := random(t, 22)
	c.now.Change(r, 300, 1, 10)
	newest, err := c.full(10)
	c.must(err)
	var group sync.WaitGroup
	for index := protocol.Index(20); index <= 120; index += 10 {
		d := newest
		release, err := c.store.Pin(d.Index)
		c.must(err)
		group.Go(func() {
			defer release()
			for range 3 {
				for n, sum := range d.Chunks {
					b, err := c.store.ReadChunk(context.Background(), d.Index, n)
					if err != nil || storage.ChunkSum(xxh3.Hash128(b).Bytes()) != sum {
						t.Errorf("chunk %d of %d: %v", n, d.Index, err)
						return
					}
				}
			}
		})
		c.now.Change(r, 100, index-10, index)
		if index%40 == 0 {
			newest, err = c.full(index)
		} else {
			newest, err = c.next(index)
		}
		c.must(err)
	}
	group.Wait()
	c.kept(120, 110)
}

// testCheckpointNothingChanged: an incremental checkpoint of no changes is the
// same content at another index.
func testCheckpointNothingChanged(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 23)
	r := random(t, 23)
	for _, items := range []int{0, 300} {
		at := protocol.Index(10 + items)
		if items > 0 {
			c.now.Change(r, items, 1, at)
		}
		first, err := c.full(at)
		c.must(err)
		for n := range protocol.Index(4) {
			next, err := c.next(at + 1 + n)
			c.must(err)
			if next.Items != first.Items || next.Bytes != first.Bytes || len(next.Chunks) != len(first.Chunks) {
				t.Fatalf("nothing changed: %d items, %d bytes, then %d and %d", first.Items, first.Bytes, next.Items, next.Bytes)
			}
		}
		c.kept(at+4, at+3)
		c.reopen()
		c.kept(at+4, at+3)
	}
}
