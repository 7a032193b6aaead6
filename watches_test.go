package starling_test

import (
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
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
		if got, err := m.Get(ctx, "k", starling.Session); got != 4 || err != nil {
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
