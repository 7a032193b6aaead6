package resources_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/value"
	"github.com/starlinghq/starling/internal/valuetest"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/resourcetest"
)

type stamped struct {
	time.Time
	Name string
}

// TestFaultsOfTypesAreToldBeforeTheFirstValue: by the registry, with the names
// of the type, the operation and the field; by tables and cells at once.
func TestFaultsOfTypesAreToldBeforeTheFirstValue(t *testing.T) {
	type request struct{ Inner []struct{ Done chan bool } }
	_, err := resources.NewRegistry(resources.NewType("auction", 1,
		resources.NewCommand("place", func(*resources.Tx, request) (int, error) { return 0, nil }),
		resources.NewCommand("stamp", func(*resources.Tx, int) (stamped, error) { return stamped{}, nil }),
		resources.NewQuery("why", func(*resources.View, map[string]error) (any, error) { return nil, nil })))
	if !errors.Is(err, protocol.ErrInvalid) {
		t.Fatalf("got %v, want invalid", err)
	}
	for _, want := range []string{
		`type "auction": the operation "place": its argument: `, "request.Inner[].Done: a chan cannot be stored",
		`the operation "stamp": its answer: `, "stamped: MarshalBinary is that of an embedded field",
		`the operation "why": its argument: `, "[]: an interface with methods",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	for name, make := range map[string]func(){
		"table": func() { resources.NewTable[string, stamped]("t") },
		"cell":  func() { resources.NewCell[func()]("c") },
	} {
		if cause := panicOf(make); !strings.Contains(fmt.Sprint(cause), "cannot be stored") {
			t.Errorf("%s: got %v, want a panic that says why", name, cause)
		}
	}
	if _, err := resources.AppendValue(nil, stamped{}); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("got %v, want invalid", err)
	}
	if _, err := resources.ParseValue[stamped]([]byte{0xc0}); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("got %v, want invalid", err)
	}
}

func panicOf(f func()) (cause any) {
	defer func() { cause = recover() }()
	f()
	return nil
}

// TestValuesSurviveARestart: what is put is got, on a machine that was made of
// nothing but the checkpoint of another one.
func TestValuesSurviveARestart(t *testing.T) {
	r, caller := rand.New(rand.NewPCG(3, 4)), resourcetest.NewCaller(t, kvmap.Type)
	types := valuetest.Types()
	for i := range 300 {
		types = append(types, valuetest.Type{Name: fmt.Sprint("random ", i), Type: valuetest.RandomType(r)})
	}
	const each = 20
	wrote := map[string]reflect.Value{}
	for _, c := range types {
		if value.PlanOf(c.Type).Fault() != nil {
			continue
		}
		for i := range each {
			v := valuetest.Random(r, c.Type)
			data, err := value.Append(nil, v)
			if err != nil {
				continue
			}
			key := fmt.Sprintf("%s %d", c.Name, i)
			wrote[key] = v
			if _, err := kvmap.Put.Do(context.Background(), caller, "m", kvmap.PutRequest{Key: []byte(key), Value: data}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(wrote) < 100*each {
		t.Fatalf("%d values could be stored: the test says little", len(wrote))
	}
	restarted := restart(t, caller.Machine())
	for key, v := range wrote {
		result := restarted.Query(&protocol.Query{Resource: "m", Type: "map", Operation: "get", Argument: []byte(key)})
		item, err := resources.ParseValue[kvmap.Item](result.Data)
		if err != nil || result.Err() != nil {
			t.Fatalf("%s: %v, %v", key, err, result.Err())
		}
		got, err := value.Parse(item.Value, v.Type())
		if err == nil {
			err = valuetest.Same(v, got)
		}
		if err != nil {
			t.Errorf("%s: %v: %v", key, v.Type(), err)
		}
		if again, err := value.Append(nil, got); err != nil || !bytes.Equal(again, item.Value) {
			t.Errorf("%s: got % x, %v, want % x", key, again, err, item.Value)
		}
	}
}

// restart returns a machine that is made of a checkpoint of another one.
func restart(t *testing.T, m *resources.Machine) *resources.Machine {
	t.Helper()
	snapshot := m.Snapshot()
	defer snapshot.Close()
	next := resources.NewMachine(resources.Config{Registry: m.Registry(), Track: true})
	t.Cleanup(next.Close)
	l := next.NewLoader()
	for item := range snapshot.All() {
		if err := l.Add(item); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := l.Finish(snapshot.Index()); err != nil || got != snapshot.Digest() {
		t.Fatalf("got digest %v, %v, want %v", got, err, snapshot.Digest())
	}
	next.Adopt(l)
	return next
}
