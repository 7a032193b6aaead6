package machine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
)

// listed returns what the catalogue says, and fails if it is not in order.
func listed(t *testing.T, c resources.Caller) []string {
	t.Helper()
	var out []string
	last := ""
	for one, err := range resources.Instances(context.Background(), c) {
		if err != nil {
			t.Fatal(err)
		}
		if one.Name <= last {
			t.Errorf("%q after %q", one.Name, last)
		}
		last = one.Name
		out = append(out, fmt.Sprintf("%s:%s:%d", one.Name, one.Type, one.Keys))
	}
	return out
}

func wantListed(t *testing.T, c resources.Caller, want ...string) {
	t.Helper()
	if got := listed(t, c); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func remove(t *testing.T, c resources.Caller, name, key string) {
	t.Helper()
	if version, err := kvmap.Delete.Do(context.Background(), c, name, kvmap.DeleteRequest{Key: []byte(key)}); version == 0 || err != nil {
		t.Fatal(version, err)
	}
}

// TestInstanceGoesWithItsLastKey in one entry, on a machine that lives on as on
// one that is made of each checkpoint anew.
func TestInstanceGoesWithItsLastKey(t *testing.T) {
	ctx := context.Background()
	l := &local{m: newTracked(t)}
	push := func(name, value string) {
		if _, err := queue.Push.Do(ctx, l, name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	flick := func(name, then string) error {
		for _, op := range flicker.Operations() {
			d := op.Describe()
			data, _ := d.Encode(then)
			r, err := l.Command(ctx, protocol.Command{Resource: name, Type: "flicker", Version: 1, Operation: d.Name, Argument: data})
			return errors.Join(err, r.Err())
		}
		return nil
	}
	for _, step := range []struct {
		what string
		do   func()
		want []string
	}{
		{"made", func() { put(t, l, "m", "a", "1") }, []string{"m:map:1"}},
		{"another key", func() { put(t, l, "m", "b", "2") }, []string{"m:map:2"}},
		{"one key left", func() { remove(t, l, "m", "a") }, []string{"m:map:1"}},
		{"the last key", func() { remove(t, l, "m", "b") }, nil},
		{"of another type", func() { push("m", "1") }, []string{"m:queue:2"}}, // the element, and its number
		{"a queue stays when it is empty", func() { _, _ = queue.Pop.Do(ctx, l, "m", struct{}{}) }, []string{"m:queue:2"}},
		{"deleted", func() { _, _ = resources.Delete(ctx, l, "m", "queue") }, nil},
		{"nothing to delete", func() { _, _ = kvmap.Delete.Do(ctx, l, "m", kvmap.DeleteRequest{Key: []byte("a")}) }, nil},
		{"made and emptied in one command", func() { _ = flick("f", "empty") }, nil},
		{"made and taken back", func() { _ = flick("f", "fail") }, nil},
		{"made and panicked", func() { _ = flick("f", "panic") }, nil},
		{"made", func() { _ = flick("f", "refill") }, []string{"f:flicker:1"}},
		{"emptied and filled again", func() { _ = flick("f", "refill") }, []string{"f:flicker:1"}},
		{"emptied and taken back", func() { _ = flick("f", "fail") }, []string{"f:flicker:1"}},
		{"emptied and panicked", func() { _ = flick("f", "panic") }, []string{"f:flicker:1"}},
		{"emptied", func() { _ = flick("f", "empty") }, nil},
	} {
		step.do()
		wantListed(t, l, step.want...)
		s := l.m.Snapshot()
		m := newTracked(t)
		m.Install(loaderOf(t, m, s))
		s.Close()
		other := &local{m: m}
		wantListed(t, other, step.want...)
		if t.Failed() {
			t.Fatalf("after %q", step.what)
		}
	}
}

// TestReadsStayWithTheirIndex: what was deleted and made again, as another type,
// is at each index what it was then, before what was dropped is swept and after.
func TestReadsStayWithTheirIndex(t *testing.T) {
	l := newLocal(t, historyTypes...)
	put(t, l, "m", "k", "first")
	at := func(kind string) *resources.View {
		v, err := l.m.View("m", kind)
		if err != nil {
			t.Fatalf("at %d as %s: %v", l.m.Applied(), kind, err)
		}
		return v
	}
	type moment struct {
		view *resources.View
		keys int
	}
	moments := []moment{{at("map"), 1}}
	remove(t, l, "m", "k")
	moments = append(moments, moment{at("map"), 0}, moment{at("queue"), 0})
	if _, err := queue.Push.Do(t.Context(), l, "m", nil); err != nil { // held by the first view: not swept
		t.Fatal(err)
	}
	moments = append(moments, moment{at("queue"), 2})
	if _, err := l.m.View("m", "map"); !errors.Is(err, protocol.ErrWrongType) {
		t.Errorf("got %v, want a wrong type", err)
	}
	if _, err := resources.Delete(t.Context(), l, "m", ""); err != nil {
		t.Fatal(err)
	}
	for k := range 3 {
		for _, one := range moments {
			n := 0
			for _, err := range one.view.Scan(nil, nil) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n != one.keys || one.view.Len() != one.keys {
				t.Errorf("round %d: the view at %d has %d keys, says %d, want %d", k, one.view.Index(), n, one.view.Len(), one.keys)
			}
		}
		l.noop()
	}
	for _, one := range moments {
		one.view.Close()
	}
	l.noop() // swept
	put(t, l, "m", "k", "second")
	v := at("map")
	defer v.Close()
	if got, _, err := v.Get([]byte("k")); string(got) != "second" || err != nil {
		t.Errorf("got %q %v, want second", got, err)
	}
	wantListed(t, l, "m:map:1")
}

// TestDeleteTakesEffectOnce: a retry is answered and deletes nothing that was made
// since.
func TestDeleteTakesEffectOnce(t *testing.T) {
	l := newLocal(t, historyTypes...)
	put(t, l, "m", "a", "1")
	put(t, l, "m", "b", "2")
	id := l.open(t, 0)
	kind := func(s string) []byte {
		data, _ := resources.AppendValue(nil, s)
		return data
	}
	command := protocol.Command{Session: id, Sequence: 1, Floor: 1, Resource: "m", Type: protocol.CatalogueType, Version: protocol.CatalogueVersion, Operation: "delete"}
	for _, step := range []struct {
		what     string
		sequence uint64
		kind     string
		want     string
		code     *protocol.Error
		left     []string
	}{
		{"of another type", 1, "queue", "", protocol.ErrWrongType, []string{"m:map:2"}},
		{"there", 2, "map", "true", nil, nil},
		{"again", 3, "", "false", nil, nil},
		{"retry of the first", 2, "map", "true", nil, nil},
	} {
		c := command
		c.Sequence, c.Argument = step.sequence, kind(step.kind)
		if err := l.m.Check(&c); err != nil {
			t.Errorf("%s: refused: %v", step.what, err)
		}
		r := l.send(c)
		if step.code != nil {
			wantCode(t, step.what, r, step.code)
		} else if there, err := resources.ParseValue[bool](r.Data); fmt.Sprint(there) != step.want || err != nil || r.Err() != nil {
			t.Errorf("%s: got %v %v %v, want %s", step.what, there, err, r.Err(), step.want)
		}
		wantListed(t, l, step.left...)
	}
	put(t, l, "m", "c", "3")
	command.Sequence, command.Argument = 2, kind("map")
	if r := l.send(command); r.Err() != nil {
		t.Error(r.Err())
	}
	wantListed(t, l, "m:map:1")
	command.Session = 99
	wantCode(t, "in no session", l.send(command), protocol.ErrSessionExpired)
}

// TestWatchersOfADeletedInstance are told of each key, and hear no changes of
// another type.
func TestWatchersOfADeletedInstance(t *testing.T) {
	l := newLocal(t, historyTypes...)
	put(t, l, "m", "a", "1")
	begin := put(t, l, "m", "b", "2")
	all, some := watch(t, l, "", begin), watch(t, l, "b", begin)
	next(t, all)
	next(t, some)
	if there, err := resources.Delete(t.Context(), l, "m", ""); !there || err != nil {
		t.Fatal(there, err)
	}
	at := l.m.Applied()
	if got, want := next(t, all), fmt.Sprintf("%d 2:a= 2:b=", at); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := next(t, some), fmt.Sprintf("%d 2:b=", at); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	put(t, l, "m", "c", "3")
	if got, want := next(t, all), fmt.Sprintf("%d 1:c=3", at+1); got != want {
		t.Errorf("made again: got %s, want %s", got, want)
	}
	remove(t, l, "m", "c")
	next(t, all)
	if _, err := counter.Add.Do(t.Context(), l, "m", 1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := all.Next(t.Context()); !errors.Is(err, protocol.ErrWrongType) {
			t.Errorf("a counter by now: got %v, want a wrong type", err)
		}
	}
	if _, err := l.m.Watch(&protocol.Watch{Resource: "m", Type: "map"}); !errors.Is(err, protocol.ErrWrongType) {
		t.Errorf("got %v, want a wrong type", err)
	}
	// Whoever asks for the counter's changes from long ago hears none of the map.
	w, err := l.m.Watch(&protocol.Watch{Resource: "m", Type: "counter", From: begin})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	next(t, w)
	if c, err := w.Next(t.Context()); err != nil || c.Index != l.m.Applied() || len(c.Changes) != 1 {
		t.Errorf("got %+v %v, want one change at %d", c, err, l.m.Applied())
	}
	if _, err := l.m.Watch(&protocol.Watch{Resource: "m", Type: protocol.CatalogueType}); !errors.Is(err, protocol.ErrUnknownType) {
		t.Errorf("the catalogue is not watched: got %v", err)
	}
}

// TestListInPages reads more than one page of names.
func TestListInPages(t *testing.T) {
	const many = 2500
	l := newLocal(t, historyTypes...)
	wantListed(t, l)
	var want []string
	for n := range many {
		put(t, l, name(n), "k", "")
		want = append(want, name(n)+":map:1")
	}
	wantListed(t, l, want...)
	for one, err := range resources.Instances(t.Context(), l) {
		if one.Name != name(0) || err != nil {
			t.Errorf("got %v %v", one, err)
		}
		break
	}
}

// TestSystemTypesAreNobodyElses: neither their names nor their operations.
func TestSystemTypesAreNobodyElses(t *testing.T) {
	if _, err := resources.NewRegistry(resources.NewType(protocol.CatalogueType, 1)); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("got %v, want invalid", err)
	}
	l := newLocal(t, kvmap.Type)
	for want, c := range map[*protocol.Error]protocol.Command{
		protocol.ErrUnknownOperation: {Resource: "m", Type: protocol.CatalogueType, Version: 1, Operation: "list"},
		protocol.ErrUnknownType:      {Resource: "m", Type: protocol.CatalogueType, Version: 2, Operation: "delete"},
		protocol.ErrInvalid:          {Resource: "a b", Type: protocol.CatalogueType, Version: 1, Operation: "delete"},
	} {
		if err := l.m.Check(&c); !errors.Is(err, want) {
			t.Errorf("%+v: got %v, want %v", c, err, want)
		}
	}
	if r := l.m.Query(context.Background(), &protocol.Query{Resource: "m", Type: protocol.CatalogueType, Operation: "delete"}); !errors.Is(r.Err(), protocol.ErrUnknownOperation) {
		t.Errorf("got %v, want an unknown operation", r.Err())
	}
}

// TestReadsInTheMiddleOfAnEntry know nothing of the type that an instance is about
// to have.
func TestReadsInTheMiddleOfAnEntry(t *testing.T) {
	var l *local
	read := func(kinds ...string) (out []string) {
		for _, kind := range kinds {
			if v, err := l.m.View("m", kind); err != nil {
				out = append(out, fmt.Sprint(kind, " refused"))
			} else {
				out = append(out, fmt.Sprint(kind, v.Len()))
				v.Close()
			}
		}
		return out
	}
	var within []string
	probe := resources.NewType("probe", 1, resources.NewCommand("probe", func(tx *resources.Tx, _ struct{}) (int, error) {
		err := tx.Set([]byte("k"), nil)
		within = read("map", "probe")
		return 0, err
	}))
	l = newLocal(t, kvmap.Type, probe)
	put(t, l, "m", "k", "v")
	held, err := l.m.View("m", "map") // so that what is deleted is not swept
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	remove(t, l, "m", "k")
	for _, op := range probe.Operations() {
		d := op.Describe()
		data, _ := d.Encode(struct{}{})
		if r, err := l.Command(t.Context(), protocol.Command{Resource: "m", Type: "probe", Version: 1, Operation: d.Name, Argument: data}); err != nil || r.Err() != nil {
			t.Fatal(err, r.Err())
		}
	}
	if want := []string{"map0", "probe0"}; !slices.Equal(within, want) {
		t.Errorf("in the middle: got %q, want %q", within, want)
	}
	if got, want := read("map", "probe"), []string{"map refused", "probe1"}; !slices.Equal(got, want) {
		t.Errorf("after it: got %q, want %q", got, want)
	}
}
