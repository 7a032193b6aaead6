package state

import (
	"sync"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// State is all that is replicated: an ordered map from key to (index of last
// change, value), cut into spaces. It has one writer, the goroutine that
// applies, and many readers, each through a view.
//
// The writer works on one entry at a time: Begin, any number of Set and
// Remove, End. Nothing of it is visible until End publishes the index. Within
// an entry, Savepoint and Rollback take a part of the writes back. The methods that are
// not said to be for anybody are the writer's.
type State struct {
	views views

	mu     sync.RWMutex // guards the map, and owed; held for a look-up or one insertion
	spaces map[string]*Space
	most   int // see Fit
	system *Space

	// owed is what the digest is to be amended by when the next entry begins;
	// owes says that there is something. See Snapshot.Amend.
	owed Digest
	owes atomic.Bool

	// The rest belongs to the writer.
	index  protocol.Index
	frozen protocol.Index // of the last snapshot, see Change
	undo   []step
	digest Digest
	stale  []leftover // oldest first, from head on
	head   int

	sizes []sizeAt // room for the next ones
	size  size
	held  size         // the part of it that resources hold
	keys  atomic.Int64 // of size, for everybody, as of the last entry
	bytes atomic.Int64
	holds atomic.Int64 // what Held returned then
	// tracked is what was written since the last snapshot; the writer's.
	tracked tracked
}

// size is how many keys there are, and how many bytes in keys and values.
type size struct{ keys, bytes int64 }

// step is one write of the current entry, enough to take it back.
type step struct {
	space  *Space
	record *Record
	before *Version // nil: the record was made by this step
}

// New returns a state without keys. With track it remembers which keys are written
// between one snapshot and the next, at 16 bytes for each; see [Snapshot.Changed].
func New(track bool) *State {
	return &State{spaces: map[string]*Space{}, system: newSpace(""), tracked: tracked{on: track}}
}

// Index returns the index of the current entry, or of the last one.
func (s *State) Index() protocol.Index { return s.index }

// Digest returns the digest at the last entry, as it was kept along the way.
func (s *State) Digest() Digest { return s.digest }

// Size returns, for anybody, how many keys there are and how many bytes in keys and
// values, as of the last entry.
func (s *State) Size() (keys, bytes int) { return int(s.keys.Load()), int(s.bytes.Load()) }

// Held returns what all resources hold now, in the middle of an entry: the bytes of
// their keys and values, and protocol.KeyOverhead for each key. It is a function of what
// the state holds, so all members have the same at the same place of the log. What the system
// holds, of sessions above all, has bounds of its own. The writer's.
func (s *State) Held() int64 { return s.held.bytes + s.held.keys*protocol.KeyOverhead }

// Holds returns, for anybody, what Held was at the end of the last entry.
func (s *State) Holds() int64 { return s.holds.Load() }

// Begin starts an entry.
func (s *State) Begin(i protocol.Index) {
	if i <= s.index { // asked first: the arguments of Check are allocated
		invariant.Check(false, "entries are applied in order: %d after %d", i, s.index)
	}
	s.index = i
	if s.owes.Load() {
		s.payDigest()
	}
}

// amend adds to what the digest is to be amended by.
func (s *State) amend(by Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owed.add(xxh3.Uint128{Hi: by[0], Lo: by[1]})
	s.owes.Store(true)
}

// payDigest amends the digest.
func (s *State) payDigest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.digest.add(xxh3.Uint128{Hi: s.owed[0], Lo: s.owed[1]})
	s.owed = Digest{}
	s.owes.Store(false)
}

// Set writes a key. Key and value are copied.
func (s *State) Set(sp *Space, key, value []byte) {
	s.set(sp, key, newVersion(s.index, value))
}

func (s *State) set(sp *Space, key []byte, v *Version) *Record {
	hash := hashKey(sp.hash, key)
	r := sp.table.get(stringOf(key), hash)
	if r == nil {
		r = newRecord(key, hash)
		r.head.Store(v)
		sp.list.put(r)
		sp.table.put(r)
		s.undo = append(s.undo, step{sp, r, nil})
		sp.live++
		s.count(sp, r, v, +1)
		return r
	}
	if r.head.Load().gone {
		sp.live++
	}
	s.push(sp, r, v)
	return r
}

// Remove deletes a key and returns what it was, nil if it did not exist.
func (s *State) Remove(sp *Space, key []byte) *Version {
	r := sp.find(key)
	if r == nil {
		return nil
	}
	return s.removeRecord(sp, r)
}

func (s *State) removeRecord(sp *Space, r *Record) *Version {
	before := r.head.Load()
	if before.gone {
		return nil
	}
	sp.live--
	s.push(sp, r, &Version{index: s.index, gone: true})
	if before.mutable {
		s.AmendDigest(before.content().Digest(), Digest{})
	}
	return before
}

// RemoveAll deletes every key of a space, in order. It takes time and memory in
// proportion to their number.
func (s *State) RemoveAll(sp *Space) {
	for r := sp.list.seek(""); r != nil; r = sp.list.after(r) {
		s.removeRecord(sp, r)
	}
}

func (s *State) push(sp *Space, r *Record, v *Version) {
	before := r.head.Load()
	older := before
	if before.index == s.index { // of this entry: nobody has seen it
		older = before.older.Load()
	}
	v.older.Store(older)
	r.head.Store(v)
	s.count(sp, r, before, -1)
	s.count(sp, r, v, +1)
	s.undo = append(s.undo, step{sp, r, before})
}

// Savepoint is a point within an entry to which Rollback can return.
func (s *State) Savepoint() int { return len(s.undo) }

// Rollback takes back all that was written since mark.
func (s *State) Rollback(mark int) {
	for k := len(s.undo) - 1; k >= mark; k-- {
		u := &s.undo[k]
		u.checkRollback()
		after := u.record.head.Load()
		if !after.gone {
			u.space.live--
		}
		s.count(u.space, u.record, after, -1)
		if u.before == nil {
			u.space.unlink(u.record)
			s.bury(u.record, s.index)
		} else {
			u.record.head.Store(u.before)
			s.count(u.space, u.record, u.before, +1)
			if !u.before.gone {
				u.space.live++
			}
		}
		*u = step{}
	}
	s.undo = s.undo[:mark]
}

// End makes the writes of the entry final and visible. changed is called for
// each key that changed, in the order of the writes: v is what it is now, and before
// what it was before the entry, Gone if there was no such key.
func (s *State) End(now protocol.Instant, changed func(sp *Space, r *Record, before, v *Version)) {
	s.settleAll(changed)
	s.sweep(s.views.publish(s.index, s.digest, now))
}

func (s *State) settleAll(changed func(sp *Space, r *Record, before, v *Version)) {
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
	s.tellSize()
}

func (s *State) settle(u *step, changed func(sp *Space, r *Record, before, v *Version)) {
	before, after := u.before, u.record.head.Load()
	if before == nil && after.gone { // came and went
		u.space.unlink(u.record)
		s.bury(u.record, s.index)
		return
	}
	if before != nil {
		s.stale = append(s.stale, leftover{u.space, u.record, s.index})
	}
	if before != nil && !before.gone && !before.mutable {
		s.digest.remove(u.record.term(before))
	}
	if !after.gone && !after.mutable {
		s.digest.add(u.record.term(after))
	}
	if s.tracked.on {
		s.tracked.note(u.space, u.record, before)
	}
	if before == nil {
		before = absent
	}
	if before.gone && after.gone {
		return // deleted, written and deleted again: nothing to tell
	}
	changed(u.space, u.record, before, after)
}

// count counts a version that is the newest of its key from now on, or is not any more.
// One that is a delete counts nothing.
func (s *State) count(sp *Space, r *Record, v *Version, sign int64) {
	if v.gone {
		return
	}
	bytes := int64(len(r.key) + len(v.value))
	if v.mutable {
		bytes += int64(v.content().Size())
	}
	bytes *= sign
	s.size.keys += sign
	s.size.bytes += bytes
	if sp != s.system {
		s.held.keys += sign
		s.held.bytes += bytes
	}
}

func (s *State) tellSize() {
	s.keys.Store(s.size.keys)
	s.bytes.Store(s.size.bytes)
	s.holds.Store(s.Held())
}
