package snapshotter_test

import (
	"testing"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// chunkOf reads a chunk of a kept checkpoint.
func chunkOf(t *testing.T, from *home, i protocol.Index, n int) replica.Chunk {
	t.Helper()
	data, err := from.store.ReadChunk(ctx, i, n)
	if err != nil {
		t.Fatal(err)
	}
	return replica.Chunk{Number: n, Data: data}
}

// fill begins an installation and adds all chunks that are missing.
func (h *home) fill(in *snapshotter.Installation, from *home, d storage.Manifest) {
	h.t.Helper()
	missing, err := in.Begin(ctx, h.store, d)
	h.must(err)
	for _, n := range missing {
		h.must(in.Chunk(chunkOf(h.t, from, d.Index, n)))
	}
}

// source is a member with checkpoints of a history.
func source(t *testing.T, all []protocol.Entry) *home {
	t.Helper()
	from := newHome(t, memory, 1)
	from.must(from.start())
	from.apply(all)
	return from
}

func TestInstall(t *testing.T) {
	all := history(21, 1500, 1)
	from := source(t, all)
	d := from.store.Kept()[0]
	if len(d.Chunks) < 1 {
		t.Fatal("too little to install")
	}
	each(t, func(t *testing.T, h *home) {
		var in snapshotter.Installation
		h.fill(&in, from, d)
		told := 0
		loader, err := in.Finish(ctx, h.machine, func(snapshotter.Progress) { told++ })
		h.must(err)
		if loader.Time() != all[d.Index-1].Time || told == 0 {
			t.Errorf("cluster time %d, told %d times", loader.Time(), told)
		}
		h.machine.Install(loader)
		h.wantState(all[:d.Index])
		h.wantKept(d.Index)
		// It is the base of the next one, and of a restart.
		h.machine.Apply(all[d.Index:], nil)
		more := mark(all)
		h.machine.Apply(more[len(all):], nil)
		_, err = snapshotter.Take(ctx, h.store, h.machine.Snapshot(), describe(more, more[len(all)].Index))
		h.must(err)
		h.wantKept(more[len(all)].Index, d.Index)
	})
}

// An installation goes on after a restart with what it has; nothing is fetched
// twice, and what the disk has lost or damaged is.
func TestInstallResumesAfterARestart(t *testing.T) {
	all := history(22, 1500, 1)
	from := source(t, all)
	d := from.store.Kept()[0]
	if len(d.Chunks) < 4 {
		t.Fatalf("%d chunks: the history is too small to be interrupted in the middle", len(d.Chunks))
	}
	for _, k := range []kind{flat, badger} {
		t.Run(string(k), func(t *testing.T) {
			h := newHome(t, k, 5)
			h.must(h.start())
			var in snapshotter.Installation
			missing, err := in.Begin(ctx, h.store, d)
			h.must(err)
			half := len(missing) / 2
			for _, n := range missing[half:] {
				h.must(in.Chunk(chunkOf(t, from, d.Index, n)))
			}
			h.startAgain()
			in = snapshotter.Installation{}
			left, err := in.Begin(ctx, h.store, d)
			h.must(err)
			if len(left) != half {
				t.Errorf("%d chunks are missing after the restart, want %d", len(left), half)
			}
			for _, n := range left {
				h.must(in.Chunk(chunkOf(t, from, d.Index, n)))
			}
			_, err = in.Finish(ctx, h.machine, nil)
			h.must(err)
			h.wantKept(d.Index)
		})
	}
}

// A chunk that is not the described one is refused, and the installation goes on.
func TestInstallRefusesForeignBytes(t *testing.T) {
	from := source(t, history(23, 500, 1))
	d := from.store.Kept()[0]
	each(t, func(t *testing.T, h *home) {
		var in snapshotter.Installation
		_, err := in.Begin(ctx, h.store, d)
		h.must(err)
		c := chunkOf(t, from, d.Index, 0)
		c.Data[len(c.Data)/2] ^= 4
		h.wantError(in.Chunk(c), protocol.ErrCorrupt)
		h.fill(&in, from, d)
		_, err = in.Finish(ctx, h.machine, nil)
		h.must(err)
	})
}

// A manifest whose chunks make another state than it says is given up as a
// whole: more of the same chunks would not help.
func TestInstallOfAWrongDigestStartsOver(t *testing.T) {
	from := source(t, history(24, 300, 1))
	good := from.store.Kept()[0]
	bad := good
	bad.Digest[3] ^= 1
	each(t, func(t *testing.T, h *home) {
		var in snapshotter.Installation
		h.fill(&in, from, bad)
		_, err := in.Finish(ctx, h.machine, nil)
		h.wantError(err, protocol.ErrCorrupt)
		h.wantKept()
		if h.machine.Applied() != 0 {
			t.Errorf("the machine is at %d", h.machine.Applied())
		}
		missing, err := in.Begin(ctx, h.store, bad)
		h.must(err)
		if len(missing) != len(bad.Chunks) {
			t.Errorf("%d of %d chunks are wanted again, want all", len(missing), len(bad.Chunks))
		}
		h.fill(&in, from, good) // another manifest takes its place
		_, err = in.Finish(ctx, h.machine, nil)
		h.must(err)
		h.wantKept(good.Index)
	})
}

// A chunk that the disk damages between its arrival and its use is wanted again,
// and only that one.
func TestInstallWantsADamagedChunkAgain(t *testing.T) {
	from := source(t, history(25, 1500, 1))
	d := from.store.Kept()[0]
	h := newHome(t, flat, 5)
	h.must(h.start())
	var in snapshotter.Installation
	h.fill(&in, from, d)
	h.must(h.disk.FlipBit(dir+"/checkpoints/install-spool", 8*1000))
	_, err := in.Finish(ctx, h.machine, nil)
	h.wantError(err, protocol.ErrCorrupt)
	missing, err := in.Begin(ctx, h.store, d)
	h.must(err)
	if len(missing) != 1 {
		t.Fatalf("%v are wanted, want one", missing)
	}
	h.must(in.Chunk(chunkOf(t, from, d.Index, missing[0])))
	_, err = in.Finish(ctx, h.machine, nil)
	h.must(err)
}

// Kept checkpoints at or above the one that is asked for cannot be used, or it
// would not be asked for. Counterexample 22: nothing of them shows.
func TestInstallGivesUpWhatIsInTheWay(t *testing.T) {
	all, other := history(26, 300, 1), history(27, 400, 1)
	from := source(t, all)
	d := from.store.Kept()[1]
	each(t, func(t *testing.T, h *home) {
		h.apply(other)
		h.wantKept(400, 350)
		var in snapshotter.Installation
		h.fill(&in, from, d)
		loader, err := in.Finish(ctx, newMachine(t), nil)
		h.must(err)
		h.wantKept(d.Index)
		m := newMachine(t)
		m.Install(loader)
		h.machine = m
		h.wantState(all[:d.Index])
	})
}

// What is kept already is not fetched: the member crashed after the pointer.
func TestInstallOfWhatIsKept(t *testing.T) {
	all := history(28, 220, 1)
	each(t, func(t *testing.T, h *home) {
		h.apply(all)
		d := h.store.Kept()[0]
		var in snapshotter.Installation
		missing, err := in.Begin(ctx, h.store, d)
		h.must(err)
		if len(missing) != 0 {
			t.Errorf("%d chunks are wanted of what is kept", len(missing))
		}
		m := newMachine(t)
		loader, err := in.Finish(ctx, m, nil)
		h.must(err)
		m.Install(loader)
		h.machine = m
		h.wantState(all[:d.Index])
		h.wantKept(200, 150)
	})
}

func TestInstallAborts(t *testing.T) {
	from := source(t, history(29, 300, 1))
	d := from.store.Kept()[0]
	each(t, func(t *testing.T, h *home) {
		var in snapshotter.Installation
		h.must(in.Abort()) // of nothing
		h.wantError(in.Chunk(replica.Chunk{}), protocol.ErrInvalid)
		_, err := in.Finish(ctx, h.machine, nil)
		h.wantError(err, protocol.ErrInvalid)
		h.fill(&in, from, d)
		h.must(in.Abort())
		if _, under := h.store.Installing(); under {
			t.Error("it is still under way")
		}
		missing, err := in.Begin(ctx, h.store, d)
		h.must(err)
		if len(missing) != len(d.Chunks) {
			t.Errorf("%d of %d chunks are wanted", len(missing), len(d.Chunks))
		}
	})
}
