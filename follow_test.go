package starling_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// forgetful is a caller whose watches end now and then with an error.
type forgetful struct {
	starling.Caller
	after int32 // changes
	with  error
	left  atomic.Int32 // how often
}

func (f *forgetful) Watch(ctx context.Context, w protocol.Watch) (resources.WatchStream, error) {
	stream, err := f.Caller.Watch(ctx, w)
	if err != nil || f.left.Load() == 0 {
		return stream, err
	}
	return &forgetfulStream{WatchStream: stream, f: f}, nil
}

type forgetfulStream struct {
	resources.WatchStream
	f    *forgetful
	seen int32
}

func (s *forgetfulStream) Next(ctx context.Context) (protocol.Changes, error) {
	if s.seen++; s.seen > s.f.after+1 && s.f.left.Add(-1) >= 0 {
		return protocol.Changes{}, s.f.with
	}
	return s.WatchStream.Next(ctx)
}

// written is what was written where, by several goroutines.
type written struct {
	mu   sync.Mutex
	list []starling.MapEvent[int, int]
}

// set puts a key, or deletes it.
func (w *written) set(ctx context.Context, c starling.Caller, kind starling.EventKind, key, value int) error {
	var info starling.Info
	raw, err := resources.AppendValue(nil, value)
	if err != nil {
		return err
	}
	if kind == starling.EventPut {
		_, err = kvmap.Put.Do(ctx, c, "m", kvmap.PutRequest{Key: kvmap.AppendKey(nil, key), Value: raw}, starling.WithInfo(&info))
	} else {
		_, err = kvmap.Delete.Do(ctx, c, "m", kvmap.DeleteRequest{Key: kvmap.AppendKey(nil, key)}, starling.WithInfo(&info))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, starling.MapEvent[int, int]{Kind: kind, Key: key, Value: value, Index: info.Index})
	return err
}

// upTo is the map at an index.
func (w *written) upTo(index starling.Index) map[int]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortStableFunc(w.list, func(a, b starling.MapEvent[int, int]) int { return cmp.Compare(a.Index, b.Index) })
	out := map[int]int{}
	for _, e := range w.list {
		if e.Index > index {
			break
		}
		if out[e.Key] = e.Value; e.Kind == starling.EventDelete {
			delete(out, e.Key)
		}
	}
	return out
}

// A follower's copy is the map in the end, whatever was missed meanwhile, and no
// key of it ever goes backwards or is told twice. [S] A listing is the state at one index,
// which it says, although its pages are read while others write.
func TestFollowListsAndGoesOn(t *testing.T) {
	for _, lost := range []error{nil, starling.ErrCompacted, starling.ErrSlowWatcher} {
		t.Run(fmt.Sprint(lost), func(t *testing.T) {
			ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1})
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 1))
			m := starling.NewMap[int, int](cluster.Client, "m")
			const keys, last = 1200, -1 // more than a page
			var begun sync.WaitGroup
			var history written
			for i := range keys {
				begun.Go(func() {
					if err := history.set(ctx, cluster.Client, starling.EventPut, i, i); err != nil {
						t.Error(err)
					}
				})
			}
			begun.Wait()
			caller := &forgetful{Caller: cluster.Nodes[1], after: 20, with: lost}
			if lost != nil {
				caller.left.Store(3)
			}
			done := make(chan error, 1)
			go func() { // writes while the listings are made
				defer close(done)
				for n := range 400 {
					key := random.IntN(keys)
					kind := starling.EventPut
					if random.IntN(4) == 0 {
						kind = starling.EventDelete
					}
					err := history.set(ctx, cluster.Client, kind, key, n+keys)
					if err != nil {
						done <- err
						return
					}
				}
				done <- history.set(ctx, cluster.Client, starling.EventPut, last, 0)
			}()
			copied, at, resets, listing := map[int]int{}, map[int]starling.Index{}, 0, false
			listed := map[starling.Index]map[int]int{}
			for e, err := range starling.NewMap[int, int](caller, "m").Follow(ctx, starling.FollowOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				switch e.Kind {
				case starling.FollowReset:
					clear(copied)
					clear(at)
					resets, listing = resets+1, true
				case starling.FollowListed:
					listing = false
					listed[e.Index] = maps.Clone(copied)
				case starling.FollowPut, starling.FollowDelete:
					if e.Index <= at[e.Key] {
						t.Fatalf("key %d is told at %d after %d", e.Key, e.Index, at[e.Key])
					}
					at[e.Key] = e.Index
					copied[e.Key] = e.Value
					if e.Kind == starling.FollowDelete {
						delete(copied, e.Key)
					}
				}
				if _, there := copied[last]; there && !listing {
					break
				}
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			want := map[int]int{}
			for e, err := range m.Scan(ctx, starling.Range[int]{}) {
				if err != nil {
					t.Fatal(err)
				}
				want[e.Key] = e.Value
			}
			if !maps.Equal(copied, want) {
				t.Errorf("the copy has %d keys, the map %d, or other values", len(copied), len(want))
			}
			for index, list := range listed {
				if want := history.upTo(index); !maps.Equal(list, want) {
					t.Errorf("the listing at %d has %d keys, the map had %d there, or other values", index, len(list), len(want))
				}
			}
			if lost != nil && resets < 2 {
				t.Errorf("got %d listings, want more than one", resets)
			}
		})
	}
}

func TestFollowEnds(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	m := starling.NewMap[string, string](cluster.Client, "m")
	if err := m.Put(ctx, "a", "1"); err != nil {
		t.Fatal(err)
	}
	if err := m.Put(ctx, "b", "2"); err != nil {
		t.Fatal(err)
	}
	var got []string
	bounded, cancel := context.WithCancel(ctx)
	defer cancel()
	var ended error
	for e, err := range m.Follow(bounded, starling.FollowOptions{Prefix: []byte("b")}) {
		if err != nil {
			ended = err
			break
		}
		got = append(got, e.Kind.String()+" "+e.Key)
		if e.Kind == starling.FollowListed {
			cancel()
		}
	}
	if want := "[reset  put b listed ]"; fmt.Sprint(got) != want || !errors.Is(ended, context.Canceled) {
		t.Errorf("got %v, %v, want %v and the context's error", got, ended, want)
	}
	// Watches that are always too late: an end, and no endless listing.
	late := &forgetful{Caller: cluster.Client, after: -1, with: starling.ErrCompacted}
	late.left.Store(1 << 20)
	listings := 0
	for e, err := range starling.NewMap[string, string](late, "m").Follow(ctx, starling.FollowOptions{}) {
		ended = err
		if e.Kind == starling.FollowReset {
			listings++
		}
	}
	if !errors.Is(ended, starling.ErrCompacted) || listings != 8 {
		t.Errorf("got %v after %d listings, want %v after 8", ended, listings, starling.ErrCompacted)
	}
}
