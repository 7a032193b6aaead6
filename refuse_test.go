package starling_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
)

// firstOf returns the error of the first step of a watch or a scan.
func firstOf[T any](steps func(yield func(T, error) bool)) error {
	for _, err := range steps {
		return err
	}
	return nil
}

// The same call is refused with the same code wherever it is made, by writes,
// reads and watches alike, and costs those beside it nothing.
func TestCallsAreRefusedAlikeByNodesAndClients(t *testing.T) {
	unknown := resources.NewQuery("ask", func(*resources.View, int) (int, error) { return 0, nil })
	change := resources.NewCommand("change", func(*resources.Tx, int) (int, error) { return 0, nil })
	resources.NewType("unknown-to-all", 1, unknown, change)
	other := resources.NewCommand("other", func(*resources.Tx, int) (int, error) { return 0, nil })
	resources.NewType("counter", 1, other) // a client that has an operation which the members have not

	answers := func(n int) ([]byte, error) { return make([]byte, n), nil }
	largeRead := resources.NewQuery("large-read", func(_ *resources.View, n int) ([]byte, error) { return answers(n) })
	largeWrite := resources.NewCommand("large-write", func(_ *resources.Tx, n int) ([]byte, error) { return answers(n) })
	anyRead := resources.NewQuery("any-read", func(*resources.View, any) (int, error) { return 0, nil })
	anyWrite := resources.NewCommand("any-write", func(*resources.Tx, any) (int, error) { return 0, nil })
	probe := resources.NewType("probe", 1, largeRead, largeWrite, anyRead, anyWrite)
	deep := any(1)
	for range protocol.DepthMax + 1 {
		deep = []any{deep}
	}
	deepBytes := append(bytes.Repeat([]byte{0x91}, protocol.DepthMax+1), 1) // as another program may send it
	raw := func(operation string, argument []byte) (protocol.Command, protocol.Query) {
		return protocol.Command{Resource: "r", Type: "probe", Version: 1, Operation: operation, Argument: argument},
			protocol.Query{Resource: "r", Type: "probe", Operation: operation, Argument: argument}
	}
	write := func(ctx context.Context, c starling.Caller, operation string, argument []byte) error {
		command, _ := raw(operation, argument)
		result, err := c.Command(ctx, command)
		return cmp.Or(err, result.Err())
	}
	read := func(ctx context.Context, c starling.Caller, operation string, argument []byte) error {
		_, query := raw(operation, argument)
		result, err := c.Query(ctx, query)
		return cmp.Or(err, result.Err())
	}

	ctx, cluster := open(t, starling.LocalConfig{Actives: 3, Passives: 1, Types: []*starling.Type{probe}})
	longest, long := strings.Repeat("n", protocol.NameBytesMax), strings.Repeat("n", protocol.NameBytesMax+1)
	put := func(c starling.Caller, name, key string, size int) error {
		return starling.NewMap[string, string](c, name).Put(ctx, key, strings.Repeat("v", size))
	}
	watch := func(c starling.Caller, name string, prefix int) error {
		// From the beginning on, so that the first change comes at once.
		stopped, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.Watch(stopped, protocol.Watch{Resource: name, Type: "map", Prefix: make([]byte, prefix)})
		if err != nil {
			return err
		}
		defer stream.Close()
		_, err = stream.Next(ctx)
		return err
	}
	const headOfPut = 5 + 2 + 2 + 5 + 3 // less than what a put has around key and value
	for what, one := range map[string]struct {
		call func(c starling.Caller) error
		want *starling.Error // nil: it is within the limits
	}{
		"put, empty name":     {func(c starling.Caller) error { return put(c, "", "k", 1) }, starling.ErrInvalid},
		"put, bad name":       {func(c starling.Caller) error { return put(c, "bad name", "k", 1) }, starling.ErrInvalid},
		"put, longest name":   {func(c starling.Caller) error { return put(c, longest, "k", 1) }, nil},
		"put, long name":      {func(c starling.Caller) error { return put(c, long, "k", 1) }, starling.ErrTooLarge},
		"put, empty key":      {func(c starling.Caller) error { return put(c, "m", "", 1) }, nil},
		"put, longest key":    {func(c starling.Caller) error { return put(c, "m", strings.Repeat("k", kvmap.KeyBytesMax), 1) }, nil},
		"put, long key":       {func(c starling.Caller) error { return put(c, "m", strings.Repeat("k", kvmap.KeyBytesMax+1), 1) }, starling.ErrTooLarge},
		"put, largest value":  {func(c starling.Caller) error { return put(c, "m", "k", protocol.ValueBytesMax-5) }, nil},
		"put, large value":    {func(c starling.Caller) error { return put(c, "m", "k", protocol.ValueBytesMax-4) }, starling.ErrTooLarge},
		"put, large argument": {func(c starling.Caller) error { return put(c, "m", "k", protocol.CommandBytesMax-headOfPut) }, starling.ErrTooLarge},
		"put, huge argument":  {func(c starling.Caller) error { return put(c, "m", "k", 8<<20) }, starling.ErrTooLarge},
		"push, bad name":      {func(c starling.Caller) error { return starling.NewQueue[int](c, "a/b").Push(ctx, 1) }, starling.ErrInvalid},
		"pop, long name":      {func(c starling.Caller) error { _, err := starling.NewQueue[int](c, long).Pop(ctx); return err }, starling.ErrTooLarge},
		"add, empty name":     {func(c starling.Caller) error { _, err := starling.NewCounter(c, "").Add(ctx, 1); return err }, starling.ErrInvalid},
		"len, bad name": {func(c starling.Caller) error {
			_, err := starling.NewMap[string, int](c, "bad name").Len(ctx)
			return err
		}, starling.ErrInvalid},
		"len, bad name, here": {func(c starling.Caller) error {
			_, err := starling.NewMap[string, int](c, "bad name").Len(ctx, starling.Locally)
			return err
		}, starling.ErrInvalid},
		"len, nothing there yet": {func(c starling.Caller) error {
			_, err := starling.NewMap[string, int](c, "nothing-there").Len(ctx)
			return err
		}, nil},
		"get, long name": {func(c starling.Caller) error {
			_, err := starling.NewMap[string, int](c, long).Get(ctx, "k")
			return err
		}, starling.ErrTooLarge},
		"get, huge key": {func(c starling.Caller) error {
			_, err := starling.NewMap[string, int](c, "m").Get(ctx, strings.Repeat("k", 2<<20))
			return err
		}, starling.ErrTooLarge},
		"scan, empty name": {func(c starling.Caller) error {
			return firstOf(starling.NewMap[string, int](c, "").Scan(ctx, starling.From("")))
		}, starling.ErrInvalid},
		"watch, bad name":    {func(c starling.Caller) error { return watch(c, "bad name", 0) }, starling.ErrInvalid},
		"watch, empty name":  {func(c starling.Caller) error { return watch(c, "", 0) }, starling.ErrInvalid},
		"watch, long name":   {func(c starling.Caller) error { return watch(c, long, 0) }, starling.ErrTooLarge},
		"watch, longest":     {func(c starling.Caller) error { return watch(c, longest, protocol.KeyBytesMax) }, nil},
		"watch, long prefix": {func(c starling.Caller) error { return watch(c, "m", protocol.KeyBytesMax+1) }, starling.ErrTooLarge},
		"watch by its handle": {func(c starling.Caller) error {
			return firstOf(starling.NewMap[string, int](c, "bad name").Watch(ctx, starling.WatchOptions{}))
		}, starling.ErrInvalid},
		"follow, long prefix":  {func(c starling.Caller) error { return follow(ctx, c, "m", kvmap.KeyBytesMax+1) }, starling.ErrTooLarge},
		"unknown type, read":   {func(c starling.Caller) error { _, err := unknown.Do(ctx, c, "r", 1); return err }, starling.ErrUnknownType},
		"unknown type, write":  {func(c starling.Caller) error { _, err := change.Do(ctx, c, "r", 1); return err }, starling.ErrUnknownType},
		"unknown operation":    {func(c starling.Caller) error { _, err := other.Do(ctx, c, "r", 1); return err }, starling.ErrUnknownOperation},
		"a session's own type": {func(c starling.Caller) error { return commandOf(ctx, c, sessionop.Close(1)) }, starling.ErrInvalid},
		"watch, unknown type": {func(c starling.Caller) error {
			stream, err := c.Watch(ctx, protocol.Watch{Resource: "r", Type: "unknown-to-all"})
			if err != nil {
				return err
			}
			defer stream.Close()
			_, err = stream.Next(ctx)
			return err
		}, starling.ErrUnknownType},
		"read, largest answer": {func(c starling.Caller) error {
			_, err := largeRead.Do(ctx, c, "r", protocol.ResultBytesMax-5)
			return err
		}, nil},
		"read, large answer": {func(c starling.Caller) error {
			_, err := largeRead.Do(ctx, c, "r", protocol.ResultBytesMax-4)
			return err
		}, starling.ErrTooLarge},
		"write, large answer": {func(c starling.Caller) error {
			_, err := largeWrite.Do(ctx, c, "r", protocol.ResultBytesMax-4)
			return err
		}, starling.ErrTooLarge},
		"read, deep argument":     {func(c starling.Caller) error { _, err := anyRead.Do(ctx, c, "r", deep); return err }, starling.ErrInvalid},
		"write, deep argument":    {func(c starling.Caller) error { _, err := anyWrite.Do(ctx, c, "r", deep); return err }, starling.ErrInvalid},
		"read, deep bytes":        {func(c starling.Caller) error { return read(ctx, c, "any-read", deepBytes) }, starling.ErrMalformed},
		"write, deep bytes":       {func(c starling.Caller) error { return write(ctx, c, "any-write", deepBytes) }, starling.ErrMalformed},
		"read, another argument":  {func(c starling.Caller) error { return read(ctx, c, "large-read", []byte{0xa1, 'x'}) }, starling.ErrMalformed},
		"write, another argument": {func(c starling.Caller) error { return write(ctx, c, "large-write", []byte{0xa1, 'x'}) }, starling.ErrMalformed},
		"write of a read":         {func(c starling.Caller) error { return write(ctx, c, "large-read", []byte{1}) }, starling.ErrUnknownOperation},
		"read of a write":         {func(c starling.Caller) error { return read(ctx, c, "large-write", []byte{1}) }, starling.ErrUnknownOperation},
		"a negative age": {func(c starling.Caller) error {
			_, err := starling.NewCounter(c, "c").Get(ctx, starling.MaxStale(-1))
			return err
		}, starling.ErrInvalid},
	} {
		for name, c := range callers(cluster) {
			var stop atomic.Bool
			var beside sync.WaitGroup
			beside.Go(func() {
				mine := starling.NewCounter(c, "beside-"+name)
				for !stop.Load() {
					if _, err := mine.Add(ctx, 1); err != nil {
						t.Errorf("%s at %s: the call beside it: %v", what, name, err)
						return
					}
				}
			})
			err := one.call(c)
			stop.Store(true)
			beside.Wait()
			if one.want == nil && err != nil || one.want != nil && !errors.Is(err, one.want) {
				t.Errorf("%s at %s: got %v, want %v", what, name, err, one.want)
			}
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("%s at %s: the text has %d bytes: %.100s", what, name, len(err.Error()), err)
			}
		}
	}
}

// follow returns the error of the first step of a copy of a map.
func follow(ctx context.Context, c starling.Caller, name string, prefix int) error {
	o := starling.FollowOptions{Prefix: []byte(strings.Repeat("p", prefix))}
	return firstOf(starling.NewMap[string, string](c, name).Follow(ctx, o))
}

// lastOf returns the error with which a sequence ends.
func lastOf[T any](steps func(yield func(T, error) bool)) error {
	var last error
	for _, err := range steps {
		last = err
	}
	return last
}

func commandOf(ctx context.Context, c starling.Caller, command protocol.Command) error {
	_, err := c.Command(ctx, command)
	return err
}

// Built-in types are not to be replaced: handles ask for them by name, and
// queries go to the highest version.
func TestBuiltInTypesAreReserved(t *testing.T) {
	op := func() resources.Operation {
		return resources.NewQuery("get", func(*resources.View, int) (int, error) { return 0, nil })
	}
	for says, types := range map[string][]*starling.Type{
		`type "map" version 2 has the name of a built-in type: give it another name`: {resources.NewType("map", 2, op())},
		`type "queue" version 7 has the name`:                                        {resources.NewType("fine", 1, op()), resources.NewType("queue", 7, op())},
		`type "counter" version 1 has the name`:                                      {resources.NewType("counter", 1, op())},
		`type "map" is built in: leave it out of Types`:                              {kvmap.Type},
		`type "session": the name is taken by the system`:                            {resources.NewType("session", 1, op())},
		"a type is nil": {nil},
		"a type is the zero value: make it with NewType": {new(starling.Type)},
	} {
		cfg := starling.Config{Name: "a1", Bind: "127.0.0.1:0", Bootstrap: true, Types: types}
		n, err := starling.Open(context.Background(), cfg)
		if n != nil || !errors.Is(err, starling.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
		_, err = starling.Local(context.Background(), 1, types...)
		if !errors.Is(err, starling.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("a cluster in this process: got %v, want %q", err, says)
		}
		_, err = starling.Recover(context.Background(), starling.RecoverConfig{Dir: t.TempDir(), Types: types})
		if !errors.Is(err, starling.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("recovery: got %v, want %q", err, says)
		}
	}
	for _, types := range [][]*starling.Type{{kvmap.Type}, {queue.Type, counter.Type}} {
		if _, err := resources.NewRegistry(types...); err != nil {
			t.Errorf("a built-in type by itself: %v", err)
		}
	}
}

// Nobody is asked, nothing panics.
func TestZeroAndNilValuesAnswerWithAnError(t *testing.T) {
	ctx := context.Background()
	var noNode *starling.Node
	var noClient *starling.Client
	var noMap *starling.Map[string, int]
	var noQueue *starling.Queue[int]
	var noCounter *starling.Counter
	maps := map[string]*starling.Map[string, int]{"nil": noMap, "zero": new(starling.Map[string, int]), "of nobody": starling.NewMap[string, int](nil, "m")}
	queues := map[string]*starling.Queue[int]{"nil": noQueue, "zero": new(starling.Queue[int]), "of nobody": starling.NewQueue[int](nil, "q")}
	counters := map[string]*starling.Counter{"nil": noCounter, "zero": new(starling.Counter), "of nobody": starling.NewCounter(nil, "c")}
	for name, c := range map[string]starling.Caller{
		"nil node": noNode, "zero node": new(starling.Node), "nil client": noClient, "zero client": new(starling.Client),
	} {
		maps["of a "+name], queues["of a "+name] = starling.NewMap[string, int](c, "m"), starling.NewQueue[int](c, "q")
		counters["of a "+name] = starling.NewCounter(c, "c")
	}
	calls := map[string]error{}
	for name, m := range maps {
		// A handle over a Node or a Client finds out when it asks.
		if err := m.Err(); !strings.HasPrefix(name, "of a ") != errors.Is(err, starling.ErrInvalid) {
			t.Errorf("Err of a map, %s: got %v", name, err)
		}
		_, calls["get of a map, "+name] = m.Get(ctx, "k")
		calls["put of a map, "+name] = m.Put(ctx, "k", 1)
		_, calls["conditional put of a map, "+name] = m.PutIf(ctx, "k", 1, 1)
		_, calls["delete of a map, "+name] = m.Delete(ctx, "k")
		calls["conditional delete of a map, "+name] = m.DeleteIf(ctx, "k", 1)
		_, calls["len of a map, "+name] = m.Len(ctx)
		calls["scan of a map, "+name] = firstOf(m.Scan(ctx, starling.From("")))
		calls["watch of a map, "+name] = firstOf(m.Watch(ctx, starling.WatchOptions{}))
		calls["follow of a map, "+name] = lastOf(m.Follow(ctx, starling.FollowOptions{}))
	}
	for name, q := range queues {
		if err := q.Err(); !strings.HasPrefix(name, "of a ") != errors.Is(err, starling.ErrInvalid) {
			t.Errorf("Err of a queue, %s: got %v", name, err)
		}
		calls["push of a queue, "+name] = q.Push(ctx, 1)
		_, calls["pop of a queue, "+name] = q.Pop(ctx)
		_, calls["peek of a queue, "+name] = q.Peek(ctx)
		_, calls["len of a queue, "+name] = q.Len(ctx)
	}
	for name, c := range counters {
		_, calls["add to a counter, "+name] = c.Add(ctx, 1)
		_, calls["get of a counter, "+name] = c.Get(ctx)
		_, calls["set of a counter, "+name] = c.Set(ctx, 1)
		_, calls["compare of a counter, "+name] = c.CompareAndSet(ctx, 1, 2)
	}
	for name, c := range map[string]*starling.Client{"nil client": noClient, "zero client": new(starling.Client)} {
		_, calls["status of a "+name] = c.Status(ctx)
		_, calls["verify of a "+name] = c.Verify(ctx)
		_, calls["autopilot of a "+name] = c.Autopilot(ctx)
		calls["set autopilot of a "+name] = c.SetAutopilot(ctx, starling.Autopilot{Actives: 3})
		_, calls["promote of a "+name] = c.Promote(ctx, "a1")
		_, calls["demote of a "+name] = c.Demote(ctx, "a1")
		_, calls["remove of a "+name] = c.Remove(ctx, "a1")
		_, calls["transfer of a "+name] = c.Transfer(ctx, "")
		calls["close of a "+name] = c.Close()
	}
	for name, n := range map[string]*starling.Node{"nil node": noNode, "zero node": new(starling.Node)} {
		calls["ready of a "+name] = n.Ready()
		calls["error of a "+name] = n.Err()
		calls["shutdown of a "+name] = n.Shutdown(ctx)
		calls["close of a "+name] = n.Close()
		if n.Name() != "" || n.Addr() != "" || n.HTTPAddr() != "" || n.Status().Name != "" || n.Traffic() != (starling.Traffic{}) {
			t.Errorf("a %s says something of itself", name)
		}
		<-n.Done()
	}
	for what, err := range calls {
		if !errors.Is(err, starling.ErrInvalid) {
			t.Errorf("%s: got %v, want %s", what, err, starling.ErrInvalid.Code)
		}
		for _, handle := range []string{", nil", ", zero", ", of nobody"} {
			if strings.HasSuffix(what, handle) && !strings.Contains(err.Error(), "has nobody to ask") {
				t.Errorf("%s: got %v, want that there is nobody to ask", what, err)
			}
		}
	}
	var noCluster *starling.Cluster
	if err := noCluster.Close(); err != nil {
		t.Errorf("close of a nil cluster: %v", err)
	}
}
