package machine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

func put(t testing.TB, c resources.Caller, name, key, value string) protocol.Index {
	t.Helper()
	i, err := kvmap.Put.Do(context.Background(), c, name, kvmap.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func watch(t *testing.T, l *local, prefix string, from protocol.Index) *machine.Watcher {
	t.Helper()
	w, err := l.m.Watch(&protocol.Watch{Resource: "m", Type: "map", Prefix: []byte(prefix), From: from})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func next(t *testing.T, w *machine.Watcher) string {
	t.Helper()
	c, err := w.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return spelt(&c)
}

func spelt(c *protocol.Changes) string {
	out := fmt.Sprint(c.Index)
	for _, change := range c.Changes {
		out += fmt.Sprintf(" %d:%s=%s", change.Kind, change.Key, change.Value)
	}
	return out
}

func TestWatchTellsEveryChangeOnce(t *testing.T) {
	ctx := context.Background()
	l := newLocal(t, kvmap.Type)
	all := watch(t, l, "", 0)
	if got, want := next(t, all), "0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	first := put(t, l, "m", "a1", "x")
	put(t, l, "other", "a1", "x")
	some := watch(t, l, "b", 0)
	at := l.m.Applied()
	put(t, l, "m", "a2", "y")
	batch, err := kvmap.PutAll.Do(ctx, l, "m", kvmap.Pairs{{Key: []byte("b1"), Value: []byte("p")}, {Key: []byte("a1"), Value: []byte("q")}})
	if err != nil {
		t.Fatal(err)
	}
	kvmap.Put.Do(ctx, l, "m", kvmap.PutRequest{Key: []byte("b1"), Condition: kvmap.IfAbsent}) // fails: no change
	kvmap.Delete.Do(ctx, l, "m", kvmap.DeleteRequest{Key: []byte("b1")})
	end := l.m.Applied()

	for _, want := range []string{
		fmt.Sprintf("%d 1:a1=x", first),
		fmt.Sprintf("%d 1:a2=y", batch-1),
		fmt.Sprintf("%d 1:b1=p 1:a1=q", batch),
		fmt.Sprintf("%d 2:b1=", end),
	} {
		if got := next(t, all); got != want {
			t.Errorf("all: got %s, want %s", got, want)
		}
	}
	for _, want := range []string{fmt.Sprint(at), fmt.Sprintf("%d 1:b1=p", batch), fmt.Sprintf("%d 2:b1=", end)} {
		if got := next(t, some); got != want {
			t.Errorf("prefix: got %s, want %s", got, want)
		}
	}
	resumed := watch(t, l, "", batch)
	for _, want := range []string{fmt.Sprint(batch), fmt.Sprintf("%d 2:b1=", end)} {
		if got := next(t, resumed); got != want {
			t.Errorf("resumed: got %s, want %s", got, want)
		}
	}
	ahead := watch(t, l, "", end+1) // this member is behind where the watcher was
	next(t, ahead)
	put(t, l, "m", "a", "old")
	if got, want := next(t, all), fmt.Sprintf("%d 1:a=old", end+1); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	put(t, l, "m", "a", "new")
	if got, want := next(t, ahead), fmt.Sprintf("%d 1:a=new", end+2); got != want {
		t.Errorf("ahead: got %s, want %s", got, want)
	}
}

func TestSlowWatcherIsCancelled(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), RingChanges: 4})
	slow, quick, idle := watch(t, l, "", 0), watch(t, l, "", 0), watch(t, l, "", 0)
	next(t, slow)
	next(t, quick)
	var first protocol.Index
	for k := range 10 {
		i := put(t, l, "m", fmt.Sprint(k), "")
		if k == 0 {
			first = i
		}
		next(t, quick)
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, protocol.ErrSlowWatcher) {
		t.Errorf("got %v, want a slow watcher", err)
	}
	next(t, idle) // where it began
	if _, err := idle.Next(t.Context()); !errors.Is(err, protocol.ErrSlowWatcher) {
		t.Errorf("got %v, want a slow watcher", err)
	}
	for from, want := range map[protocol.Index]error{first: protocol.ErrCompacted, first + 4: protocol.ErrCompacted, first + 5: nil, first + 9: nil} {
		_, err := l.m.Watch(&protocol.Watch{Resource: "m", Type: "map", From: from})
		if !errors.Is(err, want) {
			t.Errorf("from %d: got %v, want %v", from-first, err, want)
		}
	}
	if _, err := l.m.Watch(&protocol.Watch{Resource: "m", Type: "queue"}); !errors.Is(err, protocol.ErrUnknownType) {
		t.Errorf("got %v, want an unknown type", err)
	}
}

// An entry that changed more than fits is told in parts, every change once, in order,
// and only the last part says that there is no more.
func TestLargeEntryIsToldInParts(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	var pairs kvmap.Pairs
	for k := range 20 {
		for _, prefix := range []string{"mine", "other"} {
			pairs = append(pairs, kvmap.Pair{Key: fmt.Appendf(nil, "%s%02d", prefix, k), Value: make([]byte, 100)})
		}
	}
	w, err := l.m.WatchWithin(&protocol.Watch{Resource: "m", Type: "map", Prefix: []byte("mine")}, 300)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	next(t, w)
	i, err := kvmap.PutAll.Do(t.Context(), l, "m", pairs)
	if err != nil {
		t.Fatal(err)
	}
	told, parts := 0, 0
	for more := true; more && parts < 20; parts++ {
		c, err := w.Next(t.Context())
		if err != nil || c.Index != i || len(c.Changes) == 0 || len(c.Changes) > 2 {
			t.Fatalf("got %d changes of %d, %v: want one or two of %d", len(c.Changes), c.Index, err, i)
		}
		for _, change := range c.Changes {
			if want := fmt.Sprintf("mine%02d", told); string(change.Key) != want {
				t.Errorf("got %s, want %s", change.Key, want)
			}
			told++
		}
		more = c.More
	}
	if told != 20 || parts != 10 {
		t.Errorf("got %d changes in %d parts, want 20 in 10", told, parts)
	}
	put(t, l, "m", "mine", "v")
	if got := next(t, w); !strings.HasSuffix(got, " 1:mine=v") {
		t.Errorf("got %s after it, want the next entry", got)
	}
}

func TestWatcherEnds(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	closed, cancelled, shut := watch(t, l, "", 0), watch(t, l, "", 0), watch(t, l, "", 0)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	ends := func(w *machine.Watcher, ctx context.Context, want error) {
		next(t, w)
		wg.Go(func() {
			if _, err := w.Next(ctx); !errors.Is(err, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
	ends(closed, t.Context(), protocol.ErrClosed)
	ends(cancelled, ctx, context.Canceled)
	closed.Close()
	cancel()
	wg.Wait()
	ends(shut, t.Context(), protocol.ErrClosed)
	wg.Go(func() {
		if err := l.m.WaitApplied(t.Context(), 1000); !errors.Is(err, protocol.ErrClosed) {
			t.Errorf("a waiter got %v, want closed", err)
		}
	})
	l.m.Close()
	wg.Wait()
	if got := l.m.Stats().Watchers; got != 2 {
		t.Errorf("got %d watchers, want 2", got)
	}
}

// Counterexample: nobody knows which state of a resource is right, new watches of it are refused, and one that
// runs goes on to tell what its member has.
func TestWatchesOfWhatIsInDisputeEnd(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	put(t, l, "m", "k", "1")
	var disputed atomic.Bool
	begin := func() (*machine.Watcher, chan time.Time) {
		w, tick := watch(t, l, "", 0), make(chan time.Time, 1)
		w.TellProgress(tick)
		w.EndWith(func() error {
			if disputed.Load() {
				return protocol.ErrDisputed
			}
			return nil
		})
		next(t, w)
		return w, tick
	}
	waits, tick := begin()
	late, _ := begin()
	disputed.Store(true)
	tick <- time.Time{}
	if _, err := waits.Next(t.Context()); !errors.Is(err, protocol.ErrDisputed) {
		t.Errorf("one that waits got %v, want %v", err, protocol.ErrDisputed)
	}
	put(t, l, "m", "k", "2")
	if c, err := late.Next(t.Context()); !errors.Is(err, protocol.ErrDisputed) {
		t.Errorf("one for which something has come got %v, %v, want %v: what differs is not told", c, err, protocol.ErrDisputed)
	}
}

// TestWatchersSeeWhatReadersSee: concurrent watchers rebuild the map from a
// read and the changes after it.
func TestWatchersSeeWhatReadersSee(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	put(t, l, "m", "k0", "start")
	const last = 600
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			w, err := l.m.Watch(&protocol.Watch{Resource: "m", Type: "map"})
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			begin, _ := w.Next(t.Context())
			v, err := l.m.View("m", "map")
			if err != nil {
				t.Error(err)
				return
			}
			got := map[string][]byte{}
			for item := range v.Scan(nil, nil) {
				got[string(item.Key)] = item.Value
			}
			from := v.Index()
			v.Close()
			for at := begin.Index; at < last; {
				c, err := w.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if c.Index <= at {
					t.Errorf("%d after %d", c.Index, at)
				}
				for at = c.Index; c.Index > from && len(c.Changes) > 0; c.Changes = c.Changes[1:] {
					got[string(c.Changes[0].Key)] = c.Changes[0].Value
				}
			}
			end, _ := l.m.View("m", "map")
			defer end.Close()
			for item := range end.Scan(nil, nil) {
				if !bytes.Equal(got[string(item.Key)], item.Value) {
					t.Errorf("%s: got %s, want %s", item.Key, got[string(item.Key)], item.Value)
				}
			}
		})
	}
	for i := l.m.Applied(); i < last; {
		i = put(t, l, "m", fmt.Sprint("k", i%17), fmt.Sprint(i))
	}
	wg.Wait()
}

func TestWaitApplied(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	var wg sync.WaitGroup
	for i := range protocol.Index(20) {
		wg.Go(func() {
			if err := l.m.WaitApplied(t.Context(), i); err != nil || l.m.Applied() < i {
				t.Errorf("got %v at %d, want %d applied", err, l.m.Applied(), i)
			}
		})
	}
	for range 20 {
		put(t, l, "m", "k", "v")
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.m.WaitApplied(ctx, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want cancelled", err)
	}
}
