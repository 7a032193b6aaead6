package state

import (
	"fmt"
	"iter"
	"sync/atomic"
	"unique"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
)

// Space is a name space: the keys of one resource, or those of the system.
//
// A resource is of a type from its first key to its last: then the catalogue
// has a key for it, and otherwise none. The space of one without keys stays
// among the others only until nobody reads at an index at which there were
// keys, and serves whoever makes the resource again before.
type Space struct {
	name  string
	hash  uint64
	table hashTable
	list  skipList

	live  int  // keys now, in the middle of an entry; writer only
	kind  Kind // of the keys there are, or were last; writer only
	sizes atomic.Pointer[sizeAt]
}

// Kind is the name of the type that a resource is of. The zero value is none.
type Kind struct{ name unique.Handle[string] }

// String returns the name, "" for none.
func (k Kind) String() string {
	if k == (Kind{}) {
		return ""
	}
	return k.name.Value()
}

// sizeAt is the number of keys of a space, and their type, from one index on.
type sizeAt struct {
	index protocol.Index
	older atomic.Pointer[sizeAt]
	keys  int
	kind  Kind
}

func newSpace(name string) *Space {
	sp := &Space{name: name, hash: xxh3.HashString(name)}
	sp.table.init()
	return sp
}

// Name returns the name of the resource, "" for the system's space.
func (sp *Space) Name() string { return sp.name }

// Len returns the number of keys now, in the middle of an entry; the writer's.
func (sp *Space) Len() int { return sp.live }

// Kind returns the type of the keys that there are, or were last; the writer's.
func (sp *Space) Kind() Kind { return sp.kind }

// Bind says of which type the keys are, from the current entry on; the writer's.
func (sp *Space) Bind(kind string) {
	if sp.kind.String() != kind {
		sp.kind = Kind{unique.Make(kind)}
	}
}

// WrongType is the error of one who takes a resource for one of another type.
func WrongType(resource, bound, asked string) error {
	return protocol.ErrWrongType.With(fmt.Sprintf("%q is a %s, not a %s", resource, bound, asked))
}

// The catalogue is what the system's space says of all resources: one key each, with the
// name of its type, while the resource has keys.

// CatalogueTag begins the keys of the catalogue.
const CatalogueTag = 'r'

// CatalogueKey returns a resource's key of the catalogue.
func CatalogueKey(resource string) []byte { return append([]byte{CatalogueTag}, resource...) }

// System returns the system's own space. It is there for anybody.
func (s *State) System() *Space { return s.system }

// Space returns, for anybody, the space of a resource, or nil.
func (s *State) Space(name string) *Space {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.spaces[name]
}

// Find returns the space of a resource, or nil. The writer needs no lock to look.
func (s *State) Find(name string) *Space { return s.spaces[name] }

// Add adds the space of a resource that has none.
func (s *State) Add(name string) *Space {
	sp := newSpace(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spaces[name] = sp
	return sp
}

// Drop drops a space that the current entry added, or that nobody can read
// anything in any more.
func (s *State) Drop(sp *Space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spaces, s.most = Fit(s.spaces, s.most)
	delete(s.spaces, sp.name)
}

// Fit returns a map, or a copy of it if it once held far more, and how much it
// held at most: a map keeps the room that it has ever needed.
func Fit[K comparable, V any](m map[K]V, most int) (map[K]V, int) {
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

func (sp *Space) find(key []byte) *Record {
	return sp.table.get(stringOf(key), hashKey(sp.hash, key))
}

// Get returns the newest version of a key, nil if it does not exist; the writer's,
// and anybody's who does not mind at which index that is.
func (sp *Space) Get(key []byte) *Version {
	if r := sp.find(key); r != nil {
		if v := r.head.Load(); v != nil && !v.gone {
			return v
		}
	}
	return nil
}

func (sp *Space) unlink(r *Record) {
	r.unlinked = true
	sp.table.remove(r)
	sp.list.remove(r)
}

func (s *State) settleSize(sp *Space) {
	if sp == s.system {
		return // nobody asks for it, and it changes with every command
	}
	old := sp.sizes.Load()
	if old == nil && sp.live == 0 || old != nil && old.keys == sp.live {
		return
	}
	if len(s.sizes) == 0 {
		s.sizes = make([]sizeAt, sizesTogether)
	}
	next := &s.sizes[0]
	s.sizes = s.sizes[1:]
	next.index, next.keys, next.kind = s.index, sp.live, sp.kind
	next.older.Store(old)
	sp.sizes.Store(next)
	if old != nil {
		s.stale = append(s.stale, leftover{sp, nil, s.index})
	}
}

// sizesTogether is how many sizes are made at a time, which costs less.
const sizesTogether = 16

// Scan yields the keys from..to, to excluded, in order, as they are at an index. A nil
// from is the beginning, a nil to the end; a space that is nil has no keys. What the
// writer adds meanwhile is met if it lies ahead and its index is not above.
func (sp *Space) Scan(i protocol.Index, from, to []byte) iter.Seq2[*Record, *Version] {
	return sp.ScanWhile(i, from, to, nil)
}

// ScanWhile is Scan as long as goes, if it is not nil, says so. It is asked at each record
// that lies there, before the key is yielded: there may be many that are no keys at the
// index. Whoever scans with a [View] asks its Err so, and at the end: if what lies ahead
// was dropped under the walk, that ends early.
func (sp *Space) ScanWhile(i protocol.Index, from, to []byte, goes func() bool) iter.Seq2[*Record, *Version] {
	return func(yield func(*Record, *Version) bool) {
		if sp == nil {
			return
		}
		for r := sp.list.seek(stringOf(from)); r != nil && (to == nil || r.key < stringOf(to)); r = sp.list.after(r) {
			v := r.at(i)
			if goes != nil && !goes() || v != nil && !yield(r, v) {
				return
			}
		}
	}
}

// At returns, for anybody, the number of keys at an index, and their type if there are
// any. A space that is nil has none.
func (sp *Space) At(i protocol.Index) (keys int, kind Kind) {
	if sp == nil {
		return 0, kind
	}
	for n := sp.sizes.Load(); n != nil; n = n.older.Load() {
		if n.index > i {
			continue
		}
		if n.keys > 0 {
			kind = n.kind
		}
		return n.keys, kind
	}
	return 0, kind
}
