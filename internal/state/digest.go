package state

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
)

// Digest is a 128-bit sum over all keys of a state: members that applied the
// same index have the same one. Each write changes it in constant time. It
// detects faults, not attackers.
type Digest [2]uint64

// String returns the digest as 32 hexadecimal digits.
func (d Digest) String() string {
	b := d.Bytes()
	return hex.EncodeToString(b[:])
}

// Bytes returns the digest as it stands in manifests and entries of
// checkpoints, most significant byte first.
func (d Digest) Bytes() (b [16]byte) {
	binary.BigEndian.PutUint64(b[:8], d[0])
	binary.BigEndian.PutUint64(b[8:], d[1])
	return b
}

// DigestFrom reads what Bytes returned.
func DigestFrom(b [16]byte) Digest {
	return Digest{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (d *Digest) add(t xxh3.Uint128) {
	var carry uint64
	d[1], carry = bits.Add64(d[1], t.Lo, 0)
	d[0], _ = bits.Add64(d[0], t.Hi, carry)
}

func (d *Digest) remove(t xxh3.Uint128) {
	var borrow uint64
	d[1], borrow = bits.Sub64(d[1], t.Lo, 0)
	d[0], _ = bits.Sub64(d[0], t.Hi, borrow)
}

// hashKey is the hash of a key of a space. The name of the space is hashed by
// itself and seeds the hash of the key, so no pair of (name, key) runs into
// another one as their concatenations would.
func hashKey(space uint64, key []byte) uint64 { return xxh3.HashSeed(key, space) }

// term is what one key adds to the digest: the 128-bit hash of the value,
// seeded by what identifies it, the space, the key and the index. Hashing the
// value in place saves copying it behind its key.
func (r *Record) term(v *Version) xxh3.Uint128 {
	if v.mutable {
		d := v.content().Digest()
		return xxh3.Uint128{Hi: d[0], Lo: d[1]}
	}
	return xxh3.Hash128Seed(v.value, r.hash^bits.RotateLeft64(uint64(v.index)*0x9e3779b97f4a7c15, 32))
}

// digestAt is the digest at one index.
type digestAt struct {
	index  protocol.Index
	digest Digest
}

// Recount counts the digest again over all that the state holds. It takes time in
// proportion to that.
func (s *State) Recount() Digest {
	d, _ := s.recount(s.index)
	return d
}

func (s *State) recount(i protocol.Index) (d Digest, parts []protocol.ResourceDigest) {
	for _, sp := range s.Spaces() {
		var own Digest
		n := 0
		for r, v := range sp.Scan(i, nil, nil) {
			own.add(r.term(v))
			n++
		}
		if n == 0 {
			continue
		}
		d.add(xxh3.Uint128{Hi: own[0], Lo: own[1]})
		_, kind := sp.At(i)
		parts = append(parts, protocol.ResourceDigest{Name: sp.name, Type: kind.String(), Digest: own.Bytes()})
	}
	return d, parts
}
