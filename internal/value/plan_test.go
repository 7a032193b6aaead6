package value

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/internal/dev/valuetest"
	"github.com/starlinghq/starling/protocol"
)

// TestLayoutIsTheLibrarys: the fields that a plan knows are those that the
// library writes, in its order.
func TestLayoutIsTheLibrarys(t *testing.T) {
	seen := 0
	for _, c := range valuetest.Types() {
		p := PlanOf(c.Type)
		if p.fault != nil || p.root.kind != kindStruct || p.doubt || p.codec {
			continue
		}
		seen++
		v := reflect.New(c.Type).Elem()
		fill(v)
		src, err := msgpack.Marshal(v.Addr().Interface())
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		d := msgpack.NewDecoder(bytes.NewReader(src))
		if n, err := d.DecodeMapLen(); err == nil {
			for range n {
				name, _ := d.DecodeString()
				want = append(want, name)
				_ = d.Skip()
			}
		} else if !p.root.layout.asArray {
			t.Errorf("%s: %v", c.Name, err)
		}
		var got []string
		for _, f := range p.root.layout.list {
			got = append(got, f.name)
		}
		if !p.root.layout.asArray && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q, want %q", c.Name, got, want)
		}
	}
	if seen < 15 {
		t.Errorf("%d structs: the test says little", seen)
	}
}

// fill makes no field empty.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("x")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem())
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Struct:
		if v.Type() == timeType {
			v.Set(reflect.ValueOf(time.Unix(1, 1)))
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() || v.Type().Field(i).Anonymous {
				fill(v.Field(i))
			}
		}
	default:
		if v.CanInt() {
			v.SetInt(1)
		} else if v.CanUint() {
			v.SetUint(1)
		} else if v.CanFloat() {
			v.SetFloat(1)
		}
	}
}

// TestTypesNestedTooDeep: what no value can be small enough for is a fault of
// the type.
func TestTypesNestedTooDeep(t *testing.T) {
	typ := reflect.TypeFor[string]()
	for range protocol.DepthMax {
		typ = reflect.SliceOf(typ)
	}
	if err := PlanOf(typ).Fault(); err != nil {
		t.Errorf("%d deep: %v", protocol.DepthMax, err)
	}
	typ = reflect.StructOf([]reflect.StructField{{Name: "A", Type: typ}})
	if err := PlanOf(typ).Fault(); err == nil || !strings.Contains(err.Error(), "it is nested 65 deep, the limit is 64") {
		t.Errorf("65 deep: got %v", err)
	}
}

// TestFaultsAreNamedAtEachPlace: as many as people can read, and soon, however
// many places there are.
func TestFaultsAreNamedAtEachPlace(t *testing.T) {
	typ := reflect.TypeFor[chan int]()
	for range 12 { // 4,096 places
		typ = reflect.StructOf([]reflect.StructField{{Name: "A", Type: reflect.PointerTo(typ)}, {Name: "B", Type: reflect.PointerTo(typ)}})
	}
	if got := strings.Count(PlanOf(typ).Fault().Error(), "a chan cannot be stored"); got != faultsMax {
		t.Errorf("got %d places, want %d", got, faultsMax)
	}
	type two struct {
		A, B func()
		C    map[string]struct{ D []any }
		E    map[string]struct{ F []error }
	}
	err := PlanOf(reflect.TypeFor[two]()).Fault()
	for _, want := range []string{"two.A: a func", "two.B: a func", "two.E[].F[]: an interface"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestFaultsSayWhatHelps: no tag where there is no field, and the reason before a
// path that has no end.
func TestFaultsSayWhatHelps(t *testing.T) {
	if got, want := PlanOf(reflect.TypeFor[chan int]()).Fault().Error(), "values of this type cannot be stored: chan int: a chan cannot be stored"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := PlanOf(reflect.TypeFor[struct{ C chan int }]()).Fault().Error(); !strings.HasSuffix(got, leaveAway) {
		t.Errorf("got %q, want the tag", got)
	}
	type ring struct{ Next *ring }
	r := new(ring)
	r.Next = r
	_, err := PlanOf(reflect.TypeFor[*ring]()).walk(reflect.ValueOf(r))
	if err == nil || !strings.HasPrefix(err.Error(), errTooDeep.Error()+" (at *value.ring.Next.Next") || len(err.Error()) > 200 {
		t.Errorf("got %v", err)
	}
}

// TestSettingsOfTheLibrary: what this package reads of the library's encoder is
// there, and tells.
func TestSettingsOfTheLibrary(t *testing.T) {
	for name, change := range map[string]func(*msgpack.Encoder){
		"flags":      func(e *msgpack.Encoder) { e.SetOmitEmpty(true) },
		"struct tag": func(e *msgpack.Encoder) { e.SetCustomStructTag("json") },
	} {
		e := newEncoder().prepare()
		if now, known := e.settings(); !known || now != plainSettings {
			t.Errorf("got %v, %v, want %v", now, known, plainSettings)
		}
		change(e.msgpack)
		if now, known := e.settings(); !known || now == plainSettings {
			t.Errorf("%s: got %v, %v, want others", name, now, known)
		}
		if now, _ := e.prepare().settings(); now != plainSettings {
			t.Errorf("%s: got %v after a reset, want %v", name, now, plainSettings)
		}
	}
}

func TestTags(t *testing.T) {
	for in, want := range map[string]tag{
		"":                      {},
		"a":                     {name: "a"},
		" a , omitempty":        {name: "a", options: map[string]string{"omitempty": ""}},
		",alias:b,inline":       {options: map[string]string{"alias": "b", "inline": ""}},
		"alias: b":              {options: map[string]string{"alias": "b"}},
		"-":                     {name: "-"},
		"a,,b":                  {name: "a", options: map[string]string{"": "", "b": ""}},
		"Zürich,key:some value": {name: "Zürich", options: map[string]string{"key": "some value"}},
	} {
		got, why := parseTag(in)
		if why != "" || got.name != want.name || len(got.options) != len(want.options) {
			t.Errorf("%q: got %+v, %s, want %+v", in, got, why, want)
		}
		for option, value := range want.options {
			if got.options[option] != value || !got.has(option) {
				t.Errorf("%q: got %+v, want %+v", in, got, want)
			}
		}
	}
	for _, in := range []string{"'a'", `a\,b`, "a(b)", "a,b:(c,d)"} {
		if _, why := parseTag(in); why == "" {
			t.Errorf("%q was read", in)
		}
	}
}

// FuzzParse: no bytes do harm, and what is read can be written.
func FuzzParse(f *testing.F) {
	for i, c := range valuetest.Types() {
		if PlanOf(c.Type).Fault() == nil {
			f.Add(uint16(i), []byte{0x81, 0xa1, 'A', 0x92, 0xcd, 1, 44, 0xd6, 0xff, 0, 0, 0, 1})
		}
	}
	f.Fuzz(func(t *testing.T, i uint16, src []byte) {
		types := valuetest.Types()
		c := types[int(i)%len(types)]
		v, err := Parse(src, c.Type)
		if err != nil {
			if !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrInvalid) {
				t.Errorf("got %v, want malformed", err)
			}
			return
		}
		data, err := Append(nil, v)
		if err != nil {
			return // methods may read more than they can write
		}
		if _, err := Parse(data, c.Type); err != nil {
			t.Errorf("%s: % x was read, and written as % x: %v", c.Name, src, data, err)
		}
	})
}
