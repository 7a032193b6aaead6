package starling

import (
	"context"

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
func (q *Queue[V]) Push(ctx context.Context, value V) error {
	b, err := resources.AppendValue(nil, value)
	if err != nil {
		return err
	}
	caller, name := q.target()
	_, err = queue.Push.Do(ctx, caller, name, b)
	return err
}

// Pop takes the first value, or ErrEmpty. After ErrUnknownOutcome a value may
// have been taken.
func (q *Queue[V]) Pop(ctx context.Context) (V, error) {
	caller, name := q.target()
	e, err := queue.Pop.Do(ctx, caller, name, struct{}{})
	if err != nil {
		var zero V
		return zero, err
	}
	v, err := resources.ParseValue[V](e.Value)
	return v, q.unreadable(err)
}

// Peek returns the first value and leaves it there, or ErrEmpty.
func (q *Queue[V]) Peek(ctx context.Context, opts ...Option) (V, error) {
	caller, name := q.target()
	elements, err := queue.Peek.Do(ctx, caller, name, 1, opts...)
	if err != nil || len(elements) == 0 {
		var zero V
		return zero, err
	}
	v, err := resources.ParseValue[V](elements[0].Value)
	return v, q.unreadable(err)
}

// Len returns the number of values.
func (q *Queue[V]) Len(ctx context.Context, opts ...Option) (int, error) {
	caller, name := q.target()
	n, err := queue.Length.Do(ctx, caller, name, struct{}{}, opts...)
	return int(n), err
}
