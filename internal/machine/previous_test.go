package machine_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// previous watches the map with what each key was before, in parts of so many bytes.
func previous(t *testing.T, m *machine.Machine, from protocol.Index, bytesMax int) *machine.Watcher {
	t.Helper()
	w, err := m.WatchWithin(&protocol.Watch{Resource: "m", Type: "map", From: from, Previous: true}, bytesMax)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// nextBefore is next, with what each key was.
func nextBefore(t *testing.T, w *machine.Watcher) string {
	t.Helper()
	c, err := w.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprint(c.Index)
	for _, change := range c.Changes {
		before := map[protocol.PreviousKind]string{protocol.PreviousUnknown: "?", protocol.PreviousNone: "none", protocol.PreviousValue: string(change.Previous)}[change.PreviousKind]
		out += fmt.Sprintf(" %d:%s=%s was %s", change.Kind, change.Key, change.Value, before)
	}
	return out
}

func TestPreviousValuesOfEachKindOfChange(t *testing.T) {
	for what, ring := range map[string]int{"from memory": 0, "from the file": 1} {
		l := newLocal(t, kvmap.Type)
		withFile(t, l, ring, 4<<20)
		both := func(value string) protocol.Index { // an entry that writes one key twice
			i, err := kvmap.PutAll.Do(t.Context(), l, "m", kvmap.Pairs{{Key: []byte("k"), Value: []byte("between")}, {Key: []byte("k"), Value: []byte(value)}})
			if err != nil {
				t.Fatal(err)
			}
			return i
		}
		del := func() protocol.Index {
			if _, err := kvmap.Delete.Do(t.Context(), l, "m", kvmap.DeleteRequest{Key: []byte("k")}); err != nil {
				t.Fatal(err)
			}
			return l.m.Applied()
		}
		start := put(t, l, "m", "other", "v")
		plain, with := watch(t, l, "", start), previous(t, l.m, start, 0)
		next(t, plain)
		next(t, with)
		var want, bare []string
		told := func(i protocol.Index, change, before string) {
			bare = append(bare, fmt.Sprintf("%d %s was ?", i, change))
			want = append(want, fmt.Sprintf("%d %s was %s", i, change, before))
		}
		told(put(t, l, "m", "k", "one"), "1:k=one", "none")
		told(put(t, l, "m", "k", ""), "1:k=", "one")
		told(put(t, l, "m", "k", "two"), "1:k=two", "")
		told(both("three"), "1:k=three", "two")
		told(del(), "2:k=", "three")
		told(both("four"), "1:k=four", "none")
		if _, err := resources.Delete(t.Context(), l, "m", ""); err != nil {
			t.Fatal(err)
		}
		i := l.m.Applied()
		bare = append(bare, fmt.Sprintf("%d 2:k= was ? 2:other= was ?", i))
		want = append(want, fmt.Sprintf("%d 2:k= was four 2:other= was v", i))
		told(put(t, l, "m", "k", "five"), "1:k=five", "none")
		put(t, l, "m", "other", "the end")
		for n := range want {
			if got := nextBefore(t, with); got != want[n] {
				t.Errorf("%s: got %s, want %s", what, got, want[n])
			}
			if got := nextBefore(t, plain); got != bare[n] {
				t.Errorf("%s: got %s, want %s: nobody has asked", what, got, bare[n])
			}
		}
	}
}

// What a watch of everything has told so far says what each key is: that, and nothing else, is told
// as its previous value, whether it is told from memory or from the file, and in whatever parts.
func TestPreviousValuesAreWhatWasThereBefore(t *testing.T) {
	for _, bytesMax := range []int{0, 1, 700} {
		r := newRandom(t)
		l := newLocal(t, kvmap.Type)
		withFile(t, l, 200, 64<<20)
		churn(t, l, r, 1500)
		last := put(t, l, "m", "key-000001", "the end")
		w := previous(t, l.m, 1, bytesMax)
		got, err := whole(t.Context(), w, last)
		if err != nil {
			t.Fatal(err)
		}
		now := map[string][]byte{}
		for _, c := range got {
			for _, change := range c.Changes {
				before, there := now[string(change.Key)]
				switch {
				case there && (change.PreviousKind != protocol.PreviousValue || !bytes.Equal(change.Previous, before)):
					t.Fatalf("parts of %d: %d %s: got %d bytes (%d), want %d", bytesMax, c.Index, change.Key, len(change.Previous), change.PreviousKind, len(before))
				case !there && change.PreviousKind != protocol.PreviousNone:
					t.Fatalf("parts of %d: %d %s: got prior %d, and there was no such key", bytesMax, c.Index, change.Key, change.PreviousKind)
				}
				if delete(now, string(change.Key)); change.Kind == protocol.ChangePut {
					now[string(change.Key)] = change.Value
				}
			}
		}
	}
}

// [S] Counterexample: a resource of gigabytes is deleted, to have room, and the ring keeps all of it until another
// entry comes. An eighth of the ring is the bound; what is beyond it is said not to be known, and not to be none.
func TestToDeleteMuchKeepsLittle(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), RingBytes: 64 << 10})
	for k := range 20 {
		put(t, l, "m", string(key(k)), string(bytes.Repeat([]byte{'v'}, 1000)))
	}
	start := l.m.Applied()
	if _, err := resources.Delete(context.Background(), l, "m", ""); err != nil {
		t.Fatal(err)
	}
	w := previous(t, l.m, start, 0)
	next(t, w)
	c, err := w.Next(t.Context())
	if err != nil || len(c.Changes) != 20 {
		t.Fatal(err, c)
	}
	known := 0
	for _, change := range c.Changes {
		switch change.PreviousKind {
		case protocol.PreviousNone:
			t.Errorf("%s is said not to have been there", change.Key)
		case protocol.PreviousValue:
			known++
			if len(change.Previous) != 1000 {
				t.Errorf("%s was %d bytes", change.Key, len(change.Previous))
			}
		}
	}
	if known != 7 {
		t.Errorf("the previous values of %d keys are kept, want the 7 that an eighth of the ring has room for", known)
	}
}

// [S] To delete a large resource frees its memory, however many keys it has.
func TestToDeleteManyKeysFreesThem(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), RingBytes: 64 << 10})
	inUse := func() int64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	empty, value := inUse(), bytes.Repeat([]byte{'v'}, 4000)
	for k := range 6000 {
		put(t, l, "m", string(key(k)), string(value))
	}
	full := inUse() - empty
	if _, err := resources.Delete(context.Background(), l, "m", ""); err != nil {
		t.Fatal(err)
	}
	if left := inUse() - empty; full < 20<<20 || left > full/4 {
		t.Errorf("%d MiB are left of %d, when all is deleted", left>>20, full>>20)
	}
	runtime.KeepAlive(l)
}

// The values of an entry may be too many to be kept; that keys are new is known all the same.
func TestANewKeyIsKnownToBeNewHoweverLargeItsEntry(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), RingBytes: 64 << 10})
	var pairs kvmap.Pairs
	for k := range 40 {
		if k < 20 {
			put(t, l, "m", string(key(k)), string(bytes.Repeat([]byte{'v'}, 1000)))
		}
		pairs = append(pairs, kvmap.Pair{Key: key(k), Value: []byte{1}})
	}
	start := l.m.Applied()
	if _, err := kvmap.PutAll.Do(t.Context(), l, "m", pairs); err != nil {
		t.Fatal(err)
	}
	w := previous(t, l.m, start, 0)
	next(t, w)
	c, err := w.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[protocol.PreviousKind]int{}
	for _, change := range c.Changes {
		kinds[change.PreviousKind]++
	}
	if kinds[protocol.PreviousNone] != 20 || kinds[protocol.PreviousValue] != 7 {
		t.Errorf("got %v, want 20 keys that were not there, and the values of 7", kinds)
	}
}

// A part has room for previous values, too: over the wire it must fit a frame.
func TestPreviousValuesCountInParts(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	all := func(size int) protocol.Index {
		var pairs kvmap.Pairs
		for k := range 3 {
			pairs = append(pairs, kvmap.Pair{Key: key(k), Value: bytes.Repeat([]byte{'v'}, size)})
		}
		i, err := kvmap.PutAll.Do(t.Context(), l, "m", pairs)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	start := all(400)
	all(1)
	for previous, want := range map[bool][]int{true: {1, 1, 1}, false: {3}} {
		w, err := l.m.WatchWithin(&protocol.Watch{Resource: "m", Type: "map", From: start, Previous: previous}, 700)
		if err != nil {
			t.Fatal(err)
		}
		next(t, w)
		for n, want := range want {
			if c, err := w.Next(t.Context()); err != nil || len(c.Changes) != want {
				t.Fatalf("previous %v: part %d has %d changes, %v, want %d", previous, n, len(c.Changes), err, want)
			}
		}
		w.Close()
	}
}

// The first change of a key after an installation has the value that came with it.
func TestPreviousValuesOfAStateThatWasInstalled(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	put(t, l, "m", "a", "here")
	from := newLocal(t, kvmap.Type)
	for range 20 {
		put(t, from, "m", "a", "there")
	}
	l.m.Install(loaderOf(t, l.m, from.m.Snapshot()))
	l.session, l.sequence = from.session, from.sequence
	w := previous(t, l.m, 0, 0)
	next(t, w)
	i := put(t, l, "m", "a", "now")
	if got, want := nextBefore(t, w), fmt.Sprintf("%d 1:a=now was there", i); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
