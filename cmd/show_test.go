package cmd

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

// putAll puts one key by a handle of its types.
func putAll[K starling.Key, V any](t *testing.T, c *starling.Client, name string, key K, value V) {
	t.Helper()
	if err := starling.NewMap[K, V](c, name).Put(context.Background(), key, value); err != nil {
		t.Fatal(err)
	}
}

// jsonLines returns lines of JSON without what changes from run to run.
func jsonLines(out string) string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		line, _, _ = strings.Cut(line, `,"version"`)
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestLinesOfJSONTellEveryKeyAndValueApart(t *testing.T) {
	addr := local(t)
	c := dial(t, addr)
	at := time.Date(2026, 3, 1, 12, 0, 0, 1, time.UTC)
	putAll(t, c, "keys", "\xff", 1)
	putAll(t, c, "keys", "\xfe", 2)
	putAll(t, c, "keys", "a\u202eb", 3)
	putAll(t, c, "keys", -7, 4)
	putAll(t, c, "keys", uint64(math.MaxUint64), 5)
	putAll(t, c, "keys", []byte("hi"), 6)
	putAll(t, c, "keys", []byte{}, 7)
	putAll(t, c, "keys", starling.RawKey("x"), 8)
	for i, v := range []starling.Raw{
		encodedAs(t, "\xff"), encodedAs(t, "\ufffd"), encodedAs(t, []byte("hi")), encodedAs(t, []byte{}), encodedAs(t, uint64(math.MaxUint64)), encodedAs(t, float32(1.1)),
		encodedAs(t, math.NaN()), encodedAs(t, at), {0xc1}, encodedAs(t, []any{[]byte("x"), "<\x1b\u200f"}), encodedAs[any](t, nil), encodedAs(t, netip.MustParseAddr("10.0.0.1")),
	} {
		putAll(t, c, "values", i, v)
	}
	for name, want := range map[string]string{
		"keys": `{"key_b64":"","key_type":"bytes","value":7,"value_type":"int"
{"key_b64":"aGk=","key_type":"bytes","value":6,"value_type":"int"
{"key":-7,"key_type":"int","value":4,"value_type":"int"
{"key":"a\u202eb","key_type":"string","value":3,"value_type":"int"
{"key_b64":"/g==","key_type":"string","value":2,"value_type":"int"
{"key_b64":"/w==","key_type":"string","value":1,"value_type":"int"
{"key":18446744073709551615,"key_type":"uint","value":5,"value_type":"int"
{"key_b64":"eA==","key_type":"malformed","value":8,"value_type":"int"`,
		"values": `{"key":0,"key_type":"int","value_b64":"/w==","value_type":"string"
{"key":1,"key_type":"int","value":"` + "\ufffd" + `","value_type":"string"
{"key":2,"key_type":"int","value_b64":"aGk=","value_type":"bytes"
{"key":3,"key_type":"int","value_b64":"","value_type":"bytes"
{"key":4,"key_type":"int","value":18446744073709551615,"value_type":"int"
{"key":5,"key_type":"int","value":1.1,"value_type":"float32"
{"key":6,"key_type":"int","value":"NaN","value_type":"float64"
{"key":7,"key_type":"int","value":"2026-03-01T12:00:00.000000001Z","value_type":"time"
{"key":8,"key_type":"int","value_b64":"wQ==","value_type":"raw"
{"key":9,"key_type":"int","value":[{"$b64":"eA=="},"<\u001b\u200f"],"value_type":"array"
{"key":10,"key_type":"int","value":null,"value_type":"nil"
{"key":11,"key_type":"int","value":"10.0.0.1","value_type":"string"`,
	} {
		out := works(t, "", "map", "scan", addr, "-o", "json", name)
		if got := jsonLines(out); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
		if !strings.Contains(out, `,"version":`) || !strings.Contains(out, `,"index":`) || !strings.Contains(out, `,"age_ms":`) {
			t.Errorf("%s: no version, index or age_ms in %s", name, out)
		}
	}
	for _, want := range []string{"KEY", "malformed"} {
		if out := works(t, "", "map", "scan", addr, "keys"); !strings.Contains(out, want) {
			t.Errorf("got %q, want %q in it", out, want)
		}
	}
	get := func(want string, args ...string) {
		t.Helper()
		if got := jsonLines(works(t, "", append([]string{"map", "get", addr, "-o", "json"}, args...)...)); got != want {
			t.Errorf("get %q: got %s, want %s", args, got, want)
		}
	}
	get(`{"key":-7,"key_type":"int","value":4,"value_type":"int"`, "--key-type", "int", "keys", "-7")
	get(`{"key_b64":"aGk=","key_type":"bytes","value":6,"value_type":"int"`, "--key-type", "bytes", "keys", "aGk=")
	get(`{"key_b64":"/w==","key_type":"string","value":1,"value_type":"int"`, "keys", "\xff")
}

func TestTablesAndValuesShowWhatIsNotVisible(t *testing.T) {
	addr := local(t)
	c := dial(t, addr)
	for key, value := range map[string]string{
		"newline": "a\nb", "backslash": `a\nb`, "turned\u202e": "x\u202ey\u200b", "escape\x1b[2J": "\x1b[2J", "quoted": `"q"`, "empty": "", "\xff": "\xfe", "windows": `C:\temp "x"`,
	} {
		putAll(t, c, "m", key, value)
	}
	out := works(t, "", "map", "scan", addr, "m")
	var got []string
	for line := range strings.SplitSeq(strings.TrimSpace(out), "\n") {
		fields := strings.Fields(line)
		got = append(got, fields[0]+" "+strings.Join(fields[2:], " "))
	}
	if got, want := strings.Join(got, "\n"), `KEY VALUE
backslash a\nb
empty ""
"escape\x1b[2J" "\x1b[2J"
newline "a\nb"
quoted "\"q\""
"turned\u202e" "x\u202ey\u200b"
windows C:\temp "x"
"\xff" "\xfe"`; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, c := range []struct{ key, want, raw string }{
		{"newline", "a\nb\n", "a\nb"}, // nothing stands beside it
		{"backslash", `a\nb` + "\n", `a\nb`},
		{"windows", `C:\temp "x"` + "\n", `C:\temp "x"`},
		{"turned\u202e", `"x\u202ey\u200b"` + "\n", "x\u202ey\u200b"},
		{"escape\x1b[2J", `"\x1b[2J"` + "\n", "\x1b[2J"},
		{"quoted", `"\"q\""` + "\n", `"q"`},
		{"empty", "\n", ""},
		{"\xff", `"\xfe"` + "\n", "\xfe"},
	} {
		if got := works(t, "", "map", "get", addr, "m", c.key); got != c.want {
			t.Errorf("get %q: got %q, want %q", c.key, got, c.want)
		}
		if got := works(t, "", "map", "get", addr, "--raw", "m", c.key); got != c.raw {
			t.Errorf("get --raw %q: got %q, want %q", c.key, got, c.raw)
		}
		value, err := starling.NewMap[string, string](dial(t, addr), "m").Get(context.Background(), c.key)
		if err != nil {
			t.Fatal(err)
		}
		works(t, "", "queue", "push", addr, "q", value)
		if got := works(t, "", "queue", "peek", addr, "q"); got != c.want {
			t.Errorf("peek %q: got %q, want %q", c.key, got, c.want)
		}
		if got := works(t, "", "queue", "peek", addr, "--raw", "q"); got != c.raw {
			t.Errorf("peek --raw %q: got %q, want %q", c.key, got, c.raw)
		}
		if got := works(t, "", "queue", "pop", addr, "q"); got != c.want {
			t.Errorf("pop %q: got %q, want %q", c.key, got, c.want)
		}
	}
	putAll(t, c, "raw", "a\tb\n\xff", "x\ty\n\xfe")
	putAll(t, c, "raw", []byte("\x00\xff"), []byte("\xff\x00"))
	putAll(t, c, "raw", 7, 1.5)
	if got, want := works(t, "", "map", "scan", addr, "--raw", "raw"), "\x00\xff\t\xff\x00\n7\t1.5\na\tb\n\xff\tx\ty\n\xfe\n"; got != want {
		t.Errorf("scan --raw: got %q, want %q", got, want)
	}
	fails(t, exitUsage, "not both", "map", "get", addr, "--raw", "-o", "json", "m", "empty")
	if _, stderr, _ := run(context.Background(), "", "map", "get", addr, "m", "no\u202e\x1b"); !strings.Contains(stderr, `no key "no\u202e\x1b" in map "m"`) {
		t.Errorf("an error shows the key as %q", stderr)
	}
}

func TestWatchTellsTypes(t *testing.T) {
	addr := local(t)
	c := dial(t, addr)
	putAll(t, c, "m", "a\tb", "x\ny")
	putAll(t, c, "m", -7, 1)
	putAll(t, c, "m", []byte("hi"), 2)
	for _, out := range []struct {
		flags []string
		want  []string
	}{
		{nil, []string{"\tput\t\"a\\tb\"\t\"x\\ny\"\n", "\tput\t-7\t1\tint\n", "\tput\taGk=\t2\tbytes\n"}},
		{[]string{"-o", "json"}, []string{
			`,"key":"a\tb","key_type":"string","value":"x\ny","value_type":"string"}` + "\n", `,"key":-7,"key_type":"int",`, `,"key_b64":"aGk=","key_type":"bytes",`, `{"kind":"reset","index":0}`}},
		{[]string{"--raw"}, []string{"\tput\ta\tb\tx\ny\n"}},
		{[]string{"--key-type", "bytes"}, []string{"\tput\taGk=\t2\tbytes\n"}},
	} {
		got := new(syncBuffer)
		watch := command(t, append(append([]string{"map", "watch", addr, "--list"}, out.flags...), "m")...)
		watch.Stdout, watch.Stderr = got, got
		if err := watch.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, func() error {
			for _, want := range append(out.want, "listed") {
				if !strings.Contains(got.String(), want) {
					return fmt.Errorf("%q: it says %q, not %q", out.flags, got, want)
				}
			}
			return nil
		})
		if strings.Contains(got.String(), "-7") && len(out.flags) == 2 && out.flags[0] == "--key-type" {
			t.Errorf("a watch of bytes tells a number: %s", got)
		}
		watch.Process.Kill()
		watch.Wait()
	}
}

// A watch of keys that the map has none of says so, once, and goes on.
func TestAWatchOfNoKeysHints(t *testing.T) {
	addr := local(t)
	works(t, "", "map", "put", addr, "--key-type", "int", "ints", "5", "x")
	for _, flags := range [][]string{nil, {"--list"}} {
		out, hints := new(syncBuffer), new(syncBuffer)
		watch := command(t, append(append([]string{"map", "watch", addr}, flags...), "ints", "5")...)
		watch.Stdout, watch.Stderr = out, hints
		if err := watch.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, func() error {
			if got, want := hints.String(), `starling: no such key of type string; map "ints" has keys of type int: --key-type int`+"\n"; got != want {
				return fmt.Errorf("%q: it says %q, not %q", flags, got, want)
			}
			return nil
		})
		watch.Process.Kill()
		watch.Wait()
	}
}

func TestCountsAndCommandsInTexts(t *testing.T) {
	if got, want := counted(0, "line")+", "+counted(1, "line")+", "+counted(2, "line"), "0 lines, 1 line, 2 lines"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for path, want := range map[string]bool{
		"/tmp/go-build123/b001/exe/starling": true, "/home/u/.cache/go-build/ab/cd-d/starling": true,
		"/usr/local/bin/starling": false, "/tmp/go-build123/b001/cmd.test": false, "/src/my-go-build/starling": false,
	} {
		if got := builtByGoRun(path); got != want {
			t.Errorf("%s: got %v, want %v", path, got, want)
		}
	}
	for typ, want := range map[string]string{"float": `"1e400" is out of the range of float64`, "float32": `"1e400" is out of the range of float32`, "int": `"1e400" is no whole number`} {
		if _, err := encodeText(typ, "1e400"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", typ, err, want)
		}
	}
}

// A description is one line for each paragraph: it is wrapped when it is shown.
func TestDescriptionsAreNotBrokenByHand(t *testing.T) {
	p := new(Program)
	for _, c := range []*cli.Command{p.verifyCommand(), p.recoverCommand(), mapCommands{p}.command(), p.autopilotCommand()} {
		for _, c := range append([]*cli.Command{c}, c.Subcommands...) {
			text, _, _ := strings.Cut(c.Description, "Examples:")
			if strings.Contains(strings.ReplaceAll(text, "\n\n", ""), "\n") {
				t.Errorf("%s: %q", c.Name, text)
			}
		}
	}
}

func TestJoinedKinds(t *testing.T) {
	kinds := []starling.KeyKind{starling.KindBytes, starling.KindInt, starling.KindString}
	for n, want := range []string{"", "bytes", "bytes or int", "bytes, int or string"} {
		if got := joinKinds(kinds[:n]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestKeysAndValuesOfOtherTypesOnTheCommandLine(t *testing.T) {
	ctx, addr := context.Background(), local(t)
	c := dial(t, addr)
	works(t, "", "map", "put", addr, "--key-type", "int", "--value-type", "int", "ints", "-5", "100")
	works(t, "", "map", "put", addr, "--key-type", "int", "--value-type", "int", "ints", "7", "-9223372036854775808")
	if v, err := starling.NewMap[int, int64](c, "ints").Get(ctx, 7); v != math.MinInt64 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	if got, want := works(t, "", "map", "get", addr, "--key-type", "int", "ints", "-5"), "100\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := works(t, "", "map", "put", addr, "--key-type", "int", "--if-version", "0", "-o", "json", "ints", "8", "x"); !strings.HasPrefix(got, `{"key":8,"key_type":"int","version":`) {
		t.Errorf("got %q", got)
	}
	for text, want := range map[string]string{
		"scan --key-type int --from -5 --to 8 ints": "-5 int 7 int", "scan --key-type int --to 0 ints": "-5 int", "scan --key-type int --from 8 ints": "8 int",
		"scan ints": "-5 int 7 int 8 int", "scan --key-type int ints": "-5 int 7 int 8 int", "scan --key-type uint ints": "", "scan --limit 1 ints": "-5 int",
	} {
		fields := strings.Fields(text)
		out := works(t, "", append([]string{"map", fields[0], addr}, fields[1:]...)...)
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(out), "\n")[1:] {
			got = append(got, strings.Fields(line)[:2]...)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
	// Who forgets the flag is told, and breaks nothing.
	fails(t, exitNotFound, `no key 7 in map "ints"; it has keys of type int: --key-type int`, "map", "get", addr, "ints", "7")
	fails(t, exitNotFound, `it has keys of type int: --key-type int`, "map", "delete", addr, "ints", "7")
	fails(t, exitRefused, `map "ints" has keys of type int: --key-type int, or --key-type string to have both`, "map", "put", addr, "ints", "7", "x")
	fails(t, exitNotFound, `no key 9 in map "ints"`, "map", "get", addr, "--key-type", "int", "ints", "9")
	for _, args := range [][]string{{"ints", "3"}, {"--from", "3", "ints"}, {"-o", "json", "--key-type", "uint", "ints"}, {"--raw", "ints", "3"}} {
		_, stderr, code := run(ctx, "", append([]string{"map", "scan", addr}, args...)...)
		if code != exitOK || !strings.Contains(stderr, `map "ints" has keys of type int: --key-type int`) {
			t.Errorf("scan %q: exit code %d, %q", args, code, stderr)
		}
	}
	for _, args := range [][]string{{"--key-type", "int", "--from", "100", "ints"}, {"none", "3"}, {"none"}, {"--key-type", "int", "ints"}} {
		if _, stderr, _ := run(ctx, "", append([]string{"map", "scan", addr}, args...)...); stderr != "" {
			t.Errorf("scan %q: got %q, want no hint", args, stderr)
		}
	}
	works(t, "", "map", "put", addr, "--key-type", "string", "ints", "7", "text")
	if _, stderr, _ := run(ctx, "", "map", "get", addr, "ints", "8"); stderr != `starling: no key 8 in map "ints"; it also has keys of type int`+"\n" {
		t.Errorf("a map that has strings, too: got %q", stderr)
	}
	works(t, "", "map", "put", addr, "ints", "8", "text") // it has strings now
	works(t, "", "map", "delete", addr, "--key-type", "int", "ints", "7")
	if got, want := works(t, "", "map", "get", addr, "ints", "7"), "text\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	works(t, "", "map", "put", addr, "empty", "", "of the empty key")
	if got, want := works(t, "", "map", "get", addr, "empty", ""), "of the empty key\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	works(t, "", "map", "put", addr, "--key-type", "bytes", "b", "/wA=", "x")
	if v, err := starling.NewMap[[]byte, string](c, "b").Get(ctx, []byte{0xff, 0}); v != "x" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	if got := works(t, "", "map", "scan", addr, "--key-type", "bytes", "b", "/w=="); !strings.Contains(got, "/wA=  bytes  ") {
		t.Errorf("a prefix of bytes: got %q", got)
	}
	putAll(t, c, "odd", starling.RawKey("x"), "of a malformed key")
	fails(t, exitNotFound, `no key x in map "odd"`, "map", "get", addr, "odd", "x")
	for _, args := range [][]string{{"get", "odd", "eA=="}, {"scan", "odd", "eA=="}, {"scan", "odd"}} {
		if got := works(t, "", append([]string{"map", args[0], addr, "--key-type", "raw"}, args[1:]...)...); !strings.Contains(got, "of a malformed key\n") {
			t.Errorf("%q: got %q", args, got)
		}
	}
	if got := works(t, "", "map", "scan", addr, "--key-type", "raw", "--from", "dw==", "odd"); !strings.Contains(got, `{"$raw":"eA=="}  malformed  `) {
		t.Errorf("scan from w: got %q", got)
	}
	works(t, "", "map", "delete", addr, "--key-type", "raw", "odd", "eA==")
	for _, args := range [][]string{
		{"--key-type takes string, int, uint, bytes or raw", "get", "--key-type", "float", "m", "1"},
		{"is no whole number of 64 bits", "get", "--key-type", "int", "m", "x"},
		{"is no whole number from 0", "put", "--key-type", "uint", "m", "-1", "x"},
		{"is no base64", "delete", "--key-type", "bytes", "m", "?"},
		{"there is none with --key-type int", "scan", "--key-type", "int", "m", "7"},
		{"there is none with --key-type uint", "watch", "--key-type", "uint", "m", "7"},
		{"--value-type takes string", "put", "--value-type", "yaml", "m", "k", "x"},
	} {
		fails(t, exitUsage, args[0], append([]string{"map", args[1], addr}, args[2:]...)...)
	}
}

func TestValueTypesAreWhatHandlesRead(t *testing.T) {
	ctx, addr := context.Background(), local(t)
	c := dial(t, addr)
	type pair struct {
		Name string
		Age  int
	}
	for _, c := range []struct {
		typ, text string
		want      starling.Raw
	}{
		{"string", "5", encodedAs(t, "5")}, {"int", "5", encodedAs(t, 5)}, {"int", "18446744073709551615", encodedAs(t, uint64(math.MaxUint64))},
		{"float", "5", encodedAs(t, 5.0)}, {"float32", "1.1", encodedAs(t, float32(1.1))}, {"bool", "true", encodedAs(t, true)},
		{"bytes", "aGk=", encodedAs(t, []byte("hi"))}, {"bytes", "", encodedAs(t, []byte{})}, {"json", "null", encodedAs[any](t, nil)},
		{"json", `{"Name":"Ada","Age":36}`, encodedAs(t, pair{"Ada", 36})}, {"json", `{"$f32":1.1}`, encodedAs(t, float32(1.1))},
		{"time", "2026-03-01T12:00:00.5Z", encodedAs(t, time.Date(2026, 3, 1, 12, 0, 0, 5e8, time.UTC))},
	} {
		got, err := encodeText(c.typ, c.text)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s %s: got % x, %v; want % x", c.typ, c.text, got, err, c.want)
		}
	}
	for _, args := range [][2]string{{"int", "1.5"}, {"int", "18446744073709551616"}, {"float", "x"}, {"bool", "maybe"}, {"bytes", "?"}, {"time", "noon"}, {"json", "{"}} {
		fails(t, exitUsage, "--value-type "+args[0]+": ", "map", "put", addr, "--value-type", args[0], "m", "k", args[1])
		fails(t, exitUsage, "--value-type "+args[0]+": ", "queue", "push", addr, "--value-type", args[0], "q", args[1])
	}
	works(t, "", "map", "put", addr, "--value-type", "time", "m", "at", "2026-03-01T13:00:00.5+01:00")
	if got, want := works(t, "", "map", "get", addr, "m", "at"), "2026-03-01T12:00:00.5Z\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	works(t, "", "queue", "push", addr, "--value-type", "int", "q", "17")
	if v, err := starling.NewQueue[int](c, "q").Pop(ctx); v != 17 || err != nil {
		t.Errorf("got %d, %v; want 17", v, err)
	}
}

// What others have chosen, names and errors, cannot drive a terminal either.
func TestNamesInTablesAreSafe(t *testing.T) {
	var out bytes.Buffer
	if err := printTable(&out, []string{"NAME"}, [][]string{{"a\x1b[2J\u202e\n"}}); err != nil || out.String() != "NAME\na\\x1b[2J\\u202e\\n\n" {
		t.Errorf("a table: got %q, %v", out.String(), err)
	}
	out.Reset()
	p := &Program{Stdout: &out, Stderr: &out}
	if err := p.say("not ours: %s\n", "\x1b\xff"); err != nil || out.String() != "not ours: \\x1b\\xff\n" {
		t.Errorf("a line: got %q, %v", out.String(), err)
	}
	out.Reset()
	if err := p.printJSON(map[string]string{"name": "<\u202e\x7f>"}); err != nil || out.String() != `{"name":"<\u202e\u007f>"}`+"\n" {
		t.Errorf("JSON: got %q, %v", out.String(), err)
	}
	if a, b := pathText("\xff"), pathText("\xfe"); a == b || pathText("ü") != "ü" {
		t.Errorf("two paths: got %s and %s", a, b)
	}
	dir := filepath.Join(t.TempDir(), "a\x1b[2Jb")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"wal", "inspect", dir}, {"checkpoint", "inspect", dir}, {"recover", dir}, {"sta\x1btus"}, {"agent", "--dir", dir, "--name", "a\u202eb", "--bootstrap"}} {
		stdout, stderr, code := run(context.Background(), "", args...)
		if code == 0 || strings.ContainsAny(stdout+stderr, "\x1b\u202e") || stderr == "" {
			t.Errorf("%q: code %d, says %q %q", args, code, stdout, stderr)
		}
	}
}
