package machine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// ahead is a machine whose map "m" is beyond any other: at index 100, with the
// key k set to "later".
func ahead(t *testing.T) *machine.Snapshot {
	t.Helper()
	l := newLocal(t, kvmap.Type)
	for l.m.Applied() < 98 {
		l.noop()
	}
	put(t, l, "m", "k", "later")
	s := l.m.Snapshot()
	t.Cleanup(s.Close)
	return s
}

func loaderOf(t testing.TB, m *machine.Machine, s *machine.Snapshot) *machine.Loader {
	t.Helper()
	l := m.NewLoader()
	for item := range s.All() {
		if err := l.Add(item); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := l.Finish(s.Index()); err != nil || got != s.Digest() {
		t.Fatalf("got %v %v, want %v", got, err, s.Digest())
	}
	return l
}

// TestAdoptKeepsOldViews: a view, and a snapshot, of the state before go on
// reading it; a new one sees the state taken over.
func TestAdoptKeepsOldViews(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	put(t, l, "m", "k", "before")
	put(t, l, "gone", "k", "before")
	view, err := l.m.View("m", "map")
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	snapshot := l.m.Snapshot()
	defer snapshot.Close()
	before := full(t, snapshot)
	get := func(v *resources.View) string {
		value, _, err := v.Get([]byte("k"))
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%d keys at %d: %s", v.Len(), v.Index(), value)
	}
	want := get(view)

	l.m.Install(loaderOf(t, l.m, ahead(t)))
	l.time = protocol.ClusterTime(time.Hour) // its session is another one
	l.session, l.sequence = 0, 0
	put(t, l, "m", "k", "after")
	if got := get(view); got != want {
		t.Errorf("the old view: got %s, want %s", got, want)
	}
	if err := full(t, snapshot).equal(before); err != nil {
		t.Errorf("the old snapshot: %v", err)
	}
	now, err := l.m.View("m", "map")
	if err != nil {
		t.Fatal(err)
	}
	defer now.Close()
	if got, want := get(now), fmt.Sprintf("1 keys at %d: after", l.m.Applied()); got != want {
		t.Errorf("a new view: got %s, want %s", got, want)
	}
	none, err := l.m.View("gone", "map")
	if err != nil {
		t.Fatal(err)
	}
	defer none.Close()
	if got := none.Len(); got != 0 {
		t.Errorf("a resource that the new state lacks has %d keys", got)
	}
	next := l.m.Snapshot()
	defer next.Close()
	if baseOf(next) != 0 {
		t.Errorf("got base %d without Track, want none", baseOf(next))
	}
}

// TestWatcherIsToldWhatAdoptSkips: who would miss changes gets ErrCompacted,
// who begins above them reads on.
func TestWatcherIsToldWhatAdoptSkips(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	at := put(t, l, "m", "a", "1")
	reader, waiting, beyond, other := watch(t, l, "", at-1), watch(t, l, "", 0), watch(t, l, "", 101), watch(t, l, "zzz", 0)
	for _, w := range []*machine.Watcher{reader, waiting, beyond, other} {
		next(t, w)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := waiting.Next(t.Context())
		failed <- err
	}()
	l.m.Install(loaderOf(t, l.m, ahead(t)))
	if err := <-failed; !errors.Is(err, protocol.ErrCompacted) {
		t.Errorf("waiting: got %v, want compacted", err)
	}
	if got, want := next(t, reader), fmt.Sprintf("%d 1:a=1", at); got != want {
		t.Errorf("what was there before: got %s, want %s", got, want)
	}
	for range 2 {
		if _, err := reader.Next(t.Context()); !errors.Is(err, protocol.ErrCompacted) {
			t.Errorf("behind it: got %v, want compacted", err)
		}
	}
	if _, err := other.Next(t.Context()); !errors.Is(err, protocol.ErrCompacted) {
		t.Errorf("no change would have matched, but who knows: got %v, want compacted", err)
	}
	for _, from := range []protocol.Index{at, 99} {
		for _, name := range []string{"m", "never"} {
			if w, err := l.m.Watch(&protocol.Watch{Resource: name, Type: "map", From: from}); !errors.Is(err, protocol.ErrCompacted) {
				t.Errorf("%s from %d: got %v %v, want compacted", name, from, w, err)
			}
		}
	}
	exact := watch(t, l, "", 100)
	fresh := watch(t, l, "", 0)
	for _, w := range []*machine.Watcher{exact, fresh} {
		if got, want := next(t, w), "100"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	l.session, l.sequence = 0, 0
	i := put(t, l, "m", "b", "2") // 102
	for _, w := range []*machine.Watcher{exact, fresh, beyond} {
		if got, want := next(t, w), fmt.Sprintf("%d 1:b=2", i); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	waiting.Close()
	reader.Close()
	if got, want := l.m.Stats().Watchers, 4; got != want {
		t.Errorf("got %d watchers, want %d", got, want)
	}
}

// TestAdoptAtTheSameIndexLosesNoChange: nothing is skipped, so watchers read on.
func TestAdoptAtTheSameIndexLosesNoChange(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	at := put(t, l, "m", "a", "1")
	w := watch(t, l, "", at-1)
	next(t, w)
	s := l.m.Snapshot()
	defer s.Close()
	l.m.Install(loaderOf(t, l.m, s))
	put(t, l, "m", "b", "2")
	for _, want := range []string{fmt.Sprintf("%d 1:a=1", at), fmt.Sprintf("%d 1:b=2", at+1)} {
		if got := next(t, w); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestAdoptWakesWhoWaits(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	failed := make(chan error, 2)
	for _, i := range []protocol.Index{50, 100} {
		go func() { failed <- l.m.WaitApplied(t.Context(), i) }()
	}
	l.m.Install(loaderOf(t, l.m, ahead(t)))
	for range 2 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if i, digest := l.m.Digest(); i != 100 {
		t.Errorf("got index %d, want 100", i)
	} else if at, ok := l.m.DigestAt(100); !ok || at != digest {
		t.Errorf("got %v %v, want %v", at, ok, digest)
	}
	if got, ok := l.m.DigestAt(99); ok {
		t.Errorf("a digest of an index that was skipped: %v", got)
	}
}

// TestStateNeverGoesBack: readers have seen what an older state lacks.
func TestStateNeverGoesBack(t *testing.T) {
	s := ahead(t)
	l := newLocal(t, kvmap.Type)
	for l.m.Applied() <= s.Index() {
		l.noop()
	}
	defer func() {
		if got := fmt.Sprint(recover()); !strings.Contains(got, "go back") {
			t.Errorf("got %s, want a violated invariant", got)
		}
	}()
	l.m.Install(loaderOf(t, l.m, s))
}

// TestStoppedMachineGoesOnBeyond: a checkpoint above the entry that it could
// not apply is as good as the entry.
func TestStoppedMachineGoesOnBeyond(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	l.m.Apply([]protocol.Entry{l.entry(200, nil)}, nil)
	if l.m.Stopped() == nil {
		t.Fatal("an unknown kind of entry was applied")
	}
	l.m.Install(loaderOf(t, l.m, ahead(t)))
	if err := l.m.Stopped(); err != nil {
		t.Errorf("got %v", err)
	}
	l.noop()
	if got := l.m.Applied(); got != 101 {
		t.Errorf("got %d, want 101", got)
	}
}

// TestReadersWhileTheStateIsReplaced: one goroutine applies, takes snapshots
// and takes over; others read snapshots, views and watches. Each sees one moment.
func TestReadersWhileTheStateIsReplaced(t *testing.T) {
	h := &history{r: newRandom(t), alone: true}
	m := newTracked(t)
	defer m.Close()
	snapshots := make(chan *machine.Snapshot)
	loaders := make(chan *machine.Loader, 1)
	var done atomic.Bool
	var wg sync.WaitGroup
	chained := 0
	wg.Go(func() {
		var chain stored
		var at protocol.Index
		for s := range snapshots {
			if at == 0 || baseOf(s) != at { // another state was taken over meanwhile
				chain = full(t, s)
			} else {
				chain.change(t, s)
				chained++
			}
			at = s.Index()
			all := full(t, s)
			if err := all.equal(chain); err != nil {
				t.Errorf("at %d from %d: %v", s.Index(), baseOf(s), err)
			}
			l := m.NewLoader()
			for _, item := range all.items() {
				if err := l.Add(item); err != nil {
					t.Error(err)
				}
			}
			if got, err := l.Finish(s.Index()); err != nil || got != s.Digest() {
				t.Errorf("at %d: got %v %v, want %v", s.Index(), got, err, s.Digest())
			}
			s.Close()
			loaders <- l
		}
	})
	wg.Go(func() {
		last := protocol.Index(0)
		for !done.Load() {
			v, err := m.View("m0", "map")
			if err != nil {
				t.Error(err)
				return
			}
			n := 0
			for item, err := range v.Scan(nil, nil) {
				if err != nil || item.Version > v.Index() {
					t.Errorf("at %d: %v %v", v.Index(), item, err)
				}
				n++
			}
			if n != v.Len() || v.Index() < last {
				t.Errorf("at %d after %d: got %d keys, want %d", v.Index(), last, n, v.Len())
			}
			last = v.Index()
			v.Close()
			m.Stats()
			m.DigestAt(last)
			if w, err := m.Watch(&protocol.Watch{Resource: "m0", Type: "map"}); err == nil {
				w.Next(t.Context())
				w.Close()
			}
		}
	})
	busy, adopted := false, 0
	var later []protocol.Entry // applied since the snapshot at work
	for step := 0; step < 4000 || adopted == 0 && step < 1_000_000; step++ {
		e := h.next()
		m.Apply([]protocol.Entry{e}, nil)
		later = append(later, e)
		if !busy && step%20 == 0 {
			snapshots <- m.Snapshot()
			busy, later = true, later[:0]
		}
		select {
		case l := <-loaders:
			busy = false
			want, digest := m.Digest()
			// Too old by now to be taken over here: another machine, brought up to
			// date.
			other := newTracked(t)
			other.Install(l)
			other.Apply(slices.Clone(later), nil)
			if i, got := other.Digest(); i != want || got != digest {
				t.Errorf("got %v at %d, want %v at %d", got, i, digest, want)
			}
			if adopted > 0 && h.r.IntN(4) > 0 {
				break
			}
			s := other.Snapshot()
			m.Install(loaderOf(t, m, s))
			s.Close()
			adopted++
		default:
		}
	}
	if busy {
		<-loaders
	}
	close(snapshots)
	done.Store(true)
	wg.Wait()
	if adopted == 0 || chained == 0 {
		t.Errorf("%d states were taken over, %d checkpoints built on another", adopted, chained)
	}
}
