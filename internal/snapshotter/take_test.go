package snapshotter_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// Members that take checkpoints of one log have equal ones, whether each was made
// whole or on top of the last, and restart from any of them.
func TestIncrementalChainEqualsAFullOne(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		all := history(11, 505, 2)
		h.grow(all)
		whole := newHome(t, memory, 1)
		whole.must(whole.start())
		whole.machine.Apply(all[:500], nil)
		_, err := snapshotter.Take(ctx, whole.store, whole.machine.Snapshot(), describe(all, 500))
		h.must(err)
		got, want := h.store.Kept()[0], whole.store.Kept()[0]
		if !bytes.Equal(storage.EncodeManifest(got), storage.EncodeManifest(want)) {
			t.Errorf("on top of nine others %+v, at once %+v", got, want)
		}
		for range 3 { // and on, across restarts
			h.startAgain()
			h.replay()
			n := len(all)
			for len(all) < n+60 {
				all = extend(all, all[10].Data)
			}
			all = mark(all)
			h.grow(all)
			h.wantState(all)
		}
	})
}

// counting counts the checkpoints that are begun.
type counting struct {
	storage.CheckpointStore
	full, incremental int
}

func (c *counting) BeginFull(ctx context.Context, index protocol.Index, bytes uint64) (storage.CheckpointWriter, error) {
	c.full++
	return c.CheckpointStore.BeginFull(ctx, index, bytes)
}

func (c *counting) BeginIncremental(ctx context.Context, index protocol.Index, base storage.Manifest) (storage.CheckpointWriter, error) {
	c.incremental++
	return c.CheckpointStore.BeginIncremental(ctx, index, base)
}

// After a start nobody knows what has changed since the last but one: one full
// checkpoint is taken, and all others are incremental.
func TestRestartCostsOneFullCheckpoint(t *testing.T) {
	h := newHome(t, flat, 1)
	h.must(h.start())
	all := history(12, 405, 1)
	h.grow(all[:180])
	h.startAgain()
	h.replay()
	store := &counting{CheckpointStore: h.store}
	for k := 180; k < 405; k++ {
		h.append(protocol.Index(k), all[k:k+1], protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: protocol.Index(k + 1)}, true)
		h.machine.Apply(all[k:k+1], nil)
		if e := &all[k]; e.Kind == protocol.EntryCheckpoint {
			_, err := snapshotter.Take(ctx, store, h.machine.Snapshot(), describe(all, e.Index))
			h.must(err)
		}
	}
	if store.full != 1 || store.incremental != 4 {
		t.Errorf("%d full ones and %d incremental ones were taken, want 1 and 4", store.full, store.incremental)
	}
	h.wantKept(400, 350)
	h.startAgain()
	h.replay()
	h.wantState(all)
}

// What a failed checkpoint would have told is in none: the next one is full.
func TestFailedTakeMakesTheNextOneFull(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		all := history(13, 270, 1)
		h.grow(all[:199])
		h.append(199, all[199:200], protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 200}, true)
		h.machine.Apply(all[199:200], nil)
		over, cancel := context.WithCancel(ctx)
		cancel()
		kept, err := snapshotter.Take(over, h.store, h.machine.Snapshot(), describe(all, 200))
		h.wantError(err, context.Canceled)
		if len(kept) != 2 || kept[0].Index != 150 {
			t.Errorf("kept is %v after a failure", kept)
		}
		h.grow(all)
		h.wantKept(250, 150)
		h.startAgain()
		h.replay()
		h.wantState(all)
	})
}

// A checkpoint that finds the one below damaged is taken whole, and the damaged
// one is given up.
func TestDamagedBaseIsGivenUp(t *testing.T) {
	h := newHome(t, flat, 1)
	h.must(h.start())
	all := history(14, 160, 1)
	h.grow(all[:120])
	h.damageStore() // that of the one at 50
	h.close()
	h.must(h.open()) // nothing is in memory: it has to be read
	for k := 120; k < 149; k++ {
		h.machine.Apply(all[k:k+1], nil)
	}
	h.machine.Apply(all[149:150], nil)
	store := &counting{CheckpointStore: h.store}
	_, err := snapshotter.Take(ctx, store, h.machine.Snapshot(), describe(all, 150))
	h.must(err)
	if store.incremental != 1 || store.full != 1 {
		t.Errorf("%d incremental ones and %d full ones were begun, want one and one", store.incremental, store.full)
	}
	h.wantKept(150, 100)
	h.append(120, all[120:], protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 160}, true)
	h.startAgain()
	h.replay()
	h.wantState(all)
}

// damageStore flips a bit in the middle of what the checkpoints are made of.
func (h *home) damageStore() {
	h.t.Helper()
	folder := dir + "/checkpoints/"
	names, err := h.disk.ReadDir(folder)
	h.must(err)
	for _, name := range names {
		if len(name) < 6 || name[:6] != "store-" {
			continue
		}
		files, err := h.disk.ReadDir(folder + name)
		h.must(err)
		for _, file := range files {
			info, err := h.disk.Stat(folder + name + "/" + file)
			h.must(err)
			if info.Size > 1000 {
				h.must(h.disk.FlipBit(folder+name+"/"+file, info.Size*4))
				return
			}
		}
	}
	h.t.Fatal("no file to damage")
}

// A full disk costs a checkpoint, and nothing else.
func TestFullDiskCostsOneCheckpoint(t *testing.T) {
	h := newHome(t, flat, 1)
	h.must(h.start())
	all := history(15, 220, 1)
	h.grow(all[:149])
	h.append(149, all[149:], protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 220}, true)
	h.machine.Apply(all[149:150], nil)
	h.disk.SetCapacity(1)
	_, err := snapshotter.Take(ctx, h.store, h.machine.Snapshot(), describe(all, 150))
	h.wantError(err, protocol.ErrNoSpace)
	h.wantKept(100, 50)
	h.disk.SetCapacity(1 << 40)
	h.apply(all[150:])
	h.wantKept(200, 100)
	h.startAgain()
	h.replay()
	h.wantState(all)
}

// A failed sync costs one checkpoint, and those before it are there: the next one
// goes into a store of its own.
func TestFailedDiskWhileTaking(t *testing.T) {
	h := newHome(t, flat, 1)
	h.must(h.start())
	all := history(16, 220, 1)
	h.grow(all[:149])
	h.append(149, all[149:], protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 220}, true)
	h.machine.Apply(all[149:150], nil)
	h.disk.Fail(vfs.OpSync, 1, nil)
	_, err := snapshotter.Take(ctx, h.store, h.machine.Snapshot(), describe(all, 150))
	h.wantError(err, protocol.ErrDirectory)
	h.wantKept(100, 50)
	h.apply(all[150:])
	h.wantKept(200, 100)
	h.startAgain()
	h.replay()
	h.wantState(all)
}

// A crash in the middle of taking loses that checkpoint only. Counterexample 22:
// what it left in the store shows through nothing that comes later.
func TestTakingCrashesAtEveryStep(t *testing.T) {
	all := history(17, 250, 1)
	for n := 0; ; n++ {
		h := newHome(t, flat, uint64(n))
		h.must(h.start())
		h.grow(all[:149])
		h.append(149, all[149:], protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 250}, true)
		h.machine.Apply(all[149:150], nil)
		h.disk.StopAfter(n)
		_, err := snapshotter.Take(ctx, h.store, h.machine.Snapshot(), describe(all, 150))
		h.powerCut()
		h.must(h.start())
		switch {
		case err == nil && h.restored.Applied != 150:
			t.Fatalf("step %d: the checkpoint is lost, restored to %d", n, h.restored.Applied)
		case err != nil && h.restored.Applied != 150 && h.restored.Applied != 100:
			t.Fatalf("step %d: restored to %d", n, h.restored.Applied)
		}
		h.apply(all[h.restored.Applied:])
		if h.store.Kept()[0].Index != 250 {
			t.Fatalf("step %d: the newest is %d", n, h.store.Kept()[0].Index)
		}
		h.wantLoads(all)
		if err == nil {
			break
		}
	}
}

// wantLoads installs the newest checkpoint elsewhere, which compares its digest.
func (h *home) wantLoads(entries []protocol.Entry) {
	h.t.Helper()
	to := newHome(h.t, memory, 1)
	to.must(to.start())
	d := h.store.Kept()[0]
	var in snapshotter.Installation
	to.fill(&in, h, d)
	loader, err := in.Finish(ctx, to.machine, nil)
	h.must(err)
	to.machine.Install(loader)
	to.wantState(entries[:d.Index])
}

// A checkpoint entry that another member's checkpoint has superseded is taken for done.
func TestTakeBelowWhatIsKept(t *testing.T) {
	h := newHome(t, flat, 1)
	h.must(h.start())
	all := history(18, 120, 1)
	h.grow(all)
	late := stateOf(t, all[:70]).Snapshot()
	kept, err := snapshotter.Take(ctx, h.store, late, describe(all, 70))
	if err != nil || len(kept) != 2 || kept[0].Index != 100 {
		t.Errorf("got %v, %v; want what is kept", kept, err)
	}
	if errors.Is(err, protocol.ErrStaleVersion) {
		t.Error("stale")
	}
}

// [S] A checkpoint is built only on one of the same log: not on one of a state
// that this one does not come from, nor on one of a later term or configuration,
// which is that of a deposed leader's log. Then it is taken whole.
func TestCheckpointOfAnotherLogIsNotBuiltUpon(t *testing.T) {
	all := history(19, 300, 1)
	for name, other := range map[string]func(*storage.Manifest){
		"a later term":          func(d *storage.Manifest) { d.Term += 4 },
		"a later configuration": func(d *storage.Manifest) { d.Configuration.Index = 60 },
		"another state":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, flat, 1)
			h.must(h.start())
			h.machine.Apply(all[:100], nil)
			below := describe(all, 100)
			if other != nil {
				other(&below)
			}
			_, err := snapshotter.Take(ctx, h.store, h.machine.Snapshot(), below)
			h.must(err)
			h.machine.Apply(all[100:150], nil)
			_, err = snapshotter.Take(ctx, h.store, h.machine.Snapshot(), describe(all, 150))
			h.must(err)
			h.machine.Apply(all[150:200], nil)
			if other == nil { // a checkpoint entry at which none was kept: its changes are in no checkpoint
				h.machine.Snapshot().Close()
				h.machine.Apply(all[200:250], nil)
			}
			at := h.machine.Applied()
			store := &counting{CheckpointStore: h.store}
			kept, err := snapshotter.Take(ctx, store, h.machine.Snapshot(), describe(all, at))
			if store.incremental != 0 {
				t.Errorf("it was taken on top of the one at %d", below.Index)
			}
			if err != nil || len(kept) == 0 || kept[0].Index != at {
				t.Fatalf("got %v, %v; want one at %d", kept, err, at)
			}
			items := 0
			h.must(h.store.Iterate(ctx, at, func(storage.Item) error { items++; return nil }))
			if want := stateOf(t, all[:at]).Snapshot(); uint64(items) != kept[0].Items || kept[0].Digest != want.Digest().Bytes() {
				t.Errorf("it has %d items, described are %d", items, kept[0].Items)
			}
			loader := h.machine.NewLoader()
			h.must(h.store.Iterate(ctx, at, func(it storage.Item) error { return loader.Add(machine.CheckpointItem(it)) }))
			digest, err := loader.Finish(at)
			if h.must(err); digest.Bytes() != kept[0].Digest {
				t.Errorf("its content is of digest %v, described is %x", digest, kept[0].Digest)
			}
		})
	}
}
