package cmd

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

func TestLinesRoundTrip(t *testing.T) {
	for _, c := range []struct{ key, value, line string }{
		{"a", "", "a\t\n"},
		{"a", "b", "a\tb\n"},
		{"", "b", "\tb\n"},
		{"a\tb", "c\nd", `a\tb` + "\t" + `c\nd` + "\n"},
		{`a\t`, `\`, `a\\t` + "\t" + `\\` + "\n"},
		{"\x00\xff", "\r", "\x00\xff\t\r\n"},
	} {
		line := appendLine(nil, []byte(c.key), []byte(c.value))
		if got, want := string(line), c.line; got != want {
			t.Errorf("line of %q, %q: got %q, want %q", c.key, c.value, got, want)
		}
		k, v, err := parseLine(line[:len(line)-1])
		if err != nil || string(k) != c.key || string(v) != c.value {
			t.Errorf("parsed %q: got %q, %q, %v; want %q, %q", line, k, v, err, c.key, c.value)
		}
	}
}

func TestBadLinesSayWhatIsWrong(t *testing.T) {
	for line, want := range map[string]string{
		"":            "no tab",
		"key":         "no tab",
		"a\tb\tc":     "more than one tab",
		`a\x` + "\tb": `unknown escape \x`,
		"a\tb\\":      `a lone \`,
		strings.Repeat("k", kvmap.KeyBytesMax+1) + "\tv":      "the limit is 4096",
		"k\t" + strings.Repeat("v", protocol.ValueBytesMax+1): "the limit is 524288",
	} {
		_, _, err := parseLine([]byte(line))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("line %.20q: got %v, want an error with %q", line, err, want)
		}
	}
}

func TestLineReaderSkipsALineThatIsTooLong(t *testing.T) {
	in := "one\n" + strings.Repeat("x", tabLineMax+1) + "\nthree\nfour"
	l := newLineReader(strings.NewReader(in), tabLineMax)
	var got []string
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			got = append(got, "!"+err.Error()[:8])
			continue
		}
		got = append(got, string(bytes.Clone(line)))
	}
	if got, want := strings.Join(got, " "), "one !the line three four"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := l.n, 4; got != want {
		t.Errorf("lines: got %d, want %d", got, want)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte("a\tb"))
	f.Add([]byte(`a\t\n\\` + "\t"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.IndexByte(line, 0x0a) >= 0 {
			return // a line has none
		}
		k, v, err := parseLine(line)
		if err != nil {
			return
		}
		back := appendLine(nil, k, v)
		if want := append(bytes.Clone(line), '\n'); !bytes.Equal(back, want) {
			t.Fatalf("%q was read and written back as %q", line, back)
		}
	})
}
