package snapshotter

import (
	"context"
	"errors"
	"iter"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// batchBytes is about how much is handed to the store at once. It bounds what is
// held beside the state, and how often the store looks at free space.
const batchBytes = 1 << 20

// Take writes the state of a snapshot as a checkpoint and returns those that are
// kept then, newest first. It takes the place of the older of two, and is
// incremental if the snapshot knows what has changed since that one: two kept
// checkpoints have nothing in common. It is full otherwise, and full, too, if the one
// below turns out to be damaged, which is given up then. Of d the digest and all that
// the store counts are filled in. The snapshot is closed, whatever happens.
//
// After an error nothing has changed: the checkpoints before are still kept, and
// the next one is full. The codes are those of storage.CheckpointStore.
func Take(ctx context.Context, store storage.CheckpointStore, snap *machine.Snapshot, d storage.Manifest) ([]storage.Manifest, error) {
	defer snap.Close()
	if snap.Index() != d.Index {
		invariant.Check(false, "a snapshot at %d for a checkpoint at %d", snap.Index(), d.Index)
	}
	d.Digest = snap.Digest().Bytes()
	kept := store.Kept()
	if len(kept) > 0 && kept[0].Index >= d.Index {
		return kept, nil // another member was faster, and this one has it from there
	}
	if changes, known := changesSince(kept, snap, &d); known {
		base := kept[1]
		err := takeIncremental(ctx, store, changes, base, d)
		switch {
		case err == nil:
			return store.Kept(), nil
		case errors.Is(err, protocol.ErrCorrupt):
			// What is below is damaged, or what was written on it: neither may
			// be built upon.
			if err := store.Bad(base.Index); err != nil && !errors.Is(err, protocol.ErrNotFound) {
				return store.Kept(), err
			}
		case !errors.Is(err, protocol.ErrStaleVersion):
			return store.Kept(), err
		}
	}
	w, err := store.BeginFull(ctx, d.Index, uint64(snap.Bytes()))
	if err == nil {
		err = write(ctx, w, snap.All(), d)
	}
	return store.Kept(), err
}

// changesSince returns what a checkpoint needs on top of the older of the two kept
// ones, if the snapshot knows. [S] That one is of the same log: the state at that
// base came from it, or it was taken of that state; and its term is not above, as
// it would be in the log of a deposed leader.
func changesSince(kept []storage.Manifest, snap *machine.Snapshot, d *storage.Manifest) (changes iter.Seq[machine.CheckpointItem], known bool) {
	if len(kept) < 2 || kept[1].Term > d.Term || kept[1].Configuration.Index > d.Configuration.Index {
		return nil, false
	}
	return snap.Changed(kept[1].Index)
}

func takeIncremental(ctx context.Context, store storage.CheckpointStore, changes iter.Seq[machine.CheckpointItem], base, d storage.Manifest) error {
	w, err := store.BeginIncremental(ctx, d.Index, base)
	if err != nil {
		return err
	}
	return write(ctx, w, changes, d)
}

// write hands items to a writer, in batches, and ends it.
func write(ctx context.Context, w storage.CheckpointWriter, items iter.Seq[machine.CheckpointItem], d storage.Manifest) error {
	defer w.Abort() // nothing, after a Commit
	var batch []storage.Item
	bytes := 0
	for it := range items {
		batch = append(batch, storage.Item(it))
		if bytes += len(it.Key) + len(it.Value); bytes < batchBytes {
			continue
		}
		if err := w.Write(ctx, batch); err != nil {
			return err
		}
		clear(batch)
		batch, bytes = batch[:0], 0
	}
	if err := w.Write(ctx, batch); err != nil {
		return err
	}
	_, err := w.Commit(ctx, d)
	return err
}
