package resources

import (
	"sync"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// state is all that is replicated: an ordered map from key to (index of last
// change, value), cut into spaces. It has one writer, the goroutine that
// applies, and many readers, each through a view.
//
// The writer works on one entry at a time: begin, any number of set and
// remove, end. Nothing of it is visible until end publishes the index. Within
// an entry, mark and rollback take a part of the writes back.
type state struct {
	views views

	mu     sync.RWMutex // guards the map, and owed; held for a look-up or one insertion
	spaces map[string]*space
	system *space

	// owed is what the digest is to be amended by when the next entry begins;
	// owes says that there is something. See Snapshot.Amend.
	owed Digest
	owes atomic.Bool

	// The rest belongs to the writer.
	index  protocol.Index
	undo   []step
	digest Digest
	stale  []leftover // oldest first, from head on
	head   int

	keys  atomic.Int64
	bytes atomic.Int64
	// tracked is what was written since the last snapshot; the writer's.
	tracked tracked
}

// space is a name space: the keys of one resource, or those of the system.
type space struct {
	name  string
	hash  uint64
	table hashTable
	list  skipList

	live  int   // keys now, in the middle of an entry; writer only
	used  *Type // the type that is known to be noted as used; writer only
	sizes atomic.Pointer[sizeAt]
	kind  atomic.Pointer[string] // name of the type bound to it; nil: none
}

// sizeAt is the number of keys of a space from one index on.
type sizeAt struct {
	index protocol.Index
	older atomic.Pointer[sizeAt]
	keys  int
}

// step is one write of the current entry, enough to take it back.
type step struct {
	space  *space
	record *record
	before *version // nil: the record was made by this step
}

// leftover is a place where versions below index can go once the floor has
// reached it: those of a key, or, with no record, those of a size.
type leftover struct {
	space  *space
	record *record
	index  protocol.Index
}

func newState() *state {
	s := &state{spaces: map[string]*space{}}
	s.system = newSpace("")
	return s
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

// dropSpace takes back a space that the current entry added.
func (s *state) dropSpace(sp *space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.spaces, sp.name)
}

// begin starts an entry.
func (s *state) begin(i protocol.Index) {
	if i <= s.index { // asked first: the arguments of Check are allocated
		invariant.Check(false, "entries are applied in order: %d after %d", i, s.index)
	}
	s.index = i
	if s.owes.Load() {
		s.payDigest()
	}
}

// amend adds to what the digest is to be amended by.
func (s *state) amend(by Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed.add(xxh3.Uint128{Hi: by[0], Lo: by[1]})
	s.owes.Store(true)
}

// payDigest amends the digest.
func (s *state) payDigest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.digest.add(xxh3.Uint128{Hi: s.owed[0], Lo: s.owed[1]})
	s.owed = Digest{}
	s.owes.Store(false)
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

// set writes a key. Key and value are copied.
func (s *state) set(sp *space, key, value []byte) {
	hash := hashKey(sp.hash, key)
	r := sp.table.get(stringOf(key), hash)
	if r == nil {
		r = newRecord(key, hash)
		r.head.Store(newVersion(s.index, value))
		sp.list.put(r)
		sp.table.put(r)
		s.undo = append(s.undo, step{sp, r, nil})
		sp.live++
		return
	}
	if r.head.Load().gone {
		sp.live++
	}
	s.push(sp, r, newVersion(s.index, value))
}

// remove deletes a key and reports whether it existed.
func (s *state) remove(sp *space, key []byte) bool {
	r := sp.find(key)
	if r == nil || r.head.Load().gone {
		return false
	}
	sp.live--
	s.push(sp, r, &version{index: s.index, gone: true})
	return true
}

func (s *state) push(sp *space, r *record, v *version) {
	before := r.head.Load()
	older := before
	if before.index == s.index { // of this entry: nobody has seen it
		older = before.older.Load()
	}
	v.older.Store(older)
	r.head.Store(v)
	s.undo = append(s.undo, step{sp, r, before})
}

// mark is a point within an entry to which rollback can return.
func (s *state) mark() int { return len(s.undo) }

// rollback takes back all that was written since mark.
func (s *state) rollback(mark int) {
	for k := len(s.undo) - 1; k >= mark; k-- {
		u := &s.undo[k]
		if !u.record.head.Load().gone {
			u.space.live--
		}
		if u.before == nil {
			u.space.unlink(u.record)
		} else {
			u.record.head.Store(u.before)
			if !u.before.gone {
				u.space.live++
			}
		}
		*u = step{}
	}
	s.undo = s.undo[:mark]
}

func (sp *space) unlink(r *record) {
	sp.table.remove(r)
	sp.list.remove(r)
}

// end makes the writes of the entry final and visible. changed is called for
// each key that changed, in the order of the writes; before is nil if the key
// was new.
func (s *state) end(now protocol.Instant, changed func(sp *space, r *record, v *version)) {
	for k := range s.undo {
		u := &s.undo[k]
		if u.before != nil && u.before.index == s.index {
			continue // counted where the entry wrote the key first
		}
		s.settle(u, changed)
	}
	for k := range s.undo {
		s.settleSize(s.undo[k].space)
		s.undo[k] = step{}
	}
	if cap(s.undo) > 1<<16 {
		s.undo = nil
	}
	s.undo = s.undo[:0]
	s.sweep(s.views.publish(s.index, s.digest, now))
}

func (s *state) settle(u *step, changed func(*space, *record, *version)) {
	before, after := u.before, u.record.head.Load()
	if before == nil && after.gone { // came and went
		u.space.unlink(u.record)
		return
	}
	if before != nil {
		s.stale = append(s.stale, leftover{u.space, u.record, s.index})
	}
	if before != nil && !before.gone {
		s.digest.remove(u.record.term(before))
		s.count(u.record, before, -1)
	}
	if !after.gone {
		s.digest.add(u.record.term(after))
		s.count(u.record, after, +1)
	}
	if s.tracked.on {
		s.tracked.note(u.space, u.record, before)
	}
	if before != nil && before.gone && after.gone {
		return // deleted, written and deleted again: nothing to tell
	}
	changed(u.space, u.record, after)
}

func (s *state) count(r *record, v *version, sign int64) {
	s.keys.Add(sign)
	s.bytes.Add(sign * int64(len(r.key)+len(v.value)))
}

func (s *state) settleSize(sp *space) {
	if sp == s.system {
		return // nobody asks for it, and it changes with every command
	}
	old := sp.sizes.Load()
	if old == nil && sp.live == 0 || old != nil && old.keys == sp.live {
		return
	}
	next := &sizeAt{index: s.index, keys: sp.live}
	next.older.Store(old)
	sp.sizes.Store(next)
	if old != nil {
		s.stale = append(s.stale, leftover{sp, nil, s.index})
	}
}

// sizeAt returns the number of keys at an index.
func (sp *space) sizeAt(i protocol.Index) int {
	for n := sp.sizes.Load(); n != nil; n = n.older.Load() {
		if n.index <= i {
			return n.keys
		}
	}
	return 0
}

// sweep drops versions that nobody can read any more: of each key it keeps the
// newest one at or below the floor and all above.
func (s *state) sweep(floor protocol.Index) {
	for ; s.head < len(s.stale) && s.stale[s.head].index <= floor; s.head++ {
		l := &s.stale[s.head]
		if l.record != nil {
			l.space.prune(l.record, floor)
		} else {
			pruneSizes(l.space, floor)
		}
		*l = leftover{}
	}
	if s.head == len(s.stale) {
		s.stale, s.head = s.stale[:0], 0
	} else if s.head > 4096 && s.head*2 > len(s.stale) {
		n := copy(s.stale, s.stale[s.head:])
		clear(s.stale[n:])
		s.stale, s.head = s.stale[:n], 0
	}
}

func (sp *space) prune(r *record, floor protocol.Index) {
	for v := r.head.Load(); v != nil; v = v.older.Load() {
		if v.index > floor {
			continue
		}
		v.older.Store(nil)
		// A deleted key goes altogether. Its record may be listed more than
		// once, and may be gone already; then another one has its place.
		if v.gone && v == r.head.Load() && sp.linked(r) {
			sp.unlink(r)
		}
		return
	}
}

func pruneSizes(sp *space, floor protocol.Index) {
	for n := sp.sizes.Load(); n != nil; n = n.older.Load() {
		if n.index <= floor {
			n.older.Store(nil)
			return
		}
	}
}
