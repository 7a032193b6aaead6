package virtual

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Events come in the order of time, and those of one instant in the order in which they
// were put in, whatever was taken out in between.
func TestQueueIsInOrderOfTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	type told struct{ at, number int }
	var q Queue[int64, int]
	var model []told
	for n := range 5000 {
		at := rng.IntN(100)
		q.Push(int64(at), n)
		i, _ := slices.BinarySearchFunc(model, at+1, func(x told, at int) int { return x.at - at })
		model = slices.Insert(model, i, told{at, n})
		if rng.IntN(3) == 0 {
			first, _ := q.First()
			at, what := q.Pop()
			if want := model[0]; int(at) != want.at || what != want.number || first != at {
				t.Fatalf("got event %d at %d, said to be at %d, want %d at %d", what, at, first, want.number, want.at)
			}
			model = model[1:]
		}
	}
	for _, want := range model {
		if at, what := q.Pop(); int(at) != want.at || what != want.number {
			t.Fatalf("got event %d at %d, want %d at %d", what, at, want.number, want.at)
		}
	}
	if _, ok := q.First(); ok || q.Len() != 0 {
		t.Error("the queue is not empty when all have been taken")
	}
}
