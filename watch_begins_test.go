package starling_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
)

// Counterexample: a program begins a watch in one goroutine and ranges over it in another, writes, and is
// never told what it wrote, since the watch began with the loop.
func TestAWatchBeginsWhenItsCallReturns(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1})
	for name, c := range callers(cluster) {
		m := starling.NewMap[string, int](c, "m-"+name)
		for i := range 20 {
			w := m.Watch(ctx, starling.WatchOptions{})
			if err := m.Put(ctx, "k", i); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for e, err := range w {
				if err != nil || e.Value != i {
					t.Errorf("%s: got %d, %v, want %d", name, e.Value, err, i)
				}
				break
			}
			for _, err := range w {
				if !errors.Is(err, starling.ErrClosed) {
					t.Errorf("%s: got %v from a watch that was ranged over, want that it is over", name, err)
				}
			}
		}
	}
}

// A watch over which nobody ranges ends with its context, and leaves nothing behind.
func TestAWatchThatNobodyRangesOverEnds(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	for name, c := range callers(cluster) {
		m := starling.NewMap[string, int](c, "m-"+name)
		own, cancel := context.WithCancel(ctx)
		watches := make([]func(func(starling.MapEvent[string, int], error) bool), protocol.WatchesPerCallerMax)
		for i := range watches {
			watches[i] = m.Watch(own, starling.WatchOptions{})
		}
		for _, err := range m.Watch(ctx, starling.WatchOptions{Bookmarks: true}) {
			if !errors.Is(err, starling.ErrTooLarge) {
				t.Errorf("%s: got %v, want that there are too many", name, err)
			}
			break
		}
		cancel()
		for _, err := range watches[0] {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v, want that its context has ended", name, err)
			}
		}
		for began := false; !began && ctx.Err() == nil; { // the ends of the others are under way
			for _, err := range m.Watch(ctx, starling.WatchOptions{Bookmarks: true}) {
				began = err == nil
				break
			}
		}
	}
}

// A watch from an index that no log comes to is refused, on either side of a connection, where it waited in silence for ever. One
// from an index that the log has not come to is taken, and waits.
func TestAWatchFromAnIndexThatCannotExistIsRefused(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	for name, c := range callers(cluster) {
		m := starling.NewMap[string, int](c, "m-"+name)
		for _, after := range []starling.Index{protocol.IndexMax + 1, math.MaxUint64} {
			short, cancel := context.WithTimeout(ctx, 10*time.Second)
			for e, err := range m.Watch(short, starling.WatchOptions{After: after, Bookmarks: true}) {
				if !errors.Is(err, starling.ErrInvalid) || !strings.Contains(err.Error(), fmt.Sprint(after)) || !strings.Contains(err.Error(), fmt.Sprint(protocol.IndexMax)) {
					t.Errorf("%s: after %d got %v, %v, want an error with the index and the limit", name, after, e.Kind, err)
					break
				}
			}
			cancel()
		}
		for _, after := range []starling.Index{1 << 40, protocol.IndexMax} {
			for e, err := range m.Watch(ctx, starling.WatchOptions{After: after, Bookmarks: true}) {
				if err != nil || e.Kind != starling.EventBookmark || e.Index != after {
					t.Errorf("%s: after %d got %v of %d, %v, want a bookmark there", name, after, e.Kind, e.Index, err)
				}
				break
			}
		}
	}
}
