package state

import "github.com/starlinghq/starling/protocol"

// Load writes a key of a checkpoint into a state that is being built and that nobody
// reads yet; Loaded ends that. Key and value are copied. If the key is there with an
// index that is not lower, nothing is written, and that index is returned.
func (s *State) Load(sp *Space, key, value []byte, i protocol.Index) (there protocol.Index, ok bool) {
	return s.load(sp, key, newVersion(i, value))
}

func (s *State) load(sp *Space, key []byte, v *Version) (there protocol.Index, ok bool) {
	r := sp.find(key)
	if r == nil {
		r = newRecord(key, hashKey(sp.hash, key))
		sp.list.put(r)
		sp.table.put(r)
		sp.live++
	} else {
		before := r.head.Load()
		if before.index >= v.index {
			return before.index, false
		}
		s.discount(sp, r, before)
	}
	r.head.Store(v)
	s.digest.add(r.term(v))
	s.count(sp, r, v, +1)
	return 0, true
}

// Unload takes a key out of a state that is being built, if it is there.
func (s *State) Unload(sp *Space, key []byte) {
	if r := sp.find(key); r != nil {
		s.discount(sp, r, r.head.Load())
		sp.unlink(r)
		sp.live--
	}
}

func (s *State) discount(sp *Space, r *Record, v *Version) {
	s.digest.remove(r.term(v))
	s.count(sp, r, v, -1)
}

// Loaded ends the building of a state, at an index, and publishes it. If keys are
// tracked it is the base of the first snapshot.
func (s *State) Loaded(i protocol.Index) {
	for _, sp := range s.spaces { // order does not matter: each by itself
		if sp.live > 0 {
			sp.sizes.Store(&sizeAt{index: i, keys: sp.live, kind: sp.kind})
		}
	}
	s.index, s.frozen = i, i
	s.tracked.cut(i)
	s.tellSize()
	s.views.publish(i, s.digest, 0)
}
