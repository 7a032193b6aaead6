package resources

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"github.com/starlinghq/starling/protocol"
)

// version is what a key was set to by one entry. All fields but older are
// fixed before the version can be reached; older only ever becomes nil, when
// nobody can want to read that far back.
type version struct {
	index protocol.Index
	older atomic.Pointer[version]
	value []byte
	gone  bool // a delete
}

// record is one key of a space and its chain of versions, newest first.
//
// Invariant: while a record is linked, its chain is not empty once the entry
// that made it has ended, and the indexes along the chain decrease.
type record struct {
	// What a walk along the ordered index looks at comes first and lies in
	// one cache line. The tower has its low levels in place, because three
	// of four records need only one, and the others in high, which one of
	// sixteen has.
	order uint64 // of the key, see orderOf
	low   [lowLevels]atomic.Pointer[record]
	high  *[heightMax - lowLevels]atomic.Pointer[record]
	key   string

	hash uint64
	head atomic.Pointer[version]
	// The writer's.
	made     uint32 // see tracked
	unlinked bool
}

// at returns the newest version at or below an index, or nil if the key did
// not exist then.
func (r *record) at(i protocol.Index) *version {
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
func (r *record) less(order uint64, key string) bool {
	return r.order < order || r.order == order && r.key < key
}

// keyBytes returns the key without copying it. Nobody may change it.
func (r *record) keyBytes() []byte { return bytesOf(r.key) }

func bytesOf(s string) []byte  { return unsafe.Slice(unsafe.StringData(s), len(s)) }
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// newVersion copies the value. A short value lies in the same allocation as
// its version, which halves the allocations of a write.
func newVersion(i protocol.Index, value []byte) *version {
	switch n := len(value); {
	case n == 0:
		return &version{index: i, value: []byte{}}
	case n <= 32:
		v := &struct {
			version
			buf [32]byte
		}{}
		return v.fill(i, v.buf[:n:n], value)
	case n <= 80:
		v := &struct {
			version
			buf [80]byte
		}{}
		return v.fill(i, v.buf[:n:n], value)
	case n <= 160:
		v := &struct {
			version
			buf [160]byte
		}{}
		return v.fill(i, v.buf[:n:n], value)
	case n <= 272:
		v := &struct {
			version
			buf [272]byte
		}{}
		return v.fill(i, v.buf[:n:n], value)
	}
	return new(version).fill(i, make([]byte, len(value)), value)
}

func (v *version) fill(i protocol.Index, room, value []byte) *version {
	copy(room, value)
	v.index, v.value = i, room
	return v
}

// newRecord copies the key, a short one into the record's own allocation.
func newRecord(key []byte, hash uint64) *record {
	if len(key) > 32 {
		return &record{key: string(key), hash: hash, order: orderOf(stringOf(key))}
	}
	r := &struct {
		record
		buf [32]byte
	}{}
	copy(r.buf[:], key)
	r.key, r.hash = stringOf(r.buf[:len(key)]), hash
	r.order = orderOf(r.key)
	return &r.record
}
