package value_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/dev/valuetest"
	"github.com/starlinghq/starling/internal/value"
	"github.com/starlinghq/starling/protocol"
)

// trip sends values of a type there and back, and counts those that were stored.
func trip(t *testing.T, r *rand.Rand, typ reflect.Type, n int) (stored int) {
	t.Helper()
	for range n {
		wrote := valuetest.Random(r, typ)
		data, err := value.Append(nil, wrote)
		if errors.Is(err, protocol.ErrInvalid) && strings.Contains(err.Error(), "cannot be stored") {
			t.Fatalf("%v: refused at its first value, not before: %v", typ, err)
		}
		if err != nil {
			continue
		}
		stored++
		if again, err := value.Append(nil, wrote); err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%v: %+v is % x, then % x, %v", typ, wrote, data, again, err)
		}
		if err := protocol.CheckMsgpack(data); err != nil {
			t.Fatalf("%v: %+v: % x: %v", typ, wrote, data, err)
		}
		read, err := value.Parse(data, typ)
		if err != nil {
			t.Fatalf("%v: %+v: % x: %v", typ, wrote, data, err)
		}
		if err := valuetest.Same(wrote, read); err != nil {
			t.Fatalf("%v: % x: %v", typ, data, err)
		}
	}
	return stored
}

func TestTypesAsPeopleWriteThem(t *testing.T) {
	for _, c := range valuetest.Types() {
		t.Run(c.Name, func(t *testing.T) {
			fault := value.PlanOf(c.Type).Fault()
			if c.Refused != "" {
				if !errors.Is(fault, protocol.ErrInvalid) || !strings.Contains(fault.Error(), c.Refused) {
					t.Errorf("got %v, want %q", fault, c.Refused)
				}
				return
			}
			if fault != nil {
				t.Fatal(fault)
			}
			const n = 250
			if got := trip(t, rand.New(rand.NewPCG(1, 2)), c.Type, n); got < n/2 {
				t.Errorf("%d of %d values could be stored", got, n)
			}
		})
	}
}

// tryType draws a type from a seed, and values of it.
func tryType(t *testing.T, seed uint64, values int) (stored int, refused bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	typ := valuetest.RandomType(r)
	if err := value.PlanOf(typ).Fault(); err != nil {
		if !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("%v: got %v, want an invalid type", typ, err)
		}
		return 0, true
	}
	return trip(t, r, typ, values), false
}

func TestRandomTypes(t *testing.T) {
	const types, values = 1000, 20
	refused, stored := 0, 0
	for seed := range uint64(types) {
		n, no := tryType(t, seed, values)
		stored += n
		if no {
			refused++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d types, %d refused, %d of %d values stored", types, refused, stored, (types-refused)*values)
	if accepted := types - refused; accepted < types/4 || stored < accepted*values*9/10 {
		t.Errorf("%d of %d types are refused, %d values of the others stored: the test says little", refused, types, stored)
	}
}

// FuzzTypes: a type is refused before its first value, or a thousand values of
// it come back.
func FuzzTypes(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { tryType(t, seed, 1000) })
}
