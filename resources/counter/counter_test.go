package counter_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/resourcetest"
)

func TestCounter(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, counter.Type)
	add := func(delta int64) (int64, error) { return counter.Add.Do(ctx, c, "n", delta) }
	set := func(n int64) (int64, error) { return counter.Set.Do(ctx, c, "n", n) }
	swap := func(from, to int64) (int64, error) {
		return counter.CompareAndSet.Do(ctx, c, "n", counter.Swap{Old: from, New: to})
	}
	for k, step := range []struct {
		do   func() (int64, error)
		want int64
		err  error
	}{
		{func() (int64, error) { return counter.Get.Do(ctx, c, "n", struct{}{}) }, 0, nil},
		{func() (int64, error) { return add(5) }, 5, nil},
		{func() (int64, error) { return add(-7) }, -2, nil},
		{func() (int64, error) { return swap(-2, 10) }, 10, nil},
		{func() (int64, error) { return swap(-2, 11) }, 10, protocol.ErrConditionFailed},
		{func() (int64, error) { return set(math.MaxInt64) }, 10, nil},
		{func() (int64, error) { return add(1) }, math.MaxInt64, counter.ErrOverflow},
		{func() (int64, error) { return add(0) }, math.MaxInt64, nil},
		{func() (int64, error) { return set(math.MinInt64) }, math.MaxInt64, nil},
		{func() (int64, error) { return add(-1) }, math.MinInt64, counter.ErrOverflow},
		{func() (int64, error) { return add(math.MinInt64) }, math.MinInt64, counter.ErrOverflow},
		{func() (int64, error) { return add(math.MaxInt64) }, -1, nil},
		{func() (int64, error) { return counter.Get.Do(ctx, c, "n", struct{}{}) }, -1, nil},
	} {
		if got, err := step.do(); got != step.want || !errors.Is(err, step.err) {
			t.Errorf("step %d: got %d, %v, want %d, %v", k, got, err, step.want, step.err)
		}
	}
}

func TestReplicates(t *testing.T) { resourcetest.Run(t, counter.Type, resourcetest.Options{}) }
