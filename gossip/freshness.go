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
//
// [S] They are facts about one history. All actives may have been put back to an
// old copy, and then a claim counts the writes of another one: so it carries the
// log sum at its index, and gives an age only to a log that has the same sum there.
type pair struct {
	index protocol.Index
	sum   uint64 // LogSum.Head
	at    protocol.Instant
	from  protocol.MemberID // who said so, if it was not this member's own round
	mine  bool              // this member's log has the sum at the index
}

// freshness is what a member knows of its age. It starts with nothing, so that
// a member that was just started does not claim to be fresh. Its instants are
// by the larger of the member's two clocks; pauses and patience of this package go by
// boot time.
//
// Invariant: pairs rise strictly in index and in at; any other would say
// nothing that these do not.
type freshness struct {
	self  *standing
	log   Log
	doubt questioner

	pairs []pair
	inUse protocol.Index // what this member applied
	// lastIndex is what this member holds as committed, since lastIndexAt at the latest.
	lastIndex   protocol.Index
	lastIndexAt protocol.Instant
}

// questioner has an active asked who is right: a suspect, or this member's log.
type questioner interface {
	question(now protocol.Instant, suspect protocol.MemberID, at protocol.Index)
}

// holds says what this member holds as committed now.
func (f *freshness) holds(now protocol.Instant, lastIndex protocol.Index) {
	if lastIndex != f.lastIndex {
		f.lastIndex, f.lastIndexAt = lastIndex, now
	}
}

// denies reports whether a claim cannot be true of the history that this member
// holds: it says that nothing above its index had been acknowledged at a time at
// which this member held more as committed.
func (f *freshness) denies(p pair) bool { return p.index < f.lastIndex && p.at > f.lastIndexAt }

// learn adds a claim. It is stamped with when it held, never with when it was
// confirmed or heard.
func (f *freshness) learn(p pair) {
	if p.index == 0 {
		return
	}
	i := 0
	for i < len(f.pairs) && f.pairs[i].index <= p.index {
		if f.pairs[i].at >= p.at {
			return // a lower index at a later time says more
		}
		i++
	}
	if i > 0 && f.pairs[i-1].index == p.index {
		i--
	}
	j := i
	for j < len(f.pairs) && f.pairs[j].at <= p.at {
		j++
	}
	f.pairs = slices.Replace(f.pairs, i, j, p)
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

// age returns the bound for a state at applied: from the newest pair of this
// member's history with an index of at most that. The reader's own clock counts as
// a hop's.
func (f *freshness) age(now protocol.Instant, applied protocol.Index) (time.Duration, bool) {
	for i := len(f.pairs) - 1; i >= 0; i-- {
		if f.pairs[i].mine && f.pairs[i].index <= applied {
			d := max(now.Sub(f.pairs[i].at), 0)
			return d + d/ageRate, true
		}
	}
	return 0, false
}

// newest returns the pair that is passed on, and its age at now.
func (f *freshness) newest(now protocol.Instant) (pair, time.Duration, bool) {
	if len(f.pairs) == 0 {
		return pair{}, 0, false
	}
	p := f.pairs[len(f.pairs)-1]
	return p, max(now.Sub(p.at), 0), true
}

// answered returns the claim of an answer to a question that was asked at asked.
// The neighbour's clock was read after that, so the claim held at least its age
// before asked.
func answered(asked protocol.Instant, from protocol.MemberID, h *protocol.Have) (pair, bool) {
	age := time.Duration(h.FreshAge)
	if !h.FreshKnown || age < 0 || age > ageMax {
		return pair{}, false
	}
	return pair{index: h.FreshIndex, sum: h.FreshSum, from: from, at: asked.Add(-age - age/ageRate - ageStep)}, true
}

// learnFresh takes a claim of a neighbour. One that contradicts what this member
// holds counts for nothing, and is a reason to ask an active: the neighbour may
// lie, or be of another history, and so may this member.
func (f *freshness) learnFresh(now protocol.Instant, p pair) {
	if f.denies(p) {
		f.doubt.question(now, p.from, f.self.LastIndex)
		return
	}
	switch f.compare(&p) {
	case pairContradicts:
		f.doubt.question(now, p.from, p.index)
	case pairUnknown: // so old that it would say little
	default:
		f.learn(p)
	}
}

// comparison is what this member's log says of a claim.
type comparison uint8

const (
	pairAbove comparison = iota // this member does not hold its index yet
	pairAgrees
	pairContradicts
	// pairUnknown: the log sum there is not in memory any more. Such a claim
	// cannot be told from one of another history, and is not used.
	pairUnknown
)

func (f *freshness) compare(p *pair) comparison {
	if p.index > f.self.LastIndex {
		return pairAbove
	}
	sum, known := sumBefore(f.log, p.index+1)
	switch {
	case !known:
		return pairUnknown
	case sum.Head() != p.sum:
		return pairContradicts
	}
	p.mine = true
	return pairAgrees
}

// compareFresh looks at the claims whose index this member has come to.
func (f *freshness) compareFresh(now protocol.Instant) {
	for i := 0; i < len(f.pairs); i++ {
		p := &f.pairs[i]
		if p.mine {
			continue
		}
		switch f.compare(p) {
		case pairContradicts:
			f.doubt.question(now, p.from, p.index)
			fallthrough
		case pairUnknown:
			f.pairs = slices.Delete(f.pairs, i, i+1)
			i--
		case pairAbove:
			return // and so are those that follow
		}
	}
}
