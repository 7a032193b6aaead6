package resources_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/dev/valuetest"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/value"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
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
	r := rand.New(rand.NewPCG(3, 4))
	registry, err := resources.NewRegistry(kvmap.Type)
	if err != nil {
		t.Fatal(err)
	}
	m := machine.New(machine.Config{Registry: registry, Track: true})
	t.Cleanup(m.Close)
	m.Apply([]protocol.Entry{{Index: 1, Term: 1, Kind: protocol.EntryCommand, Data: encodeOpen()}}, nil)
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
			argument, err := kvmap.PutRequest{Key: []byte(key), Value: data}.AppendRaw(nil)
			if err != nil {
				t.Fatal(err)
			}
			sequence := uint64(m.Applied())
			put := protocol.EncodeCommand(&protocol.Command{Session: 1, Sequence: sequence, Floor: sequence,
				Resource: "m", Type: "map", Version: 1, Operation: "put", Argument: argument})
			results := m.Apply([]protocol.Entry{{Index: m.Applied() + 1, Term: 1, Kind: protocol.EntryCommand, Data: put}}, nil)
			if err := results[0].Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(wrote) < 100*each {
		t.Fatalf("%d values could be stored: the test says little", len(wrote))
	}
	restarted := restart(t, m)
	for key, v := range wrote {
		result := restarted.Query(t.Context(), &protocol.Query{Resource: "m", Type: "map", Operation: "get", Argument: []byte(key)})
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
func restart(t *testing.T, m *machine.Machine) *machine.Machine {
	t.Helper()
	snapshot := m.Snapshot()
	defer snapshot.Close()
	next := machine.New(machine.Config{Registry: m.Registry(), Track: true})
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
	next.Install(l)
	return next
}

// ledger is a type that encodes on every member what commands make of values of
// all kinds: flags that methods leave behind, times, interfaces, maps.
var (
	ledgerRows  = resources.NewTable[string, valuetest.Mixed]("rows")
	ledgerLoud  = resources.NewTable[string, valuetest.Loud]("loud")
	ledgerDates = resources.NewTable[string, valuetest.Dated]("dates")
	ledgerType  = resources.NewType("ledger", 1,
		resources.NewCommand("row", func(tx *resources.Tx, m valuetest.Mixed) (valuetest.Mixed, error) {
			was, _, err := ledgerRows.Get(tx, m.Name)
			if err != nil {
				return was, err
			}
			m.List = append(m.List, fmt.Sprint(was.Any), int(tx.Index()))
			if len(m.List) > 20 {
				m.List = nil
			}
			return was, ledgerRows.Put(tx, m.Name, m)
		}),
		resources.NewCommand("loud", func(tx *resources.Tx, l valuetest.Loud) (int, error) {
			return len(l.Name), ledgerLoud.Put(tx, l.Name, l)
		}),
		resources.NewCommand("date", func(tx *resources.Tx, d valuetest.Dated) (string, error) {
			return d.At.String(), ledgerDates.Put(tx, d.At.Format(time.DateTime), d) // on every member in the same zone
		}))
)

// commandsOfAll returns so many commands of a session over all built-in types and one
// that is not.
func commandsOfAll(t *testing.T, r *rand.Rand, n int) []protocol.Entry {
	t.Helper()
	entries := []protocol.Entry{{Index: 1, Term: 1, Kind: protocol.EntryCommand, Data: encodeOpen()}}
	for len(entries) < n {
		sequence := uint64(len(entries))
		c := protocol.Command{Session: 1, Sequence: sequence, Floor: sequence, Version: 1, Resource: fmt.Sprint("r", r.IntN(3))}
		c.Type, c.Operation, c.Argument = randomCommand(r)
		if c.Argument == nil {
			continue
		}
		c.Resource += c.Type
		entries = append(entries, protocol.Entry{Index: protocol.Index(len(entries) + 1), Term: 1, Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&c)})
	}
	return entries
}

func encodeOpen() []byte {
	open := sessionop.Open(protocol.SessionTimeoutMax)
	return protocol.EncodeCommand(&open)
}

// randomCommand draws a command; without an argument it is none.
func randomCommand(r *rand.Rand) (typ, operation string, argument []byte) {
	key := []byte{'k', byte(r.IntN(200))}
	draw := func(t reflect.Type) []byte {
		data, err := value.Append(nil, valuetest.Random(r, t))
		if err != nil {
			return nil
		}
		return data
	}
	switch r.IntN(8) {
	case 0, 1, 2:
		argument, _ = resources.AppendValue(nil, kvmap.PutRequest{Key: key, Value: draw(reflect.TypeFor[valuetest.User]())})
		return "map", "put", argument
	case 3:
		argument, _ = resources.AppendValue(nil, kvmap.DeleteRequest{Key: key})
		return "map", "delete", argument
	case 4:
		if r.IntN(2) == 0 {
			return "queue", "pop", draw(reflect.TypeFor[struct{}]())
		}
		return "queue", "push", draw(reflect.TypeFor[[]byte]())
	case 5:
		return "counter", "add", draw(reflect.TypeFor[int64]())
	case 6:
		return "ledger", "loud", draw(reflect.TypeFor[valuetest.Loud]())
	}
	if r.IntN(2) == 0 {
		return "ledger", "date", draw(reflect.TypeFor[valuetest.Dated]())
	}
	return "ledger", "row", draw(reflect.TypeFor[valuetest.Mixed]())
}

// TestMembersOfOtherHistoriesAgree: one member just applies; one encodes nasty
// values between its batches; one does so all the time, and is restarted from
// checkpoints. All have the same state and give the same answers.
func TestMembersOfOtherHistoriesAgree(t *testing.T) {
	commands := 100_000
	if testing.Short() {
		commands = 5000
	}
	entries := commandsOfAll(t, rand.New(rand.NewPCG(5, 6)), commands)
	registry, err := resources.NewRegistry(kvmap.Type, queue.Type, counter.Type, ledgerType)
	if err != nil {
		t.Fatal(err)
	}
	var digests [3]machine.Digest
	var answers [3]protocol.LogSum
	var failed [3]int
	var members sync.WaitGroup
	for member := range digests {
		members.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(member)))
			m := machine.New(machine.Config{Registry: registry, Track: true})
			defer func() { m.Close() }()
			for rest := entries; len(rest) > 0; {
				batch := rest[:min(1+r.IntN(300), len(rest))]
				rest = rest[len(batch):]
				if member > 0 {
					dirty()
				}
				if member == 2 && r.IntN(40) == 0 {
					m.Close()
					m = restart(t, m)
				}
				for _, result := range m.Apply(batch, nil) {
					if result.Code != protocol.OK {
						failed[member]++
					}
					answers[member] = answers[member].Next(append([]byte(result.Code), result.Data...))
				}
			}
			_, digests[member] = m.Digest()
		})
	}
	members.Wait()
	if failed[0] > len(entries)/4 {
		t.Errorf("%d of %d commands failed: the test says little", failed[0], len(entries))
	}
	for member := range digests {
		if digests[member] != digests[0] || answers[member] != answers[0] {
			t.Errorf("member %d: got digest %v and answers %v, want %v and %v", member, digests[member], answers[member], digests[0], answers[0])
		}
	}
}
