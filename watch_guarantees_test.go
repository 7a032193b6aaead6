package starling_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

type (
	event = starling.MapEvent[string, int]
	step  = starling.FollowEvent[string, int]
)

// guaranteed is a map of a cluster that was written by three writers at once, and what those who
// watched it meanwhile were told.
type guaranteed struct {
	ctx     context.Context
	readers map[string]starling.Caller
	mu      sync.Mutex
	truth   map[starling.Index]map[string]event // by index and key
	end     starling.Index
	// By reader: a watch of all keys, one of those that begin with b/, one of keys that nobody writes, and
	// a copy that is kept.
	all, few, none map[string][]event
	copies         map[string][]step
}

const (
	fewPrefix  = "b/"
	nonePrefix = "c/"
)

// watchedMap has the map watched at an active and a passive in this process, by a client of an active, by one of a
// passive, and by one whose passive ends meanwhile.
func watchedMap(t *testing.T) *guaranteed {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 3, Passives: 2})
	byName := map[string]*starling.Node{}
	for _, n := range cluster.Nodes {
		byName[n.Name()] = n
	}
	dial := func(names ...string) starling.Caller {
		var addresses []string
		for _, name := range names {
			addresses = append(addresses, byName[name].Addr())
		}
		c, err := starling.Dial(ctx, starling.ClientConfig{Addresses: addresses})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	g := &guaranteed{
		ctx: ctx, truth: map[starling.Index]map[string]event{}, all: map[string][]event{}, few: map[string][]event{}, none: map[string][]event{}, copies: map[string][]step{},
		readers: map[string]starling.Caller{
			"active": byName["a1"], "passive": byName["p1"], "client of an active": dial("a2"), "client of a passive": dial("p1"), "client that moves": dial("p2"),
		},
	}
	var watching sync.WaitGroup
	for name, c := range g.readers {
		m := starling.NewMap[string, int](c, "m")
		for into, prefix := range map[*map[string][]event]string{&g.all: "", &g.few: fewPrefix, &g.none: nonePrefix} {
			events := m.Watch(ctx, starling.WatchOptions{Prefix: []byte(prefix), Bookmarks: true})
			watching.Go(func() {
				got := g.read(t, name, events)
				g.mu.Lock()
				defer g.mu.Unlock()
				(*into)[name] = got
			})
		}
		watching.Go(func() {
			var got []step
			for e, err := range m.Follow(ctx, starling.FollowOptions{Bookmarks: true}) {
				if err != nil {
					t.Errorf("%s: a copy ends: %v", name, err)
				}
				if got = append(got, e); e.Last && e.Index >= g.ends() {
					break
				}
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			g.copies[name] = got
		})
	}
	var writing sync.WaitGroup
	for w := range 3 {
		writing.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for n := range 150 {
				g.write(t, cluster.Client, rng, w*1000+n)
				if w == 0 && n == 75 {
					if err := byName["p2"].Close(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	writing.Wait()
	last := g.put(t, cluster.Client, map[string]int{fewPrefix + "end": 1, "a/end": 1})
	g.mu.Lock()
	g.end = last
	g.mu.Unlock()
	watching.Wait()
	return g
}

// ends is the index of the last write; more than any, as long as there will be others.
func (g *guaranteed) ends() starling.Index {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.end == 0 {
		return 1 << 62
	}
	return g.end
}

func (g *guaranteed) read(t *testing.T, name string, events func(func(event, error) bool)) (got []event) {
	for e, err := range events {
		if err != nil {
			t.Errorf("%s: a watch ends: %v", name, err)
		}
		if got = append(got, e); e.Last && e.Index >= g.ends() {
			break
		}
	}
	return got
}

// write puts one to six keys in one entry, or deletes one.
func (g *guaranteed) write(t *testing.T, c starling.Caller, rng *rand.Rand, value int) {
	key := func() string { return fmt.Sprintf("%c/%d", 'a'+rng.IntN(2), rng.IntN(8)) }
	if rng.IntN(4) > 0 {
		pairs := map[string]int{}
		for range 1 + rng.IntN(6) {
			pairs[key()] = value
		}
		g.put(t, c, pairs)
		return
	}
	var info starling.Info
	gone := key()
	existed, err := kvmap.Delete.Do(g.ctx, c, "m", kvmap.DeleteRequest{Key: kvmap.AppendKey(nil, gone)}, starling.WithInfo(&info))
	if err != nil {
		t.Error(err)
	}
	if existed != 0 {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.truth[info.Index] = map[string]event{gone: {Kind: starling.EventDelete, Key: gone, Index: info.Index}}
	}
}

func (g *guaranteed) put(t *testing.T, c starling.Caller, pairs map[string]int) starling.Index {
	var request kvmap.Pairs
	for key, value := range pairs {
		raw, _ := resources.AppendValue(nil, value)
		request = append(request, kvmap.Pair{Key: kvmap.AppendKey(nil, key), Value: raw})
	}
	at, err := kvmap.PutAll.Do(g.ctx, c, "m", request)
	if err != nil {
		t.Error(err)
	}
	entry := map[string]event{}
	for key, value := range pairs {
		entry[key] = event{Kind: starling.EventPut, Key: key, Value: value, Index: at}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.truth[at] = entry
	return at
}

// wanted are all changes of keys with a prefix of entries behind one, as text: by index, and within it by key.
func (g *guaranteed) wanted(prefix string, after starling.Index) (out []string) {
	for _, i := range slices.Sorted(maps.Keys(g.truth)) {
		for _, key := range slices.Sorted(maps.Keys(g.truth[i])) {
			if e := g.truth[i][key]; i > after && strings.HasPrefix(key, prefix) {
				out = append(out, text(&e))
			}
		}
	}
	return out
}

func text(e *event) string { return fmt.Sprintf("%06d %s %s=%d", e.Index, e.Kind, e.Key, e.Value) }

// changes are the events that are no bookmarks.
func changes(events []event) []event {
	return slices.DeleteFunc(slices.Clone(events), func(e event) bool { return e.Kind == starling.EventBookmark })
}

// texts are events as wanted has them.
func texts(events []event) (out []string) {
	for _, e := range changes(events) {
		out = append(out, text(&e))
	}
	slices.Sort(out) // within an entry the order is that of the command
	return out
}

// applied is the copy that steps lead to.
func applied(steps []step) map[string]int {
	at := map[string]int{}
	for _, e := range steps {
		switch e.Kind {
		case starling.FollowReset:
			clear(at)
		case starling.FollowPut:
			at[e.Key] = e.Value
		case starling.FollowDelete:
			delete(at, e.Key)
		}
	}
	return at
}

// upTo is the map at an index.
func (g *guaranteed) upTo(index starling.Index) map[string]int {
	at := map[string]int{}
	for _, i := range slices.Sorted(maps.Keys(g.truth)) {
		if i > index {
			break
		}
		for key, e := range g.truth[i] {
			if at[key] = e.Value; e.Kind == starling.EventDelete {
				delete(at, key)
			}
		}
	}
	return at
}

// The guarantees of a watch, one by one, each at all readers.
func TestWatchesKeepTheirGuarantees(t *testing.T) {
	g := watchedMap(t)
	for name, judge := range map[string]func(t *testing.T, reader string){
		"ordered": g.ordered, "unique": g.unique, "reliable": g.reliable, "atomic": g.atomic,
		"resumable": g.resumable, "bookmarkable": g.bookmarkable, "filterable": g.filterable,
	} {
		for reader := range g.readers {
			t.Run(name+"/"+reader, func(t *testing.T) { judge(t, reader) })
		}
	}
	for reader := range g.readers {
		t.Run("a copy is the map/"+reader, func(t *testing.T) { g.copied(t, reader) })
	}
}

// ordered: what was written later is not told earlier.
func (g *guaranteed) ordered(t *testing.T, reader string) {
	last := starling.Index(0)
	for n, e := range g.all[reader] {
		if e.Index < last {
			t.Fatalf("event %d is of index %d, behind one of %d", n, e.Index, last)
		}
		last = e.Index
	}
}

// unique: nothing is told twice, on another member neither.
func (g *guaranteed) unique(t *testing.T, reader string) {
	told := map[string]int{}
	for n, e := range changes(g.all[reader]) {
		if before, twice := told[text(&e)]; twice {
			t.Fatalf("event %d is event %d again: %s", n, before, text(&e))
		}
		told[text(&e)] = n
	}
}

// reliable: everything that was acknowledged is told, and nothing else.
func (g *guaranteed) reliable(t *testing.T, reader string) {
	if got, want := texts(g.all[reader]), g.wanted("", 0); !slices.Equal(got, want) {
		t.Errorf("told %d changes of %d:\n%q\nwant\n%q", len(got), len(want), got, want)
	}
}

// atomic: the changes of an entry come one behind the other, and the last one says so.
func (g *guaranteed) atomic(t *testing.T, reader string) {
	told := 0
	for n, e := range changes(g.all[reader]) {
		if told++; e.Last != (told == len(g.truth[e.Index])) {
			t.Fatalf("event %d is %d of %d of index %d, and is called the last: %v", n, told, len(g.truth[e.Index]), e.Index, e.Last)
		}
		if e.Last {
			told = 0
		}
	}
}

// resumable: whoever stops anywhere goes on from there elsewhere, without a gap, and with nothing twice
// but what was told of an entry that was not told to its end.
func (g *guaranteed) resumable(t *testing.T, reader string) {
	events := g.all[reader]
	for other, c := range g.readers {
		if other == "client that moves" {
			continue // its member is gone
		}
		stop := rand.IntN(len(events) - 1)
		resume := events[stop].Resume()
		got := g.read(t, other, starling.NewMap[string, int](c, "m").Watch(g.ctx, starling.WatchOptions{After: resume}))
		if want := g.wanted("", resume); !slices.Equal(texts(got), want) {
			t.Errorf("stopped after %d of %d events, and went on behind %d at %s: %q, want %q", stop, len(events), resume, other, texts(got), want)
		}
		if before := texts(slices.DeleteFunc(slices.Clone(events[:stop+1]), func(e event) bool { return e.Index > resume })); !slices.Equal(append(before, texts(got)...), g.wanted("", 0)) {
			t.Errorf("stopped after %d of %d events, and went on behind %d at %s: both together are not everything", stop, len(events), resume, other)
		}
	}
}

// bookmarkable: a bookmark says that everything up to its index was told, of keys that nobody writes too.
func (g *guaranteed) bookmarkable(t *testing.T, reader string) {
	for prefix, events := range map[string][]event{"": g.all[reader], fewPrefix: g.few[reader], nonePrefix: g.none[reader]} {
		all := g.wanted(prefix, 0)
		for n, e := range events {
			if e.Kind != starling.EventBookmark {
				continue
			}
			told, later := texts(events[:n]), g.wanted(prefix, e.Index)
			if !slices.Equal(told, all[:len(all)-len(later)]) || !e.Last || e.Resume() != e.Index {
				t.Fatalf("prefix %q: at a bookmark of %d there were %d events, want %d", prefix, e.Index, len(told), len(all)-len(later))
			}
		}
		if last := events[len(events)-1]; events[0].Kind != starling.EventBookmark || prefix == nonePrefix && last.Index < g.end {
			t.Errorf("prefix %q: a watch begins with %+v, want a bookmark, and ends with %+v", prefix, events[0], last)
		}
	}
}

// filterable: a watch of a prefix is told all of its keys and no others, entry by entry.
func (g *guaranteed) filterable(t *testing.T, reader string) {
	if got, want := texts(g.few[reader]), g.wanted(fewPrefix, 0); !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	for n, e := range changes(g.few[reader]) {
		rest := changes(g.few[reader])[n+1:]
		if more := len(rest) > 0 && rest[0].Index == e.Index; e.Last == more {
			t.Fatalf("event %d of index %d is called the last: %v, and more follow: %v", n, e.Index, e.Last, more)
		}
	}
}

// copied: a copy is the map at each index at which it says so.
func (g *guaranteed) copied(t *testing.T, reader string) {
	steps, checked := g.copies[reader], 0
	for n, e := range steps {
		if !e.Last && e.Kind != starling.FollowListed && e.Kind != starling.FollowBookmark {
			continue
		}
		checked++
		if got, want := applied(steps[:n+1]), g.upTo(e.Index); !maps.Equal(got, want) {
			t.Fatalf("at step %d, %s of %d, the copy is %v, want %v", n, e.Kind, e.Index, got, want)
		}
	}
	if checked == 0 {
		t.Error("no step says that the copy is the map")
	}
}
