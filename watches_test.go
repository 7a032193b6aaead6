package starling_test

import (
	"maps"
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// More watches than there may be other requests: they take nothing from those.
func TestManyWatchesTakeNothingFromCalls(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	for name, c := range callers(cluster) {
		m := starling.NewMap[string, int](c, "m-"+name)
		for range 1100 {
			w, err := c.Watch(ctx, protocol.Watch{Resource: "m-" + name, Type: "map"})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if _, err := w.Next(ctx); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		for i := range 10 {
			if err := m.Put(ctx, "k", i); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got, err := m.Get(ctx, "k"); got != i || err != nil {
				t.Errorf("%s: got %d, %v, want %d", name, got, err, i)
			}
		}
	}
}

// [S] Counterexample: a watch that asks for an index that nothing has come to yet, of another cluster or mistyped,
// raised what its caller had seen. Every session read of that caller waited for ever then, and its next
// watch from now on was told nothing of what was acknowledged: it had seen all that, it thought.
func TestAWatchOfTheFutureLeavesNoGapInOthers(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	for name, c := range callers(cluster) {
		m := starling.NewMap[string, int](c, "m-"+name)
		future, err := c.Watch(ctx, protocol.Watch{Resource: "m-" + name, Type: "map", From: 1 << 40})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer future.Close()
		if _, err := future.Next(ctx); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		now, err := c.Watch(ctx, protocol.Watch{Resource: "m-" + name, Type: "map"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer now.Close()
		for i := range 5 {
			if err := m.Put(ctx, "k", i); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if got, err := m.Get(ctx, "k", starling.OwnWrites); got != 4 || err != nil {
			t.Errorf("%s: a session read got %d, %v, want 4", name, got, err)
		}
		for told := 0; told < 5; {
			changes, err := now.Next(ctx)
			if err != nil {
				t.Fatalf("%s: after %d of 5: %v", name, told, err)
			}
			told += len(changes.Changes)
		}
	}
}

// What one entry changed is told on, wherever a loop has ended: its Resume is the index only
// of the last event of an entry.
func TestAResumeLosesNothingOfAnEntry(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1})
	for name, c := range callers(cluster) {
		m := starling.NewMap[string, int](c, "m-"+name)
		pairs, request := map[string]int{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, kvmap.Pairs{}
		for key, value := range pairs {
			raw, _ := resources.AppendValue(nil, value)
			request = append(request, kvmap.Pair{Key: kvmap.AppendKey(nil, key), Value: raw})
		}
		at, err := kvmap.PutAll.Do(ctx, c, "m-"+name, request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for stop := 1; stop <= 5; stop++ {
			got, resume := map[string]int{}, starling.Index(0)
			n := 0
			for e, err := range m.Watch(ctx, starling.WatchOptions{After: at - 1}) {
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got[e.Key], resume = e.Value, e.Resume()
				if n++; e.Last != (n == 5) {
					t.Errorf("%s: event %d of 5 says that it is the last: %v", name, n, e.Last)
				}
				if n == stop {
					break
				}
			}
			if err := m.Put(ctx, "end", stop); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for e, err := range m.Watch(ctx, starling.WatchOptions{After: resume}) {
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if e.Key == "end" && e.Value == stop {
					break
				}
				if e.Key != "end" {
					got[e.Key] = e.Value
				}
			}
			if !maps.Equal(got, pairs) {
				t.Errorf("%s: stopped after %d of 5 and resumed: got %v, want %v", name, stop, got, pairs)
			}
		}
	}
}

// Keys that nobody writes have bookmarks, on which a watch goes on when the changes of others
// since then are gone.
func TestBookmarksOfKeysThatNobodyWrites(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1})
	for name, c := range callers(cluster) {
		idle, busy := starling.NewMap[string, int](c, "idle-"+name), starling.NewMap[string, int](c, "busy-"+name)
		var resume, written starling.Index
		for e, err := range idle.Watch(ctx, starling.WatchOptions{Bookmarks: true}) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if e.Kind != starling.EventBookmark || e.Index < resume {
				t.Fatalf("%s: got %v of %d after %d, want a bookmark", name, e.Kind, e.Index, resume)
			}
			if resume = e.Resume(); written == 0 {
				if written, err = busy.PutIf(ctx, "k", 1, 0); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if resume >= written && e.AgeKnown {
				break // a lone one that has just begun may not know how old it is
			}
		}
	}
}
