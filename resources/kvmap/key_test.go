package kvmap_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

type (
	label string
	token []byte
	level int8
	port  uint16
)

// checkKeys checks that keys of one type come back, keep their order, and are
// refused as keys of another kind.
func checkKeys[K resources.Key](t *testing.T, want kvmap.Kind, compare func(a, b K) int, keys ...K) {
	t.Helper()
	if got := kvmap.KindOf[K](); got != want {
		t.Errorf("%T: got kind %v, want %v", keys[0], got, want)
	}
	for i, k := range keys {
		stored, err := kvmap.EncodeKey(k)
		if err != nil || stored[0] != byte(want) || kvmap.RawKey(stored).Kind() != want {
			t.Errorf("%T %v: stored as % x, %v", k, k, stored, err)
		}
		back, err := kvmap.ParseKey[K](stored)
		if err != nil || compare(back, k) != 0 {
			t.Errorf("%T %v: came back as %v, %v", k, k, back, err)
		}
		text := kvmap.RawKey(stored).AppendJSON(nil)
		if raw, err := kvmap.ParseRawKey(text); err != nil || !bytes.Equal(raw, stored) {
			t.Errorf("%T %v: %s came back as % x, %v", k, k, text, raw, err)
		}
		for j, other := range keys {
			if got, want := bytes.Compare(stored, kvmap.AppendKey(nil, other)), cmp.Compare(i, j); got != want {
				t.Errorf("%T: %v and %v: got order %d, want %d", k, k, other, got, want)
			}
		}
	}
	stored := kvmap.AppendKey(nil, keys[0])
	for kind, err := range map[kvmap.Kind]error{
		kvmap.KindString: second(kvmap.ParseKey[string](stored)), kvmap.KindBytes: second(kvmap.ParseKey[[]byte](stored)),
		kvmap.KindInt: second(kvmap.ParseKey[int64](stored)), kvmap.KindUint: second(kvmap.ParseKey[uint64](stored)),
	} {
		if kind == want {
			if err != nil {
				t.Errorf("%T as %v: %v", keys[0], kind, err)
			}
			continue
		}
		text := fmt.Sprint(err)
		if !errors.Is(err, protocol.ErrWrongType) || !strings.Contains(text, "of type "+want.String()) || !strings.Contains(text, "of type "+kind.String()) {
			t.Errorf("%T as %v: got %v, want an error that names both", keys[0], kind, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestKeysSayWhatTheyAre(t *testing.T) {
	checkKeys(t, kvmap.KindString, strings.Compare, "", "\x00", "7", "a", "a\x00", "b", "\xff")
	checkKeys(t, kvmap.KindString, cmp.Compare[label], "", "a", "b")
	checkKeys(t, kvmap.KindBytes, bytes.Compare, []byte{}, []byte{0}, []byte("a"), []byte("\xff\xff"))
	checkKeys(t, kvmap.KindBytes, func(a, b token) int { return bytes.Compare(a, b) }, token{}, token("a"))
	checkKeys(t, kvmap.KindInt, cmp.Compare[int], math.MinInt64, -256, -255, -2, -1, 0, 1, 255, 256, math.MaxInt64)
	checkKeys(t, kvmap.KindInt, cmp.Compare[level], -128, -1, 0, 127)
	checkKeys(t, kvmap.KindUint, cmp.Compare[uint64], 0, 1, 255, 256, math.MaxUint64)
	checkKeys(t, kvmap.KindUint, cmp.Compare[port], 0, 65535)
}

func TestMalformedAndRawKeys(t *testing.T) {
	for _, stored := range []string{"", "x", "alice", "i", "i1234567", "i123456789", "u\x00", "t"} {
		raw := kvmap.RawKey(stored)
		if got := raw.Kind(); got != 0 || got.String() != "malformed" {
			t.Errorf("%q: got kind %v, want malformed", stored, got)
		}
		if _, err := kvmap.ParseKey[string]([]byte(stored)); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("%q: got %v, want malformed", stored, err)
		}
		if stored == "" {
			continue
		}
		if back, err := kvmap.ParseRawKey(raw.AppendJSON(nil)); err != nil || !bytes.Equal(back, raw) {
			t.Errorf("%q: came back as %q, %v", stored, back, err)
		}
	}
	raw, err := kvmap.ParseKey[kvmap.RawKey]([]byte("i12345678"))
	if stored := kvmap.AppendKey(nil, raw); err != nil || string(stored) != "i12345678" {
		t.Errorf("a raw key: got %q, %v; want it as it is", stored, err)
	}
	if _, err := kvmap.EncodeKey(kvmap.RawKey{}); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("an empty raw key: got %v", err)
	}
	if _, err := kvmap.ParseKey[int8](kvmap.AppendKey(nil, 128)); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("128 as an int8: got %v", err)
	}
	if _, err := kvmap.ParseKey[string](append([]byte("b"), make([]byte, 4000)...)); len(fmt.Sprint(err)) > 200 {
		t.Errorf("the error has %d bytes, want a short one", len(fmt.Sprint(err)))
	}
}

// The limits are told in the user's own numbers.
func TestKeyLimits(t *testing.T) {
	const most = 4096
	long := strings.Repeat("k", most+1)
	for name, err := range map[string]error{
		"string": second(kvmap.EncodeKey(long)), "bytes": second(kvmap.EncodeKey([]byte(long))),
		"raw": second(kvmap.EncodeKey(kvmap.RawKey("s" + long))), "prefix": second(kvmap.EncodePrefix[string]([]byte(long))),
		"raw prefix": second(kvmap.EncodePrefix[kvmap.RawKey]([]byte("b" + long))),
	} {
		if !errors.Is(err, protocol.ErrTooLarge) || !strings.Contains(err.Error(), "has 4097 bytes, the limit is 4096") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"string": second(kvmap.EncodeKey(long[1:])), "raw": second(kvmap.EncodeKey(kvmap.RawKey("s" + long[1:]))),
		"prefix": second(kvmap.EncodePrefix[string]([]byte(long[1:]))),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for name, c := range map[string]struct {
		got  []byte
		err  error
		want string
	}{
		"string": first(kvmap.EncodePrefix[label]([]byte("ab")))("sab"),
		"bytes":  first(kvmap.EncodePrefix[token]([]byte("ab")))("bab"),
		"raw":    first(kvmap.EncodePrefix[kvmap.RawKey]([]byte("ab")))("ab"),
		"none":   first(kvmap.EncodePrefix[int](nil))(""),
	} {
		if string(c.got) != c.want || c.err != nil {
			t.Errorf("%s: got %q, %v; want %q", name, c.got, c.err, c.want)
		}
	}
	for _, err := range []error{second(kvmap.EncodePrefix[int]([]byte{0})), second(kvmap.EncodePrefix[port]([]byte{0}))} {
		if !errors.Is(err, protocol.ErrInvalid) || !strings.Contains(err.Error(), "these keys are of type") {
			t.Errorf("a prefix of integers: got %v", err)
		}
	}
}

type prefixCase = struct {
	got  []byte
	err  error
	want string
}

func first(got []byte, err error) func(want string) prefixCase {
	return func(want string) prefixCase { return prefixCase{got, err, want} }
}

func TestKeysAsText(t *testing.T) {
	for _, c := range []struct {
		key                kvmap.RawKey
		text, plain, exact string
	}{
		{kvmap.AppendKey(nil, "alice"), `alice`, `"alice"`, `"alice"`},
		{kvmap.AppendKey(nil, ""), `""`, `""`, `""`},
		{kvmap.AppendKey(nil, "Zürich"), `Zürich`, `"Zürich"`, `"Zürich"`},
		{kvmap.AppendKey(nil, "a\u202eb\x00"), `"a\u202eb\x00"`, `"a\u202eb\u0000"`, `"a\u202eb\u0000"`},
		{kvmap.AppendKey(nil, "\xff"), `"\xff"`, `{"$str_b64":"/w=="}`, `{"$str_b64":"/w=="}`},
		{kvmap.AppendKey(nil, "\xfe"), `"\xfe"`, `{"$str_b64":"/g=="}`, `{"$str_b64":"/g=="}`},
		{kvmap.AppendKey(nil, []byte("hi")), `aGk=`, `{"$b64":"aGk="}`, `{"$b64":"aGk="}`},
		{kvmap.AppendKey(nil, -7), `-7`, `-7`, `-7`},
		{kvmap.AppendKey(nil, uint64(math.MaxUint64)), `18446744073709551615`, `18446744073709551615`, `{"$uint":18446744073709551615}`},
		{kvmap.RawKey("x"), `{"$raw":"eA=="}`, `{"$raw":"eA=="}`, `{"$raw":"eA=="}`},
	} {
		plain, err := json.Marshal(c.key)
		if err != nil || string(plain) != c.plain || c.key.String() != c.text || string(c.key.AppendJSON(nil)) != c.exact {
			t.Errorf("%q: got %s, %s, %s, %v; want %s, %s, %s", []byte(c.key), c.key, plain, c.key.AppendJSON(nil), err, c.text, c.plain, c.exact)
		}
	}
	for text, want := range map[string]string{
		`1.5`: "whole number", `9223372036854775808`: `{"$uint":N}`, `null`: "whole number", `[]`: "whole number", `{"a":1}`: "whole number",
		`{"$uint":-1}`: "from 0 to", `{"$b64":"?"}`: "no base64", `{"$f64":"AA=="}`: "no key is written", `{"$raw":""}`: "no key is written",
		`"\ud800"`: "surrogates", ``: "not JSON",
	} {
		if key, err := kvmap.ParseRawKey([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want an error with %q", text, key, err, want)
		}
	}
}

func FuzzRawKey(f *testing.F) {
	for _, k := range []kvmap.RawKey{kvmap.AppendKey(nil, "a\xff"), kvmap.AppendKey(nil, []byte("b")), kvmap.AppendKey(nil, -1), kvmap.AppendKey(nil, uint(1)), kvmap.RawKey("x")} {
		f.Add([]byte(k), k.AppendJSON(nil))
	}
	f.Fuzz(func(t *testing.T, stored, text []byte) {
		key := kvmap.RawKey(stored)
		if out := key.AppendJSON(nil); len(key) > 0 {
			if back, err := kvmap.ParseRawKey(out); err != nil || !slices.Equal(back, key) || !json.Valid(out) {
				t.Errorf("%q: %s came back as %q, %v", stored, out, back, err)
			}
		}
		_ = key.String()
		if read, err := kvmap.ParseRawKey(text); err == nil {
			if back, err := kvmap.ParseRawKey(read.AppendJSON(nil)); err != nil || !slices.Equal(back, read) {
				t.Errorf("%q: read as %q, came back as %q, %v", text, read, back, err)
			}
		}
	})
}
