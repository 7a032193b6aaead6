package machine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/starlinghq/starling/internal/changefile"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
	"github.com/starlinghq/starling/storage/vfs"
)

// withFile gives a machine a short ring, and a file behind it, which is written meanwhile.
func withFile(t *testing.T, l *local, ring int, bytes int64) (*vfs.Memory, *changefile.File) {
	t.Helper()
	disk := vfs.NewMemory(1)
	file := changefile.New(disk, "changes", changefile.Options{Bytes: bytes})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer file.Close()
		for {
			select {
			case <-stop:
				return
			case <-file.News():
			}
			for file.Step() {
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		wg.Wait()
	})
	l.m = machine.New(machine.Config{Registry: l.m.Registry(), RingChanges: ring, Behind: file})
	return disk, file
}

// churn makes n entries that change one key, many, all, in one resource or another, which may
// become one of another type.
func churn(t *testing.T, c resources.Caller, r *rand.Rand, n int) {
	ctx, name := t.Context(), func() string { return []string{"m", "other"}[r.IntN(2)] }
	for range n {
		var err error
		switch pick := r.IntN(200); {
		case pick < 150:
			_, err = kvmap.Put.Do(ctx, c, name(), kvmap.PutRequest{Key: key(r.IntN(500)), Value: make([]byte, r.IntN(200))})
		case pick < 190:
			_, err = kvmap.Delete.Do(ctx, c, name(), kvmap.DeleteRequest{Key: key(r.IntN(500))})
		case pick < 199:
			var pairs kvmap.Pairs
			for range 1 + r.IntN(400) {
				pairs = append(pairs, kvmap.Pair{Key: key(r.IntN(500)), Value: make([]byte, r.IntN(1000))})
			}
			_, err = kvmap.PutAll.Do(ctx, c, name(), pairs)
		default:
			_, err = resources.Delete(ctx, c, name(), "")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// whole is what a watch tells up to an index, entries in one piece.
func whole(ctx context.Context, w *machine.Watcher, upTo protocol.Index) (out []protocol.Changes, err error) {
	more := false
	for {
		c, err := w.Next(ctx)
		if err != nil {
			return out, err
		}
		if len(c.Changes) > 0 {
			if more {
				last := &out[len(out)-1]
				if last.Index != c.Index {
					return out, fmt.Errorf("entry %d goes on with %d", last.Index, c.Index)
				}
				last.Changes = append(last.Changes, c.Changes...)
			} else {
				out = append(out, protocol.Changes{Index: c.Index, Changes: c.Changes})
			}
			more = c.More
		}
		if c.Index >= upTo && !more {
			return out, nil
		}
	}
}

// [S] A resume through the file tells what the ring would have, from whatever index, at once and while more is
// written: nothing is missing, nothing is told twice, and each entry is told as a whole.
func TestAResumeThroughTheFileTellsWhatTheRingWouldHave(t *testing.T) {
	r := newRandom(t)
	l := newLocal(t, kvmap.Type, queue.Type)
	all := machine.New(machine.Config{Registry: l.m.Registry(), RingChanges: 1 << 30, RingBytes: 1 << 40})
	withFile(t, l, 50, 64<<20)
	l.other = all
	churn(t, l, r, 3000)
	var wg sync.WaitGroup
	last := l.m.Applied() + 2001
	for _, prefix := range []string{"", "key-000001", "key-00000123"} {
		for _, bytesMax := range []int{0, 1, 700} {
			asked := protocol.Watch{Resource: "m", Type: "map", Prefix: []byte(prefix), From: 10 + protocol.Index(r.IntN(3000)), Previous: bytesMax != 1}
			stops := asked.From + protocol.Index(r.IntN(4000))
			wg.Go(func() {
				got := told(t, l.m, asked, bytesMax, stops, last)
				_ = all.WaitApplied(t.Context(), last)
				ring := told(t, all, asked, 0, last, last)
				if len(got) != len(ring) {
					t.Errorf("prefix %q from %d in parts of %d: %d entries, want %d", prefix, asked.From, bytesMax, len(got), len(ring))
				}
				for i := range min(len(got), len(ring)) {
					if !reflect.DeepEqual(got[i], ring[i]) {
						t.Errorf("prefix %q from %d in parts of %d: entry %d is told otherwise than %d", prefix, asked.From, bytesMax, got[i].Index, ring[i].Index)
						return
					}
				}
			})
		}
	}
	churn(t, l, r, 2000)
	for l.m.Applied() < last {
		put(t, l, "m", "key-00000123", "the end")
	}
	wg.Wait()
}

// told is what two watches tell, the second of which goes on where the first has come to.
func told(t *testing.T, m *machine.Machine, asked protocol.Watch, bytesMax int, stops, last protocol.Index) (out []protocol.Changes) {
	for _, upTo := range []protocol.Index{min(stops, last), last} {
		w, err := m.WatchWithin(&asked, bytesMax)
		if err != nil {
			t.Error(err)
			return nil
		}
		got, err := whole(t.Context(), w, upTo)
		w.Close()
		if err != nil {
			t.Error(err)
			return nil
		}
		if out = append(out, got...); len(out) > 0 {
			asked.From = max(asked.From, out[len(out)-1].Index)
		}
	}
	return out
}

// A watch that is left behind by hundreds of thousands of changes, with the ring of a member, is told them all.
func TestASlowWatcherCatchesUpThroughTheFile(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	withFile(t, l, 0, 256<<20)
	put(t, l, "m", "k", "first")
	slow := watch(t, l, "", 0)
	next(t, slow)
	const batches, each = 300, 1000
	start := l.m.Applied()
	for b := range batches {
		var pairs kvmap.Pairs
		for k := range each {
			pairs = append(pairs, kvmap.Pair{Key: key(b*each + k), Value: []byte("v")})
		}
		if _, err := kvmap.PutAll.Do(t.Context(), l, "m", pairs); err != nil {
			t.Fatal(err)
		}
	}
	late := watch(t, l, "", start)
	next(t, late)
	for what, w := range map[string]*machine.Watcher{"one that was slow": slow, "one that comes late": late} {
		for b := range batches {
			c, err := w.Next(t.Context())
			if err != nil || c.Index != start+protocol.Index(b)+1 || len(c.Changes) != each {
				t.Fatalf("%s: got %d changes of %d, %v, want %d of %d", what, len(c.Changes), c.Index, err, each, start+protocol.Index(b)+1)
			}
			for k, change := range c.Changes {
				if string(change.Key) != string(key(b*each+k)) {
					t.Fatalf("%s: got %s, want %s", what, change.Key, key(b*each+k))
				}
			}
		}
	}
	i := put(t, l, "m", "k", "last")
	for _, w := range []*machine.Watcher{slow, late} {
		if got, want := next(t, w), fmt.Sprintf("%d 1:k=last", i); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Forty watches of a key that nobody has written read the whole file one beside the other, each for as long as a
// processor let it: a leader lost its term. Few read at once, and whoever waits for its turn ends with its context or
// with Close, and misses nothing.
func TestWatchesFarBehindTakeTurns(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	withFile(t, l, 64, 64<<20)
	start := put(t, l, "m", "k", "first")
	const writes = 2000
	for i := range writes {
		put(t, l, "m", string(key(i)), strings.Repeat("v", 200))
	}
	behind, nothing := watch(t, l, "", start), watch(t, l, "none", start)
	next(t, behind)
	next(t, nothing)
	giveBack := l.m.TakeTurns()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 3 {
		if c, err := behind.Next(ctx); !errors.Is(err, context.Canceled) || len(c.Changes) > 0 {
			t.Fatalf("without a turn: got %d changes, %v, want %v", len(c.Changes), err, context.Canceled)
		}
	}
	ended := make(chan error)
	go func() {
		_, err := nothing.Next(t.Context())
		ended <- err
	}()
	nothing.Close()
	if err := <-ended; !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("got %v, want %v", err, protocol.ErrClosed)
	}
	giveBack()
	for i := range writes {
		c, err := behind.Next(t.Context())
		if err != nil || c.Index != start+protocol.Index(i)+1 || len(c.Changes) != 1 {
			t.Fatalf("got %d changes of %d, %v, want 1 of %d", len(c.Changes), c.Index, err, start+protocol.Index(i)+1)
		}
		if now, most := l.m.Turns(); now != 0 || most != max(1, runtime.GOMAXPROCS(0)/2) {
			t.Fatalf("after it was told, %d of %d read the file, want nobody of half the processors", now, most)
		}
	}
	idle := watch(t, l, "none", start)
	next(t, idle)
	ctx, cancel = context.WithCancel(t.Context())
	go func() {
		_, err := idle.Next(ctx) // reads the file through, and waits in the ring
		ended <- err
	}()
	for !idle.Waits() {
		runtime.Gosched()
	}
	if now, _ := l.m.Turns(); now != 0 {
		t.Error("one that waits in memory has a turn at the file")
	}
	cancel()
	<-ended
}

// turnsOf returns in how many turns a watch that is told nothing reads the file to its end. There is one turn.
func turnsOf(t *testing.T, w *machine.Watcher, take, give func()) (turns int) {
	t.Helper()
	next(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	take()
	go func() {
		_, err := w.Next(ctx)
		ended <- err
	}()
	for synctest.Wait(); !w.Waits(); synctest.Wait() { // it waits for its turn
		give()
		take()
		turns++
	}
	give()
	cancel()
	<-ended
	return turns
}

// A block that holds changes of other resources only ends a turn, too: a watch of a small resource beside a large one
// read the whole file in one turn.
func TestATurnEndsWithABlockOfOtherResources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t, kvmap.Type)
		wantATurnForEachBlock(t, l, "other", "")
	})
}

// wantATurnForEachBlock writes many blocks of a map into the file of changes, and asks in how many turns a watch of the map
// "m" reads them; it returns where that begins.
func wantATurnForEachBlock(t *testing.T, l *local, written, prefix string) (start protocol.Index) {
	t.Helper()
	withFile(t, l, 64, 64<<20)
	take, give := l.m.OneTurn()
	start = put(t, l, "m", "k", "first")
	const writes, blocks = 8000, 40 // of 64 KiB, at least
	for i := range writes {
		put(t, l, written, string(key(i)), strings.Repeat("v", 300))
	}
	if turns := turnsOf(t, watch(t, l, prefix, start), take, give); turns < blocks*9/10 || turns > 3*blocks {
		t.Errorf("it read in %d turns, want about %d, one for each block", turns, blocks)
	}
	return start
}

// Whoever reads the file through gives up its turn at the end of each block, also where each entry is of what it watches;
// and what was read of the file is told without one.
func TestATurnIsABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t, kvmap.Type)
		start := wantATurnForEachBlock(t, l, "m", "none")
		behind := watch(t, l, "", start)
		next(t, behind)
		next(t, behind)
		defer l.m.TakeTurns()()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		told := 0
		for ; ; told++ {
			if c, err := behind.Next(ended); err != nil || len(c.Changes) == 0 {
				break
			}
		}
		if told < 50 || told > 1000 {
			t.Errorf("without a turn %d entries of what was read were told, want those of a block", told)
		}
	})
}

// [S] What is found out about a state while a watch waits for its turn ends it before it is told more.
func TestAWatchThatWaitedForItsTurnIsToldNothingWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t, kvmap.Type)
		withFile(t, l, 64, 64<<20)
		start := put(t, l, "m", "k", "first")
		for i := range 200 {
			put(t, l, "m", string(key(i)), "v")
		}
		w := watch(t, l, "", start)
		wrong := atomic.Pointer[error]{}
		w.EndWith(func() error {
			if why := wrong.Load(); why != nil {
				return *why
			}
			return nil
		})
		next(t, w)
		giveBack := l.m.TakeTurns()
		ended := make(chan error, 1)
		go func() {
			_, err := w.Next(t.Context())
			ended <- err
		}()
		synctest.Wait()
		why := error(protocol.ErrDisputed)
		wrong.Store(&why)
		giveBack()
		if err := <-ended; !errors.Is(err, protocol.ErrDisputed) {
			t.Errorf("got %v, want %v", err, protocol.ErrDisputed)
		}
	})
}

// What leaves the ring in the middle of a large entry is told on from the file, from where it was, as a part
// of that entry, also where it begins with what it changed in another resource.
func TestALargeEntryThatLeavesTheRingIsToldOn(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	_, file := withFile(t, l, 30, 4<<20)
	put(t, l, "m", "k", "v")
	w, err := l.m.WatchWithin(&protocol.Watch{Resource: "m", Type: "map", Prefix: []byte("mine")}, 300)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	next(t, w)
	var pairs kvmap.Pairs
	for k := range 20 {
		for _, prefix := range []string{"mine", "other"} {
			pairs = append(pairs, kvmap.Pair{Key: fmt.Appendf(nil, "%s%02d", prefix, k), Value: make([]byte, 100)})
		}
	}
	i, err := kvmap.PutAll.Do(t.Context(), l, "m", pairs)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for more := true; more; {
		c, err := w.Next(t.Context())
		if err != nil || c.Index != i {
			t.Fatalf("after %d: %d, %v", told, c.Index, err)
		}
		for _, change := range c.Changes {
			if want := fmt.Sprintf("mine%02d", told); string(change.Key) != want {
				t.Fatalf("got %s, want %s", change.Key, want)
			}
			told++
		}
		if more = c.More; told == 6 {
			file.Put(&changefile.Entry{Index: i, Resource: "another", Kind: "map", Changes: []protocol.Change{
				{Kind: protocol.ChangePut, Key: []byte("k"), Value: make([]byte, 70<<10)},
			}})
			for k := range 40 {
				put(t, l, "m", fmt.Sprint(k), "v")
			}
		}
	}
	if told != 20 {
		t.Errorf("got %d changes, want 20", told)
	}
}

// [S] Counterexample: the state was given up for another one, and a watch that read the file went on with what that one
// changed, at indexes that it had not come to; or one was installed, and what lay between was never told.
func TestTheFileIsOfOneStateOnly(t *testing.T) {
	for what, entries := range map[string]int{"installed": 60, "replaced": 60, "replaced by an earlier one": 160} {
		l := newLocal(t, kvmap.Type)
		_, file := withFile(t, l, 4, 4<<20)
		start := put(t, l, "m", "k", "v")
		for k := range entries {
			put(t, l, "m", fmt.Sprint(k), "v")
		}
		reads, begins, waits := watch(t, l, "", start), watch(t, l, "", start), watch(t, l, "", 0)
		next(t, reads)
		next(t, reads)
		next(t, begins)
		next(t, waits)
		s := ahead(t)
		if loader := loaderOf(t, l.m, s); what == "installed" {
			l.m.Install(loader)
		} else {
			l.m.Replace(loader)
		}
		l.session, l.sequence = 0, 0
		if file.From() != s.Index() {
			t.Errorf("%s: the file begins at %d, want %d", what, file.From(), s.Index())
		}
		for k := range 200 {
			put(t, l, "m", fmt.Sprint("new", k), "v")
		}
		for name, w := range map[string]*machine.Watcher{"that reads": reads, "that begins": begins, "that waits": waits} {
			got, err := whole(t.Context(), w, l.m.Applied())
			if !errors.Is(err, protocol.ErrCompacted) && !errors.Is(err, protocol.ErrSlowWatcher) {
				t.Errorf("%s: one %s got %d entries, %v, want that it lacks something", what, name, len(got), err)
			}
		}
		if _, err := l.m.Watch(&protocol.Watch{Resource: "m", Type: "map", From: s.Index() - 1}); !errors.Is(err, protocol.ErrCompacted) {
			t.Errorf("%s: from before: got %v, want compacted", what, err)
		}
		if got := next(t, watch(t, l, "", s.Index())); got != fmt.Sprint(s.Index()) {
			t.Errorf("%s: from there: got %s", what, got)
		}
	}
}

// A file that is damaged, or has no room for what is asked for, ends the watch, and tells nothing else.
func TestAWatchEndsWhereTheFileDoes(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	disk, file := withFile(t, l, 4, 4<<20)
	start := put(t, l, "m", "k", "v")
	fill := func(n int) {
		for k := range n {
			put(t, l, "m", fmt.Sprint(k), string(make([]byte, 1000)))
		}
	}
	fill(1000)
	w := watch(t, l, "", start)
	next(t, w)
	fill(9000)
	if _, err := whole(t.Context(), w, l.m.Applied()); !errors.Is(err, protocol.ErrSlowWatcher) {
		t.Errorf("what the file has lost: got %v, want a slow watcher", err)
	}
	if _, err := l.m.Watch(&protocol.Watch{Resource: "m", Type: "map", From: start}); !errors.Is(err, protocol.ErrCompacted) {
		t.Errorf("what the file has lost: got %v, want compacted", err)
	}
	from := file.From()
	w = watch(t, l, "", from)
	for at := range int64(64) {
		_ = disk.FlipBit("changes", 8*at<<16)
	}
	got, err := whole(t.Context(), w, l.m.Applied())
	if !errors.Is(err, protocol.ErrCompacted) {
		t.Errorf("what is damaged: got %v after %d entries, want compacted", err, len(got))
	}
}
