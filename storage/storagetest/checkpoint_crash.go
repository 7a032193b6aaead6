package storagetest

import (
	"context"
	"errors"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// story takes full and incremental checkpoints and installs one. Each step
// tells what must be kept when it is done.
func (c *checkpoints) story(seed uint64, chunks [][]byte, d storage.Manifest, done func(kept ...protocol.Index)) error {
	r := random(c.t, seed)
	c.now.Change(r, 30, 0, 10)
	if _, err := c.full(10); err != nil {
		return err
	}
	done(10)
	c.now.Change(r, 10, 10, 20)
	if _, err := c.full(20); err != nil {
		return err
	}
	done(20, 10)
	c.now.Change(r, 10, 20, 30)
	if _, err := c.incremental(30); err != nil {
		return err
	}
	done(30, 20)
	c.now.Change(r, 10, 30, 40)
	if _, err := c.full(40); err != nil {
		return err
	}
	done(40, 30)
	in, err := c.store.Install(context.Background(), d)
	if err != nil {
		return err
	}
	for n, b := range chunks {
		if err := in.Add(n, b); err != nil {
			return err
		}
	}
	if err := in.Commit(context.Background()); err != nil {
		return err
	}
	done(100, 40)
	if err := c.store.Bad(100); err != nil {
		return err
	}
	done(40)
	c.now.Change(r, 10, 40, 50)
	if _, err := c.full(50); err != nil {
		return err
	}
	done(50, 40)
	return nil
}

// after maps what was kept before a step to what it leaves.
func after(before protocol.Index) []protocol.Index {
	return map[protocol.Index][]protocol.Index{0: {0, 10}, 10: {10, 20}, 20: {20, 30}, 30: {30, 40}, 40: {40, 100, 50}, 100: {100, 40}, 50: {50}}[before]
}

// At each step of the story the process dies or the power goes: afterwards the
// checkpoints of before or after the step are there, whole.
func testCheckpointCrash(t *testing.T, factory CheckpointFactory) {
	from := newCheckpoints(t, factory, 20)
	from.now.Change(random(t, 20), 100, 0, 100)
	d, err := from.full(100)
	from.must(err)
	chunks := from.chunks(d)

	steps, stride := 0, 1
	if testing.Short() {
		stride = 5
	}
	for finished := false; !finished; steps += stride {
		for _, cut := range []bool{true, false} {
			c := newCheckpoints(t, factory, uint64(steps))
			c.want[100] = from.want[100]
			var newest protocol.Index
			c.home.Disk.StopAfter(steps)
			err := c.story(uint64(steps), chunks, d, func(kept ...protocol.Index) { newest = kept[0] })
			finished = err == nil
			if cut {
				c.home.Crash(c.store)
			} else {
				c.home.Kill(c.store)
			}
			c.open()
			c.checkAfter(newest, finished)
			if t.Failed() {
				t.Fatalf("stopped after %d operations, power cut: %v", steps, cut)
			}
			// Life goes on.
			c.now = NewContent()
			c.now.Put(storage.Item{Key: []byte("on"), Index: 500})
			_, err = c.full(1000)
			c.must(err)
			_, err = c.next(1001)
			c.must(err)
			_, err = c.incremental(1002)
			c.must(err)
			c.kept(1002, 1001)
			c.must(c.store.Close())
		}
	}
	t.Logf("%d operations", steps)
	if steps < 60 {
		t.Errorf("the story has only %d operations", steps)
	}
}

// checkAfter checks what is kept after the step that followed newest died.
func (c *checkpoints) checkAfter(newest protocol.Index, finished bool) {
	c.t.Helper()
	got := protocol.Index(0)
	kept := c.store.Kept()
	if len(kept) > 0 {
		got = kept[0].Index
	}
	ok := got == newest
	for _, next := range after(newest) {
		ok = ok || got == next && !finished
	}
	if !ok {
		c.t.Errorf("the newest checkpoint is at %d, after a step that followed %d", got, newest)
		return
	}
	if len(kept) > 1 && kept[1].Index >= kept[0].Index || got >= 20 && got != 40 && len(kept) != 2 {
		c.t.Errorf("got %d checkpoints after %d", len(kept), newest)
	}
	for _, d := range kept {
		c.check(d)
	}
}

// A write, sync or rename that fails ends the writing, and loses nothing.
func testCheckpointFailedWrites(t *testing.T, factory CheckpointFactory) {
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir, vfs.OpCreate} {
		for n := 1; ; n++ {
			c := newCheckpoints(t, factory, uint64(n))
			r := random(t, uint64(n))
			c.now.Change(r, 30, 0, 5)
			_, err := c.full(5)
			c.must(err)
			_, err = c.full(10)
			c.must(err)
			c.now.Change(r, 30, 10, 20)
			before := c.home.Disk.Counters().Faults
			c.home.Disk.Fail(op, n, syscall.EIO)
			_, err = c.incremental(20)
			met := c.home.Disk.Counters().Faults > before
			if met && err == nil {
				c.kept(20, 10) // it was met after the pointer
			}
			skipped := errors.Is(err, protocol.ErrDirectory)
			if err != nil && !skipped && !errors.Is(err, protocol.ErrDiskFailed) {
				t.Fatalf("got error %v, want %v or %v", err, protocol.ErrDirectory, protocol.ErrDiskFailed)
			}
			if err != nil {
				// What was there can still be read.
				c.kept(10, 5)
			}
			newest, oldest := protocol.Index(20), protocol.Index(10)
			if skipped { // nothing had been promised: the next one is taken
				if _, err := c.full(30); err != nil {
					t.Fatalf("operation %d, number %d: after one that was given up: %v", op, n, err)
				}
				newest = 30
			}
			c.home.Crash(c.store)
			c.open()
			kept := c.store.Kept()
			if err == nil || skipped {
				c.kept(newest, oldest)
			} else if len(kept) != 2 || kept[0].Index != 10 && kept[0].Index != 20 {
				t.Fatalf("operation %d, number %d: got %d checkpoints, the newest at %d", op, n, len(kept), kept[0].Index)
			}
			for _, d := range c.store.Kept() {
				c.check(d)
			}
			c.must(c.store.Close())
			if !met {
				break
			}
		}
	}
}

// Without room nothing is begun, nothing breaks, and it goes on by itself.
func testCheckpointFullDisk(t *testing.T, factory CheckpointFactory) {
	c := newCheckpoints(t, factory, 30)
	r := random(t, 30)
	ctx := context.Background()
	c.now.Change(r, 30, 0, 5)
	five, err := c.full(5)
	c.must(err)
	_, err = c.full(10)
	c.must(err)
	w, err := c.store.BeginIncremental(ctx, 20, five)
	c.must(err)
	c.home.Disk.SetCapacity(0)
	changes := c.now.Change(r, 30, 10, 20)
	c.wantError(w.Write(ctx, changes), protocol.ErrNoSpace)
	_, err = w.Commit(ctx, Describe(20))
	c.wantError(err, protocol.ErrNoSpace)
	w.Abort()
	_, err = c.store.BeginFull(ctx, 20, 0)
	c.wantError(err, protocol.ErrNoSpace)
	_, err = c.store.BeginIncremental(ctx, 20, five)
	c.wantError(err, protocol.ErrNoSpace)
	_, err = c.store.Install(ctx, Describe(20))
	c.wantError(err, protocol.ErrNoSpace)
	c.home.Disk.SetCapacity(1 << 40)
	_, err = c.incremental(20)
	c.must(err)
	c.kept(20, 10)
}
