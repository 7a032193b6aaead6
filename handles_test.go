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
	"github.com/starlinghq/starling/internal/dev/freeport"
)

// open returns a cluster that is closed at the end of the test.
func open(t *testing.T, cfg starling.LocalConfig) (context.Context, *starling.Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	c, err := starling.OpenLocal(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx, c
}

// callers are all ways to reach a cluster.
func callers(c *starling.Cluster) map[string]starling.Caller {
	out := map[string]starling.Caller{"client": c.Client}
	for _, n := range c.Nodes {
		out[n.Name()] = n
	}
	return out
}

func TestHandlesWorkAlikeOverNodesAndClients(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 3, Passives: 1})
	for name, c := range callers(cluster) {
		t.Run(name, func(t *testing.T) {
			m := starling.NewMap[string, []int](c, "map-"+name)
			if err := m.Put(ctx, "k", []int{1, 2}); err != nil {
				t.Fatal(err)
			}
			var info starling.Info
			e, err := m.GetEntry(ctx, "k", starling.WithInfo(&info))
			if err != nil || fmt.Sprint(e.Value) != "[1 2]" || e.Version == 0 || info.Index < e.Version {
				t.Errorf("got %+v at %d, %v", e, info.Index, err)
			}
			if _, err := m.PutIf(ctx, "k", nil, e.Version+1); !errors.Is(err, starling.ErrConditionFailed) {
				t.Errorf("put with a wrong version: got %v", err)
			}
			if err := m.DeleteIf(ctx, "k", e.Version+1); !errors.Is(err, starling.ErrConditionFailed) {
				t.Errorf("delete with a wrong version: got %v", err)
			}
			if err := m.DeleteIf(ctx, "k", e.Version); err != nil {
				t.Error(err)
			}
			if there, err := m.Delete(ctx, "k"); there || err != nil {
				t.Errorf("delete of nothing: got %v, %v", there, err)
			}
			if n, err := m.Len(ctx); n != 0 || err != nil {
				t.Errorf("length: got %d, %v", n, err)
			}
			q := starling.NewQueue[float64](c, "queue-"+name)
			if err := q.Push(ctx, 1.5); err != nil {
				t.Fatal(err)
			}
			if v, err := q.Peek(ctx); v != 1.5 || err != nil {
				t.Errorf("peek: got %g, %v", v, err)
			}
			if n, err := q.Len(ctx); n != 1 || err != nil {
				t.Errorf("length: got %d, %v", n, err)
			}
			if v, err := q.Pop(ctx); v != 1.5 || err != nil {
				t.Errorf("pop: got %g, %v", v, err)
			}
			if _, err := q.Pop(ctx); !errors.Is(err, starling.ErrEmpty) {
				t.Errorf("pop of nothing: got %v", err)
			}
			n := starling.NewCounter(c, "counter-"+name)
			if before, err := n.Set(ctx, math.MaxInt64); before != 0 || err != nil {
				t.Errorf("set: got %d, %v", before, err)
			}
			if _, err := n.Add(ctx, 1); !errors.Is(err, starling.ErrOverflow) {
				t.Errorf("overflow: got %v", err)
			}
			if v, err := n.CompareAndSet(ctx, math.MaxInt64, 4); v != 4 || err != nil {
				t.Errorf("compare and set: got %d, %v", v, err)
			}
			if v, err := n.CompareAndSet(ctx, 3, 5); v != 4 || !errors.Is(err, starling.ErrConditionFailed) {
				t.Errorf("compare and set with a wrong number: got %d, %v", v, err)
			}
			if _, err := starling.NewCounter(c, "queue-"+name).Add(ctx, 1); !errors.Is(err, starling.ErrWrongType) {
				t.Errorf("a queue taken for a counter: got %v", err)
			}
		})
	}
}

func TestScanPagesRangesAndLimits(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	m := starling.NewMap[int, string](cluster.Nodes[0], "m")
	const n = 1300 // more than a page
	errs := make(chan error, n)
	for i := range n {
		go func() { errs <- m.Put(ctx, i-100, "v") }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	count := func(r starling.Range[int]) string {
		first, last, k := 0, 0, 0
		for e, err := range m.Scan(ctx, r) {
			if err != nil {
				t.Fatal(err)
			}
			if k == 0 {
				first = e.Key
			} else if e.Key != last+1 {
				t.Fatalf("%d follows %d", e.Key, last)
			}
			last = e.Key
			k++
		}
		return fmt.Sprintf("%d: %d..%d", k, first, last)
	}
	for _, c := range []struct {
		got, want string
	}{
		{count(starling.Range[int]{}), "1300: -100..1199"},
		{count(starling.From(0)), "1200: 0..1199"},
		{count(starling.Between(-1, 1)), "2: -1..0"},
		{count(starling.Between(1, -1)), "0: 0..0"},
		{count(starling.From(-100).Limit(1100)), "1100: -100..999"},
		{count(starling.From(5).Limit(1)), "1: 5..5"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	s := starling.NewMap[string, bool](cluster.Nodes[0], "s")
	for _, k := range []string{"a", "b", "ba", "bb\xff", "c"} {
		if err := s.Put(ctx, k, true); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for e, err := range s.Scan(ctx, starling.Prefix("b")) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Key)
	}
	if got, want := strings.Join(got, " "), "b ba bb\xff"; got != want {
		t.Errorf("prefix: got %q, want %q", got, want)
	}
	for e := range s.Scan(ctx, starling.Between("", "")) {
		t.Errorf("nothing comes before the empty key, got %q", e.Key)
	}
}

// A passive that was told to read locally says how old it can be, and follows.
func TestAPassiveServesLocalReadsWithAge(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1})
	active, passive := cluster.Nodes[0], cluster.Nodes[1]
	if err := starling.NewMap[string, string](active, "m").Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	m := starling.NewMap[string, string](passive, "m")
	for {
		var info starling.Info
		v, err := m.Get(ctx, "k", starling.Locally, starling.WithInfo(&info))
		if err == nil && info.AgeKnown {
			if v != "v" || info.Index == 0 || info.Age <= 0 || info.Age > time.Minute {
				t.Errorf("got %q at %d, age %v", v, info.Index, info.Age)
			}
			break
		}
		if err != nil && !errors.Is(err, starling.ErrNotFound) || ctx.Err() != nil {
			t.Fatalf("%v, %v", err, ctx.Err())
		}
	}
	// The linearizable read needs no such loop.
	if err := starling.NewMap[string, string](active, "m").Put(ctx, "k", "w"); err != nil {
		t.Fatal(err)
	}
	if v, err := m.Get(ctx, "k"); v != "w" || err != nil {
		t.Errorf("got %q, %v, want w", v, err)
	}
}

func TestAWatchAtAPassiveMissesNothing(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1})
	const n = 200
	write := starling.NewMap[string, int](cluster.Nodes[0], "m")
	var info starling.Info
	if _, err := write.Len(ctx, starling.WithInfo(&info)); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		for i := range n {
			if err := write.Put(ctx, fmt.Sprintf("k%d", i%7), i); err != nil {
				failed <- err
				return
			}
		}
		_, err := write.Delete(ctx, "k0")
		failed <- err
	}()
	next := 0
	m := starling.NewMap[string, int](cluster.Nodes[1], "m")
	for e, err := range m.Watch(ctx, starling.WatchOptions{After: info.Index, Prefix: []byte("k")}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == starling.EventDelete {
			break
		}
		if e.Value != next {
			t.Fatalf("got %d, want %d", e.Value, next)
		}
		next++
	}
	if err := <-failed; err != nil || next != n {
		t.Errorf("%d changes, want %d; %v", next, n, err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range m.Watch(ended, starling.WatchOptions{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a watch whose context has ended: got %v", err)
		}
	}
}

func TestAClusterWithDirectoriesComesBack(t *testing.T) {
	cfg := starling.LocalConfig{Actives: 2, Dir: t.TempDir(), Bind: freeport.Addresses(t, 2)[0], HTTP: "127.0.0.1:0"}
	for round := range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		c, err := starling.OpenLocal(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		n, err := starling.NewCounter(c.Client, "rounds").Add(ctx, 1)
		if want := int64(round + 1); n != want || err != nil {
			t.Errorf("round %d: got %d, %v, want %d", round, n, err, want)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("closed again: %v", err)
		}
		cancel()
	}
	cfg.Bind = ""
	if _, err := starling.OpenLocal(context.Background(), cfg); !errors.Is(err, starling.ErrInvalid) {
		t.Errorf("directories without fixed ports: got %v", err)
	}
}

func TestClosedNodesAndClientsSaySo(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	m := starling.NewMap[string, string](cluster.Client, "m")
	if err := cluster.Client.Close(); err != nil {
		t.Error(err)
	}
	if err := m.Put(ctx, "k", "v"); !errors.Is(err, starling.ErrClosed) {
		t.Errorf("a closed client: got %v", err)
	}
	n := cluster.Nodes[0]
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	<-n.Done()
	if err := starling.NewMap[string, string](n, "m").Put(ctx, "k", "v"); !errors.Is(err, starling.ErrClosed) {
		t.Errorf("a closed node: got %v", err)
	}
	if err := n.Ready(); err == nil {
		t.Error("a closed node is ready")
	}
	if err := n.Err(); err != nil {
		t.Errorf("a node that was closed has not stopped by itself: %v", err)
	}
}

func TestTrafficIsCounted(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1})
	active, passive := cluster.Nodes[0], cluster.Nodes[1]
	before := active.Traffic()
	const writes, size = 20, 100
	m := starling.NewMap[int, string](active, "m")
	for i := range writes {
		if err := m.Put(ctx, i, strings.Repeat("x", size)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := starling.NewMap[int, string](passive, "m").Get(ctx, writes-1); err != nil { // linearizable
		t.Fatal(err)
	}
	// A message is counted when it has been sent, and may have arrived by then.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	after := active.Traffic()
	for after.Copies-before.Copies < writes || after.Control == 0 || after.Raft == before.Raft {
		select {
		case <-tick.C:
			after = active.Traffic()
		case <-ctx.Done():
			t.Fatalf("got %+v, then %+v", before, after)
		}
	}
	if got := after.Copies - before.Copies; got > 3*writes {
		t.Errorf("got %d copies of %d writes", got, writes)
	}
	if got := after.Frames - before.Frames; got < writes*size {
		t.Errorf("got %d bytes of frames for %d writes of %d bytes", got, writes, size)
	}
	if after.Membership == 0 {
		t.Errorf("got %+v, then %+v", before, after)
	}
}
