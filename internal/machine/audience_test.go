package machine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
)

// atRest has watchers wait that have been told everything.
func atRest(t *testing.T, list ...*machine.Watcher) {
	t.Helper()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, w := range list {
		for !w.Waits() {
			if c, err := w.Next(over); err != nil && !errors.Is(err, context.Canceled) || len(c.Changes) > 0 {
				t.Fatalf("got %v, %v from a watcher that is to rest", c, err)
			}
		}
	}
}

// What an entry does not concern it costs nothing: watchers of other prefixes are not
// woken, do not stand in the way of the ring, and are told of what concerns them after it.
func TestOnlyWhomAnEntryConcernsIsWoken(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), RingChanges: 4})
	put(t, l, "m", "b", "x") // or all would see of which type it is made
	none, some, all := watch(t, l, "zz", 0), watch(t, l, "a", 0), watch(t, l, "", 0)
	atRest(t, none, some, all)
	for k := range 10 {
		i := put(t, l, "m", fmt.Sprint("b", k), "x")
		if got, want := machine.Woken(none, some, all), [3]bool{false, false, true}; got != want {
			t.Fatalf("woken: got %v, want %v", got, want)
		}
		if got, want := next(t, all), fmt.Sprintf("%d 1:b%d=x", i, k); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		atRest(t, all)
	}
	for k := range 2 { // far more has left the ring since they began to wait
		i := put(t, l, "m", "ab", "y")
		if got, want := next(t, some), fmt.Sprintf("%d 1:ab=y", i); got != want {
			t.Errorf("%d: got %s, want %s", k, got, want)
		}
		next(t, all)
	}
	i, err := kvmap.PutAll.Do(t.Context(), l, "m", kvmap.Pairs{{Key: []byte("c"), Value: []byte("1")}, {Key: []byte("zzz"), Value: []byte("2")}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := next(t, none), fmt.Sprintf("%d 1:zzz=2", i); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A watch of a resource that is not there yet ends when it turns out to be of another type,
// whichever keys that has.
func TestAWatchSeesOfWhichTypeAResourceIsMade(t *testing.T) {
	l := newLocal(t, kvmap.Type, queue.Type)
	w := watch(t, l, "zz", 0)
	atRest(t, w)
	if _, err := queue.Push.Do(t.Context(), l, "m", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(t.Context()); !errors.Is(err, protocol.ErrWrongType) {
		t.Errorf("got %v, want %v", err, protocol.ErrWrongType)
	}
}

// A watcher that is closed while its Next is about to wait leaves nothing behind.
func TestAClosedWatcherDoesNotWait(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	w := watch(t, l, "a", 0)
	next(t, w)
	w.Close()
	if _, err := w.Next(t.Context()); !errors.Is(err, protocol.ErrClosed) || w.Waits() {
		t.Errorf("got %v, waits: %v, want %v", err, w.Waits(), protocol.ErrClosed)
	}
}

// A watcher that waits costs an entry of another prefix no allocation, however many there are.
func TestWatchersThatAreNotConcernedCostNothing(t *testing.T) {
	cost := func(watchers int) float64 {
		l := newLocal(t, kvmap.Type)
		for k := range watchers {
			w := watch(t, l, fmt.Sprintf("w%05d", k), 0)
			atRest(t, w)
		}
		put(t, l, "m", "other", "x")
		return testing.AllocsPerRun(200, func() { put(t, l, "m", "other", "x") })
	}
	if none, many := cost(0), cost(2000); many > none {
		t.Errorf("got %v allocations for a put beside 2,000 watchers of other keys, %v beside none", many, none)
	}
}

// [S] How far everything was told is never further than what was told: a change at or below
// it comes before it, whatever is listed meanwhile.
func TestProgressIsNotAheadOfWhatWasTold(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	tick := make(chan time.Time, 1)
	w := watch(t, l, "a", 0)
	w.TellProgress(tick)
	next(t, w)
	mine := put(t, l, "m", "a", "1")
	other := put(t, l, "m", "b", "1")
	tick <- time.Time{}
	for _, want := range []string{fmt.Sprintf("%d 1:a=1", mine), fmt.Sprint(other)} { // the first rest
		if got := next(t, w); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	atRest(t, w)
	last := put(t, l, "other", "a", "1")
	if len(tick) == 0 {
		tick <- time.Time{}
	}
	if got, want := next(t, w), fmt.Sprint(last); got != want { // of a resource that nobody writes
		t.Fatalf("got %s, want %s", got, want)
	}
	for range 200 {
		atRest(t, w) // a change and a tick come while it waits
		mine = put(t, l, "m", "a", "2")
		put(t, l, "m", "b", "2")
		if len(tick) == 0 {
			tick <- time.Time{}
		}
		c, err := w.Next(t.Context())
		for err == nil && len(c.Changes) == 0 && c.Index < mine {
			c, err = w.Next(t.Context())
		}
		if err != nil || len(c.Changes) == 0 {
			t.Fatalf("got %v, %v: everything up to %d was told, but %d was not", c, err, c.Index, mine)
		}
	}
	// One that has been told so goes on from there, when what it has not wanted has left the ring.
	resumed := watch(t, l, "a", w.Told())
	next(t, resumed)
	atRest(t, resumed)
}
