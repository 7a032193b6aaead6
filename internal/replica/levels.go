package replica

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// ageRate is the share of an elapsed time by which clocks may be wrong; the
// same as between members.
const ageRate = 1000

// Fresh is what a member knew of its age at one instant: the state that had
// applied Index was at most Age old At that instant, by the larger of the member's
// clocks. It never becomes false, so
// it may be used, and added to, for as long as nothing better is known.
type Fresh struct {
	Known bool
	Index protocol.Index
	Age   time.Duration
	At    protocol.Instant
	// CaughtUp is the index that a state must have applied to count as caught up with
	// what the others had when this member started; 0: it does not know yet.
	CaughtUp protocol.Index
}

// Of bounds the age at now of a state that has applied i: it says false of a
// state that f is not about. now is read when the answer is made, by the larger of the
// clocks; it is never counted.
func (f Fresh) Of(i protocol.Index, now protocol.Instant) (time.Duration, bool) {
	if !f.Known || i < f.Index {
		return 0, false
	}
	return f.Age + Elapsed(f.At, now), true
}

// FreshOf returns what a member knows of its age now.
func FreshOf(r *Replica, now protocol.Instant) Fresh {
	age, known := r.Age(now, r.log.applied)
	return Fresh{Known: known, Index: r.log.applied, Age: age, At: r.gossip.Longest(now), CaughtUp: r.behind.caughtUp}
}

// Elapsed is how much time can have passed between two readings of a clock.
func Elapsed(from, to protocol.Instant) time.Duration {
	d := max(to.Sub(from), 0)
	return d + d/ageRate
}

// ReadRefusal is what a state lacks to answer a query.
type ReadRefusal uint8

const (
	// MayAnswer: it may answer.
	MayAnswer ReadRefusal = iota
	// RefusedForIndex: it has not reached what the session has seen.
	RefusedForIndex
	// RefusedForAge: nothing proves that it is young enough.
	RefusedForAge
	// RefusedForLeader: only a read index will do.
	RefusedForLeader
)

// RefusalOf says what a state at index i, of an age that is known or not, lacks for
// a query.
func RefusalOf(q *protocol.Query, i protocol.Index, age time.Duration, known bool) ReadRefusal {
	switch {
	case q.Consistency == protocol.Local:
		return MayAnswer
	case q.Consistency == protocol.Linearizable:
		return RefusedForLeader
	case i < q.Seen:
		return RefusedForIndex
	case q.Consistency == protocol.MaxStale && (!known || int64(age) > q.MaxAge):
		return RefusedForAge
	}
	return MayAnswer
}
