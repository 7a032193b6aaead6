package checkpoint

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// Pin implements storage.CheckpointStore. A checkpoint that is given up while it
// is pinned has no pointer file any more, so that a restart forgets it; its store
// stays, since the pin holds the home.
func (s *Store) Pin(index protocol.Index) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, protocol.ErrClosed
	}
	k := s.find(index)
	if k == nil {
		return nil, notKept(index)
	}
	k.pins++
	h := s.hold(k.store, k.manifest.Index)
	over := false
	return func() {
		s.mu.Lock()
		let := !over && !s.closed // Close has let go of all
		over = true
		if let {
			s.unpin(k)
		}
		s.mu.Unlock()
		if let {
			s.release(h)
		}
	}, nil
}

// unpin takes back a pin, but not the reference that goes with it. The caller
// holds the lock.
func (s *Store) unpin(k *kept) {
	if k.pins--; k.pins == 0 {
		s.retired = slices.DeleteFunc(s.retired, func(r *kept) bool { return r == k })
	}
}

// find returns a checkpoint that can be read: kept, or given up while it is
// pinned; nil if there is none. The caller holds the lock.
func (s *Store) find(index protocol.Index) *kept {
	for _, list := range [][]*kept{s.kept, s.retired} {
		for _, k := range list {
			if k.manifest.Index == index {
				return k
			}
		}
	}
	return nil
}

// retire gives up kept checkpoints: those that are pinned can still be read. The
// caller holds the lock.
func (s *Store) retire(dropped []*kept) {
	for _, k := range dropped {
		if k.pins > 0 {
			s.retired = append(s.retired, k)
		}
	}
}

// dropPins lets go of all pins, at the end. The caller holds the lock.
func (s *Store) dropPins() {
	for _, list := range [][]*kept{s.kept, s.retired} {
		for _, k := range list {
			if h := s.homes[k.store]; h != nil {
				h.refs -= k.pins
			}
			k.pins = 0
		}
	}
	s.retired = nil
}
