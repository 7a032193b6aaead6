package memberlist

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	library "github.com/hashicorp/memberlist"
)

// known returns how many members the library has, the dead included.
func known(list *library.Memberlist) int {
	field := reflect.ValueOf(list).Elem().FieldByName("numNodes")
	return int((*atomic.Uint32)(unsafe.Pointer(field.UnsafeAddr())).Load())
}

// flock starts members that know each other.
func flock(w world, n int) {
	w.links(whole)
	for i := range n {
		w.start(i, i)
		if i > 0 {
			w.join(i, 0)
		}
	}
	w.settle("all see each other")
}

// meet has the two sides of a healed split exchange what they know, a few times.
func meet(w world, left, n int) {
	for range 3 {
		for i := range left {
			for k := left; k < n; k++ {
				w.join(i, k)
			}
		}
	}
}

// without leaves out links, of datagrams and streams.
func without(cut func(from, to int) bool) open {
	return func(from, to int, _ bool) bool { return !cut(from, to) }
}

func split(left int) open {
	return without(func(from, to int) bool { return (from < left) != (to < left) })
}

// scripts are what happens to both worlds.
var scripts = map[string]func(w world){
	"one link is cut in one direction": func(w world) {
		flock(w, 4)
		w.links(without(func(from, to int) bool { return from == 0 && to == 1 }))
		w.settle("cut")
	},
	"one link is cut": func(w world) {
		flock(w, 4)
		w.links(without(func(from, to int) bool { return from+to == 1 }))
		w.settle("cut")
	},
	"two lose each other": func(w world) {
		flock(w, 2)
		w.links(split(1))
		w.settle("cut")
		w.links(whole)
		w.settle("healed")
		w.join(0, 1)
		w.join(0, 1)
		w.settle("met")
	},
	"datagrams are lost, streams are not": func(w world) {
		flock(w, 3)
		w.links(func(_, _ int, datagram bool) bool { return !datagram })
		w.settle("cut")
	},
	"streams fail, datagrams do not": func(w world) {
		flock(w, 3)
		w.links(func(_, _ int, datagram bool) bool { return datagram })
		w.settle("cut")
	},
	"one hears and is not heard": func(w world) {
		flock(w, 4)
		w.links(without(func(from, _ int) bool { return from == 0 }))
		w.settle("cut")
		w.links(whole)
		w.settle("healed")
		meet(w, 1, 4)
		w.settle("met")
	},
	"one is heard and does not hear": func(w world) {
		flock(w, 4)
		w.links(without(func(_, to int) bool { return to == 0 }))
		w.settle("cut")
		w.links(whole)
		meet(w, 1, 4)
		w.settle("met")
	},
	"half is away": func(w world) {
		flock(w, 6)
		w.links(split(3))
		w.settle("cut")
		w.links(whole)
		w.settle("healed")
		meet(w, 3, 6)
		w.settle("met")
	},
	"one is away": func(w world) {
		flock(w, 4)
		w.links(split(1))
		w.settle("cut")
		w.links(whole)
		w.settle("healed")
		meet(w, 1, 4)
		w.settle("met")
	},
	"one is started again at once": func(w world) {
		flock(w, 4)
		w.stop(3)
		w.start(3, 3)
		w.join(3, 0)
		w.settle("again")
	},
	"one is started again later": func(w world) {
		flock(w, 4)
		w.stop(3)
		w.settle("dead")
		w.start(3, 3)
		w.join(3, 0)
		w.join(3, 0)
		w.settle("again")
	},
	"one is started again elsewhere, at once": func(w world) {
		flock(w, 4)
		w.stop(3)
		w.start(3, 4)
		w.join(4, 0)
		w.settle("again")
	},
	"one is started again elsewhere, later": func(w world) {
		flock(w, 4)
		w.stop(3)
		w.settle("dead")
		w.start(3, 4)
		w.join(4, 0)
		w.settle("again")
	},
	"one id is there twice": func(w world) {
		flock(w, 4)
		w.start(3, 4)
		w.join(4, 0)
		w.settle("twins")
	},
	"one leaves, and comes again": func(w world) {
		flock(w, 4)
		w.leave(3)
		w.settle("left")
		w.start(3, 3)
		w.join(3, 0)
		w.join(3, 0)
		w.settle("again")
	},
}

// seen keeps what each settled moment of a script looked like.
type seen struct {
	*modelled
	views map[string]map[int]view
}

func (s seen) settle(what string) map[int]view {
	s.views[what] = s.modelled.settle(what)
	return s.views[what]
}

// modelRun plays a script with the model, with some seeds: a moment at which chance decides
// is not settled.
func modelRun(t *testing.T, name string, timing Timing) (first map[string]map[int]view) {
	t.Helper()
	for seed := range uint64(5) {
		m := seen{&modelled{timing: timing, rand: rand.New(rand.NewPCG(seed, 1)), at: map[int]*process{}}, map[string]map[int]view{}}
		scripts[name](m)
		if first == nil {
			first = m.views
		}
		if got, want := fmt.Sprint(m.views), fmt.Sprint(first); got != want {
			t.Fatalf("%s: seed %d of the model: %v, seed 0: %v", name, seed, got, want)
		}
	}
	return first
}

// The model and the library go through the same scripts, and at each settled moment all
// members see the same, at the same addresses, and know as many. The library has as long as
// it needs; it mostly waits, so all scripts go on at once.
func TestTheModelSeesWhatTheLibrarySees(t *testing.T) {
	var all sync.WaitGroup
	for name, script := range scripts {
		for what, dead := range map[string]time.Duration{"the dead are remembered": remembered, "the dead are forgotten": forgotten} {
			timing := quick(dead)
			w := &real{t: t, name: name + ", " + what, timing: timing, want: modelRun(t, name, timing), at: map[int]*socket{}}
			all.Go(func() { script(w) })
		}
	}
	all.Wait()
}
