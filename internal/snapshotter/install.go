package snapshotter

import (
	"bytes"
	"context"
	"errors"

	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Installation installs one checkpoint at a time, as a replica's InstallSteps
// say. It belongs to who calls the store; the zero value has none under way.
type Installation struct {
	d     storage.Manifest
	store storage.CheckpointStore
	under storage.CheckpointInstall // nil: none is under way, or there is nothing to do
	begun bool
}

// Step does a step for a member without a state, whose log is repaired: what it has of
// the checkpoint then is that it is kept. fresh returns a machine to read it with.
func (i *Installation) Step(ctx context.Context, store storage.CheckpointStore, fresh func() *machine.Machine, step *install.Step, progress func(Progress)) (missing []int, err error) {
	switch {
	case step.Begin != nil:
		return i.Begin(ctx, store, *step.Begin)
	case step.Chunk != nil:
		return nil, i.Chunk(*step.Chunk)
	case step.Finish:
		_, err = i.Finish(ctx, fresh(), progress)
	}
	return nil, err
}

// Begin begins the installation of a checkpoint, or resumes it, and returns the
// numbers of the chunks that are still wanted. Kept checkpoints at or above it
// cannot be used, or it would not be asked for: they are given up. One that is
// kept already wants nothing.
func (i *Installation) Begin(ctx context.Context, store storage.CheckpointStore, d storage.Manifest) (missing []int, err error) {
	*i = Installation{}
	for _, k := range store.Kept() {
		if k.Index < d.Index {
			continue
		}
		if same(&k, &d) {
			*i = Installation{d: k, store: store, begun: true}
			return nil, nil
		}
		if err := store.Bad(k.Index); err != nil {
			return nil, err
		}
	}
	under, err := store.Install(ctx, d)
	if err != nil {
		return nil, err
	}
	*i = Installation{d: d, store: store, under: under, begun: true}
	return under.Missing(len(d.Chunks)), nil
}

// same reports whether two manifests are of one content.
func same(a, b *storage.Manifest) bool {
	return bytes.Equal(storage.EncodeManifest(*a), storage.EncodeManifest(*b))
}

// Chunk adds a chunk. protocol.ErrCorrupt: these are not the described bytes.
func (i *Installation) Chunk(c install.Chunk) error {
	if i.under == nil {
		return protocol.ErrInvalid.With("no checkpoint is being installed")
	}
	return i.under.Add(c.Number, c.Data)
}

// Finish builds the state of a complete installation beside the one in force,
// compares its digest, and makes the checkpoint the newest kept one, durably. The
// state is for Machine.Adopt. After protocol.ErrCorrupt what was wrong is wanted
// again: one chunk that the disk has damaged, or, if the content is not that of
// the digest, all of it.
func (i *Installation) Finish(ctx context.Context, m *machine.Machine, progress func(Progress)) (*machine.Loader, error) {
	if !i.begun {
		return nil, protocol.ErrInvalid.With("no checkpoint is being installed")
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	if i.under == nil {
		return i.again(ctx, m, progress)
	}
	loader, err := load(m, &i.d, progress, func(fn func(storage.Item) error) error { return i.under.Iterate(ctx, fn) })
	if err == nil {
		err = i.under.Commit(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, i.conclude(err))
	}
	kept := i.store.Kept()
	if len(kept) == 0 || kept[0].Index != i.d.Index {
		invariant.Check(false, "the checkpoint at %d is installed and not kept", i.d.Index)
	}
	*i = Installation{}
	return loader, nil
}

// again builds the state of a checkpoint that was kept before.
func (i *Installation) again(ctx context.Context, m *machine.Machine, progress func(Progress)) (*machine.Loader, error) {
	loader, err := load(m, &i.d, progress, func(fn func(storage.Item) error) error {
		return i.store.Iterate(ctx, i.d.Index, fn)
	})
	if errors.Is(err, protocol.ErrCorrupt) {
		if bad := i.store.Bad(i.d.Index); bad != nil && !errors.Is(bad, protocol.ErrNotFound) {
			err = errors.Join(err, bad)
		}
	}
	*i = Installation{}
	return loader, err
}

// conclude ends an installation whose chunks are all as described and still not the
// state of the digest: with any of them nothing better would come of it.
func (i *Installation) conclude(err error) error {
	wrong := errors.Is(err, protocol.ErrCorrupt) || errors.Is(err, protocol.ErrMalformed)
	if !wrong || len(i.under.Missing(1)) > 0 {
		return nil
	}
	return i.Abort()
}

// Abort gives the installation up, with its chunks.
func (i *Installation) Abort() error {
	under := i.under
	*i = Installation{}
	if under == nil {
		return nil
	}
	return under.Abort()
}
