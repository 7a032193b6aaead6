package resources_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	number "math/big"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// chain, tree and forest have themselves inside.
type (
	chain  struct{ Next *chain }
	tree   []tree
	forest map[string]forest
	// own is a tree that encodes itself.
	own struct{ Inside []*own }
)

func (o *own) EncodeMsgpack(e *msgpack.Encoder) error {
	if err := e.EncodeArrayLen(len(o.Inside)); err != nil {
		return err
	}
	for _, inner := range o.Inside {
		_ = e.Encode(inner) // whoever ignores an error must not go on for ever
	}
	return nil
}

func (o *own) DecodeMsgpack(d *msgpack.Decoder) error {
	n, err := d.DecodeArrayLen()
	o.Inside = make([]*own, max(n, 0))
	for i := 0; i < n && err == nil; i++ {
		err = d.Decode(&o.Inside[i])
	}
	return err
}

// nest builds a value so many containers deep.
func nest[T any](deep int, leaf T, wrap func(T) T) T {
	for range deep - 1 {
		leaf = wrap(leaf)
	}
	return leaf
}

func TestWhatCanBeWrittenIsNoDeeperThanWhatCanBeRead(t *testing.T) {
	for deep, want := range map[int]error{63: nil, protocol.DepthMax: nil, 65: protocol.ErrInvalid, 100: protocol.ErrInvalid, 100_000: protocol.ErrInvalid} {
		checkDeep(t, deep, want, nest(deep, &chain{}, func(c *chain) *chain { return &chain{Next: c} }))
		checkDeep(t, deep, want, nest(deep, tree{nil}, func(inner tree) tree { return tree{inner} }))
		checkDeep(t, deep, want, nest(deep, forest{"a": nil}, func(inner forest) forest { return forest{"a": inner} }))
		checkDeep(t, deep, want, nest(deep, any([]any{nil}), func(inner any) any { return []any{inner} }))
		checkDeep(t, deep, want, nest(deep, any(map[string]any{"a": nil}), func(inner any) any { return map[string]any{"a": inner} }))
		checkDeep(t, deep, want, nest(deep, &own{Inside: []*own{nil}}, func(inner *own) *own { return &own{Inside: []*own{inner}} }))
		deepList := []*own{nest(deep-1, &own{Inside: []*own{nil}}, func(inner *own) *own { return &own{Inside: []*own{inner}} })}
		checkDeep(t, deep, want, deepList)
	}
}

func checkDeep[T any](t *testing.T, deep int, want error, v T) {
	t.Helper()
	data, err := resources.AppendValue(nil, v)
	if want != nil {
		if !errors.Is(err, want) {
			t.Errorf("%T %d deep: got %v, want %v", v, deep, err, want)
		}
		return
	}
	if err != nil {
		t.Errorf("%T %d deep: %v", v, deep, err)
		return
	}
	back, err := resources.ParseValue[T](data)
	if err != nil || !reflect.DeepEqual(back, v) {
		t.Errorf("%T %d deep: read back as %v, %v", v, deep, back, err)
	}
}

func TestCyclicValuesAreRefused(t *testing.T) {
	ring := &chain{}
	ring.Next = &chain{Next: ring}
	slice := make(tree, 2)
	slice[0], slice[1] = slice, slice
	m := forest{}
	m["a"], m["b"] = m, m
	list := make([]any, 2)
	list[0], list[1] = list, map[string]any{"again": list}
	self := &own{}
	self.Inside = []*own{self, self}
	hidden := struct{ Any any }{}
	hidden.Any = []any{&hidden}
	// Not cyclic, but there is no end to it: each level has the next one twice.
	shared := nest(60, any("leaf"), func(inner any) any { return []any{inner, inner} })
	pairs := nest(60, tree{}, func(inner tree) tree { return tree{inner, inner} })
	for name, err := range map[string]error{
		"pointers": appendError(ring), "slices": appendError(slice), "maps": appendError(m), "any": appendError(list),
		"any in any": appendError(any(list)), "a pointer in any": appendError(hidden), "methods": appendError(self),
		"methods in a list": appendError([]*own{self}), "methods in any": appendError(any(self)),
		"shared": appendError(shared), "shared slices": appendError(pairs),
	} {
		if !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
}

func TestWhatIsTooLargeIsRefusedOnBothSides(t *testing.T) {
	type row [4096]int64
	if err := appendError(make([]row, 10_000)); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("got %v, want too large", err)
	}
	if err := appendError([]string{strings.Repeat("x", protocol.FrameBytesMax)}); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("got %v, want too large", err)
	}
	nils := append([]byte{0xdd, 0, 7, 0xff, 0xff}, bytes.Repeat([]byte{0xc0}, 0x7ffff)...) // half a megabyte that wants 16 GB
	if _, err := resources.ParseValue[[]row](nils); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("got %v, want malformed", err)
	}
}

func parseError[T any](src ...byte) error {
	v, err := resources.ParseValue[T](src)
	if err == nil {
		err = fmt.Errorf("read as %v", v)
	}
	return err
}

func TestNumbersThatDoNotFitAreErrors(t *testing.T) {
	type inside struct{ N int8 }
	for name, err := range map[string]error{
		"300 as int8":             parseError[int8](0xcd, 1, 44),
		"128 as int8":             parseError[int8](0xcc, 128),
		"-129 as int8":            parseError[int8](0xd1, 0xff, 0x7f),
		"256 as uint8":            parseError[uint8](0xcd, 1, 0),
		"-1 as uint8":             parseError[uint8](0xff),
		"-1 as uint":              parseError[uint](0xff),
		"-1 as uint64":            parseError[uint64](0xff),
		"-1 as uint64, long":      parseError[uint64](0xd3, 255, 255, 255, 255, 255, 255, 255, 255),
		"2^63 as int64":           parseError[int64](0xcf, 128, 0, 0, 0, 0, 0, 0, 0),
		"2^63 as int":             parseError[int](0xcf, 128, 0, 0, 0, 0, 0, 0, 0),
		"2^63 as float64":         parseError[float64](0xcf, 128, 0, 0, 0, 0, 0, 0, 0),
		"2^53+1 as float64":       parseError[float64](0xcf, 0, 32, 0, 0, 0, 0, 0, 1),
		"2^24+1 as float32":       parseError[float32](0xce, 1, 0, 0, 1),
		"float64 as float32":      parseError[float32](0xcb, 63, 241, 153, 153, 153, 153, 153, 154),
		"a float as int":          parseError[int](0xca, 63, 128, 0, 0),
		"a float as named int":    parseError[time.Duration](0xca, 63, 128, 0, 0),
		"a string as bytes":       parseError[[]byte](0xa1, 'a'),
		"bytes as a string":       parseError[string](0xc4, 1, 'a'),
		"a string as named bytes": parseError[net.IPMask](0xa1, 'a'),
		"a number as a string":    parseError[string](1),
		"a bool as a number":      parseError[int](0xc3),
		"a list as a map":         parseError[map[string]int](0x91, 1),
		"a list of 3 as 2":        parseError[[2]int](0x93, 1, 2, 3),
		"3 bytes as 2":            parseError[[2]byte](0xc4, 3, 1, 2, 3),
		"nil as a time":           parseError[time.Time](0xc0),
		"a string as a time":      parseError[time.Time](0xa1, 'a'),
		"a nanosecond too much":   parseError[time.Time](0xd7, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0),
		"in a field":              parseError[inside](0x81, 0xa1, 'N', 0xcd, 1, 44),
		"in a list of fields":     parseError[inside](0x91, 0xcd, 1, 44),
		"in a list":               parseError[[]int8](0x91, 0xcd, 1, 44),
		"in a key":                parseError[map[uint8]int](0x81, 0xcd, 1, 44, 1),
		"in a pointer":            parseError[*int8](0xcd, 1, 44),
		"something after it":      parseError[int](1, 2),
		"something after a list":  parseError[[]int](0x91, 1, 0xc0),
		"something after a text":  parseError[netip.Addr](append([]byte{0xa7}, "1.2.3.4!"...)...),
	} {
		if !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: got %v, want malformed", name, err)
		}
	}
	err := parseError[struct{ A []inside }](0x81, 0xa1, 'A', 0x92, 0x81, 0xa1, 'N', 1, 0x81, 0xa1, 'N', 0xcd, 1, 44)
	if want := ".A[1].N: 300 does not fit int8"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestNumbersThatFitAreRead(t *testing.T) {
	checkRead(t, int8(-128), 0xd1, 0xff, 0x80)
	checkRead(t, uint8(255), 0xcf, 0, 0, 0, 0, 0, 0, 0, 255)
	checkRead(t, int64(math.MinInt64), 0xd3, 128, 0, 0, 0, 0, 0, 0, 0)
	checkRead(t, uint64(math.MaxUint64), 0xcf, 255, 255, 255, 255, 255, 255, 255, 255)
	checkRead(t, float64(7), 7)
	checkRead(t, float64(1<<53), 0xcf, 0, 32, 0, 0, 0, 0, 0, 0)
	checkRead(t, 1.5, 0xca, 63, 192, 0, 0)
	checkRead(t, 0, 0xc0)
	checkRead(t, "", 0xc0)
	checkRead(t, [3]int{1}, 0x91, 1)
	checkRead(t, struct{ A int }{7}, 0x82, 0xa1, 'B', 0x91, 0xc3, 0xa1, 'A', 7)
}

func checkRead[T any](t *testing.T, want T, src ...byte) {
	t.Helper()
	if got, err := resources.ParseValue[T](src); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("% x: got %v, %v, want %v", src, got, err, want)
	}
}

// TestWhatComesOutOfAnInterface: the documented form, whatever went in.
func TestWhatComesOutOfAnInterface(t *testing.T) {
	type color string
	type point struct{ X, Y int8 }
	seven := 7
	at := time.Unix(5, 7).In(time.FixedZone("somewhere", 3600))
	for _, c := range []struct{ in, want any }{
		{nil, nil}, {true, true}, {"s", "s"}, {color("red"), "red"}, {[]byte{1}, []byte{1}}, {[2]byte{1, 2}, []byte{1, 2}},
		{7, int64(7)}, {int8(-7), int64(-7)}, {uint8(200), int64(200)}, {int16(-300), int64(-300)}, {uint32(1 << 31), int64(1 << 31)},
		{uint64(1 << 62), int64(1 << 62)}, {uint64(math.MaxUint64), uint64(math.MaxUint64)}, {time.Second, int64(time.Second)},
		{float32(1.5), float32(1.5)}, {2.0, 2.0}, {&seven, int64(7)}, {(*int)(nil), nil}, {[]int(nil), nil},
		{at, at.UTC()}, {&at, at.UTC()}, {[]int{1, 300}, []any{int64(1), int64(300)}}, {[2]color{"a", "b"}, []any{"a", "b"}},
		{map[string]uint8{"a": 255}, map[string]any{"a": int64(255)}}, {map[color]any{"a": []int8{1}}, map[string]any{"a": []any{int64(1)}}},
		{point{1, -1}, map[string]any{"X": int64(1), "Y": int64(-1)}}, {&point{}, map[string]any{"X": int64(0), "Y": int64(0)}},
		{netip.MustParseAddr("1.2.3.4"), []byte{1, 2, 3, 4}},
	} {
		checkAny(t, c.in, c.want)
		checkAny(t, []any{c.in, c.in}, []any{c.want, c.want})
		checkAny(t, map[string]any{"k": c.in}, map[string]any{"k": c.want})
		checkAny(t, struct{ A any }{c.in}, struct{ A any }{c.want})
	}
	for name, err := range map[string]error{
		"keys of numbers":        appendError(any(map[int]string{1: "a"})),
		"keys of bytes":          appendError(any(map[[2]byte]string{{1}: "a"})),
		"keys of any":            appendError(any(map[any]any{"a": 1})),
		"keys of numbers inside": appendError(map[string]any{"a": []any{struct{ M map[int]int }{map[int]int{1: 1}}}}),
		"a channel":              appendError([]any{make(chan int)}),
		"a struct that loses":    appendError(any(struct{ n int }{1})), //nolint:unused // that is the point
		"an embedded time": appendError(map[string]any{"a": struct {
			time.Time
			Name string
		}{}}),
		"a pointer receiver": appendError(any(number.Int{})),
		"a zero that is lost": appendError(struct {
			A any `msgpack:",omitempty"`
		}{0}),
		"a zero that is lost,": appendError(any(struct {
			A any `msgpack:",omitempty"`
		}{""})),
		"a pointer that is lost": appendError(struct {
			T *time.Time `msgpack:",omitempty"`
		}{&time.Time{}}),
	} {
		if !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
}

func checkAny[T any](t *testing.T, in, want T) {
	t.Helper()
	data, err := resources.AppendValue(nil, in)
	if err != nil {
		t.Errorf("%T(%v): %v", in, in, err)
		return
	}
	if got, err := resources.ParseValue[T](data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%T(%v): got %#v, %v, want %#v", in, in, got, err, want)
	}
}

// TestTimesAreInUTC: nothing of a time depends on the member that reads it.
func TestTimesAreInUTC(t *testing.T) {
	type dated struct {
		At   time.Time
		Also *time.Time
		List []time.Time
		Map  map[string][1]time.Time
		Any  any
	}
	at := time.Unix(1_700_000_000, 5).In(time.FixedZone("somewhere", 3600))
	checkAny(t, at, at.UTC())
	checkAny(t, time.Time{}, time.Time{})
	utc := at.UTC()
	checkAny(t, dated{at, &at, []time.Time{at}, map[string][1]time.Time{"a": {at}}, map[string]any{"a": []any{at}}},
		dated{utc, &utc, []time.Time{utc}, map[string][1]time.Time{"a": {utc}}, map[string]any{"a": []any{utc}}})
}

// TestRawValuesAreRawAlone: a type whose values are bytes is not what embeds it.
func TestRawValuesAreRawAlone(t *testing.T) {
	type parcel struct {
		kvmap.Item
		Note string
	}
	item := kvmap.Item{Key: []byte("k"), Value: []byte("v"), Version: 300}
	checkBytes(t, item, []byte{0xac, 2, 1, 'k', 1, 'v'})
	checkAny(t, parcel{item, "fragile"}, parcel{item, "fragile"})
	checkAny(t, []kvmap.Item{item}, []kvmap.Item{item})
}

// TestValuesThatStandAlone: each is one msgpack value, which people can read.
func TestValuesThatStandAlone(t *testing.T) {
	page, _ := url.Parse("https://example.org/a")
	checkBytes(t, time.Unix(1, 0), []byte{0xd6, 0xff, 0, 0, 0, 1})
	checkBytes(t, netip.MustParseAddr("10.0.0.1"), append([]byte{0xa8}, "10.0.0.1"...))
	checkBytes(t, netip.MustParsePrefix("10.0.0.0/8"), append([]byte{0xaa}, "10.0.0.0/8"...))
	checkBytes(t, net.ParseIP("10.0.0.1"), append([]byte{0xa8}, "10.0.0.1"...))
	checkBytes(t, net.IP(nil), []byte{0xc0})
	checkBytes(t, number.NewInt(-12), append([]byte{0xa3}, "-12"...))
	checkBytes(t, (*number.Int)(nil), []byte{0xc0})
	checkBytes(t, *page, append([]byte{0xc4, 21}, "https://example.org/a"...))
	checkBytes(t, []netip.Addr{netip.MustParseAddr("1.2.3.4")}, []byte{0x91, 0xc4, 4, 1, 2, 3, 4}) // inside others, in short
	checkBytes(t, struct{}{}, []byte{0x80})
	checkBytes[any](t, nil, []byte{0xc0})
}

func checkBytes[T any](t *testing.T, v T, want []byte) {
	t.Helper()
	got, err := resources.AppendValue(nil, v)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%T(%v): got % x, %v, want % x", v, v, got, err, want)
	}
	back, err := resources.ParseValue[T](got)
	if again, _ := resources.AppendValue(nil, back); err != nil || !bytes.Equal(again, want) {
		t.Errorf("%T(%v): read back as %v, %v", v, v, back, err)
	}
}
