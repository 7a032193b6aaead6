package founding

import (
	"slices"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// Counterexample: the directories of a seed and of another member were lost, and both
// are started again from the template with which they began, --expect 2. The cluster of
// three lives on at the third, which calls them: nobody asks it, since only the seed is
// named. The two began another cluster.
func TestWhoIsCalledByAClusterBeginsNone(t *testing.T) {
	places := []Place{placeOf(0), placeOf(1)}
	each := Config{Begins: true, Expect: 2, Held: true}
	for _, called := range [][]int{{0}, {1}, {0, 1}} {
		p := newPair(t, places, []Config{each, each}, places[:1])
		for range 3 {
			p.round()
		}
		for i, f := range p.all {
			if f.Verdict() != (Verdict{}) {
				t.Fatalf("%d goes by %+v before those who have a cluster could call it", i, f.Verdict())
			}
			if slices.Contains(called, i) {
				f.Called("member a1 of cluster 1")
			}
			f.Release()
		}
		for range 5 {
			p.round()
		}
		for i, f := range p.all {
			if f.Verdict().Begin {
				t.Errorf("called are %v: %d begins a cluster", called, i)
			}
			if got := strings.Contains(f.Waits(), "a1 of cluster 1"); !got {
				t.Errorf("called are %v: %d waits for %q, without who calls", called, i, f.Waits())
			}
		}
	}
}

func TestWhoIsHeldBeginsWhenItIsReleased(t *testing.T) {
	places := []Place{placeOf(0), placeOf(1)}
	each := Config{Begins: true, Held: true}
	p := newPair(t, places, []Config{each, each}, places)
	p.round()
	for _, f := range p.all {
		f.Release()
	}
	for range 4 {
		p.round()
	}
	if first, second := p.all[0].Verdict().Begin, p.all[1].Verdict().Begin; first == second {
		t.Errorf("begin: %t, %t; want one", first, second)
	}
}

// A template's members find each other, and one of them has another address before the
// last one is there: who has promised the seed a list with the old address promises it
// the one with the new, as long as it is the same attempt of the seed. Another attempt
// may have begun a cluster with the first list, and lost its directory since.
func TestWhoWasPromisedMayChangeItsListInOneAttempt(t *testing.T) {
	promise := func(f *Founder, attempt int, places ...Place) string {
		l := listOf(append(slices.Clone(places), placeOf(0), placeOf(1)))
		answer, write := f.Asked(&protocol.Founding{
			ID: memberIDOf(attempt), Name: placeOf(0).Name, Address: placeOf(0).Address, Names: l.names, Addresses: l.addresses,
			Told: true, Expect: 3, Begins: true, Promise: true,
		})
		if write != nil {
			f.Written()
		}
		return answer.Founding.Why
	}
	f := New(Config{ID: memberIDOf(1), Begins: true, Expect: 3})
	f.Name(placeOf(1), []Place{placeOf(0)})
	for k, c := range []struct {
		attempt int
		third   Place
		given   bool
	}{{0, placeOf(2), true}, {0, placeOf(3), true}, {7, placeOf(3), true}, {7, placeOf(2), false}, {0, placeOf(2), true}} {
		if why := promise(f, c.attempt, c.third); (why == "") != c.given {
			t.Errorf("question %d: refused with %q, want it given: %t", k, why, c.given)
		}
	}
	if f.Verdict().Begin {
		t.Error("it begins, and has promised")
	}
}
