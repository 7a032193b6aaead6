package client

import (
	"math/rand/v2"
	"testing"
)

// TestWhoLeavesTouchesItsNeighboursOnly: so 200,000 callers whose deadline has
// come leave in 200,000 steps. The others keep their order.
func TestWhoLeavesTouchesItsNeighboursOnly(t *testing.T) {
	const n = 400
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var q turns
	all := make([]*turn, n)
	for k := range all {
		all[k] = &turn{}
		q.add(all[k])
	}
	there := make([]bool, n)
	for k := range there {
		there[k] = true
	}
	for _, k := range r.Perm(n)[:n-10] {
		before := make([]turn, n)
		for j, w := range all {
			before[j] = *w
		}
		q.remove(all[k])
		q.remove(all[k]) // twice is once
		there[k] = false
		touched := 0
		for j, w := range all {
			if *w != before[j] {
				touched++
			}
		}
		if touched > 3 {
			t.Fatalf("to leave touched %d places, want it and its two neighbours at most", touched)
		}
		at := q.first
		for j, w := range all {
			if !there[j] {
				continue
			}
			if at != w {
				t.Fatalf("place %d is not where it should be", j)
			}
			at = at.next
		}
		if at != nil {
			t.Fatal("the queue goes on behind its last place")
		}
	}
	for q.first != nil {
		q.remove(q.first)
	}
	if q.last != nil {
		t.Error("an empty queue has a last place")
	}
	w := &turn{}
	q.add(w)
	if q.first != w || q.last != w {
		t.Error("a queue that was emptied does not take a place")
	}
}
