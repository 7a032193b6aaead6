package starling

import (
	"context"
	"iter"

	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
)

// Counter is a handle to a replicated 64-bit number. One that nobody has
// touched is 0.
type Counter struct {
	caller Caller
	name   string
}

// NewCounter returns a handle over a Node or a Client.
func NewCounter(c Caller, name string) *Counter {
	return &Counter{caller: callerFor[int64](c), name: name}
}

// Add adds to the number and returns the sum, or ErrOverflow.
func (c *Counter) Add(ctx context.Context, delta int64, opts ...WriteOption) (int64, error) {
	caller, name := c.target()
	return counter.Add.Do(ctx, caller, name, delta, opts...)
}

// Get returns the number.
func (c *Counter) Get(ctx context.Context, opts ...ReadOption) (int64, error) {
	caller, name := c.target()
	return counter.Get.Do(ctx, caller, name, struct{}{}, opts...)
}

// Set sets the number and returns the one before.
func (c *Counter) Set(ctx context.Context, n int64, opts ...WriteOption) (int64, error) {
	caller, name := c.target()
	return counter.Set.Do(ctx, caller, name, n, opts...)
}

// CompareAndSet sets the number if it is the expected one. Otherwise the error
// is ErrConditionFailed. It returns the number as it is afterwards.
func (c *Counter) CompareAndSet(ctx context.Context, expected, n int64, opts ...WriteOption) (int64, error) {
	caller, name := c.target()
	return counter.CompareAndSet.Do(ctx, caller, name, counter.Swap{Old: expected, New: n}, opts...)
}

// CounterEvent is a number that the counter was set to, that it was deleted, or a bookmark.
type CounterEvent = resources.Event[struct{}, int64]

// Watch begins a watch, as [Map.Watch] does. A counter that nobody has touched, or that was deleted, is 0:
// its first event has no previous value.
func (c *Counter) Watch(ctx context.Context, o WatchOptions) iter.Seq2[CounterEvent, error] {
	caller, name := c.target()
	return counter.Changes.Watch(ctx, caller, name, o)
}
