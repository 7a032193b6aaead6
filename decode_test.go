package starling_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"sync"
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
	"github.com/starlinghq/starling/resources/resourcetest"
)

// told is one step as text: the key and value, or of which element it is an error.
func told(key string, value int, deleted bool, err error) string {
	var bad *starling.DecodeError
	switch {
	case errors.As(err, &bad):
		return fmt.Sprintf("bad %v %v %v %x", starling.RawKey(bad.Key), starling.CodeOf(err), bad.Deleted, bad.Value)
	case err != nil:
		return err.Error()
	case deleted:
		return "no " + key
	}
	return fmt.Sprint(key, " ", value)
}

// One value of another type, and one key, end neither a scan nor a watch nor a copy
// that is kept: they are told with all that is known of them.
func TestOneElementOfAnotherTypeEndsNothing(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	for name, c := range callers(cluster) {
		good := starling.NewMap[string, int](c, "m-"+name)
		texts, numbers := starling.NewMap[string, string](c, "m-"+name), starling.NewMap[int, int](c, "m-"+name)
		var info starling.Info
		if _, err := good.Len(ctx, starling.WithInfo(&info)); err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{good.Put(ctx, "a", 1), texts.Put(ctx, "b", "x"), good.Put(ctx, "c", 3), numbers.Put(ctx, 7, 7), good.Put(ctx, "d", 4)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		badB, bad7 := "bad b malformed false a178", "bad 7 wrong_type false 07"
		byKey := []string{bad7, "a 1", badB, "c 3", "d 4"} // integers come first
		var got []string
		for e, err := range good.Scan(ctx, starling.Range[string]{}) {
			got = append(got, told(e.Key, e.Value, false, err))
			if err != nil && e.Version == 0 {
				t.Error("a scan does not say where it was written")
			}
		}
		if !slices.Equal(got, byKey) {
			t.Errorf("scan at %s: got %q, want %q", name, got, byKey)
		}
		got = nil
		want := []string{"a 1", badB, "c 3", bad7, "d 4", "bad 7 wrong_type true ", "no b"}
		for e, err := range good.Watch(ctx, starling.WatchOptions{After: info.Index}) {
			got = append(got, told(e.Key, e.Value, e.Kind == starling.EventDelete, err))
			if bad := (*starling.DecodeError)(nil); errors.As(err, &bad) && (bad.Index != e.Index || e.Index == 0) {
				t.Errorf("watch at %s: %v is at %d and at %d", name, err, bad.Index, e.Index)
			}
			if len(got) == 5 {
				_, seven := numbers.Delete(ctx, 7)
				_, b := good.Delete(ctx, "b")
				if err := errors.Join(seven, b); err != nil {
					t.Fatal(err)
				}
			}
			if len(got) == len(want) {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("watch at %s: got %q, want %q", name, got, want)
		}
		got, want = nil, []string{"reset", "a 1", "c 3", "d 4", "listed", badB, "no b", "d 5"}
		for e, err := range good.Follow(ctx, starling.FollowOptions{}) {
			switch e.Kind {
			case starling.FollowReset, starling.FollowListed:
				got = append(got, e.Kind.String())
			default:
				got = append(got, told(e.Key, e.Value, e.Kind == starling.FollowDelete, err))
			}
			if e.Kind == starling.FollowListed {
				put := texts.Put(ctx, "b", "x")
				_, gone := texts.Delete(ctx, "b")
				if err := errors.Join(put, gone, good.Put(ctx, "d", 5)); err != nil {
					t.Fatal(err)
				}
			}
			if len(got) == len(want) {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("follow at %s: got %q, want %q", name, got, want)
		}
	}
}

// A Pop of a value of another type takes nothing, and the queue gets past it by its
// number, once.
func TestPopReadsBeforeItTakes(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	for name, c := range callers(cluster) {
		jobs, texts := starling.NewQueue[int](c, "q-"+name), starling.NewQueue[string](c, "q-"+name)
		for _, err := range []error{texts.Push(ctx, "x"), jobs.Push(ctx, 2), jobs.Push(ctx, 3)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			_, err := jobs.Pop(ctx)
			var bad *starling.DecodeError
			if !errors.As(err, &bad) || !errors.Is(err, starling.ErrMalformed) || bad.Number != 1 || string(bad.Value) != "\xa1x" || bad.Index == 0 {
				t.Fatalf("pop at %s: got %+v, %v", name, bad, err)
			}
			if n, err := jobs.Len(ctx); n != 3 || err != nil {
				t.Fatalf("a failed pop has taken something: %d are left, %v", n, err)
			}
		}
		if _, err := jobs.Skip(ctx, 2); !errors.Is(err, starling.ErrNotFound) {
			t.Errorf("skipping what is not first: got %v", err)
		}
		if got, err := jobs.Skip(ctx, 1); string(got) != "\xa1x" || err != nil {
			t.Errorf("skip: got %q, %v", got, err)
		}
		if _, err := jobs.Skip(ctx, 1); !errors.Is(err, starling.ErrNotFound) {
			t.Errorf("skipping twice: got %v", err)
		}
		for want := 2; want <= 3; want++ {
			if got, err := jobs.Pop(ctx); got != want || err != nil {
				t.Errorf("pop: got %d, %v, want %d", got, err, want)
			}
		}
		if _, err := jobs.Pop(ctx); !errors.Is(err, starling.ErrEmpty) {
			t.Errorf("pop of nothing: got %v", err)
		}
	}
}

// Each value is taken once, in order at each taker, whoever else takes; a queue that
// was emptied and filled meanwhile gives nothing that was not read.
func TestPopsBesideOneAnother(t *testing.T) {
	ctx, caller := context.Background(), resourcetest.NewCaller(t, queue.Type)
	const values, takers = 400, 8
	for i := range values {
		if err := starling.NewQueue[int](caller, "q").Push(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var all []int
	var group sync.WaitGroup
	for range takers {
		group.Go(func() {
			jobs, last := starling.NewQueue[int](caller, "q"), -1
			for {
				v, err := jobs.Pop(ctx)
				if errors.Is(err, starling.ErrEmpty) {
					return
				}
				if err != nil || v <= last {
					t.Errorf("got %d after %d, %v", v, last, err)
					return
				}
				last = v
				mu.Lock()
				all = append(all, v)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	slices.Sort(all)
	if len(all) != values || len(slices.Compact(all)) != values {
		t.Errorf("%d values were taken, want %d, each once", len(all), values)
	}
}

// What an operation of one's own answers in another type is told with its bytes, and
// a command that was executed is not said to have failed.
func TestAnswersOfAnotherType(t *testing.T) {
	ctx := context.Background()
	rows := resources.NewTable[string, int]("rows")
	ask := resources.NewQuery("ask", func(*resources.View, int) (string, error) { return "x", nil })
	change := resources.NewCommand("change", func(tx *resources.Tx, n int) (string, error) { return "x", rows.Put(tx, "a", n) })
	members := resources.NewType("own", 1, ask, change)
	askInt := resources.NewQuery("ask", func(*resources.View, int) (int, error) { return 0, nil })
	changeInt := resources.NewCommand("change", func(*resources.Tx, int) (int, error) { return 0, nil })
	resources.NewType("own", 1, askInt, changeInt) // as a program has it that is of another day
	caller := resourcetest.NewCaller(t, members)
	_, err := askInt.Do(ctx, caller, "r", 1)
	var bad *starling.DecodeError
	if !errors.As(err, &bad) || starling.CodeOf(err) != protocol.ErrMalformed.Code || string(bad.Value) != "\xa1x" {
		t.Errorf("query: got %v", err)
	}
	bad = nil
	_, err = changeInt.Do(ctx, caller, "r", 1)
	if !errors.As(err, &bad) || starling.CodeOf(err) != starling.ErrAnswerLost.Code || string(bad.Value) != "\xa1x" || bad.Index == 0 {
		t.Errorf("command: got %v", err)
	}
}

// A row of another type ends no listing of a table.
func TestOneRowOfAnotherTypeEndsNoListing(t *testing.T) {
	ctx := context.Background()
	numbers, texts := resources.NewTable[string, int]("rows"), resources.NewTable[string, string]("rows")
	fill := resources.NewCommand("fill", func(tx *resources.Tx, _ struct{}) (int, error) {
		return 0, errors.Join(numbers.Put(tx, "a", 1), texts.Put(tx, "b", "x"), numbers.Put(tx, "c", 3))
	})
	list := resources.NewQuery("list", func(v *resources.View, _ struct{}) (out []string, _ error) {
		for row, err := range numbers.All(v) {
			var bad *resources.DecodeError
			if errors.As(err, &bad) {
				out = append(out, fmt.Sprintf("bad %s %x", bad.Key, bad.Value))
				continue
			}
			if err != nil {
				return nil, err
			}
			out = append(out, fmt.Sprint(row.Key, " ", row.Value))
		}
		return out, nil
	})
	caller := resourcetest.NewCaller(t, resources.NewType("lists", 1, fill, list), kvmap.Type)
	if _, err := fill.Do(ctx, caller, "r", struct{}{}); err != nil {
		t.Fatal(err)
	}
	got, err := list.Do(ctx, caller, "r", struct{}{})
	if want := []string{"a 1", "bad b a178", "c 3"}; !slices.Equal(got, want) || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// A worker sets aside what it cannot read, and goes on.
func ExampleQueue_Skip() {
	ctx, cluster := context.Background(), single()
	defer cluster.Close()
	if err := starling.NewQueue[string](cluster.Client, "jobs").Push(ctx, "of an older release"); err != nil {
		log.Fatal(err)
	}
	jobs := starling.NewQueue[int](cluster.Client, "jobs")
	if err := jobs.Push(ctx, 7); err != nil {
		log.Fatal(err)
	}
	aside := starling.NewMap[uint64, starling.Raw](cluster.Client, "jobs-aside")
	for {
		job, err := jobs.Pop(ctx)
		var bad *starling.DecodeError
		switch {
		case errors.Is(err, starling.ErrEmpty):
			return
		case errors.As(err, &bad): // kept first: whoever stops in between has it twice
			if err := aside.Put(ctx, bad.Number, bad.Value); err != nil {
				log.Fatal(err)
			}
			if _, err := jobs.Skip(ctx, bad.Number); err != nil && !errors.Is(err, starling.ErrNotFound) {
				log.Fatal(err)
			}
			fmt.Printf("set aside number %d: %v\n", bad.Number, starling.Raw(bad.Value))
		case err != nil:
			log.Fatal(err)
		default:
			fmt.Println("job", job)
		}
	}
	// Output:
	// set aside number 1: of an older release
	// job 7
}
