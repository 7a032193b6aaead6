package starling

import (
	"context"
	"errors"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/queue"
)

var (
	// ErrEmpty: there is nothing in the queue.
	ErrEmpty = queue.ErrEmpty
	// ErrOverflow: the counter would leave the range of 64 bits.
	ErrOverflow = counter.ErrOverflow
)

// Queue is a typed handle to a replicated queue: first in, first out. Values
// are encoded with msgpack. A queue stays when it is empty, because the numbers of
// its elements are never used again; Delete ends it.
type Queue[V any] struct {
	caller Caller
	name   string
}

// NewQueue returns a handle over a Node or a Client. If values of type V cannot
// be stored, every call fails with what [Queue.Err] says.
func NewQueue[V any](c Caller, name string) *Queue[V] {
	return &Queue[V]{caller: callerFor[V](c), name: name}
}

// Err returns why no call of this handle can work, an ErrInvalid, or nil: values
// of type V cannot be stored, with the place in the type and the way out
// (resources.AppendValue has the rules), or there is nobody to ask.
func (q *Queue[V]) Err() error { return faultOf(q.target()) }

// Push adds a value at the end.
func (q *Queue[V]) Push(ctx context.Context, value V, opts ...WriteOption) error {
	b, err := resources.AppendValue(nil, value)
	if err != nil {
		return err
	}
	caller, name := q.target()
	_, err = queue.Push.Do(ctx, caller, name, b, opts...)
	return err
}

// Pop takes the first value, or ErrEmpty. After ErrUnknownOutcome a value may
// have been taken. It reads before it takes: where the first value is of another
// type than V, the error is ErrMalformed with a [DecodeError], nothing was taken,
// and [Queue.Skip] gets the queue past it.
func (q *Queue[V]) Pop(ctx context.Context, opts ...WriteOption) (V, error) {
	var zero V
	caller, name := q.target()
	elements, err := queue.Peek.Do(ctx, caller, name, 1)
	for err == nil {
		values, bad := q.read(elements)
		if len(values) == 0 {
			return zero, bad
		}
		var taken []queue.Element
		taken, err = queue.Take.Do(ctx, caller, name, elements[len(values)-1].Index, opts...)
		switch {
		case err == nil:
			for i := range values {
				if len(taken) == 1 && elements[i].Number == taken[0].Number {
					return values[i], nil
				}
			}
			err = protocol.ErrAnswerLost.With("a value was taken, and the answer does not say which")
		case errors.Is(err, ErrConditionFailed): // others have taken what was read
			if elements, err = taken, nil; len(elements) == 0 { // the answer was too long to be kept
				elements, err = queue.Peek.Do(ctx, caller, name, 1)
			}
		}
	}
	return zero, err
}

// read decodes elements, up to the first that cannot be.
func (q *Queue[V]) read(elements []queue.Element) (values []V, bad error) {
	for i := range elements {
		v, err := resources.ParseValue[V](elements[i].Value)
		if err != nil {
			return values, q.unreadable(&elements[i], err)
		}
		values = append(values, v)
	}
	return values, nil
}

// Peek returns the first value and leaves it there, or ErrEmpty; ErrMalformed with
// a [DecodeError], if it is of another type than V.
func (q *Queue[V]) Peek(ctx context.Context, opts ...ReadOption) (V, error) {
	var zero V
	caller, name := q.target()
	elements, err := queue.Peek.Do(ctx, caller, name, 1, opts...)
	if err != nil {
		return zero, err
	}
	values, err := q.read(elements)
	if err != nil || len(values) == 0 {
		return zero, err
	}
	return values[0], nil
}

// Skip removes the first element if it has a number, of a [DecodeError] that Pop or
// Peek returned, and returns its bytes. ErrNotFound: another is first, because
// somebody else has skipped that one. To lose nothing, put the bytes of the
// DecodeError elsewhere before.
func (q *Queue[V]) Skip(ctx context.Context, number uint64, opts ...WriteOption) (Raw, error) {
	caller, name := q.target()
	e, err := queue.Skip.Do(ctx, caller, name, number, opts...)
	return e.Value, err
}

// Len returns the number of values.
func (q *Queue[V]) Len(ctx context.Context, opts ...ReadOption) (int, error) {
	caller, name := q.target()
	n, err := queue.Length.Do(ctx, caller, name, struct{}{}, opts...)
	return int(n), err
}
