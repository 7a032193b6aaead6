package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/dev/valuetest"
	"github.com/starlinghq/starling/internal/notation"
	"github.com/starlinghq/starling/internal/value"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// dial returns a client of the cluster that a flag names.
func dial(t *testing.T, addr string) *starling.Client {
	t.Helper()
	c, err := starling.Dial(context.Background(), starling.ClientConfig{Addresses: addresses(strings.TrimPrefix(addr, "--addr="))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// encodedAs returns a value as a handle with values of its type stores it.
func encodedAs[V any](t testing.TB, v V) starling.Raw {
	t.Helper()
	b, err := resources.AppendValue(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type sensor struct {
	Name    string
	Weight  float32
	Mass    float64
	Blob    []byte
	Created time.Time
	Counts  map[int]uint64
	Any     any
	Next    *sensor
}

// everyKey is keys of all types, malformed ones too.
func everyKey() []starling.RawKey {
	return []starling.RawKey{
		starling.RawKeyOf(""), starling.RawKeyOf("sky"), starling.RawKeyOf("\xff"), starling.RawKeyOf("\xfe"), starling.RawKeyOf("a\tb\n\\"),
		starling.RawKeyOf("a\u202eb\x00"), starling.RawKeyOf(strings.Repeat("k", 4096)), starling.RawKeyOf("7"),
		starling.RawKeyOf([]byte{}), starling.RawKeyOf([]byte("7")), starling.RawKeyOf([]byte{0, 0xff}),
		starling.RawKeyOf(math.MinInt64), starling.RawKeyOf(-1), starling.RawKeyOf(0), starling.RawKeyOf(7), starling.RawKeyOf(math.MaxInt64),
		starling.RawKeyOf(uint(0)), starling.RawKeyOf(uint8(7)), starling.RawKeyOf(uint64(math.MaxUint64)),
		starling.RawKey("x"), starling.RawKey("i123"), starling.RawKey("\x00"),
	}
}

// everyValue is values of all types, and what no handle writes.
func everyValue(t testing.TB) []starling.Raw {
	t.Helper()
	at := time.Date(2026, 3, 1, 12, 0, 0, 1, time.UTC)
	inner := &sensor{Name: "in\xff", Any: map[string]any{"1": 2.0, "2": []any{"x"}}}
	return []starling.Raw{
		encodedAs[any](t, nil), encodedAs(t, true), encodedAs(t, false),
		encodedAs(t, 5), encodedAs(t, "5"), encodedAs(t, 5.0), encodedAs(t, float32(5)), encodedAs(t, []byte("5")),
		encodedAs(t, int64(math.MinInt64)), encodedAs(t, int64(math.MaxInt64)), encodedAs(t, uint64(math.MaxUint64)), encodedAs(t, 1<<53+1), encodedAs(t, int8(-128)),
		encodedAs(t, 1.1), encodedAs(t, float32(1.1)), encodedAs(t, math.NaN()), encodedAs(t, math.Inf(1)), encodedAs(t, math.Copysign(0, -1)), encodedAs(t, 5e-324), encodedAs(t, 1e300),
		encodedAs(t, ""), encodedAs(t, "\xff\xfe"), encodedAs(t, "a\tb\nc\\n\u202e\x1b[2J"), encodedAs(t, strings.Repeat("\x00", 500<<10)), encodedAs(t, `{"$b64":"aGk="}`),
		encodedAs(t, []byte{}), encodedAs(t, []byte{0, 0xff}), encodedAs(t, make([]byte, 512<<10-16)),
		encodedAs(t, at), encodedAs(t, time.Time{}), encodedAs(t, time.Hour), encodedAs(t, netip.MustParseAddr("fe80::1%eth0")),
		encodedAs(t, []string{}), encodedAs(t, []any{1, nil, []any{}, map[string]any{}}), encodedAs(t, [2]uint8{1, 2}),
		encodedAs(t, map[string]int{"b": 1, "a": 2, "": 3}), encodedAs(t, map[int]string{-1: "x", 1: "y"}), encodedAs(t, map[bool]int{true: 1}), encodedAs(t, map[string]int{"$f64": 1}),
		encodedAs(t, sensor{"s", 1.1, 2, []byte("x"), at, map[int]uint64{1: 1 << 63}, 5, inner}),
		encodedAs(t, struct{}{}),
		{}, {0xc1}, starling.Raw("two values"), {0x92, 1}, {0xcc, 5}, {0xd1, 0, 200}, {0xdc, 0, 1, 0xcf, 0, 0, 0, 0, 0, 0, 0, 5},
		{0xd9, 1, 'a'}, {0xc7, 1, 5, 9}, {0xd4, 0xff, 0}, {0x82, 1, 1, 1, 1}, {0x81, 0x91, 1, 1},
		bytes.Repeat([]byte{0xc0}, 1000), append([]byte{0xdd, 0, 3, 0xff, 0xff}, bytes.Repeat([]byte{0xc2}, 1<<18-1)...),
		append([]byte{0xdd, 0, 3, 0xff, 0xfd}, bytes.Repeat([]byte{0xa1, 0xff}, 1<<18-3)...), // ten times as long as JSON
	}
}

// stored returns all that a map holds, as it is.
func storedIn(t *testing.T, c *starling.Client, name string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for e, err := range starling.NewMap[starling.RawKey, starling.Raw](c, name).Scan(context.Background(), starling.Range[starling.RawKey]{}) {
		if err != nil {
			t.Fatal(err)
		}
		out[string(e.Key)] = string(e.Value)
	}
	return out
}

// body returns an export without its header and its footer.
func body(export string) string {
	_, rest, _ := strings.Cut(export, "\n")
	end := strings.LastIndexByte(strings.TrimSuffix(rest, "\n"), '\n')
	return rest[:end+1]
}

// What a map holds is in another one after export and import, byte for byte:
// keys of every type, values of every type.
func TestExportAndImportKeepEveryByte(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a table of keys and values, one after the other")
	}
	ctx, addr := context.Background(), local(t)
	c := dial(t, addr)
	m := starling.NewMap[starling.RawKey, starling.Raw](c, "all")
	for _, key := range everyKey() {
		if err := m.Put(ctx, key, encodedAs(t, "of a key")); err != nil {
			t.Fatal(err)
		}
	}
	for i, value := range everyValue(t) {
		if err := m.Put(ctx, starling.RawKeyOf(i+1000), value); err != nil {
			t.Fatalf("value %d: %v", i, err)
		}
	}
	export := works(t, "", "map", "export", addr, "all")
	if out := works(t, export, "map", "import", addr, "-o", "json", "again"); out != fmt.Sprintf(`{"imported":%d,"lines":%[1]d}`+"\n", len(everyKey())+len(everyValue(t))) {
		t.Errorf("the import says %s", out)
	}
	want, got := storedIn(t, c, "all"), storedIn(t, c, "again")
	for key, value := range want {
		if again, ok := got[key]; again != value || !ok {
			t.Errorf("key %v: got %.40q (%v), want %.40q", starling.RawKey(key), again, ok, value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d keys, want %d", len(got), len(want))
	}
	again := works(t, "", "map", "export", addr, "again")
	if body(again) != body(export) {
		t.Errorf("the two exports differ: %s", firstDifference(body(again), body(export)))
	}
	for line := range strings.SplitSeq(strings.TrimSpace(export), "\n") {
		if !json.Valid([]byte(line)) || notation.Safe(line, "") != line {
			t.Errorf("no JSON that a terminal can show: %.80q", line)
		}
	}
}

// Random values of every type that can be stored, and of random ones, are what
// they were after export and import.
func TestValuesOfRandomTypesComeBack(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: thousands of values, one after the other")
	}
	ctx, addr := context.Background(), local(t)
	c := dial(t, addr)
	m := starling.NewMap[int, starling.Raw](c, "random")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var types []reflect.Type
	for _, one := range valuetest.Types() {
		types = append(types, one.Type)
	}
	for range 300 {
		types = append(types, valuetest.RandomType(r))
	}
	var wrote []reflect.Value
	checked := 0
	for _, typ := range types {
		if value.PlanOf(typ).Fault() != nil {
			continue
		}
		for i := range 30 {
			v := valuetest.Random(r, typ)
			data, err := value.Append(nil, v)
			if err != nil {
				continue // of a type that can be stored, but not this value: a handle refuses it
			}
			lines, bad, err := parseExport(exportOf(starling.RawKeyOf("k"), data))
			if err != nil || len(bad) > 0 || len(lines) != 1 || !bytes.Equal(lines[0].value, data) {
				t.Fatalf("%v: % x came back as %v, %v, %v", typ, data, lines, bad, err)
			}
			checked++
			if i > 0 {
				continue // one of each goes all the way
			}
			if err := m.Put(ctx, len(wrote), data); err != nil {
				t.Fatal(err)
			}
			wrote = append(wrote, v)
		}
	}
	if checked < 3000 || len(wrote) < 150 {
		t.Errorf("%d values of %d types were checked, want more", checked, len(wrote))
	}
	works(t, works(t, "", "map", "export", addr, "random"), "map", "import", addr, "random-again")
	for i, v := range wrote {
		data, err := starling.NewMap[int, starling.Raw](c, "random-again").Get(ctx, i)
		if err != nil {
			t.Fatal(err)
		}
		read, err := value.Parse(data, v.Type())
		if err == nil {
			err = valuetest.Same(v, read)
		}
		if err != nil {
			t.Errorf("%v: %v", v.Type(), err)
		}
	}
}

// The case that was found: numbers became strings, bytes quoted base64, and a
// second export did not show it.
func TestAnImportedMapIsReadByTheSameHandle(t *testing.T) {
	ctx, addr := context.Background(), local(t)
	c := dial(t, addr)
	if err := starling.NewMap[string, int](c, "ints").Put(ctx, "a", 5); err != nil {
		t.Fatal(err)
	}
	if err := starling.NewMap[int64, []byte](c, "bytes").Put(ctx, -1, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ints", "bytes"} {
		works(t, works(t, "", "map", "export", addr, name), "map", "import", addr, "new-"+name)
	}
	if v, err := starling.NewMap[string, int](c, "new-ints").Get(ctx, "a"); v != 5 || err != nil {
		t.Errorf("got %d, %v; want 5", v, err)
	}
	if v, err := starling.NewMap[int64, []byte](c, "new-bytes").Get(ctx, -1); string(v) != "hi" || err != nil {
		t.Errorf("got %q, %v; want hi", v, err)
	}
}

func TestTheFormOfAnExport(t *testing.T) {
	ctx, addr := context.Background(), local(t)
	m := starling.NewMap[uint, sensor](dial(t, addr), "sensors")
	for i := range uint(2) {
		if err := m.Put(ctx, i, sensor{Name: "s", Weight: 1.1, Mass: 1}); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(works(t, "", "map", "export", addr, "sensors"), "\n")
	index := strings.TrimSuffix(lines[0][strings.LastIndexByte(lines[0], ':')+1:], "}")
	for i, want := range []string{
		`{"format":"starling-map","version":1,"map":"sensors","key_types":["uint"],"value_types":["map"],"index":` + index + `}`,
		`{"key":{"$uint":0},"value":{"Any":null,"Blob":null,"Mass":{"$f64":1},"Name":"s","Next":null,"Counts":null,"Weight":{"$f32":1.1},"Created":{"$time":"0001-01-01T00:00:00Z"}}}`,
		strings.Replace(lines[1], "0", "1", 1),
		`{"entries":2,"key_types":["uint"],"value_types":["map"],"index":` + index + `}`,
		``,
	} {
		if i >= len(lines) || lines[i] != want {
			t.Fatalf("line %d: got %q, want %s", i+1, lines[min(i, len(lines)-1)], want)
		}
	}
	if got, want := works(t, "", "map", "export", addr, "nothing"), `"key_types":[],"value_types":[],`; strings.Count(got, want) != 2 || strings.Count(got, "\n") != 2 {
		t.Errorf("an empty map: got %s", got)
	}
}

// The two indexes are equal only if all pages were read at one.
func TestTheFooterSaysWhetherTheExportIsOneState(t *testing.T) {
	for _, c := range []struct {
		pages       []starling.Index
		first, last starling.Index
	}{
		{[]starling.Index{7}, 7, 7}, {[]starling.Index{7, 7, 7}, 7, 7}, {[]starling.Index{7, 9}, 7, 9}, {[]starling.Index{7, 9, 7}, 7, 9}, {[]starling.Index{7, 5}, 7, 5},
	} {
		e := typedExport{}
		for _, index := range c.pages {
			e.readAt(index)
			e.entries++
		}
		if e.header.Index != c.first || e.index != c.last {
			t.Errorf("pages at %d: got %d and %d, want %d and %d", c.pages, e.header.Index, e.index, c.first, c.last)
		}
	}
}

// A map of more than a page: the header has what comes first, the footer all.
func TestTheFooterHasAllTypes(t *testing.T) {
	addr := local(t)
	var in strings.Builder
	for i := range headEntriesMax + 10 {
		fmt.Fprintf(&in, "k%05d\tv\n", i)
	}
	works(t, in.String(), "map", "import", addr, "--format", "tab", "m")
	works(t, "", "map", "put", addr, "--key-type", "uint", "--value-type", "int", "m", "1", "2")
	lines := strings.Split(works(t, "", "map", "export", addr, "m"), "\n")
	if n := headEntriesMax + 10 + 1; len(lines) != n+3 || !strings.Contains(lines[n+1], fmt.Sprintf(`{"entries":%d,"key_types":["string","uint"],"value_types":["int","string"]`, n)) {
		t.Errorf("got %d lines, the last %s", len(lines), lines[len(lines)-2])
	}
	if !strings.Contains(lines[0], `"key_types":["string"],"value_types":["string"]`) {
		t.Errorf("got the header %s", lines[0])
	}
}

func TestImportRefusesWhatIsNoExport(t *testing.T) {
	addr := local(t)
	const header = `{"format":"starling-map","version":1,"map":"x","key_types":[],"value_types":[],"index":1}` + "\n"
	const a, b = `{"key":"a","value":1}` + "\n", `{"key":"b","value":2}` + "\n"
	for i, c := range []struct {
		in, want string
		imported int
	}{
		{"", "the input is empty", 0},
		{"a\t1\n", "line 1: no header of an export", 0},
		{"a\t1\n", "--format tab", 0},
		{a + b, "line 1: no header", 0},
		{`{"format":"other","version":1}` + "\n", "line 1: no header", 0},
		{strings.Replace(header, `"version":1`, `"version":2`, 1) + a, "line 1: the export is of version 2, and this release reads version 1", 0},
		{header, "the export was cut", 0},
		{header + a, "cut: its last line, with the number of entries, is missing after 1 of them; so far imported: 1 line,", 1},
		{header + a + `{"key":"b","val`, "line 3: ", 1},
		{header + a + `{"key":"b","val`, "missing after 2 of them", 1},
		{header + a + b + `{"entries":3}` + "\n", "line 4: the export had 3 entries, and 2 lines came", 2},
		{header + a + `{"entries":"1"}` + "\n", "line 3: the last line of an export says how many", 1},
		{header + a + `{"entries":1}` + "\n" + b, "line 4: nothing may follow", 1},
		{header + a + `{"entries":1}` + "\n" + header, "line 4: nothing may follow", 1},
		{header + "[]\n" + a + `{"entries":2}`, "line 2: no JSON object", 1},
		{header + `{"key":"a"}` + "\n" + `{"entries":1}`, `line 2: a line has a "key" and a "value"`, 0},
		{header + `{"key":"a","key":"b","value":1}` + "\n" + `{"entries":1}`, `line 2: the field "key"`, 0},
		{header + `{"key":"a","value":1,"ttl":5}` + "\n" + `{"entries":1}`, `line 2: the field "ttl"`, 0},
		{header + `{"key":1.5,"value":1}` + "\n" + a + `{"entries":2}`, "line 2: key: a key is a string, a whole number", 1},
		{header + `{"key":"` + strings.Repeat("k", 4097) + `","value":1}` + "\n" + `{"entries":1}`, "line 2: the key has 4097 bytes, the limit is 4096", 0},
		{header + `{"key":"a","value":"` + strings.Repeat("v", 512<<10) + `"}` + "\n" + `{"entries":1}`, "line 2: the value has 524293 bytes as encoded, which is up to 5 more than a string has, the limit is 524288", 0},
		{header + `{"key":"a","value":"` + strings.Repeat("v", typedLineMax) + `"}` + "\n" + b + `{"entries":2}`, "line 2: the line is longer", 1},
		{header + `{"key":"a","value":{"$new":"` + "\\u001b" + `"}}` + "\n" + `{"entries":1}`, "does not know", 0},
		{header + "{\"key\":\"\xff\",\"value\":1}\n" + `{"entries":1}`, "line 2: not UTF-8", 0},
	} {
		name := fmt.Sprint("m", i)
		_, stderr, code := run(context.Background(), c.in, "map", "import", addr, name)
		if code != exitFailure || !strings.Contains(stderr, c.want) {
			t.Errorf("%.60q: code %d, says %q, want %q", c.in, code, stderr, c.want)
		}
		if got := strings.TrimSpace(works(t, "", "map", "len", addr, name)); got != fmt.Sprint(c.imported) {
			t.Errorf("%.60q: got %s keys, want %d", c.in, got, c.imported)
		}
	}
	works(t, byteOrderMark+header+a+`{"entries":1}`, "map", "import", addr, "marked")
	_, stderr, code := run(context.Background(), header+a+`{"entries":1}`, "map", "import", addr, "--format", "tab", "typed")
	if code != exitFailure || !strings.Contains(stderr, "line 1: this is an export in its default form: import it without --format tab") || strings.Count(stderr, "line ") != 1 {
		t.Errorf("an export taken for lines with tabs: code %d, says %q", code, stderr)
	}
	works(t, "\n"+header+"\n "+a+"\n"+`{"entries":1}`+"\n\n", "map", "import", addr, "spaced") // empty lines do no harm
	fails(t, exitUsage, "--format takes json or tab", "map", "import", addr, "--format", "csv", "m")
	fails(t, exitUsage, "--format takes json or tab", "map", "export", addr, "--format", "csv", "m")
}

func TestTheTabFormIsForStrings(t *testing.T) {
	addr := local(t)
	refused := func(text string) {
		t.Helper()
		out, stderr, code := run(context.Background(), "", "map", "export", addr, "--format", "tab", "m")
		if code != exitRefused || out != "" || !strings.Contains(stderr, text) || !strings.Contains(stderr, "--format json, the default, keeps all types") {
			t.Errorf("code %d, prints %q, says %q, want %q", code, out, stderr, text)
		}
	}
	works(t, "", "map", "put", addr, "m", "a", "x")
	works(t, "", "map", "put", addr, "--value-type", "int", "m", "b\x1b", "5")
	refused(`the value of key "b\x1b" in map "m" is of type int`)
	works(t, "", "map", "put", addr, "m", "b\x1b", "5")
	works(t, "", "map", "put", addr, "--key-type", "int", "m", "5", "x")
	refused(`map "m" has keys of type int`)
	works(t, "", "map", "delete", addr, "--key-type", "int", "m", "5")
	if got, want := works(t, "", "map", "export", addr, "--format", "tab", "m"), "a\tx\nb\x1b\t5\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A page that does not come ends an export; a reader that takes its time does
// not.
func TestAnExportGivesUpOnAPage(t *testing.T) {
	addr := local(t)
	works(t, "", "map", "put", addr, "m", "a", "x")
	s := &session{Client: dial(t, addr), ctx: context.Background(), read: []starling.ReadOption{starling.AtLeast(1 << 40)}}
	for _, err := range s.scan("m", starling.Range[starling.RawKey]{}, time.Millisecond) {
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `no page of map "m" within 1ms`) || exitCode(err) != exitUnavailable {
			t.Errorf("got %v, exit code %d", err, exitCode(err))
		}
	}
	s.read = nil
	n := 0
	for e, err := range s.scan("m", starling.Range[starling.RawKey]{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		n += len(e.Key)
	}
	if n != 2 {
		t.Errorf("without a limit: got %d bytes of keys, want 2", n)
	}
}

// parseExport reads an export as an import does.
func parseExport(in string) (lines []line, bad []error, err error) {
	s := sourceOf(strings.NewReader(in), false)
	for {
		l, err := s.next()
		var wrong badLine
		switch {
		case errors.Is(err, io.EOF):
			return lines, bad, nil
		case errors.As(err, &wrong):
			bad = append(bad, err)
		case err != nil:
			return lines, bad, err
		default:
			lines = append(lines, l)
		}
	}
}

// exportOf returns an export of one entry.
func exportOf(key starling.RawKey, value starling.Raw) string {
	n := int64(1)
	out := appendJSONLine(nil, exportHeader{Format: exportFormat, Version: exportVersion, Map: "m"})
	out = appendEntry(out, key, value)
	return string(appendJSONLine(out, exportFooter{Entries: &n}))
}

// Any stored bytes come back.
func FuzzExportLine(f *testing.F) {
	values := everyValue(f)
	for i, key := range everyKey() {
		if len(key) < 1000 {
			f.Add([]byte(key), []byte(values[i]))
		}
	}
	for _, v := range values {
		if len(v) < 1000 {
			f.Add([]byte(starling.RawKeyOf("k")), []byte(v))
		}
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if len(key) == 0 || len(key) > protocol.KeyBytesMax || len(value) > protocol.ValueBytesMax {
			return // no map holds it
		}
		text := exportOf(key, value)
		lines, bad, err := parseExport(text)
		if err != nil || len(bad) > 0 || len(lines) != 1 {
			t.Fatalf("%q: %d lines, %v, %v", text, len(lines), bad, err)
		}
		if l := lines[0]; !bytes.Equal(l.key, key) || !bytes.Equal(l.value, value) {
			t.Fatalf("%q: came back as %q, %q, want %q, %q", text, l.key, l.value, key, value)
		}
	})
}

// Any line is an error or a value that an export writes in one form.
func FuzzImportLine(f *testing.F) {
	for _, v := range everyValue(f) {
		if len(v) < 1000 {
			f.Add(appendEntry(nil, starling.RawKeyOf("k"), v))
		}
	}
	for _, text := range []string{`{"key":{"$raw":"eA=="},"value":[{"$ext":[1,""]}]}`, `{"value":{"$map":[[{},1.0e5]]},"key":-0}`, `{"entries":0}`, "\xff", "{}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in := string(appendJSONLine(nil, exportHeader{Format: exportFormat, Version: exportVersion})) + string(text)
		lines, _, _ := parseExport(in)
		for _, l := range lines {
			again, bad, err := parseExport(exportOf(l.key, l.value))
			if err != nil || len(bad) > 0 || len(again) != 1 || !bytes.Equal(again[0].key, l.key) || !bytes.Equal(again[0].value, l.value) {
				t.Fatalf("%q was read as %q, %q, which came back as %v, %v, %v", text, l.key, l.value, again, bad, err)
			}
		}
	})
}
