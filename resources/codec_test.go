package resources

import (
	"bytes"
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

type (
	named  string
	number int16
)

func checkKeys[K Key](t *testing.T, compare func(a, b K) int, keys ...K) {
	t.Helper()
	for _, a := range keys {
		for _, b := range keys {
			ea, eb := AppendKey(nil, a), AppendKey(nil, b)
			if got, want := bytes.Compare(ea, eb), compare(a, b); got != want {
				t.Errorf("%v against %v: got %d, want %d", a, b, got, want)
			}
		}
		got, err := ParseKey[K](AppendKey(nil, a))
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("got %v, %v, want %v", got, err, a)
		}
	}
}

func TestKeysKeepTheirOrder(t *testing.T) {
	checkKeys(t, cmp.Compare[string], "", "\x00", "a", "a\x00", "ab", "b", "\xff")
	checkKeys(t, cmp.Compare[named], "", "a", "b")
	checkKeys(t, bytes.Compare, []byte{}, []byte{0}, []byte{1, 2}, []byte{255})
	checkKeys(t, cmp.Compare[int], math.MinInt, -256, -1, 0, 1, 255, 256, math.MaxInt)
	checkKeys(t, cmp.Compare[int8], -128, -1, 0, 127)
	checkKeys(t, cmp.Compare[number], -32768, -1, 0, 1, 32767)
	checkKeys(t, cmp.Compare[int64], math.MinInt64, 0, math.MaxInt64)
	checkKeys(t, cmp.Compare[uint8], 0, 1, 255)
	checkKeys(t, cmp.Compare[uint64], 0, 1, math.MaxUint64)
	checkKeys(t, cmp.Compare[protocol.Index], 0, 1, math.MaxUint64)
	for name, err := range map[string]error{
		"short":    second(ParseKey[int]([]byte{1})),
		"too big":  second(ParseKey[int8](AppendKey(nil, 128))),
		"negative": second(ParseKey[uint8](AppendKey(nil, uint64(256)))),
	} {
		if !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%s: got %v, want malformed", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzKeys(f *testing.F) {
	f.Add([]byte("a"), []byte("b"), int64(-1), int64(1))
	f.Add([]byte{}, []byte{0}, int64(math.MinInt64), int64(math.MaxInt64))
	f.Fuzz(func(t *testing.T, a, b []byte, m, n int64) {
		if got, want := bytes.Compare(AppendKey(nil, m), AppendKey(nil, n)), cmp.Compare(m, n); got != want {
			t.Errorf("%d against %d: got %d, want %d", m, n, got, want)
		}
		if got, want := bytes.Compare(AppendKey(nil, uint64(m)), AppendKey(nil, uint64(n))), cmp.Compare(uint64(m), uint64(n)); got != want {
			t.Errorf("%d against %d: got %d, want %d", uint64(m), uint64(n), got, want)
		}
		if got, err := ParseKey[int64](AppendKey(nil, m)); got != m || err != nil {
			t.Errorf("got %d, %v, want %d", got, err, m)
		}
		for _, parse := range []func() ([]byte, bool){
			func() ([]byte, bool) { k, err := ParseKey[int8](a); return AppendKey(nil, k), err == nil },
			func() ([]byte, bool) { k, err := ParseKey[uint32](a); return AppendKey(nil, k), err == nil },
			func() ([]byte, bool) { k, err := ParseKey[string](a); return AppendKey(nil, k), err == nil },
		} {
			if back, ok := parse(); ok && !bytes.Equal(back, a) {
				t.Errorf("% x was read and written as % x", a, back)
			}
		}
		end := PrefixEnd(a)
		inside := bytes.HasPrefix(b, a)
		if got := bytes.Compare(b, a) >= 0 && (end == nil || bytes.Compare(b, end) < 0); got != inside {
			t.Errorf("% x in the range of prefix % x: got %v, want %v", b, a, got, inside)
		}
	})
}

type nested struct {
	Numbers map[int]string
	Any     any
	Inner   []map[string]map[uint8]bool
	When    time.Time
}

func TestEqualValuesHaveEqualBytes(t *testing.T) {
	build := func() nested {
		n := nested{Numbers: map[int]string{}, Any: map[string]any{"x": 1, "y": map[string]int{"p": 1, "q": 2, "r": 3}}, When: time.Unix(5, 7)}
		inner := map[string]map[uint8]bool{"a": {}, "b": {1: true, 2: false, 200: true}}
		n.Inner = append(n.Inner, inner, nil)
		for i := range 40 {
			n.Numbers[i*7919%1000-300] = "v"
		}
		return n
	}
	want, err := AppendValue(nil, build())
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if got, err := AppendValue(nil, build()); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got % x, %v\nwant % x", got, err, want)
		}
	}
	got, err := ParseValue[nested](want)
	if err != nil || !reflect.DeepEqual(got.Numbers, build().Numbers) || !reflect.DeepEqual(got.Inner, build().Inner) {
		t.Errorf("got %v, %v, want %v", got, err, build())
	}
}

// TestShortcutsWriteWhatTheEncoderWrites: the common types, written by hand,
// are the same bytes.
func TestShortcutsWriteWhatTheEncoderWrites(t *testing.T) {
	ints := []int64{0}
	for shift := range 64 {
		for _, d := range []int64{-1, 0, 1} {
			ints = append(ints, 1<<shift+d, -(1<<shift + d))
		}
	}
	compareEncodings(t, ints...)
	for _, n := range ints {
		compareEncodings(t, int(n))
		compareEncodings(t, uint64(n))
		compareEncodings(t, protocol.Index(n))
	}
	for _, n := range []int{0, 1, 31, 32, 255, 256, 65535, 65536} {
		compareEncodings(t, string(make([]byte, n)))
		compareEncodings(t, make([]byte, n))
	}
	compareEncodings(t, []byte(nil))
}

func compareEncodings[T any](t *testing.T, values ...T) {
	t.Helper()
	for _, v := range values {
		got, _ := AppendValue(nil, v)
		want, err := appendOther(nil, v)
		if !bytes.Equal(got, want) || err != nil {
			t.Errorf("%v: got % x, want % x, %v", v, got[:min(9, len(got))], want[:min(9, len(want))], err)
		}
		back, err := ParseValue[T](got)
		if err != nil || !reflect.DeepEqual(back, v) {
			t.Errorf("%v: read back as %v, %v", v, back, err)
		}
	}
}

func FuzzParseValue(f *testing.F) {
	seed, _ := AppendValue(nil, nested{Numbers: map[int]string{1: "a"}, Any: []any{1, "x"}})
	f.Add(seed)
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, src []byte) {
		value, err := ParseValue[nested](src)
		if err != nil && !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("got %v, want malformed", err)
		}
		if err == nil {
			AppendValue(nil, value)
		}
		ParseValue[[]byte](src)
		ParseValue[int64](src)
	})
}

func TestRandIsTheSameEverywhere(t *testing.T) {
	r := newRand(42)
	got := [4]uint64{r.Uint64(), r.Uint64(), r.N(10), r.N(1 << 40)}
	if want := [4]uint64{0xe0be0fd7ce6d26f1, 0x162ad53b615ab5f5, 0, 0xb38be8da73}; got != want { // changing them forks clusters
		t.Errorf("got %#x, want %#x", got, want)
	}
	var count [10]int
	for i := range 10_000 {
		count[newRand(uint64(i)).N(10)]++
	}
	for n, c := range count {
		if c < 850 || c > 1150 {
			t.Errorf("%d was drawn %d times of 10,000, want about 1,000", n, c)
		}
	}
	var _ rand.Source = r
}

func TestRegistryNamesEveryFault(t *testing.T) {
	op := func(name string) *Command[int, int] {
		return NewCommand(name, func(*Tx, int) (int, error) { return 0, nil })
	}
	shared := op("shared")
	good := NewType("good", 1, op("a"), shared)
	_, err := NewRegistry(good, NewType("good", 1), NewType("", 1), NewType("no spaces", 1), NewType("session", 1),
		NewType("v", 0), NewType("twice", 1, op("a"), op("a")), NewType("thief", 1, shared), NewType("op", 1, op("ä")))
	if err == nil {
		t.Fatal("want an error")
	}
	for _, want := range []string{"registered twice", "is empty", `"no spaces", has the character " "`, "taken by the system",
		"versions begin at 1", `two operations are called "a"`, `"shared" belongs to good version 1`, `"ä", has the character "ä"`} {
		if !bytes.Contains([]byte(err.Error()), []byte(want)) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	both, err := NewRegistry(good, NewType("good", 3, op("a")), NewType("good", 2, op("a")))
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint32{1, 2, 3} {
		if got := both.find("good", version); got == nil || got.version != version {
			t.Errorf("got %v, want version %d", got, version)
		}
	}
	if got := both.find("good", 4); got != nil {
		t.Errorf("got version %d, want none", got.version)
	}
}
