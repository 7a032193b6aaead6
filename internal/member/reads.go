package member

import (
	"context"
	"fmt"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// patienceMax bounds how long a read waits here for its level, so that a client tries
// another member, which may have caught up.
const patienceMax = 4 * time.Second

// Patience is how long a read waits for its level at one member. An election, and a
// member that catches up with a few lost frames, take less.
func Patience(election time.Duration) time.Duration { return min(4*election, patienceMax) }

// Sight is what the owner of a replica knew last of the state, for whoever reads that
// without asking it.
type Sight struct {
	Fresh replica.Fresh
	// Suspended, if not nil, says why the state must not be served.
	Suspended error
	// Differs is what must not be read because no majority agrees on it, or nil.
	Differs *replica.Differing
}

// Withheld is why a query must not be answered, or nil.
func (s *Sight) Withheld(q *protocol.Query) error {
	if q.Type == protocol.CatalogueType {
		return s.WithheldOf("")
	}
	return s.WithheldOf(q.Resource)
}

// WithheldOf is why nothing of a resource must be told, or nil.
func (s *Sight) WithheldOf(resource string) error {
	if s.Suspended != nil {
		return s.Suspended
	}
	return s.Differs.Refuses(resource)
}

// Reads answers queries at the levels below linearizable from what a member has: any
// goroutine may use it if it may call Sight and Longest.
type Reads struct {
	Machine *machine.Machine
	// Sight is what was known last. The state may have gone on since, or the other way
	// round.
	Sight func() Sight
	// Longest reads the member's clocks as replica.Fresh.Of wants it.
	Longest func() protocol.Instant
}

// NoForwarding answers from what this member has, if that is enough for the query's level.
func (r *Reads) NoForwarding(ctx context.Context, q *protocol.Query) (protocol.Result, bool) {
	if q.Consistency == protocol.Linearizable {
		return protocol.Result{}, false
	}
	before := r.Sight()
	if err := before.Withheld(q); err != nil {
		return protocol.Failed(err), true
	}
	applied := r.Machine.Applied()
	if q.Consistency != protocol.Local && !r.suits(q, applied, &before) {
		return protocol.Result{}, false
	}
	result := r.Machine.Query(ctx, q)
	after := r.Sight()
	if err := after.Withheld(q); err != nil {
		return protocol.Failed(err), true // found out during the read
	}
	if result.Index == 0 {
		result.Index = applied // refused before it was read, by this state
	}
	age, known := r.age(result.Index, &before, &after)
	if replica.RefusalOf(q, result.Index, age, known) != replica.MayAnswer {
		return protocol.Result{}, false // it has become too old meanwhile
	}
	result.Age, result.AgeKnown = int64(age), known
	return result, true
}

// suits reports whether a state that has applied i may answer now.
func (r *Reads) suits(q *protocol.Query, i protocol.Index, now *Sight) bool {
	// [S] A member that has just started would answer with what it had long ago.
	if q.Consistency == protocol.Session && (now.Fresh.CaughtUp == 0 || i < now.Fresh.CaughtUp) {
		return false
	}
	age, known := now.Fresh.Of(i, r.Longest())
	return replica.RefusalOf(q, i, age, known) == replica.MayAnswer
}

// age bounds the age, now, of a state that was read at index i: by the newest that is
// known about it, or by what was known before the read, if the owner went on during it.
func (r *Reads) age(i protocol.Index, before, after *Sight) (time.Duration, bool) {
	f := &after.Fresh
	if f.Known && i < f.Index {
		f = &before.Fresh
	}
	return f.Of(i, r.Longest())
}

// Age says how old the state is, at an index that it has applied.
func (r *Reads) Age() protocol.Result {
	now := r.Sight()
	if now.Suspended != nil {
		return protocol.Failed(now.Suspended)
	}
	result := protocol.Result{Index: now.Fresh.Index}
	age, known := now.Fresh.Of(result.Index, r.Longest())
	result.Age, result.AgeKnown = int64(age), known
	return result
}

// After answers from a state that has everything that was acknowledged before began.
func (r *Reads) After(ctx context.Context, began protocol.Instant, q *protocol.Query) protocol.Result {
	result := r.Machine.Query(ctx, q)
	if now := r.Sight(); now.Withheld(q) != nil {
		return protocol.Failed(now.Withheld(q)) // found out during the read
	}
	result.Age, result.AgeKnown = int64(replica.Elapsed(began, r.Longest())), true
	return result
}

// Wants returns the index that the state must come to for a query, or why it is not
// known here.
func (r *Reads) Wants(q *protocol.Query) (protocol.Index, error) {
	if q.Consistency != protocol.Session {
		return q.Seen, nil
	}
	caughtUp := r.Sight().Fresh.CaughtUp
	if caughtUp == 0 {
		return 0, protocol.ErrNotServing.With("this member does not know yet how far the others are, it has just started: ask another member, or read what it has at the level local")
	}
	return max(q.Seen, caughtUp), nil
}

// Behind is the answer to a session that has seen more than this member has.
func (r *Reads) Behind(want protocol.Index) protocol.Result {
	return r.stale(func(applied protocol.Index, _ time.Duration, _ bool) string {
		return fmt.Sprintf(
			"this member has applied index %d and not caught up with %d, which the session has seen or asked for: try again, ask another member, or read what it has at the level local",
			applied, want)
	})
}

// TooOld is the answer to a query whose age this member cannot prove.
func (r *Reads) TooOld(q *protocol.Query, why error) protocol.Result {
	return r.stale(func(_ protocol.Index, age time.Duration, known bool) string {
		text := "nothing bounds the age of this member's state, so far"
		if known {
			text = fmt.Sprintf("this member's state may be %v old", age.Round(time.Microsecond))
		}
		return fmt.Sprintf(
			"%s, and %v was asked for; it was not made younger (%v): allow a larger age, ask another member, or read what it has at the level local",
			text, time.Duration(q.MaxAge), why)
	})
}

// stale is an ErrTooStale that says what there is.
func (r *Reads) stale(text func(applied protocol.Index, age time.Duration, known bool) string) protocol.Result {
	now, applied := r.Sight(), r.Machine.Applied()
	age, known := now.Fresh.Of(applied, r.Longest())
	result := protocol.Failed(protocol.ErrTooStale.With(text(applied, age, known)))
	result.Index, result.Age, result.AgeKnown = applied, int64(age), known
	return result
}
