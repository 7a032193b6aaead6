package resources

import (
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
	key  string
	hash uint64
	head atomic.Pointer[version]

	// The tower of the ordered index: low levels in place, because three of
	// four records need only one, the others in high.
	low  [2]atomic.Pointer[record]
	high []atomic.Pointer[record]
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
		return &record{key: string(key), hash: hash}
	}
	r := &struct {
		record
		buf [32]byte
	}{}
	copy(r.buf[:], key)
	r.key, r.hash = stringOf(r.buf[:len(key)]), hash
	return &r.record
}
