package starling_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// keysOf returns the keys of a map, and the error that ended the scan.
func keysOf[K starling.Key](ctx context.Context, c starling.Caller, name string, r starling.Range[K]) (keys []K, err error) {
	for e, err := range starling.NewMap[K, starling.Raw](c, name).Scan(ctx, r) {
		if err != nil {
			return keys, err
		}
		keys = append(keys, e.Key)
	}
	return keys, nil
}

func put[K starling.Key](ctx context.Context, t *testing.T, c starling.Caller, name string, keys ...K) {
	t.Helper()
	for _, k := range keys {
		if err := starling.NewMap[K, string](c, name).Put(ctx, k, "v"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNumbersAreInTheOrderOfNumbers(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	ints := []int64{0, math.MaxInt64, -1, 255, 256, math.MinInt64, 1, -256}
	put(ctx, t, cluster.Client, "ints", ints...)
	slices.Sort(ints)
	if got, err := keysOf(ctx, cluster.Client, "ints", starling.Range[int64]{}); err != nil || !slices.Equal(got, ints) {
		t.Errorf("got %v, %v; want %v", got, err, ints)
	}
	if got, err := keysOf(ctx, cluster.Client, "ints", starling.Between[int64](-256, 1)); err != nil || fmt.Sprint(got) != "[-256 -1 0]" {
		t.Errorf("got %v, %v; want -256, -1, 0", got, err)
	}
}

// A string, bytes, a signed and an unsigned number of the same content are four
// keys, and a handle of one type says so when it meets another.
func TestKeysOfSeveralTypesInOneMap(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	c := cluster.Client
	put(ctx, t, c, "m", "", "7", "\x00\x00\x00\x00\x00\x00\x00\x07")
	if err := starling.NewMap[[]byte, string](c, "m").Put(ctx, nil, "v"); err != nil { // as empty as the string
		t.Fatal(err)
	}
	put(ctx, t, c, "m", -7, 7)
	put(ctx, t, c, "m", uint8(7))
	if n, err := starling.NewMap[string, string](c, "m").Len(ctx); n != 7 || err != nil {
		t.Errorf("got %d keys, %v; want 7", n, err)
	}
	var shown, kinds []string
	raw, err := keysOf(ctx, c, "m", starling.Range[starling.RawKey]{})
	for _, k := range raw {
		text, err := json.Marshal(k)
		shown, kinds = append(shown, string(text)), append(kinds, k.Kind().String())
		if err != nil {
			t.Error(err)
		}
	}
	if got, want := strings.Join(shown, " "), `{"$b64":""} -7 7 "" "\u0000\u0000\u0000\u0000\u0000\u0000\u0000\u0007" "7" 7`; got != want || err != nil {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	if got, want := strings.Join(kinds, " "), "bytes int int string string string uint"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if k, err := starling.KeyOf[int8](raw[1]); k != -7 || err != nil || !bytes.Equal(starling.RawKeyOf(-7), raw[1]) {
		t.Errorf("got %d, %v; want -7", k, err)
	}
	wrong := func(what, has, wanted string, err error) {
		t.Helper()
		if !errors.Is(err, starling.ErrWrongType) || !strings.Contains(err.Error(), "is of type "+has) || !strings.Contains(err.Error(), "of type "+wanted) {
			t.Errorf("%s: got %v, want an error that names %s and %s", what, err, has, wanted)
		}
	}
	_, err = keysOf(ctx, c, "m", starling.Range[string]{})
	wrong("scan", "bytes", "string", err)
	got, err := keysOf(ctx, c, "m", starling.From(-100))
	wrong("scan from", "string", "int", err)
	if len(got) != 2 {
		t.Errorf("got %d, want the two numbers before the error", got)
	}
	if got, err := keysOf(ctx, c, "m", starling.Prefix("")); len(got) != 3 || err != nil {
		t.Errorf("all strings: got %q, %v", got, err)
	}
	if got, err := keysOf(ctx, c, "m", starling.Between("", "7")); len(got) != 2 || err != nil {
		t.Errorf("strings before 7: got %q, %v", got, err)
	}
	for _, err := range starling.NewMap[uint64, string](c, "m").Watch(ctx, starling.WatchOptions{After: 1}) {
		wrong("watch", "string", "uint", err)
		break
	}
	for e, err := range starling.NewMap[uint64, string](c, "m").Follow(ctx, starling.FollowOptions{}) {
		if e.Kind == starling.FollowReset {
			continue
		}
		wrong("follow", "bytes", "uint", err)
		break
	}
}

func TestEmptyAndLongKeys(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	c := cluster.Client
	m := starling.NewMap[string, string](c, "m")
	long := strings.Repeat("k", 4096)
	for _, key := range []string{"", long} {
		if err := m.Put(ctx, key, "of "+key); err != nil {
			t.Fatal(err)
		}
		if e, err := m.GetEntry(ctx, key); e.Value != "of "+key || e.Key != key || err != nil {
			t.Errorf("got %d bytes, %v", len(e.Value), err)
		}
	}
	next, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	for e, err := range m.Watch(next, starling.WatchOptions{After: 1, Prefix: []byte(long)}) {
		if err != nil || e.Key != long {
			t.Errorf("watch: got %d bytes, %v", len(e.Key), err)
		}
		break
	}
	if there, err := m.Delete(ctx, ""); !there || err != nil {
		t.Errorf("delete: got %v, %v", there, err)
	}
	tooLarge := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, starling.ErrTooLarge) || !strings.Contains(err.Error(), "has 4097 bytes, the limit is 4096") {
			t.Errorf("%s: got %v", what, err)
		}
	}
	long += "k"
	tooLarge("put", m.Put(ctx, long, ""))
	_, err := m.Get(ctx, long)
	tooLarge("get", err)
	_, err = m.Delete(ctx, long)
	tooLarge("delete", err)
	tooLarge("delete if", m.DeleteIf(ctx, long, 1))
	for _, err := range m.Watch(ctx, starling.WatchOptions{Prefix: []byte(long)}) {
		tooLarge("watch", err)
	}
	for _, err := range m.Follow(ctx, starling.FollowOptions{Prefix: []byte(long)}) {
		tooLarge("follow", err)
	}
	for _, err := range starling.NewMap[int, string](c, "ints").Watch(ctx, starling.WatchOptions{Prefix: []byte("1")}) {
		if !errors.Is(err, starling.ErrInvalid) || !strings.Contains(err.Error(), "of type int") {
			t.Errorf("a prefix of numbers: got %v", err)
		}
	}
}

func TestRawShowsValues(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 1})
	c := cluster.Client
	check := func(put error, typ, text, plain string) {
		t.Helper()
		if put != nil {
			t.Fatal(put)
		}
		v, err := starling.NewMap[string, starling.Raw](c, "m").Get(ctx, "k")
		b, failed := json.Marshal(v)
		if v.Type() != typ || v.String() != text || string(b) != plain || err != nil || failed != nil {
			t.Errorf("got %s, %s, %s, %v, %v; want %s, %s, %s", v.Type(), v, b, err, failed, typ, text, plain)
		}
	}
	check(starling.NewMap[string, string](c, "m").Put(ctx, "k", "a\nb"), "string", `"a\nb"`, `"a\nb"`)
	check(starling.NewMap[string, string](c, "m").Put(ctx, "k", `a\nb`), "string", `a\nb`, `"a\\nb"`)
	check(starling.NewMap[string, uint64](c, "m").Put(ctx, "k", math.MaxUint64), "int", "18446744073709551615", "18446744073709551615")
	check(starling.NewMap[string, float32](c, "m").Put(ctx, "k", 1.1), "float32", "1.1", "1.1")
	check(starling.NewMap[string, []byte](c, "m").Put(ctx, "k", []byte("hi")), "bytes", `{"$b64":"aGk="}`, `{"$b64":"aGk="}`)
	check(starling.NewMap[string, starling.Raw](c, "m").Put(ctx, "k", starling.Raw{0xc1}), "raw", `{"$raw":"wQ=="}`, `{"$raw":"wQ=="}`)
	if _, ok := starling.Raw([]byte{0xa5, 'x'}).Text(); ok {
		t.Error("a string that is cut short: got a text")
	}
}
