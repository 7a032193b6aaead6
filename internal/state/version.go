package state

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/starlinghq/starling/protocol"
)

// Version is what a key was set to by one entry. All fields but older are
// fixed before the version can be reached; older only ever becomes nil, when
// nobody can want to read that far back.
type Version struct {
	index protocol.Index
	older atomic.Pointer[Version]
	value []byte
	gone  bool // a delete
	// mutable says that this is the first field of a mutableVersion, and value is nil.
	mutable bool
}

// absent is what a key was of which there is no record.
var absent = &Version{gone: true}

// Record is one key of a space and its chain of versions, newest first.
//
// Invariant: while a record is linked, its chain is not empty once the entry
// that made it has ended, and the indexes along the chain decrease.
type Record struct {
	// What a walk along the ordered index looks at comes first and lies in
	// one cache line. The tower has its low levels in place, because three
	// of four records need only one, and the others in high, which one of
	// sixteen has.
	order uint64 // of the key, see orderOf
	low   [lowLevels]atomic.Pointer[Record]
	high  *[heightMax - lowLevels]atomic.Pointer[Record]
	key   string

	hash uint64
	head atomic.Pointer[Version]
	// The writer's.
	made     uint32 // see tracked
	unlinked bool
}

// at returns the newest version at or below an index, or nil if the key did
// not exist then.
func (r *Record) at(i protocol.Index) *Version {
	for v := r.head.Load(); v != nil; v = v.older.Load() {
		if v.index <= i {
			if v.gone {
				return nil
			}
			return v
		}
	}
	return nil
}

// orderOf returns the first eight bytes of a key as a number. Where two keys
// differ in it, it orders them without a look at the keys themselves.
func orderOf(key string) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(bytesOf(key))
	}
	var first [8]byte
	copy(first[:], key)
	return binary.BigEndian.Uint64(first[:])
}

// less reports whether the record's key is below another one.
func (r *Record) less(order uint64, key string) bool {
	return r.order < order || r.order == order && r.key < key
}

// Key returns the key.
func (r *Record) Key() string { return r.key }

// KeyBytes returns the key without copying it. Nobody may change it.
func (r *Record) KeyBytes() []byte { return bytesOf(r.key) }

// Copy returns a record of the same key that is part of no state.
func (r *Record) Copy() *Record { return &Record{key: strings.Clone(r.key)} }

// Index returns the index of the entry.
func (v *Version) Index() protocol.Index { return v.index }

// Value returns the value. Nobody may change it.
func (v *Version) Value() []byte { return v.value }

// Gone reports whether the key was deleted.
func (v *Version) Gone() bool { return v.gone }

// Copy returns a version of the same that is part of no state; nil of none.
func (v *Version) Copy() *Version {
	if v == nil {
		return nil
	}
	return &Version{index: v.index, value: bytes.Clone(v.value), gone: v.gone}
}

func bytesOf(s string) []byte  { return unsafe.Slice(unsafe.StringData(s), len(s)) }
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// newVersion copies the value. A short value lies in the same allocation as
// its version, which halves the allocations of a write.
func newVersion(i protocol.Index, value []byte) *Version {
	switch n := len(value); {
	case n == 0:
		return &Version{index: i, value: []byte{}}
	case n <= 32:
		v := &struct {
			Version
			buf [32]byte
		}{}
		return v.fill(i, v.buf[:n:n], value)
	case n <= 80:
		v := &struct {
			Version
			buf [80]byte
		}{}
		return v.fill(i, v.buf[:n:n], value)
	case n <= 160:
		v := &struct {
			Version
			buf [160]byte
		}{}
		return v.fill(i, v.buf[:n:n], value)
	case n <= 272:
		v := &struct {
			Version
			buf [272]byte
		}{}
		return v.fill(i, v.buf[:n:n], value)
	}
	return new(Version).fill(i, make([]byte, len(value)), value)
}

func (v *Version) fill(i protocol.Index, room, value []byte) *Version {
	copy(room, value)
	v.index, v.value = i, room
	return v
}

// newRecord copies the key, a short one into the record's own allocation.
func newRecord(key []byte, hash uint64) *Record {
	if len(key) > 32 {
		return &Record{key: string(key), hash: hash, order: orderOf(stringOf(key))}
	}
	r := &struct {
		Record
		buf [32]byte
	}{}
	copy(r.buf[:], key)
	r.key, r.hash = stringOf(r.buf[:len(key)]), hash
	r.order = orderOf(r.key)
	return &r.Record
}
