package state

import (
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// Item is one key of a state, or that it is gone. The fields are those of
// storage.Item, so that one converts to the other.
type Item struct {
	// Space is the resource; empty for the system's own keys.
	Space string
	Key   []byte
	// Index is the entry that set the key last.
	Index protocol.Index
	Value []byte
	// Deleted says that the key does not exist; Index and Value do not count.
	Deleted bool
}

// Snapshot is the whole state as it was at one index: what a checkpoint writes.
// All and Changed may be read by any goroutine, or by several, while entries
// are applied; nothing that they hand out may be changed.
//
// Unlike a [View] it does not expire. Until it is closed no version that
// anybody could read at or above its index is dropped: the memory of everything
// written meanwhile, and of the keys deleted, stays in use, and so do the views
// opened after it. Close it as soon as the checkpoint is written.
type Snapshot struct {
	state   *State
	node    *viewNode
	index   protocol.Index
	digest  Digest
	bytes   int
	changes tracked

	once   sync.Once
	closed atomic.Bool
}

// Snapshot takes a snapshot of the state at the last entry and, if keys are tracked,
// makes it the base of the next one. The writer calls it, between entries. It takes
// constant time.
func (s *State) Snapshot() *Snapshot {
	invariant.Check(s.index > 0, "a snapshot is of a state that some entry has made")
	s.frozen = s.index
	return &Snapshot{
		state: s, node: s.views.pin(), index: s.index, digest: s.digest,
		bytes: int(s.bytes.Load()), changes: s.tracked.cut(s.index),
	}
}

// Index returns the index of the last entry that is in the state.
func (s *Snapshot) Index() protocol.Index { return s.index }

// Digest returns the digest of the state at the index.
func (s *Snapshot) Digest() Digest { return s.digest }

// Bytes returns the size of the state, keys and values without overhead: about
// what All yields.
func (s *Snapshot) Bytes() int { return s.bytes }

// Recount counts the digest again over all that the state holds at the index, and returns
// what each resource that has keys has in it, by name, the system first.
// It differs from Digest only if memory was damaged, or if somebody wrote to
// bytes that the state handed out; a key that was damaged and set again since
// shows in Digest instead. It takes time in proportion to the state.
func (s *Snapshot) Recount() (Digest, []protocol.ResourceDigest) {
	d, parts := s.state.recount(s.index)
	s.checkOpen()
	return d, parts
}

// Amend makes the digest of the state what it holds: counted is what Recount
// returned. A key that was damaged and set again takes the damage out of the
// state, but leaves it in the digest that is kept along the way, for good: the
// state would be taken for a diverged one at every checkpoint entry. What has been applied
// since the snapshot counts as it should. It shows from the next entry on. Any
// goroutine may call it, once for a snapshot.
func (s *Snapshot) Amend(counted Digest) {
	by := counted
	by.remove(xxh3.Uint128{Hi: s.digest[0], Lo: s.digest[1]})
	s.state.amend(by)
}

// Bases returns the indexes that Changed can begin after, latest first: those of
// the two snapshots before, or of the state that was taken over if that is later.
func (s *Snapshot) Bases() []protocol.Index {
	var out []protocol.Index
	for t := &s.changes; t != nil && t.base != 0; t = t.prior {
		out = append(out, t.base)
	}
	return out
}

// Close gives the snapshot back. Nobody may read it any more: not even an
// iteration that has begun may go on. Closing it twice is harmless.
func (s *Snapshot) Close() {
	s.once.Do(func() {
		s.closed.Store(true)
		s.state.views.close(s.node)
	})
}

// All yields every key of the state, by space, then by key.
func (s *Snapshot) All() iter.Seq[Item] {
	return func(yield func(Item) bool) {
		for _, sp := range s.state.Spaces() {
			for r, v := range sp.Scan(s.index, nil, nil) {
				s.checkOpen()
				if !yield(itemOf(sp, r, v)) {
					return
				}
			}
		}
		s.checkOpen()
	}
}

// Changed yields every key whose value at a base and at the index may differ, in
// no particular order: those that exist as they are at the index, those that do
// not as Deleted, whether they existed at the base or not. A key may come twice,
// with the same. false: the index is none of Bases.
//
// It is of use only on top of a checkpoint of just this state at the base. If that
// was not kept, take All.
func (s *Snapshot) Changed(since protocol.Index) (changes iter.Seq[Item], known bool) {
	lists, known := s.changes.since(since)
	if !known {
		return nil, false
	}
	return func(yield func(Item) bool) {
		for _, t := range lists {
			if !s.changed(t, yield) {
				return
			}
		}
	}, true
}

// changed yields what the keys of a list are at the index. A record of an earlier
// list that has no value now, and is in made there, tells nothing: a key that has
// been deleted since is in written of a later one.
func (s *Snapshot) changed(t *tracked, yield func(Item) bool) (more bool) {
	for _, p := range t.written {
		if v := s.read(p.record); v != nil {
			if !yield(itemOf(p.space, p.record, v)) {
				return false
			}
		} else if s.lacks(p) && !yield(Item{Space: p.space.name, Key: p.record.KeyBytes(), Deleted: true}) {
			return false
		}
	}
	for _, p := range t.made {
		if v := s.read(p.record); v != nil && !yield(itemOf(p.space, p.record, v)) {
			return false
		}
	}
	return true
}

// lacks reports that the key of a record without a value at the index has none
// in another record either. The key may have been made again, and the resource,
// too, in another space: one with keys at the index stays while that is pinned.
func (s *Snapshot) lacks(p place) bool {
	sp := p.space
	if sp != s.state.system {
		sp = s.state.Space(sp.name)
	}
	if sp == nil {
		return true
	}
	now := sp.table.get(p.record.key, p.record.hash)
	return now == nil || s.read(now) == nil
}

// read returns the version of a record at the index.
func (s *Snapshot) read(r *Record) *Version {
	v := r.at(s.index)
	s.checkOpen()
	return v
}

// checkOpen is called after each read and at the end of a walk: what the
// snapshot may want is dropped, and links are cut, only once it is closed.
func (s *Snapshot) checkOpen() {
	invariant.Check(!s.closed.Load(), "the snapshot is read after it was closed")
}

func itemOf(sp *Space, r *Record, v *Version) Item {
	if v.mutable {
		return Item{Space: sp.name, Key: r.KeyBytes(), Index: v.content().Index(), Value: v.content().AppendTo(nil)}
	}
	return Item{Space: sp.name, Key: r.KeyBytes(), Index: v.index, Value: v.value}
}

// Spaces returns, for anybody, the spaces by name, the system's first.
func (s *State) Spaces() []*Space {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Space, 1, 1+len(s.spaces))
	all[0] = s.system
	for _, sp := range s.spaces { // order does not matter: sorted below
		all = append(all, sp)
	}
	slices.SortFunc(all, func(a, b *Space) int { return strings.Compare(a.name, b.name) })
	return all
}
