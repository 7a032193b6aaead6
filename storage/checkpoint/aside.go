package checkpoint

import (
	"cmp"
	"context"
	"slices"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// asideMax is how many checkpoints that were set aside stay when two good ones
// above them are kept.
const asideMax = 2

// Aside implements storage.CheckpointStore.
func (s *Store) Aside() []storage.Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []storage.Manifest
	for _, p := range s.aside {
		out = append(out, p.manifest)
	}
	return out
}

// SetAside implements storage.CheckpointStore.
func (s *Store) SetAside(index protocol.Index) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return protocol.ErrClosed
	}
	if s.inspects {
		return errInspects
	}
	i := slices.IndexFunc(s.kept, func(k *kept) bool { return k.manifest.Index == index })
	if i < 0 {
		return notKept(index)
	}
	return s.setAside(s.kept[i].store)
}

// setAside gives the pointers of a store other names, so that it is neither
// used nor removed. The caller holds the lock.
func (s *Store) setAside(number uint64) error {
	for i := len(s.kept) - 1; i >= 0; i-- {
		k := s.kept[i]
		if k.store != number {
			continue
		}
		if err := s.rename(pointerName(k.slot), asideName(k.pointer)); err != nil {
			return err
		}
		s.aside = append(s.aside, k.pointer)
		s.kept = slices.Delete(s.kept, i, i+1)
		s.o.Logger.Error("checkpoint set aside", "index", k.manifest.Index, "store", storeName(number))
	}
	return nil
}

// dropAside forgets what was set aside, but for the last few, once there are two
// good checkpoints above: a state that nobody needs any more must not take the
// disk for ever. The caller holds the lock.
func (s *Store) dropAside() error {
	if len(s.kept) < slots {
		return nil
	}
	slices.SortFunc(s.aside, newestFirst)
	for len(s.aside) > asideMax {
		p := s.aside[len(s.aside)-1]
		if p.manifest.Index > s.kept[slots-1].manifest.Index {
			return nil
		}
		if err := s.fsys.Remove(s.path(asideName(p))); err != nil {
			return err
		}
		s.aside = s.aside[:len(s.aside)-1]
		s.o.Logger.Warn("a checkpoint that was set aside is removed: two good ones are above it", "index", p.manifest.Index, "store", storeName(p.store))
	}
	return nil
}

func newestFirst(a, b pointer) int { return cmp.Compare(b.manifest.Index, a.manifest.Index) }

// Retry implements storage.CheckpointStore. A pointer gets its old place only
// after all of its store could be read.
func (s *Store) Retry(ctx context.Context) error {
	s.mu.Lock()
	closed, candidates := s.closed, slices.Clone(s.aside)
	s.mu.Unlock()
	if closed {
		return protocol.ErrClosed
	}
	if s.inspects {
		return errInspects
	}
	if len(candidates) == 0 {
		return protocol.ErrNotFound.With("no checkpoint was set aside")
	}
	slices.SortFunc(candidates, newestFirst)
	back := 0
	var failed error
	for _, p := range candidates {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch done, err := s.retry(ctx, p); {
		case err != nil:
			s.o.Logger.Warn("a checkpoint stays set aside", "index", p.manifest.Index, "error", err)
			failed = cmp.Or(failed, err)
		case done:
			back++
		}
	}
	switch {
	case back > 0:
		return nil
	case failed == nil:
		return protocol.ErrInvalid.With("two checkpoints above those that were set aside are kept")
	}
	return failed
}

// retry puts one back if it can be read and is not below two that are kept.
func (s *Store) retry(ctx context.Context, p pointer) (done bool, err error) {
	s.mu.Lock()
	if len(s.kept) == slots && s.kept[slots-1].manifest.Index >= p.manifest.Index {
		s.mu.Unlock()
		return false, nil
	}
	h := s.hold(p.store, p.manifest.Index)
	s.mu.Unlock()
	defer s.release(h)
	if err := s.enter(ctx, h); err != nil {
		return false, err
	}
	k := &kept{pointer: p}
	if _, err := s.tableOf(ctx, k, h); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == slots { // the older one makes room, and is put back as easily
		if err := s.setAside(s.kept[slots-1].store); err != nil {
			return false, err
		}
	}
	k.slot = s.freeSlot()
	if err := s.rename(asideName(p), pointerName(k.slot)); err != nil {
		return false, err
	}
	s.aside = slices.DeleteFunc(s.aside, func(q pointer) bool { return asideName(q) == asideName(p) })
	s.kept = append(s.kept, k)
	s.sortKept()
	return true, nil
}
