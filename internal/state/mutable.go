package state

import (
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// Mutable is the value of a key that entries change in place: one that nearly every entry
// changes in a small part, and that nobody reads but the writer and snapshots. Such a write
// makes no version, and costs the map nothing.
//
// What it adds to the digest and to the size is the writer's business while it changes: see
// [State.AmendDigest] and [State.AmendSize].
type Mutable interface {
	// Copy returns a copy, which the writer changes from now on: a snapshot has this one.
	Copy() Mutable
	// AppendTo appends the value as it stands in a checkpoint. Any goroutine may call it
	// while a snapshot has the value.
	AppendTo(dst []byte) []byte
	// Index returns the index of the entry that changed it last.
	Index() protocol.Index
	// Size returns about how many bytes AppendTo appends: the same on all members.
	Size() int
	// Digest counts again what the value adds to the digest.
	Digest() Digest
}

// mutableVersion is a version with its mutable value. Its index is that of the entry which
// made or copied it, and differs from member to member; [Mutable.Index] does not.
type mutableVersion struct {
	Version
	value Mutable
}

func newMutable(i protocol.Index, value Mutable) *Version {
	v := &mutableVersion{value: value}
	v.index, v.Version.mutable = i, true
	return &v.Version
}

// content returns the mutable value of a version that has one.
func (v *Version) content() Mutable {
	invariant.Check(v.mutable, "only a mutable version has a mutable value")
	return (*mutableVersion)(unsafe.Pointer(v)).value // newMutable made it
}

// SetMutable writes a key that does not exist; the key is copied. What the value adds to
// the digest is added.
func (s *State) SetMutable(sp *Space, key []byte, value Mutable) *Record {
	invariant.Check(sp.Get(key) == nil, "a mutable value takes no other one's place")
	r := s.set(sp, key, newMutable(s.index, value))
	s.AmendDigest(Digest{}, value.Digest())
	return r
}

// LoadMutable is Load for a key with a mutable value.
func (s *State) LoadMutable(sp *Space, key []byte, value Mutable) (there protocol.Index, ok bool) {
	return s.load(sp, key, newMutable(value.Index(), value))
}

// Change returns the mutable value of a record for the current entry to change. The
// first time after a snapshot it is a copy.
func (s *State) Change(sp *Space, r *Record) Mutable {
	v := r.head.Load()
	if v.index <= s.frozen {
		v = newMutable(s.index, v.content().Copy())
		s.push(sp, r, v)
	}
	return v.content()
}

// Mutable returns the mutable value of a record as it is now; the writer's.
func (r *Record) Mutable() Mutable { return r.head.Load().content() }

// AmendDigest takes a part of a mutable value out of the digest and adds another one. Unlike what
// the map does by itself, it is not taken back by Rollback.
func (s *State) AmendDigest(less, more Digest) {
	s.digest.remove(xxh3.Uint128{Hi: less[0], Lo: less[1]})
	s.digest.add(xxh3.Uint128{Hi: more[0], Lo: more[1]})
}

// Add adds another part to a sum.
func (d *Digest) Add(part Digest) { d.add(xxh3.Uint128{Hi: part[0], Lo: part[1]}) }

// AmendSize says that mutable values have become larger, or smaller, by so many bytes.
func (s *State) AmendSize(by int) { s.size.bytes += int64(by) }

// DigestOf returns what some bytes add to the digest; seed is what identifies them.
func DigestOf(b []byte, seed uint64) Digest {
	h := xxh3.Hash128Seed(b, seed)
	return Digest{h.Hi, h.Lo}
}

// checkRollback refuses to take a change of a mutable value back: nothing knows what it
// was before.
func (u *step) checkRollback() {
	mutable := u.record.head.Load().mutable || u.before != nil && u.before.mutable
	invariant.Check(!mutable, "a mutable value is not changed where a command may fail")
}
