package resources

import "math/bits"

// Rand is a source of numbers that are the same on every member: PCG-DXSM with
// 128 bits of state (O'Neill, 2014), seeded by the index of the entry. It is
// our own so that no release of a library can change what it yields. It
// implements the Source of math/rand/v2.
type Rand struct{ hi, lo uint64 }

func newRand(seed uint64) *Rand {
	r := &Rand{hi: seed, lo: 0x9e3779b97f4a7c15}
	r.Uint64()
	return r
}

// Uint64 returns the next number.
func (r *Rand) Uint64() uint64 {
	const (
		mulHi, mulLo = 2549297995355413924, 4865540595714422341
		incHi, incLo = 6364136223846793005, 1442695040888963407
		cheap        = 0xda942042e4dd58b5
	)
	hi, lo := bits.Mul64(r.lo, mulLo)
	hi += r.hi*mulLo + r.lo*mulHi
	var carry uint64
	lo, carry = bits.Add64(lo, incLo, 0)
	hi, _ = bits.Add64(hi, incHi, carry)
	r.hi, r.lo = hi, lo

	hi ^= hi >> 32
	hi *= cheap
	hi ^= hi >> 48
	return hi * (lo | 1)
}

// N returns a number in [0, n), evenly spread. n must not be 0.
func (r *Rand) N(n uint64) uint64 {
	// Lemire's multiplication with rejection: no bias, and no division in
	// most cases.
	hi, lo := bits.Mul64(r.Uint64(), n)
	if lo < n {
		for least := -n % n; lo < least; {
			hi, lo = bits.Mul64(r.Uint64(), n)
		}
	}
	return hi
}
