package snapshotter_test

import (
	"slices"
	"testing"

	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// What is pinned can be read while checkpoint after checkpoint is taken, on top of
// it in the same store and anew in others, until it is released; and a pin does not
// outlive the process.
func TestPins(t *testing.T) {
	all := history(31, 400, 1)
	each(t, func(t *testing.T, h *home) {
		const first = markEvery
		h.apply(all[:first])
		d := h.store.Kept()[0]
		want := chunkOf(t, h, first, len(d.Chunks)-1).Data
		var pins snapshotter.Pins
		set := func(want []protocol.Index, held ...protocol.Index) {
			t.Helper()
			if got := pins.Set(h.store, want); !slices.Equal(got, held) {
				t.Errorf("asked to pin %v: %v are pinned, want %v", want, got, held)
			}
		}
		set([]protocol.Index{7, first}, first)
		h.apply(all[first : 4*markEvery])
		h.wantKept(4*markEvery, 3*markEvery)
		set([]protocol.Index{4 * markEvery, first}, 4*markEvery, first)
		if got := chunkOf(t, h, first, len(d.Chunks)-1).Data; !slices.Equal(got, want) {
			t.Error("the pinned checkpoint gives other bytes")
		}
		h.must(h.store.Iterate(ctx, first, func(storage.Item) error { return nil }))
		set([]protocol.Index{4 * markEvery}, 4*markEvery)
		_, err := h.store.ReadChunk(ctx, first, 0)
		h.wantError(err, protocol.ErrNotFound)
		set([]protocol.Index{first, 4 * markEvery}, 4*markEvery)
		h.apply(all[4*markEvery : 6*markEvery])
		set(nil)
		h.wantKept(6*markEvery, 5*markEvery)
		_, err = h.store.ReadChunk(ctx, 4*markEvery, 0)
		h.wantError(err, protocol.ErrNotFound)
	})
}

// Of another checkpoint only what differs is fetched: what was fetched of the one
// before counts, over a restart too, and so does what this member has itself.
func TestInstallTakesOverWhatIsThere(t *testing.T) {
	all := history(32, 1500, 1)
	from := source(t, all[:1450])
	before := from.store.Kept()[0]
	var pins snapshotter.Pins
	pins.Set(from.store, []protocol.Index{before.Index})
	from.apply(all[1450:])
	d := from.store.Kept()[0]
	differ := func(have []storage.ChunkSum) (n int) {
		for _, sum := range d.Chunks {
			if !slices.Contains(have, sum) {
				n++
			}
		}
		return n
	}
	if n := differ(before.Chunks); n == 0 || n == len(d.Chunks) {
		t.Fatalf("%d of %d chunks differ: the test tests nothing", n, len(d.Chunks))
	}
	each(t, func(t *testing.T, h *home) {
		var in snapshotter.Installation
		h.fill(&in, from, before)
		if h.kind != memory {
			h.startAgain()
			in = snapshotter.Installation{}
		}
		missing, err := in.Begin(ctx, h.store, d)
		h.must(err)
		if len(missing) != differ(before.Chunks) {
			t.Errorf("%d chunks are missing of another checkpoint, want the %d that differ", len(missing), differ(before.Chunks))
		}
		h.fill(&in, from, d)
		_, err = in.Finish(ctx, h.machine, nil)
		h.must(err)
		h.wantKept(d.Index)
	})
	each(t, func(t *testing.T, h *home) {
		var in snapshotter.Installation
		h.fill(&in, from, before)
		_, err := in.Finish(ctx, h.machine, nil)
		h.must(err)
		missing, err := in.Begin(ctx, h.store, d)
		h.must(err)
		if len(missing) != differ(before.Chunks) {
			t.Errorf("%d chunks are missing beside a checkpoint of its own, want the %d that differ", len(missing), differ(before.Chunks))
		}
	})
}
