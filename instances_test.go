package starling_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/starlinghq/starling"
)

// TestResourcesAreListedAndDeleted over a member, a passive, and a client.
func TestResourcesAreListedAndDeleted(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1})
	list := func(c starling.Caller, opts ...starling.ReadOption) (out []string) {
		for r, err := range starling.Resources(ctx, c, opts...) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("%s:%s:%d", r.Name, r.Type, r.Keys))
		}
		return out
	}
	for name, c := range callers(cluster) {
		m, q := starling.NewMap[string, int](c, "m"), starling.NewQueue[int](c, "q")
		for k := range 3 {
			if err := errors.Join(m.Put(ctx, fmt.Sprint(k), k), q.Push(ctx, k)); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := list(c), []string{"m:map:3", "q:queue:4"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if there, err := starling.Delete(ctx, c, "q"); !there || err != nil {
			t.Errorf("%s: delete: got %v, %v", name, there, err)
		}
		if there, err := starling.Delete(ctx, c, "q"); there || err != nil {
			t.Errorf("%s: deleted again: got %v, %v", name, there, err)
		}
		if _, err := starling.Delete(ctx, c, "a b"); !errors.Is(err, starling.ErrInvalid) {
			t.Errorf("%s: a name with a space: got %v", name, err)
		}
		for k := range 3 {
			if there, err := m.Delete(ctx, fmt.Sprint(k)); !there || err != nil {
				t.Errorf("%s: key %d: got %v, %v", name, k, there, err)
			}
		}
		if got := list(c, starling.OwnWrites); len(got) > 0 {
			t.Errorf("%s: got %q, want nothing", name, got)
		}
	}
}

// TestDeletingMoreThanAFrame: who follows over a client is told each key, in parts that
// fit, like who follows at a member. It listed again.
func TestDeletingMoreThanAFrame(t *testing.T) {
	const keys = 1200 // of 4,000 bytes each
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	pad := strings.Repeat("k", 3996)
	for name, caller := range map[string]starling.Caller{"client": cluster.Client, "member": cluster.Nodes[0]} {
		m := starling.NewMap[string, int](caller, "m")
		var writers sync.WaitGroup
		for from := range 8 {
			writers.Go(func() {
				for k := from; k < keys; k += 8 {
					if err := m.Put(ctx, fmt.Sprintf("%s%04d", pad, k), k); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Wait()
		var got []string
		there := 0
		for e, err := range m.Follow(ctx, starling.FollowOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			switch e.Kind {
			case starling.FollowReset:
				got = append(got, "reset")
				there = 0
			case starling.FollowPut:
				there++
			case starling.FollowDelete:
				if there--; there == 0 {
					got = append(got, "gone")
				}
			case starling.FollowListed:
				if there > 0 {
					got = append(got, fmt.Sprint(there))
					if deleted, err := starling.Delete(ctx, caller, "m"); !deleted || err != nil {
						t.Fatal(deleted, err)
					}
				}
				got = append(got, "listed")
			}
			if len(got) > 2 && there == 0 && e.Kind != starling.FollowReset {
				break
			}
		}
		if got, want := strings.Join(got, " "), "reset 1200 listed gone"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
