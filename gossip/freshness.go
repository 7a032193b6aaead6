package gossip

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// pairsMax is how many freshness pairs a member keeps.
	pairsMax = 64
	// Each hop adds ageRate of the age and ageStep, for clocks that do not run
	// at the same rate. Clocks that are off by more than one part in a
	// thousand are outside the promise.
	ageRate = 1000
	ageStep = time.Millisecond
	// ageMax is the largest age that is believed to be meant.
	ageMax = 24 * time.Hour
)

// pair is a claim: every write acknowledged before at, on this member's clock,
// has an index of at most index. Facts about the past never become false: a
// deposed leader's claim, or one that took a long way, is only old.
type pair struct {
	index protocol.Index
	at    protocol.Instant
}

// freshness is what a member knows of its age. It starts with nothing, so that
// a member that was just started does not claim to be fresh.
//
// Invariant: pairs rise strictly in index and in at; any other would say
// nothing that these do not.
type freshness struct {
	pairs []pair
	inUse protocol.Index // what this member applied
}

// learn adds a claim. It is stamped with when it held, never with when it was
// confirmed or heard.
func (f *freshness) learn(index protocol.Index, at protocol.Instant) {
	if index == 0 {
		return
	}
	i := 0
	for i < len(f.pairs) && f.pairs[i].index <= index {
		if f.pairs[i].at >= at {
			return // a lower index at a later time says more
		}
		i++
	}
	if i > 0 && f.pairs[i-1].index == index {
		i--
	}
	j := i
	for j < len(f.pairs) && f.pairs[j].at <= at {
		j++
	}
	f.pairs = slices.Replace(f.pairs, i, j, pair{index, at})
	if len(f.pairs) > pairsMax {
		f.thin()
	}
}

// thin drops the pair that is missed least: one older than the pair in use, or
// else the one closest in time to both of its neighbours. The first is in use
// then, and the last is passed on.
func (f *freshness) thin() {
	if f.pairs[1].index <= f.inUse {
		f.pairs = slices.Delete(f.pairs, 0, 1)
		return
	}
	drop, least := 1, time.Duration(-1)
	for i := 1; i < len(f.pairs)-1; i++ {
		if d := f.pairs[i+1].at.Sub(f.pairs[i-1].at); least < 0 || d < least {
			drop, least = i, d
		}
	}
	f.pairs = slices.Delete(f.pairs, drop, drop+1)
}

// applied says what this member's state holds now.
func (f *freshness) applied(index protocol.Index) { f.inUse = index }

// age returns the bound for a state at applied: from the newest pair with an
// index of at most that. The reader's own clock counts as a hop's.
func (f *freshness) age(now protocol.Instant, applied protocol.Index) (time.Duration, bool) {
	for i := len(f.pairs) - 1; i >= 0; i-- {
		if f.pairs[i].index <= applied {
			d := max(now.Sub(f.pairs[i].at), 0)
			return d + d/ageRate, true
		}
	}
	return 0, false
}

// newest returns the pair that is passed on, as an age at now.
func (f *freshness) newest(now protocol.Instant) (protocol.Index, time.Duration, bool) {
	if len(f.pairs) == 0 {
		return 0, 0, false
	}
	p := f.pairs[len(f.pairs)-1]
	return p.index, max(now.Sub(p.at), 0), true
}

// answered takes a pair from an answer to a question that was asked at asked.
// The neighbour's clock was read after that, so the claim held at least its
// age before asked.
func (f *freshness) answered(asked protocol.Instant, index protocol.Index, age time.Duration) {
	if age < 0 || age > ageMax {
		return
	}
	f.learn(index, asked.Add(-age-age/ageRate-ageStep))
}
