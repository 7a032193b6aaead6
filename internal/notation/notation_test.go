package notation

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// stored returns the encoding of a value, as a handle would store it.
func stored[V any](t testing.TB, v V) []byte {
	t.Helper()
	b, err := resources.AppendValue(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func timestamp(t testing.TB, at time.Time) []byte {
	t.Helper()
	b, err := msgpack.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type user struct {
	Name    string
	Weight  float32
	Blob    []byte
	Created time.Time
	Tags    []int
}

func TestValuesInBothForms(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 500_000_000, time.UTC)
	for _, c := range []struct {
		name         string
		value        []byte
		typ          string
		plain, exact string // exact: "" if it is the same
	}{
		{"nil", stored[any](t, nil), "nil", `null`, ``},
		{"true", stored(t, true), "bool", `true`, ``},
		{"false", stored(t, false), "bool", `false`, ``},
		{"zero", stored(t, 0), "int", `0`, ``},
		{"least", stored(t, int64(math.MinInt64)), "int", `-9223372036854775808`, ``},
		{"most", stored(t, uint64(math.MaxUint64)), "int", `18446744073709551615`, ``},
		{"above 2^53", stored(t, 1<<53+1), "int", `9007199254740993`, ``},
		{"a long form of 5", []byte{0xcf, 0, 0, 0, 0, 0, 0, 0, 5}, "int", `5`, `{"$raw":"zwAAAAAAAAAF"}`},
		{"a signed form of 200", []byte{0xd1, 0, 200}, "int", `200`, `{"$raw":"0QDI"}`},
		{"float", stored(t, 1.5), "float64", `1.5`, ``},
		{"float that looks like an integer", stored(t, 1e15), "float64", `1000000000000000`, `{"$f64":1000000000000000}`},
		{"huge float", stored(t, 1e300), "float64", `1e+300`, `{"$f64":1e+300}`},
		{"small float", stored(t, 1e-7), "float64", `1e-07`, ``},
		{"minus zero", stored(t, math.Copysign(0, -1)), "float64", `-0`, `{"$f64":-0}`},
		{"NaN", stored(t, math.NaN()), "float64", `"NaN"`, `{"$f64":"NaN"}`},
		{"another NaN", []byte{0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 2}, "float64", `"NaN"`, `{"$raw":"y3/4AAAAAAAC"}`},
		{"infinity", stored(t, math.Inf(-1)), "float64", `"-Inf"`, `{"$f64":"-Inf"}`},
		{"float32", stored(t, float32(1.1)), "float32", `1.1`, `{"$f32":1.1}`},
		{"float32 NaN", stored(t, float32(math.NaN())), "float32", `"NaN"`, `{"$f32":"NaN"}`},
		{"string", stored(t, `a"\b`), "string", `"a\"\\b"`, ``},
		{"empty string", stored(t, ""), "string", `""`, ``},
		{"controls", stored(t, "\n\t\r\x00\x1b\x7f"), "string", `"\n\t\r\u0000\u001b\u007f"`, ``},
		{"turned around", stored(t, "a\u202eb\u2066\u200b\ufeff\U000e0041"), "string", `"a\u202eb\u2066\u200b\ufeff\udb40\udc41"`, ``},
		{"text", stored(t, "Zürich 日本 🐦 <&>"), "string", `"Zürich 日本 🐦 <&>"`, ``},
		{"the replacement character", stored(t, "\ufffd"), "string", "\"\ufffd\"", ``},
		{"not UTF-8", stored(t, "\xff"), "string", `{"$str_b64":"/w=="}`, ``},
		{"bytes", stored(t, []byte("hi")), "bytes", `{"$b64":"aGk="}`, ``},
		{"no bytes", stored(t, []byte{}), "bytes", `{"$b64":""}`, ``},
		{"time", timestamp(t, at), "time", `"2026-03-01T12:00:00.5Z"`, `{"$time":"2026-03-01T12:00:00.5Z"}`},
		{"time of seconds", timestamp(t, at.Truncate(time.Second)), "time", `"2026-03-01T12:00:00Z"`, `{"$time":"2026-03-01T12:00:00Z"}`},
		{"zero time", timestamp(t, time.Time{}), "time", `"0001-01-01T00:00:00Z"`, `{"$time":"0001-01-01T00:00:00Z"}`},
		{"late time", timestamp(t, time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)), "time", `"9999-12-31T23:59:59.999999999Z"`, `{"$time":"9999-12-31T23:59:59.999999999Z"}`},
		{"time without a text", timestamp(t, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)), "time", `{"$ext":[-1,"AAAAAAAAADr/9EGA"]}`, ``},
		{"no time at all", []byte{0xd4, 0xff, 1}, "time", `{"$ext":[-1,"AQ=="]}`, ``},
		{"extension", []byte{0xc7, 3, 5, 1, 2, 3}, "ext", `{"$ext":[5,"AQID"]}`, ``},
		{"array", stored(t, []any{1, "a", nil, []int{}}), "array", `[1,"a",null,[]]`, ``},
		{"struct", stored(t, user{"Ada", 1.1, []byte("x"), at, []int{2, 1}}), "map",
			`{"Name":"Ada","Weight":1.1,"Blob":{"$b64":"eA=="},"Created":"2026-03-01T12:00:00.5Z","Tags":[2,1]}`,
			`{"Name":"Ada","Weight":{"$f32":1.1},"Blob":{"$b64":"eA=="},"Created":{"$time":"2026-03-01T12:00:00.5Z"},"Tags":[2,1]}`},
		{"map of numbers", stored(t, map[int]bool{7: true}), "map", `{"7":true}`, `{"$map":[[7,true]]}`},
		{"map of a number and its text", []byte{0x82, 7, 1, 0xa1, '7', 2}, "map", `{"$map":[[7,1],["7",2]]}`, ``},
		{"map with a key twice", []byte{0x82, 0xa1, 'a', 1, 0xa1, 'a', 2}, "map", `{"$map":[["a",1],["a",2]]}`, ``},
		{"map with a key that is not UTF-8", []byte{0x81, 0xa1, 0xff, 1}, "map", `{"$map":[[{"$str_b64":"/w=="},1]]}`, ``},
		{"map with a map as its key", []byte{0x81, 0x80, 1}, "map", `{"$map":[[{},1]]}`, ``},
		{"a field with a dollar", stored(t, map[string]string{"$b64": "aGk="}), "map", `{"$map":[["$b64","aGk="]]}`, ``},
		{"two fields with a dollar", stored(t, map[string]int{"$b64": 1, "$f64": 2}), "map", `{"$b64":1,"$f64":2}`, ``},
		{"empty map", stored(t, map[string]int{}), "map", `{}`, ``},
		{"a long form inside", []byte{0x92, 0xcc, 5, 0xdc, 0, 1, 1}, "array", `[5,[1]]`, `[{"$raw":"zAU="},{"$raw":"3AABAQ=="}]`},
		{"address", stored(t, netip.MustParseAddr("10.0.0.1").String()), "string", `"10.0.0.1"`, ``},
		{"nothing", []byte{}, "raw", `{"$raw":""}`, ``},
		{"garbage", []byte{0xc1}, "raw", `{"$raw":"wQ=="}`, ``},
		{"two values", []byte("ab"), "raw", `{"$raw":"YWI="}`, ``},
		{"cut short", []byte{0x92, 1}, "raw", `{"$raw":"kgE="}`, ``},
	} {
		if c.exact == "" {
			c.exact = c.plain
		}
		if got := string(AppendValue(nil, c.value, Plain)); got != c.plain {
			t.Errorf("%s, plain: got %s, want %s", c.name, got, c.plain)
		}
		exact := AppendValue(nil, c.value, Exact)
		if got := string(exact); got != c.exact {
			t.Errorf("%s, exact: got %s, want %s", c.name, got, c.exact)
		}
		if got, want := TypeOf(c.value), c.typ; got != want {
			t.Errorf("%s: got type %s, want %s", c.name, got, want)
		}
		back, err := ParseValue(exact)
		if err != nil || !bytes.Equal(back, c.value) {
			t.Errorf("%s: %s reads back as % x, %v; want % x", c.name, exact, back, err, c.value)
		}
	}
}

// What a person or another program may write, and the value that it is.
func TestParseWhatOthersWrite(t *testing.T) {
	for text, want := range map[string][]byte{
		` { "a" : [ 1 , -2.5e3 , "x" ] } `:      stored(t, map[string]any{"a": []any{1, -2500.0, "x"}}),
		`1.0`:                                   stored(t, 1.0),
		`-0`:                                    stored(t, math.Copysign(0, -1)),
		`"\u00fc\ud83d\udc26\/\b\f"`:            stored(t, "ü🐦/\b\f"),
		`{"$f64":1.5}`:                          stored(t, 1.5),
		`{"$time":"2026-03-01T13:00:00+01:00"}`: timestamp(t, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)),
		`{"$map":[]}`:                           stored(t, map[string]int{}),
		`{"$a":1,"b":2}`:                        {0x82, 0xa2, '$', 'a', 1, 0xa1, 'b', 2},
		"\t{\r\n\"\":{}}":                       {0x81, 0xa0, 0x80},
	} {
		got, err := ParseValue([]byte(text))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got % x, %v; want % x", text, got, err, want)
		}
	}
}

func TestParseSaysWhatNoValueIs(t *testing.T) {
	for text, want := range map[string]string{
		``:                     "not JSON",
		`{`:                    "not JSON",
		`1 2`:                  "not JSON",
		"\"\xff\"":             "not UTF-8",
		`"\ud800"`:             "surrogates",
		`"\ud800\n"`:           "surrogates",
		`"\udc00\ud800"`:       "surrogates",
		`{"\ud800":1}`:         "surrogates",
		`18446744073709551616`: `more than 64 bits; a float is written {"$f64":18446744073709551616}`,
		`1e999`:                "no float of 64 bits",
		`{"a":1,"b":2,"a":3}`:  `"a" is there twice`,
		`{"$b64":"a"}`:         "no base64",
		`{"$b64":7}`:           "no string",
		`{"$f32":1e39}`:        "no float of 32 bits",
		`{"$f64":[]}`:          "no float of 64 bits",
		`{"$time":"noon"}`:     "no time such as",
		`{"$ext":[128,""]}`:    "-128 to 127",
		`{"$ext":{}}`:          "[TYPE, BASE64]",
		`{"$ext":[1,2]}`:       "no string",
		`{"$map":[[1]]}`:       "[KEY, VALUE]",
		`{"$map":[[1,2,3]]}`:   "[KEY, VALUE]",
		`{"$map":[[]]}`:        "[KEY, VALUE]",
		`{"$map":[1]}`:         "[KEY, VALUE]",
		`{"$map":7}`:           "[KEY, VALUE]",
		`{"$new":1}`:           "does not know",
		`[{"$raw":"wQ=="}]`:    "one value",
		`[{"$raw":"AQI="}]`:    "one value",
		`[{"$raw":""}]`:        "one value",
		strings.Repeat("[", 65) + "1" + strings.Repeat("]", 65):   "nested more than 64 deep",
		strings.Repeat("[", 200) + "1" + strings.Repeat("]", 200): "nested more than 64 deep",
	} {
		got, err := ParseValue([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: got % x, %v; want an error with %q", text, got, err, want)
		}
	}
}

func TestDeepValuesAndHeadsOfAllSizes(t *testing.T) {
	deep := append(bytes.Repeat([]byte{0x91}, protocol.DepthMax), 1)
	check := func(name string, value []byte) {
		t.Helper()
		text := AppendValue(nil, value, Exact)
		if back, err := ParseValue(text); err != nil || !bytes.Equal(back, value) {
			t.Errorf("%s: %.60s reads back with %d bytes, %v; want %d", name, text, len(back), err, len(value))
		}
		if bytes.HasPrefix(text, []byte(`{"$raw"`)) {
			t.Errorf("%s: got %.60s, want no bytes", name, text)
		}
	}
	check("as deep as can be", deep)
	if got := string(AppendValue(nil, append([]byte{0x91}, deep...), Exact)); !strings.HasPrefix(got, `{"$raw"`) {
		t.Errorf("deeper: got %s, want bytes", got)
	}
	for _, n := range []int{0, 1, 2, 3, 4, 8, 15, 16, 17, 31, 32, 255, 256, 65535, 65536} {
		check("string", stored(t, strings.Repeat("x", n)))
		check("bytes", stored(t, make([]byte, n)))
		check("array", stored(t, make([]bool, n)))
		numbers := map[int]bool{}
		for i := range n {
			numbers[i] = true
		}
		check("map", stored(t, numbers))
		var b bytes.Buffer
		e := msgpack.NewEncoder(&b)
		if err := e.EncodeExtHeader(7, n); err != nil {
			t.Fatal(err)
		}
		check("extension", append(b.Bytes(), make([]byte, n)...))
	}
	for shift := range 64 {
		for _, n := range []int64{1 << shift, 1<<shift - 1, 1<<shift + 1} {
			for _, value := range [][]byte{stored(t, n), stored(t, -n), stored(t, uint64(n))} {
				check("number", value)
			}
		}
	}
}

// Values of random structure in the encodings of this and other writers.
func TestRandomBytesComeBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	plain := 0
	for range 20_000 {
		value := randomValue(r, nil, 3)
		if r.IntN(10) == 0 && len(value) > 0 {
			value[r.IntN(len(value))] = byte(r.Uint32())
		}
		checkRoundTrip(t, value)
		if sound(value) {
			plain++
		}
	}
	if plain < 15_000 {
		t.Errorf("%d of 20000 values were sound, want most", plain)
	}
}

// randomValue appends a msgpack value, seldom in its shortest form.
func randomValue(r *rand.Rand, dst []byte, depth int) []byte {
	text := func() string {
		b := make([]byte, r.IntN(5))
		for i := range b {
			b[i] = "ab$\n\"\\\xff\xc3\xbc"[r.IntN(9)]
		}
		return string(b)
	}
	var out bytes.Buffer
	e := msgpack.NewEncoder(&out)
	e.UseCompactInts(r.IntN(4) > 0)
	n := r.IntN(4)
	switch kind := r.IntN(11); {
	case kind == 0:
		e.EncodeNil()
	case kind == 1:
		e.EncodeBool(r.IntN(2) == 0)
	case kind == 2:
		e.EncodeInt64(int64(r.Uint64()) >> r.IntN(64))
	case kind == 3:
		e.EncodeUint64(r.Uint64() >> r.IntN(64))
	case kind == 4:
		e.EncodeFloat64(math.Float64frombits(r.Uint64() << r.IntN(53)))
	case kind == 5:
		e.EncodeFloat32(float32(r.IntN(100)) / 10)
	case kind == 6:
		e.EncodeString(text())
	case kind == 7:
		e.EncodeBytes([]byte(text()))
	case kind == 8:
		e.EncodeTime(time.Unix(int64(r.Uint64())>>r.IntN(64), int64(r.IntN(1e9))))
	case depth == 0:
		e.EncodeNil()
	case kind == 9:
		e.EncodeArrayLen(n)
		for range n {
			out.Write(randomValue(r, nil, depth-1))
		}
	default:
		e.EncodeMapLen(n)
		for range n {
			if r.IntN(3) > 0 {
				e.EncodeString(text())
			} else {
				out.Write(randomValue(r, nil, 0))
			}
			out.Write(randomValue(r, nil, depth-1))
		}
	}
	return append(dst, out.Bytes()...)
}

// checkRoundTrip checks what must hold of the forms of any bytes.
func checkRoundTrip(t *testing.T, value []byte) {
	t.Helper()
	for _, form := range []Form{Plain, Exact} {
		text := AppendValue(nil, value, form)
		if !json.Valid(text) || !utf8.Valid(text) || bytes.ContainsFunc(text, func(r rune) bool { return !visible(r) }) {
			t.Fatalf("% x: got %q, want JSON that a terminal can show", value, text)
		}
		if form == Exact {
			if back, err := ParseValue(text); err != nil || !bytes.Equal(back, value) {
				t.Fatalf("% x: %s reads back as % x, %v", value, text, back, err)
			}
		}
	}
	for _, text := range []string{Text(value, Quote), Text(value, QuoteLines)} {
		if strings.ContainsFunc(text, func(r rune) bool { return !visible(r) && r != '\n' && r != '\t' }) {
			t.Fatalf("% x: got the text %q", value, text)
		}
	}
	TypeOf(value)
	Content(value)
}

func TestNoTwoStringsLookAlike(t *testing.T) {
	const alphabet = "a\\n\n\x1b\xff\" \u202e\t"
	var all []string
	var grow func(prefix string, n int)
	grow = func(prefix string, n int) {
		all = append(all, prefix)
		if n > 0 {
			for i := range len(alphabet) {
				grow(prefix+alphabet[i:i+1], n-1)
			}
		}
	}
	grow("", 3)
	for name, quote := range map[string]func(string) string{"Quote": Quote, "QuoteLines": QuoteLines} {
		seen := map[string]string{}
		for _, s := range all {
			text := quote(s)
			if other, ok := seen[text]; ok {
				t.Fatalf("%s: %q and %q are both shown as %s", name, s, other, text)
			}
			seen[text] = s
		}
	}
	for s, want := range map[string]string{
		"plain": "plain", `C:\new`: `C:\new`, `{"a":"\n"}`: `{"a":"\n"}`, "a\nb": `"a\nb"`, `a\nb`: `a\nb`, "\x1b[2J": `"\x1b[2J"`,
		"a\u202eb": `"a\u202eb"`, "\u200b": `"\u200b"`, "\xff": `"\xff"`, `"a"`: `"\"a\""`, "": `""`, " a": `" a"`, "日本": "日本",
	} {
		if got := Quote(s); got != want {
			t.Errorf("Quote(%q): got %s, want %s", s, got, want)
		}
	}
	for s, want := range map[string]string{"a\nb\t": "a\nb\t", "": "", "a\n\x1b": `"a\n\x1b"`, "a\rb": `"a\rb"`} {
		if got := QuoteLines(s); got != want {
			t.Errorf("QuoteLines(%q): got %s, want %s", s, got, want)
		}
	}
}

func TestSafeEscapesOnlyWhatIsNotVisible(t *testing.T) {
	for _, c := range []struct{ s, keep, want string }{
		{"fine, \"quoted\" \\ ü", "", "fine, \"quoted\" \\ ü"},
		{"a\x1b[31mb\u202e\xff\n", "", `a\x1b[31mb\u202e\xff\n`},
		{"one\ntwo\t\x00", "\n\t", "one\ntwo\t\\x00"},
		{"\ufffd\xff", "", "\ufffd\\xff"},
	} {
		if got := Safe(c.s, c.keep); got != c.want {
			t.Errorf("%q: got %q, want %q", c.s, got, c.want)
		}
	}
}

func TestTextIsHowPeopleWriteIt(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 1, time.UTC)
	for want, value := range map[string][]byte{
		"1.1":                                stored(t, float32(1.1)),
		"NaN":                                stored(t, math.NaN()),
		"2026-03-01T12:00:00.000000001Z":     timestamp(t, at),
		`["2026-03-01T12:00:00.000000001Z"]`: append([]byte{0x91}, timestamp(t, at)...),
		"10.0.0.1":                           stored(t, "10.0.0.1"),
		`{"$b64":"aGk="}`:                    stored(t, []byte("hi")),
		`{"$raw":"wQ=="}`:                    {0xc1},
		"18446744073709551615":               stored(t, uint64(math.MaxUint64)),
	} {
		if got := Text(value, Quote); got != want {
			t.Errorf("% x: got %s, want %s", value, got, want)
		}
	}
	for want, value := range map[string][]byte{
		"a\nb\xff": stored(t, "a\nb\xff"), "hi\x00": stored(t, []byte("hi\x00")), "5": stored(t, 5), "\xc1": {0xc1},
	} {
		if got := string(Content(value)); got != want {
			t.Errorf("% x: got content %q, want %q", value, got, want)
		}
	}
	if b, ok := AsBytes(stored(t, "x")); ok {
		t.Errorf("a string that JSON has: got bytes %q", b)
	}
	if s, ok := AsString(stored(t, 1)); ok {
		t.Errorf("a number: got the string %q", s)
	}
}

func TestFields(t *testing.T) {
	got, err := ParseFields([]byte(` {"a" : {"b":[1,"}"]} , "c":2} `))
	want := []Field{{"a", []byte(`{"b":[1,"}"]}`)}, {"c", []byte("2")}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, text := range []string{"", "[]", `"a"`, `{"a"}`, "{\"\xff\":1}", `{"\ud800":1}`} {
		if got, err := ParseFields([]byte(text)); err == nil {
			t.Errorf("%q: got %q, want an error", text, got)
		}
	}
}

func FuzzAppendValue(f *testing.F) {
	for _, v := range []any{nil, 1, -1.5, "a\xff", []byte("x"), map[string]any{"$b64": 1}, time.Unix(1, 2)} {
		f.Add(stored(f, v))
	}
	f.Add(stored(f, map[int]string{1: "x"}))
	f.Add([]byte{0xdc, 0, 1, 0xcc, 5})
	f.Fuzz(checkRoundTrip)
}

func FuzzParseValue(f *testing.F) {
	for _, text := range []string{`{"a":[1,2.5,null]}`, `{"$map":[[1,{"$b64":"eA=="}]]}`, `{"$ext":[-1,"AAAAAA=="]}`, `{"$raw":"wQ=="}`, `"\ud83d\udc26"`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if fields, err := ParseFields(text); err == nil && !json.Valid(text) {
			t.Fatalf("%q has fields: %q", text, fields)
		}
		value, err := ParseValue(text)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("%q is no JSON, and was read as % x", text, value)
		}
		checkRoundTrip(t, value)
	})
}
