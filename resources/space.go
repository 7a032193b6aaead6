package resources

import (
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
)

// space is a name space: the keys of one resource, or those of the system.
//
// A resource is of a type from its first key to its last: then the catalogue
// has a key for it, and otherwise none. The space of one without keys stays
// among the others only until nobody reads at an index at which there were
// keys, and serves whoever makes the resource again before.
type space struct {
	name  string
	hash  uint64
	table hashTable
	list  skipList

	live  int     // keys now, in the middle of an entry; writer only
	used  *Type   // the type that is known to be noted as used; writer only
	kind  *string // name of the type of the keys there are, or were last; writer only
	sizes atomic.Pointer[sizeAt]
}

// sizeAt is the number of keys of a space, and their type, from one index on.
type sizeAt struct {
	index protocol.Index
	older atomic.Pointer[sizeAt]
	keys  int
	kind  *string
}

func newSpace(name string) *space {
	sp := &space{name: name, hash: xxh3.HashString(name)}
	sp.table.init()
	return sp
}

// space returns the space of a resource, or nil.
func (s *state) space(name string) *space {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.spaces[name]
}

func (s *state) addSpace(sp *space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spaces[sp.name] = sp
}

// dropSpace drops a space that the current entry added, or that nobody can read
// anything in any more.
func (s *state) dropSpace(sp *space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spaces, s.most = fit(s.spaces, s.most)
	delete(s.spaces, sp.name)
}

// fit returns a map, or a copy of it if it once held far more, and how much it
// held at most: a map keeps the room that it has ever needed.
func fit[K comparable, V any](m map[K]V, most int) (map[K]V, int) {
	most = max(most, len(m))
	if most < 64 || len(m) > most/4 {
		return m, most
	}
	out := make(map[K]V, len(m))
	for k, v := range m { // order does not matter: a copy
		out[k] = v
	}
	return out, len(m)
}

func (sp *space) find(key []byte) *record {
	return sp.table.get(stringOf(key), hashKey(sp.hash, key))
}

// current returns the newest version of a key, for the writer.
func (sp *space) current(key []byte) *version {
	if r := sp.find(key); r != nil {
		if v := r.head.Load(); v != nil && !v.gone {
			return v
		}
	}
	return nil
}

func (sp *space) unlink(r *record) {
	r.unlinked = true
	sp.table.remove(r)
	sp.list.remove(r)
}

func (s *state) settleSize(sp *space) {
	if sp == s.system {
		return // nobody asks for it, and it changes with every command
	}
	old := sp.sizes.Load()
	if old == nil && sp.live == 0 || old != nil && old.keys == sp.live {
		return
	}
	next := &sizeAt{index: s.index, keys: sp.live, kind: sp.kind}
	next.older.Store(old)
	sp.sizes.Store(next)
	if old != nil {
		s.stale = append(s.stale, leftover{sp, nil, s.index})
	}
}

// at returns the number of keys at an index, and their type if there are any.
func (sp *space) at(i protocol.Index) (keys int, kind string) {
	for n := sp.sizes.Load(); n != nil; n = n.older.Load() {
		if n.index > i {
			continue
		}
		if n.keys > 0 {
			kind = *n.kind
		}
		return n.keys, kind
	}
	return 0, ""
}
