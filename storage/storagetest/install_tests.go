package storagetest

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Chunks come in any order, wrong ones among them, over restarts.
func testCheckpointInstall(t *testing.T, factory CheckpointFactory) {
	ctx := context.Background()
	from := newCheckpoints(t, factory, 9)
	r := random(t, 9)
	from.now.Change(r, 600, 0, 100)
	d, err := from.full(100)
	from.must(err)
	chunks := from.chunks(d)

	c := newCheckpoints(t, factory, 10)
	c.want[100] = from.want[100]
	in, err := c.store.Install(ctx, d)
	c.must(err)
	order := r.Perm(len(chunks))
	for i, n := range order {
		if _, ok := c.store.Installing(); !ok {
			t.Fatal("the installation is forgotten")
		}
		wrong := bytes.Clone(chunks[n])
		wrong[r.IntN(len(wrong))] ^= 1
		c.wantError(in.Add(n, wrong), protocol.ErrCorrupt)
		c.wantError(in.Add(n, chunks[n][1:]), protocol.ErrCorrupt)
		c.wantError(in.Commit(ctx), protocol.ErrInvalid)
		c.must(in.Add(n, chunks[n]))
		c.must(in.Add(n, chunks[n]))
		want := slices.Sorted(slices.Values(order[i+1:]))
		if got := in.Missing(1000); !slices.Equal(got, want) {
			t.Fatalf("got missing %v, want %v", got, want)
		}
		if i%3 == 0 {
			if i%2 == 0 {
				c.home.Kill(c.store)
				c.open()
			} else {
				c.reopen()
			}
			in, err = c.store.Install(ctx, d)
			c.must(err)
			if got := in.Missing(1000); !slices.Equal(got, want) {
				t.Fatalf("after a restart: got missing %v, want %v", got, want)
			}
		}
		if got := in.Missing(2); len(got) > 2 {
			t.Fatalf("got %d chunks, the limit is 2", len(got))
		}
	}
	c.wantError(in.Add(len(chunks), chunks[0]), protocol.ErrNotFound)
	var got []storage.Item
	c.must(in.Iterate(ctx, func(it storage.Item) error {
		it.Key, it.Value = bytes.Clone(it.Key), bytes.Clone(it.Value)
		got = append(got, it)
		return nil
	}))
	sameItems(t, got, from.now.Items())
	c.must(in.Commit(ctx))
	if _, ok := c.store.Installing(); ok {
		t.Error("the installation has ended and is still there")
	}
	c.kept(100)
	c.reopen()
	c.kept(100)
	c.replaceInstall()
}

// replaceInstall: another manifest replaces one that is under way; abort
// forgets it.
func (c *checkpoints) replaceInstall() {
	c.t.Helper()
	ctx := context.Background()
	in, err := c.store.Install(ctx, Describe(200))
	c.must(err)
	in2, err := c.store.Install(ctx, Describe(300))
	c.must(err)
	c.wantError(in.Commit(ctx), protocol.ErrInvalid)
	c.must(in2.Abort())
	c.must(in2.Abort())
	c.reopen()
	if _, ok := c.store.Installing(); ok {
		c.t.Error("an aborted installation is still there")
	}
	c.kept(100)
}

// testCheckpointCarried: what was fetched of one checkpoint counts for the next one
// as far as the two have the same chunks, over restarts, and so does what this
// member has in a checkpoint of its own.
func testCheckpointCarried(t *testing.T, factory CheckpointFactory) {
	ctx := context.Background()
	from := newCheckpoints(t, factory, 15)
	r := random(t, 15)
	from.now.Change(r, 600, 0, 100)
	d, err := from.full(100)
	from.must(err)
	chunks := from.chunks(d)
	old := from.now.Clone()
	from.now.Change(r, 3, 100, 200)
	next, err := from.full(200)
	from.must(err)
	nextChunks := from.chunks(next)
	// differ returns the chunks of next that are none of a list.
	differ := func(of []storage.ChunkSum) (out []int) {
		for n, sum := range next.Chunks {
			if !slices.Contains(of, sum) {
				out = append(out, n)
			}
		}
		return out
	}
	if n := len(differ(d.Chunks)); n == 0 || n > len(next.Chunks)/2 {
		t.Fatalf("%d of %d chunks differ: the test tests nothing", n, len(next.Chunks))
	}
	finish := func(c *checkpoints, in storage.CheckpointInstall, want []int) {
		t.Helper()
		if got := in.Missing(1000); !slices.Equal(got, want) {
			t.Fatalf("got missing %v, want %v: what differs", got, want)
		}
		for _, n := range want {
			c.must(in.Add(n, nextChunks[n]))
		}
		c.must(in.Commit(ctx))
		if _, ok := c.store.Installing(); ok {
			t.Error("the installation has ended and is still there")
		}
	}
	for _, restart := range []bool{false, true} {
		c := newCheckpoints(t, factory, 16)
		c.want[200] = from.want[200]
		in, err := c.store.Install(ctx, d)
		c.must(err)
		for n, b := range chunks[:len(chunks)-2] {
			c.must(in.Add(n, b))
		}
		if restart {
			c.home.Kill(c.store)
			c.open()
		}
		in, err = c.store.Install(ctx, next)
		c.must(err)
		finish(c, in, differ(d.Chunks[:len(chunks)-2]))
		c.kept(200)
		c.reopen()
		c.kept(200)
	}
	c := newCheckpoints(t, factory, 17)
	c.now = old
	c.want[200] = from.want[200]
	_, err = c.full(100)
	c.must(err)
	in, err := c.store.Install(ctx, next)
	c.must(err)
	finish(c, in, differ(d.Chunks))
	c.kept(200, 100)
}

func testCheckpointInstallBelow(t *testing.T, factory CheckpointFactory) {
	ctx := context.Background()
	c := newCheckpoints(t, factory, 11)
	for _, index := range []protocol.Index{10, 20} {
		_, err := c.full(index)
		c.must(err)
	}
	_, err := c.store.Install(ctx, Describe(20))
	c.wantError(err, protocol.ErrStaleVersion)
	c.must(c.store.Bad(20)) // a diverged member takes the others' word
	in, err := c.store.Install(ctx, Describe(20))
	c.must(err)
	c.must(in.Commit(ctx))
	c.kept(20, 10)
	c.reopen()
	c.kept(20, 10)
	bad := Describe(30)
	bad.Items = 1
	_, err = c.store.Install(ctx, bad)
	c.wantError(err, protocol.ErrInvalid)
}
