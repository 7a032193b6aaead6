package state

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

type modelValue struct {
	value   string
	version protocol.Index
}

// reading is a view of one space.
type reading struct {
	View
	space *Space
}

func openView(s *State, sp *Space) *reading { return &reading{s.Open(), sp} }

type found struct {
	Key, Value []byte
	Version    protocol.Index
}

func (v *reading) Len() int {
	keys, _ := v.space.At(v.index)
	return keys
}

func (v *reading) Lookup(key []byte) (found, bool, error) {
	got := v.View.Get(v.space, key)
	if err := v.Err(); err != nil || got == nil {
		return found{}, false, err
	}
	return found{key, got.Value(), got.Index()}, true, nil
}

func (v *reading) Get(key []byte) ([]byte, bool, error) {
	got, ok, err := v.Lookup(key)
	return got.Value, ok, err
}

func (v *reading) Scan(from, to []byte) iter.Seq2[found, error] {
	return func(yield func(found, error) bool) {
		for r, at := range v.space.Scan(v.index, from, to) {
			if v.Err() != nil {
				break
			}
			if !yield(found{r.KeyBytes(), at.Value(), at.Index()}, nil) {
				return
			}
		}
		if err := v.Err(); err != nil {
			yield(found{}, err)
		}
	}
}

func ignore(_ *Space, _ *Record, _, _ *Version) {}

// testSpace returns a space that is bound to a type.
func testSpace(name string) *Space {
	sp := newSpace(name)
	sp.Bind("test")
	return sp
}

func addSpace(s *State, sp *Space) { s.spaces[sp.name] = sp }

// TestStateAgainstModel runs random entries, rollbacks and views against a map
// that is copied for each view.
func TestStateAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := New(false)
	sp := testSpace("m")
	addSpace(s, sp)
	model := map[string]modelValue{}
	type snapshot struct {
		view *reading
		want map[string]modelValue
		walk *pausedWalk
	}
	var open []snapshot
	add := func(v *reading, want map[string]modelValue) {
		open = append(open, snapshot{v, want, newPausedWalk(v, want)})
	}
	add(openView(s, sp), map[string]modelValue{})

	for i := protocol.Index(1); i <= 3000; i++ {
		s.Begin(i)
		for range r.IntN(4) {
			mark, before := s.Savepoint(), maps.Clone(model)
			for range r.IntN(6) {
				key := fmt.Sprintf("k%03d", r.IntN(300))
				if r.IntN(3) == 0 {
					_, want := model[key]
					if got := s.Remove(sp, []byte(key)) != nil; got != want {
						t.Fatalf("index %d: remove %s: got %v, want %v", i, key, got, want)
					}
					delete(model, key)
					continue
				}
				value := fmt.Sprint(r.Uint64())[:r.IntN(10)]
				s.Set(sp, []byte(key), []byte(value))
				model[key] = modelValue{value, i}
			}
			if r.IntN(3) == 0 {
				s.Rollback(mark)
				model = before
			}
			if sp.live != len(model) {
				t.Fatalf("index %d: got %d keys, want %d", i, sp.live, len(model))
			}
		}
		if r.IntN(2) == 0 { // in the middle of an entry: sees nothing of it
			k := len(open) - 1
			if v := openView(s, sp); k >= 0 && open[k].view.index == v.index {
				add(v, open[k].want)
			} else {
				v.Close()
			}
		}
		s.End(0, ignore)
		if r.IntN(3) == 0 {
			add(openView(s, sp), maps.Clone(model))
		}
		for _, o := range open {
			o.walk.step(t, r.IntN(60))
		}
		for len(open) > 8 || len(open) > 0 && r.IntN(4) == 0 {
			k := r.IntN(len(open))
			open[k].walk.step(t, 1000)
			compareView(t, open[k].view, open[k].want)
			open[k].view.Close()
			open = slices.Delete(open, k, k+1)
		}
		if i%100 == 0 {
			if got := s.Recount(); got != s.digest {
				t.Fatalf("index %d: got digest %v, counted %v", i, s.digest, got)
			}
		}
	}
	for _, o := range open {
		o.walk.step(t, 1000)
		compareView(t, o.view, o.want)
		o.view.Close()
	}
	// With no view left, one more entry leaves one version of each key, and one
	// after it cuts the links of what the last one unlinked.
	for i := range protocol.Index(2) {
		s.Begin(4000 + i)
		s.End(0, ignore)
	}
	if len(s.stale) != 0 {
		t.Errorf("got %d leftovers, want none", len(s.stale))
	}
	n := 0
	for r := sp.list.seek(""); r != nil; r = sp.list.after(r) {
		n++
		if v := r.head.Load(); v.gone || v.older.Load() != nil {
			t.Errorf("key %s keeps more than its value", r.key)
		}
	}
	if n != len(model) {
		t.Errorf("got %d keys linked, want %d", n, len(model))
	}
}

// pausedWalk is a scan of a view that stands where it has come to while entries
// are applied.
type pausedWalk struct {
	view *reading
	keys []string // still to come
	next func() (found, error, bool)
}

func newPausedWalk(v *reading, want map[string]modelValue) *pausedWalk {
	next, _ := iter.Pull2(v.Scan(nil, nil)) // it goes to its end
	return &pausedWalk{v, slices.Sorted(maps.Keys(want)), next}
}

// step goes on by so many keys.
func (w *pausedWalk) step(t *testing.T, n int) {
	t.Helper()
	for range n {
		item, err, ok := w.next()
		switch {
		case !ok && len(w.keys) == 0:
			return
		case !ok || err != nil || len(w.keys) == 0 || string(item.Key) != w.keys[0]:
			t.Fatalf("view at %d: a walk got %q, %v, %v, still to come are %q", w.view.index, item.Key, err, ok, w.keys)
		}
		w.keys = w.keys[1:]
	}
}

func compareView(t *testing.T, v *reading, want map[string]modelValue) {
	t.Helper()
	if got := v.Len(); got != len(want) {
		t.Fatalf("view at %d: got length %d, want %d", v.index, got, len(want))
	}
	keys := slices.Sorted(maps.Keys(want))
	k := 0
	for item, err := range v.Scan(nil, nil) {
		if err != nil || k >= len(keys) || string(item.Key) != keys[k] ||
			string(item.Value) != want[keys[k]].value || item.Version != want[keys[k]].version {
			t.Fatalf("view at %d: got item %d %q=%q@%d, %v", v.index, k, item.Key, item.Value, item.Version, err)
		}
		k++
	}
	if k != len(keys) {
		t.Fatalf("view at %d: scan got %d keys, want %d", v.index, k, len(keys))
	}
	for i := range 300 {
		key := fmt.Sprintf("k%03d", i)
		item, ok, err := v.Lookup([]byte(key))
		if m, exists := want[key]; err != nil || ok != exists || ok && (string(item.Value) != m.value || item.Version != m.version) {
			t.Fatalf("view at %d: get %s: got %q %v %v, want %q %v", v.index, key, item.Value, ok, err, m.value, exists)
		}
	}
}

// TestViewThatComesTooLate is counterexample 32: a view that registers while an
// entry overwrites a key must find the version that it came for.
func TestViewThatComesTooLate(t *testing.T) {
	s := New(false)
	sp := testSpace("m")
	addSpace(s, sp)
	s.Begin(100)
	s.Set(sp, []byte("k"), []byte("old"))
	s.Set(sp, []byte("gone"), []byte("old"))
	s.End(0, ignore)

	s.Begin(101)
	s.Set(sp, []byte("k"), []byte("new"))
	s.Remove(sp, []byte("gone"))
	v := openView(s, sp)
	defer v.Close()
	s.End(0, ignore)
	for i := protocol.Index(102); i < 110; i++ {
		s.Begin(i)
		s.Set(sp, []byte("k"), []byte("newer"))
		s.End(0, ignore)
	}
	for _, key := range []string{"k", "gone"} {
		if got, ok, err := v.Get([]byte(key)); string(got) != "old" || !ok || err != nil {
			t.Errorf("%s at %d: got %q %v %v, want old", key, v.Index(), got, ok, err)
		}
	}
}

func TestViewExpires(t *testing.T) {
	s := New(false)
	sp := testSpace("m")
	addSpace(s, sp)
	put := func(i protocol.Index, now time.Duration) {
		s.Begin(i)
		s.Set(sp, []byte("k"), []byte{byte(i)})
		s.End(protocol.Instant(now), ignore)
	}
	put(1, 0)
	old := openView(s, sp)
	defer old.Close()
	put(2, time.Hour) // superseded now, not an hour ago
	young := openView(s, sp)
	defer young.Close()
	put(3, time.Hour+viewAgeMax-1)
	if got, _, err := old.Get([]byte("k")); err != nil || got[0] != 1 {
		t.Errorf("just below the limit: got %v, %v, want 1", got, err)
	}
	put(4, time.Hour+viewAgeMax)
	if _, _, err := old.Get([]byte("k")); !errors.Is(err, protocol.ErrViewExpired) {
		t.Errorf("at the limit: got %v, want expired", err)
	}
	for _, err := range old.Scan(nil, nil) {
		if !errors.Is(err, protocol.ErrViewExpired) {
			t.Errorf("scan: got %v, want expired", err)
		}
	}
	if got, _, err := young.Get([]byte("k")); err != nil || got[0] != 2 {
		t.Errorf("the younger view: got %v, %v, want 2", got, err)
	}
	if got := len(s.stale) - s.head; got != 2 {
		t.Errorf("got %d leftovers, want 2: those above the younger view", got)
	}
	old.Close()
	old.Close()
	if _, _, err := old.Get([]byte("k")); !errors.Is(err, protocol.ErrViewExpired) {
		t.Errorf("closed: got %v, want expired", err)
	}
}

// TestConcurrentReaders has one writer move amounts between keys, make keys and
// remove them, while readers check that each view is one moment.
func TestConcurrentReaders(t *testing.T) {
	const accounts, total = 64, 6400
	s := New(false)
	sp := testSpace("m")
	addSpace(s, sp)
	key := func(k int) []byte { return fmt.Appendf(nil, "a%04d", k) }
	amount := make([]int, accounts)
	s.Begin(1)
	for k := range accounts {
		amount[k] = total / accounts
		s.Set(sp, key(k), fmt.Append(nil, amount[k]))
	}
	s.End(0, ignore)

	var done atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for !done.Load() {
				v := openView(s, sp)
				sum, n := 0, 0
				var last []byte
				for item, err := range v.Scan([]byte("a"), []byte("b")) {
					var a int
					if _, bad := fmt.Sscan(string(item.Value), &a); bad != nil || err != nil || bytes.Compare(last, item.Key) >= 0 {
						t.Errorf("item %q after %q: %v %v", item.Key, last, bad, err)
					}
					got, ok, err := v.Get(item.Key)
					if !ok || err != nil || !bytes.Equal(got, item.Value) {
						t.Errorf("at %d: get %q: got %q %v %v, scan said %q", v.index, item.Key, got, ok, err, item.Value)
					}
					sum, n, last = sum+a, n+1, item.Key
				}
				if sum != total || n != v.Len() {
					t.Errorf("at %d: got sum %d of %d keys, want %d of %d", v.index, sum, n, total, v.Len())
				}
				v.Close()
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := protocol.Index(2); i < 4000; i++ {
		s.Begin(i)
		from, to := r.IntN(accounts), r.IntN(accounts)
		n := r.IntN(amount[from] + 1)
		amount[from] -= n
		amount[to] += n
		for _, k := range []int{from, to} {
			if amount[k] == 0 {
				s.Remove(sp, key(k))
			} else {
				s.Set(sp, key(k), fmt.Append(nil, amount[k]))
			}
		}
		mark := s.Savepoint()
		s.Set(sp, fmt.Appendf(nil, "a%dx", i), []byte("1000"))
		s.Rollback(mark)
		s.End(0, ignore)
	}
	done.Store(true)
	wg.Wait()
}

func TestTableGrowsAndShrinks(t *testing.T) {
	s := New(false)
	sp := testSpace("m")
	addSpace(s, sp)
	const n = 30_000
	key := func(k int) []byte { return fmt.Appendf(nil, "key-%d", k) }
	i := protocol.Index(0)
	for round := range 3 {
		for k := range n {
			i++
			s.Begin(i)
			s.Set(sp, key(k), key(k))
			s.End(0, ignore)
		}
		for k := range n {
			if v := sp.Get(key(k)); v == nil || !bytes.Equal(v.value, key(k)) {
				t.Fatalf("round %d: key %d is lost", round, k)
			}
		}
		for k := range n {
			i++
			s.Begin(i)
			s.Remove(sp, key(k))
			s.End(0, ignore)
			if k%1000 == 0 { // those that are left are found
				for k := k + 1; k < n; k += 97 {
					if v := sp.Get(key(k)); v == nil || !bytes.Equal(v.value, key(k)) {
						t.Fatalf("round %d: key %d is lost", round, k)
					}
				}
				if slots, limit := slotsOf(sp), 8*(n-k)+8*segmentMin; slots > limit {
					t.Errorf("round %d: %d keys have %d slots, want at most %d", round, n-k-1, slots, limit)
				}
			}
		}
		if got, d := slotsOf(sp), sp.table.dir.Load(); got != segmentMin || d.depth != 0 || len(d.segs) != 1 {
			t.Errorf("round %d: an emptied table has %d slots in a directory of depth %d", round, got, d.depth)
		}
		if sp.list.seek("") != nil || sp.live != 0 || s.digest != (Digest{}) || s.keys.Load() != 0 || s.bytes.Load() != 0 {
			t.Fatalf("round %d: an emptied state has %d keys, digest %v, %d bytes", round, sp.live, s.digest, s.bytes.Load())
		}
	}
}

// slotsOf returns the slots of all segments of a space's table.
func slotsOf(sp *Space) (n int) {
	d := sp.table.dir.Load()
	var last *segment
	for i := range d.segs {
		if s := d.segs[i].Load(); s != last {
			n, last = n+len(s.slots), s
		}
	}
	return n
}

// TestReadersWhileATableShrinks: keys that stay are found, and counted, whatever
// comes and goes around them.
func TestReadersWhileATableShrinks(t *testing.T) {
	const stay, churn = 100, 20_000
	s := New(false)
	sp := testSpace("m")
	addSpace(s, sp)
	stays := func(k int) []byte { return fmt.Appendf(nil, "stay-%d", k) }
	s.Begin(1)
	for k := range stay {
		s.Set(sp, stays(k), stays(k))
	}
	s.End(0, ignore)
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !done.Load() {
				v := openView(s, sp)
				for k := range stay {
					if got, ok, err := v.Get(stays(k)); !ok || err != nil || !bytes.Equal(got, stays(k)) {
						t.Errorf("at %d: got %q %v %v, want %q", v.index, got, ok, err, stays(k))
						done.Store(true)
					}
				}
				n := 0
				for range v.Scan([]byte("stay"), nil) {
					n++
				}
				if n != stay {
					t.Errorf("at %d: got %d keys, want %d", v.index, n, stay)
				}
				v.Close()
			}
		})
	}
	i := protocol.Index(1)
	for round := range 3 {
		for k := range 2 * churn {
			i++
			s.Begin(i)
			key := fmt.Appendf(nil, "%d-%d", round, k%churn)
			if k < churn {
				s.Set(sp, key, nil)
			} else {
				s.Remove(sp, key)
			}
			s.End(0, ignore)
		}
	}
	done.Store(true)
	wg.Wait()
}

// TestWalkersGoOnFromTheDead until nobody can stand there any more: then the links
// are cut, so that who holds a dead record holds nothing else.
func TestWalkersGoOnFromTheDead(t *testing.T) {
	s := New(false)
	sp := testSpace("m")
	addSpace(s, sp)
	entry := func(i protocol.Index, write func()) {
		s.Begin(i)
		write()
		s.End(0, ignore)
	}
	set := func(keys ...string) func() {
		return func() {
			for _, key := range keys {
				s.Set(sp, []byte(key), nil)
			}
		}
	}
	follows := func(what string, r *Record, want string) {
		t.Helper()
		got := ""
		if after := sp.list.after(r); after != nil {
			got = after.key
		}
		if got != want {
			t.Errorf("%s: %q follows %q, want %q", what, got, r.key, want)
		}
	}
	entry(1, set("a", "b", "c"))

	// A view that is opened between the publishing of the entry that deletes and
	// its sweep can come to the record that the sweep unlinks.
	s.Begin(2)
	s.Remove(sp, []byte("b"))
	s.settleAll(ignore)
	floor := s.views.publish(2, s.digest, 0)
	b := sp.list.seek("b")
	v := openView(s, sp)
	s.sweep(floor)
	if b.key != "b" || sp.list.seek("b").key != "c" {
		t.Fatal("b is still linked")
	}
	follows("unlinked, a view stands on it", b, "c")
	entry(3, set("bb"))
	follows("two entries later", b, "c")
	v.Close()
	entry(4, func() {})
	follows("nobody stands on it", b, "")

	// Without a view it takes one entry more.
	bb := sp.list.seek("bb")
	entry(5, func() { s.Remove(sp, []byte("bb")) })
	follows("just unlinked", bb, "c")
	entry(6, func() {})
	follows("one entry later", bb, "")

	// What is taken back in the middle of an entry was passed by walkers, too.
	for _, what := range []string{"rolled back", "came and went"} {
		v = openView(s, sp)
		i := s.index + 1
		s.Begin(i)
		mark := s.Savepoint()
		s.Set(sp, []byte("bbb"), nil)
		bbb := sp.list.seek("bbb")
		if what == "rolled back" {
			s.Rollback(mark)
		} else {
			s.Remove(sp, []byte("bbb"))
		}
		s.End(0, ignore)
		if sp.list.seek("bbb").key != "c" {
			t.Errorf("%s: bbb is still linked", what)
		}
		follows(what, bbb, "c")
		entry(i+1, func() {})
		follows(what+", a view is open", bbb, "c")
		v.Close()
		entry(i+2, func() {})
		follows(what+", nobody stands on it", bbb, "")
	}
}

func TestDigestTellsWhatDiffers(t *testing.T) {
	type write struct{ space, key, value string }
	seen := map[Digest]string{}
	for _, w := range []write{{"a", "bc", "d"}, {"ab", "c", "d"}, {"a", "b", "cd"}, {"a", "bcd", ""}, {"", "abcd", ""}} {
		for _, i := range []protocol.Index{1, 2} {
			s := New(false)
			sp := testSpace(w.space)
			s.Begin(i)
			s.Set(sp, []byte(w.key), []byte(w.value))
			s.End(0, ignore)
			what := fmt.Sprint(w, i)
			if other, ok := seen[s.digest]; ok {
				t.Errorf("%s and %s have one digest", what, other)
			}
			seen[s.digest] = what
		}
	}
}
