package protocol

import (
	"encoding/hex"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// LogSum is a chained 128-bit sum over the encoded bytes of all entries from
// index 1. It does not depend on how entries were batched and is equal on all
// members that hold the same log. It detects faults, not attackers.
type LogSum [2]uint64

// Next returns the sum after one more entry, given the entry's encoded bytes.
// Both words of the state reach the result: the low word seeds the hash, the
// high word is carried along rotated, so that a collision of one does not hide
// a difference in the other.
func (s LogSum) Next(raw []byte) LogSum {
	h := xxh3.Hash128Seed(raw, s[0])
	return LogSum{h.Lo, h.Hi ^ bits.RotateLeft64(s[1]*0x9e3779b97f4a7c15, 31)}
}

// Head returns half of the sum, for where every byte counts and more than finding
// faults is not asked.
func (s LogSum) Head() uint64 { return s[0] }

// String returns the sum as 32 hexadecimal digits.
func (s LogSum) String() string {
	var b [16]byte
	for i := range 8 {
		b[i] = byte(s[0] >> (56 - 8*i))
		b[8+i] = byte(s[1] >> (56 - 8*i))
	}
	return hex.EncodeToString(b[:])
}

// SumEntries fills in the Sum of a contiguous run that follows a log whose sum
// is before, and returns the sum after the run.
func SumEntries(before LogSum, entries []Entry) LogSum {
	for i := range entries {
		before = before.Next(entries[i].Raw)
		entries[i].Sum = before
	}
	return before
}
