package sim

import (
	"math/rand/v2"
	"time"
)

// streams are the sources of chance of one run. Each subsystem draws from its
// own, so that a change in how one draws does not reshuffle all others.
type streams struct {
	plan        *rand.Rand // profile and knobs
	network     *rand.Rand
	disk        *rand.Rand
	faults      *rand.Rand
	clients     *rand.Rand
	clocks      *rand.Rand
	membership  *rand.Rand
	memberships *rand.Rand
	members     *rand.Rand // ids, runs, delays of applying
	readers     *rand.Rand // reads at the levels session and stale
	states      *rand.Rand // states that diverge, and in which seeds
	moves       *rand.Rand // members that get other addresses
	calls       *rand.Rand // calls that fail, and in which seeds
	sluggish    *rand.Rand // disks that are slow for good
	tails       *rand.Rand // how much of a log stays in memory
	sight       *rand.Rand // how fast members find out who lives
	walls       *rand.Rand // wall clocks that are set, and pauses that only they see
	limits      *rand.Rand // limits of the state
	blocks      *rand.Rand // transports that are blocked, and in which seeds
	drags       *rand.Rand // leaders that are slow, and in which seeds
	watches     *rand.Rand // programs that watch
	behind      *rand.Rand // what members keep for those that are behind
}

func newStreams(seed uint64) streams {
	return streams{
		plan:        stream(seed, 1),
		network:     stream(seed, 2),
		disk:        stream(seed, 3),
		faults:      stream(seed, 4),
		clients:     stream(seed, 5),
		clocks:      stream(seed, 6),
		membership:  stream(seed, 7),
		members:     stream(seed, 8),
		memberships: stream(seed, 9),
		readers:     stream(seed, 10),
		states:      stream(seed, 102),
		moves:       stream(seed, 11),
		calls:       stream(seed, 103),
		sluggish:    stream(seed, 12),
		tails:       stream(seed, 13),
		walls:       stream(seed, 14),
		limits:      stream(seed, 15),
		blocks:      stream(seed, 16),
		sight:       stream(seed, 17),
		drags:       stream(seed, 18),
		watches:     stream(seed, 19),
		behind:      stream(seed, 20),
	}
}

// stream returns one independent source. Neighbouring seeds are spread first:
// a PCG that starts from close states gives visibly related numbers.
func stream(seed, number uint64) *rand.Rand {
	return rand.New(rand.NewPCG(mix(seed), mix(seed^number*0x9e3779b97f4a7c15)))
}

// mix spreads the bits of x over the whole word (the finaliser of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// chance is true with probability p. It always draws once, so that a knob of
// zero does not shift what follows.
func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

// between returns a duration in [low, high).
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	if high <= low {
		return low
	}
	return low + time.Duration(r.Int64N(int64(high-low)))
}

// around returns a duration with the given mean and a long tail, at most ten
// times the mean.
func around(r *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(min(r.ExpFloat64(), 10) * float64(mean))
}
