package machine_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// latest watches the map for the newest change of each key, in parts of so many bytes.
func latest(t *testing.T, m *machine.Machine, from protocol.Index, bytesMax int) *machine.Watcher {
	t.Helper()
	w, err := m.WatchWithin(&protocol.Watch{Resource: "m", Type: "map", From: from, Latest: true}, bytesMax)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// Who is behind is told the newest change of each key, where it was made; who is not, every one.
func TestTheNewestOfEachKeyIsTold(t *testing.T) {
	for what, ring := range map[string]int{"from memory": 0, "from the file": 8} {
		l := newLocal(t, kvmap.Type)
		withFile(t, l, ring, 4<<20)
		start := put(t, l, "m", "other", "v")
		w := latest(t, l.m, start, 0)
		next(t, w)
		for n := range 50 {
			for _, key := range []string{"a", "b", "c"} {
				put(t, l, "m", key, fmt.Sprint(key, n))
			}
		}
		kvmap.Delete.Do(t.Context(), l, "m", kvmap.DeleteRequest{Key: []byte("b")})
		batch, _ := kvmap.PutAll.Do(t.Context(), l, "m", kvmap.Pairs{{Key: []byte("c"), Value: []byte("old")}, {Key: []byte("d"), Value: []byte("new")}})
		last := put(t, l, "m", "c", "newest")
		for _, want := range []string{
			fmt.Sprintf("%d 1:a=a49", batch-4), fmt.Sprintf("%d 2:b=", batch-1), fmt.Sprintf("%d 1:d=new", batch), fmt.Sprintf("%d 1:c=newest", last),
		} {
			if got := next(t, w); got != want {
				t.Fatalf("%s: got %s, want %s", what, got, want)
			}
		}
		for n := range 5 {
			i := put(t, l, "m", "a", fmt.Sprint(n))
			if got, want := next(t, w), fmt.Sprintf("%d 1:a=%d", i, n); got != want {
				t.Errorf("%s: got %s, want %s: it is not behind", what, got, want)
			}
		}
	}
}

// [S] Counterexample: a watch of the newest changes leaves out one that has been replaced since, says that it has told
// everything up to an index above it and below the other one, or ends there, and the key stays as it was before both.
//
// Wherever such a watch stops, what another one is told after that leads to the map; and when it waits, its
// copy is the map at the index that it says.
func TestWhatIsLeftOutIsToldWhereItWasReplaced(t *testing.T) {
	r := newRandom(t)
	l := newLocal(t, kvmap.Type)
	withFile(t, l, 60, 64<<20)
	start := put(t, l, "m", "first", "v")
	h := &pastMaps{at: map[protocol.Index]map[string]string{}}
	h.note(t, l.m)
	random := func() *rand.Rand { return rand.New(rand.NewPCG(r.Uint64(), 0)) }
	var reads sync.WaitGroup
	const entries = 6000
	ticks := time.NewTicker(100 * time.Microsecond)
	defer ticks.Stop()
	for _, bytesMax := range []int{0, 1, 500} {
		r := random()
		reads.Go(func() {
			copied, from, bookmarks := map[string]string{"first": "v"}, start, 0
			begin := func() *machine.Watcher {
				w := latest(t, l.m, from, bytesMax)
				w.TellProgress(ticks.C)
				next(t, w)
				return w
			}
			for w, midway := begin(), false; from < start+entries; {
				if r.IntN(20) == 0 { // it is lost, and goes on elsewhere
					w.Close()
					w, midway = begin(), false
				}
				c, err := w.Next(t.Context())
				if err != nil || c.Index < from {
					t.Errorf("%d after %d, %v", c.Index, from, err)
					return
				}
				for _, change := range c.Changes {
					if copied[string(change.Key)] = string(change.Value); change.Kind == protocol.ChangeDelete {
						delete(copied, string(change.Key))
					}
				}
				if len(c.Changes) == 0 && !midway {
					bookmarks++
					if want := h.of(c.Index); !maps.Equal(copied, want) {
						t.Errorf("told everything up to %d, and the copy is %v, want %v", c.Index, copied, want)
						return
					}
				}
				if midway = c.More; !midway {
					from = c.Index
				}
			}
			if want := h.of(start + entries); !maps.Equal(copied, want) {
				t.Errorf("at the end: got %v, want %v", copied, want)
			}
			t.Logf("parts of %d: %d bookmarks", bytesMax, bookmarks)
		})
	}
	for r := random(); l.m.Applied() < start+entries-1; h.note(t, l.m) {
		switch key := fmt.Sprint(r.IntN(40)); r.IntN(8) {
		case 0:
			kvmap.Delete.Do(t.Context(), l, "m", kvmap.DeleteRequest{Key: []byte(key)})
		case 1:
			var pairs kvmap.Pairs
			for k := range 20 {
				pairs = append(pairs, kvmap.Pair{Key: fmt.Append(nil, k), Value: fmt.Append(nil, l.m.Applied())})
			}
			kvmap.PutAll.Do(t.Context(), l, "m", pairs)
		default:
			put(t, l, "m", key, fmt.Sprint(l.m.Applied()))
		}
	}
	put(t, l, "m", "first", "end")
	h.note(t, l.m)
	reads.Wait()
}

// pastMaps is the map at each index.
type pastMaps struct {
	mu sync.Mutex
	at map[protocol.Index]map[string]string
}

// note takes note of the map of now.
func (h *pastMaps) note(t *testing.T, m *machine.Machine) {
	v, err := m.View("m", "map")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	now := map[string]string{}
	for item, err := range v.Scan(nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		now[string(item.Key)] = string(item.Value)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at[v.Index()] = now
}

// of is the map at an index, which has been applied and may be noted in a moment.
func (h *pastMaps) of(i protocol.Index) map[string]string {
	for {
		h.mu.Lock()
		m := h.at[i]
		h.mu.Unlock()
		if m != nil {
			return m
		}
		runtime.Gosched()
	}
}
