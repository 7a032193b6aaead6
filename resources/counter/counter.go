// Package counter is a number that many add to. It is a signed 64-bit integer;
// what would leave that range is an error and has no effect.
package counter

import (
	"fmt"
	"math"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// ErrOverflow answers an Add that would leave the range of int64; the answer
// that comes with it is the value as it is.
var ErrOverflow = resources.NewError("counter.overflow", "the counter would overflow")

// Swap asks for New if the counter has the value Old.
type Swap struct{ Old, New int64 }

var value = resources.NewCell[int64]("value")

// Add adds to the counter, which begins at 0, and answers the sum.
var Add = resources.NewCommand("add", func(tx *resources.Tx, delta int64) (int64, error) {
	n, err := value.Get(tx)
	if err != nil {
		return 0, err
	}
	if delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta {
		return n, ErrOverflow.With(fmt.Sprintf("the counter would overflow: %d plus %d", n, delta))
	}
	return n + delta, value.Set(tx, n+delta)
})

// Set sets the counter and answers the value before.
var Set = resources.NewCommand("set", func(tx *resources.Tx, n int64) (int64, error) {
	before, err := value.Get(tx)
	if err != nil {
		return 0, err
	}
	return before, value.Set(tx, n)
})

// CompareAndSet sets the counter if it has the value expected, and answers the
// value afterwards. ErrConditionFailed.
var CompareAndSet = resources.NewCommand("cas", func(tx *resources.Tx, s Swap) (int64, error) {
	n, err := value.Get(tx)
	if err != nil {
		return 0, err
	}
	if n != s.Old {
		return n, protocol.ErrConditionFailed.With(fmt.Sprintf("the counter is %d, not %d", n, s.Old))
	}
	return s.New, value.Set(tx, s.New)
})

// Get reads the counter; one never used is 0.
var Get = resources.NewQuery("get", func(v *resources.View, _ struct{}) (int64, error) {
	return value.Get(v)
})

// Type is what a member needs to have counters.
var Type = resources.NewType("counter", 1, Add, Set, CompareAndSet, Get)

// Changes tells each number that the counter is set to.
var Changes = resources.NewWatch(Type, value)
