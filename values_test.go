package starling_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
	"github.com/starlinghq/starling/resources/resourcetest"
)

// renaming has the encoder look at another tag, and leaves it so.
type renaming struct {
	ID string `json:"i"`
}

func (n renaming) EncodeMsgpack(e *msgpack.Encoder) error {
	e.SetCustomStructTag("json")
	type plain renaming
	return e.Encode(plain(n))
}

func (n *renaming) DecodeMsgpack(d *msgpack.Decoder) error {
	d.SetCustomStructTag("json")
	type plain renaming
	return d.Decode((*plain)(n))
}

// TestMapsDoNotChangeEachOther: what the methods of one map's values do to the
// encoder is not seen in another map.
func TestMapsDoNotChangeEachOther(t *testing.T) {
	type user struct {
		Name string `json:"n"`
		Age  int    `json:"a"`
	}
	ctx, caller := context.Background(), resourcetest.NewCaller(t, kvmap.Type)
	other := starling.NewMap[string, renaming](caller, "other")
	users := starling.NewMap[int, user](caller, "users")
	for i := range 100 {
		if err := other.Put(ctx, "a", renaming{fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		if err := users.Put(ctx, i, user{"Ada", i}); err != nil {
			t.Fatal(err)
		}
		if got, err := other.Get(ctx, "a"); err != nil || got.ID != fmt.Sprint(i) {
			t.Fatalf("got %v, %v, want %d", got, err, i)
		}
		if got, err := users.Get(ctx, i); err != nil || got != (user{"Ada", i}) {
			t.Fatalf("got %v, %v, want %v", got, err, user{"Ada", i})
		}
	}
}

// silent fails the test if anything reaches it.
type silent struct {
	starling.Caller
	t *testing.T
}

func (s silent) Command(_ context.Context, c protocol.Command) (protocol.Result, error) {
	s.t.Errorf("%s was sent", c.Operation)
	return protocol.Result{}, nil
}

func (s silent) Query(_ context.Context, q protocol.Query) (protocol.Result, error) {
	s.t.Errorf("%s was sent", q.Operation)
	return protocol.Result{}, nil
}

// TestHandlesRefuseWhatCannotBeStored: every call says why, and nothing is sent.
func TestHandlesRefuseWhatCannotBeStored(t *testing.T) {
	type event struct {
		time.Time
		Name string
	}
	ctx, caller := context.Background(), silent{t: t}
	m, q := starling.NewMap[string, event](caller, "m"), starling.NewQueue[[]event](caller, "q")
	calls := map[string]func() error{
		"Map.Err":    m.Err,
		"Map.Get":    func() error { _, err := m.Get(ctx, "a"); return err },
		"Map.Put":    func() error { return m.Put(ctx, "a", event{}) },
		"Map.PutIf":  func() error { _, err := m.PutIf(ctx, "a", event{}, 1); return err },
		"Map.Delete": func() error { _, err := m.Delete(ctx, "a"); return err },
		"DeleteIf":   func() error { return m.DeleteIf(ctx, "a", 1) },
		"Map.Len":    func() error { _, err := m.Len(ctx); return err },
		"Map.Scan": func() (err error) {
			for _, err = range m.Scan(ctx, starling.Range[string]{}) {
			}
			return err
		},
		"Map.Watch": func() (err error) {
			for _, err = range m.Watch(ctx, starling.WatchOptions{}) {
			}
			return err
		},
		"Map.Follow": func() (err error) {
			for _, err = range m.Follow(ctx, starling.FollowOptions{}) {
			}
			return err
		},
		"Queue.Err":  q.Err,
		"Queue.Push": func() error { return q.Push(ctx, nil) },
		"Queue.Pop":  func() error { _, err := q.Pop(ctx); return err },
		"Queue.Peek": func() error { _, err := q.Peek(ctx); return err },
		"Queue.Len":  func() error { _, err := q.Len(ctx); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, protocol.ErrInvalid) || !strings.Contains(err.Error(), "MarshalBinary is that of an embedded field") {
			t.Errorf("%s: got %v, want what is wrong with the type", name, err)
		}
	}
	if err := starling.NewMap[string, map[string]any](caller, "m").Err(); err != nil {
		t.Errorf("got %v, want none", err)
	}
	if err := starling.NewQueue[starling.Raw](caller, "q").Err(); err != nil {
		t.Errorf("got %v, want none", err)
	}
}

// secondOf returns the error of the second step.
func secondOf[T any](steps func(yield func(T, error) bool)) error {
	n := 0
	for _, err := range steps {
		if n++; n == 2 {
			return err
		}
	}
	return nil
}

// TestValuesOfAnotherTypeAreNamed: the map, the key, and what is there in place of
// what; in each way to read it.
func TestValuesOfAnotherTypeAreNamed(t *testing.T) {
	type user struct{ Name string }
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	var info starling.Info
	if _, err := starling.NewMap[string, int](cluster.Client, "m").Len(ctx, starling.WithInfo(&info)); err != nil {
		t.Fatal(err)
	}
	if err := starling.NewMap[string, int](cluster.Client, "m").Put(ctx, "a b", 7); err != nil {
		t.Fatal(err)
	}
	if err := starling.NewMap[int, map[string]int](cluster.Client, "users").Put(ctx, 3, map[string]int{"Name": 7}); err != nil {
		t.Fatal(err)
	}
	if err := starling.NewQueue[bool](cluster.Client, "q").Push(ctx, true); err != nil {
		t.Fatal(err)
	}
	m, q := starling.NewMap[string, string](cluster.Client, "m"), starling.NewQueue[[]byte](cluster.Client, "q")
	const inMap = `map "m", key a b, read as string: malformed value: a whole number where a string is wanted`
	const inQueue = `queue "q", number 1, read as []uint8: malformed value: a bool where a []uint8 is wanted`
	_, get := m.Get(ctx, "a b")
	_, user3 := starling.NewMap[int, user](cluster.Client, "users").Get(ctx, 3)
	_, peek := q.Peek(ctx)
	_, pop := q.Pop(ctx)
	for _, c := range []struct {
		name, want string
		err        error
	}{
		{"get", inMap, get},
		{"scan", inMap, lastOf(m.Scan(ctx, starling.Range[string]{}))},
		{"watch", inMap, firstOf(m.Watch(ctx, starling.WatchOptions{After: info.Index}))},
		{"follow", inMap, secondOf(m.Follow(ctx, starling.FollowOptions{}))},
		{"get of a struct", `map "users", key 3, read as starling_test.user: malformed value: starling_test.user.Name: a whole number where a string is wanted`, user3},
		{"peek", inQueue, peek},
		{"pop", inQueue, pop},
	} {
		if !errors.Is(c.err, starling.ErrMalformed) || c.err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.name, c.err, c.want)
		}
	}
}

// TestQueueKeepsTypes: values of a queue come back as they went in.
func TestQueueKeepsTypes(t *testing.T) {
	ctx := context.Background()
	q := starling.NewQueue[map[string]any](resourcetest.NewCaller(t, queue.Type), "q")
	want := map[string]any{"n": int64(300), "at": time.Unix(1, 2).UTC(), "list": []any{uint64(1 << 63), 1.5}}
	if err := q.Push(ctx, want); err != nil {
		t.Fatal(err)
	}
	if got, err := q.Pop(ctx); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
