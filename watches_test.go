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
