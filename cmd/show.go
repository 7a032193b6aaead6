package cmd

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/notation"
)

// What the text of keys and values means, for the help of all commands that
// show them.
const shownHelp = "A string is printed as it is, but quoted as in Go if it has control characters, invisible ones " +
	"or bytes that are no text, or begins with a double quote; other values are printed as JSON. " +
	"--raw prints strings and bytes as they are, for files and scripts, and -o json tells the types."

// rawFlag is --raw of a command that shows one value.
func rawFlag() cli.Flag {
	return boolFlag("raw", "the bytes of a string or of bytes as they are, and no newline behind them")
}

// keyJSON is a key in a line of JSON.
type keyJSON struct {
	Key    json.RawMessage `json:"key,omitempty"`
	KeyB64 *string         `json:"key_b64,omitempty"`
	Type   string          `json:"key_type,omitempty"`
}

// newKeyJSON tells a key by its type: a string or a number, or in base64 the
// bytes that no JSON string can be.
func newKeyJSON(k starling.RawKey) keyJSON {
	out := keyJSON{Type: k.Kind().String()}
	out.Key, _ = k.MarshalJSON() // every key has a form
	if bytes.HasPrefix(out.Key, []byte("{")) {
		content := []byte(k)
		if k.Kind() != 0 {
			content = content[1:]
		}
		out.Key, out.KeyB64 = nil, inBase64(content)
	}
	return out
}

// valueJSON is a value in a line of JSON.
type valueJSON struct {
	Value    json.RawMessage `json:"value,omitempty"`
	ValueB64 *string         `json:"value_b64,omitempty"`
	Type     string          `json:"value_type,omitempty"`
}

func newValueJSON(v starling.Raw) valueJSON {
	out := valueJSON{Type: v.Type()}
	if content, ok := notation.AsBytes(v); ok {
		out.ValueB64 = inBase64(content)
		return out
	}
	out.Value, _ = v.MarshalJSON() // every value has a form
	return out
}

func inBase64(b []byte) *string {
	text := base64.StdEncoding.EncodeToString(b)
	return &text
}

// entryJSON is one key of a map.
type entryJSON struct {
	keyJSON
	valueJSON
	Version starling.Index `json:"version"`
	readJSON
}

func newEntryJSON(e starling.Entry[starling.RawKey, starling.Raw], info starling.Info) entryJSON {
	return entryJSON{newKeyJSON(e.Key), newValueJSON(e.Value), e.Version, readInfo(info)}
}

// keyText is how a key looks to people.
func keyText(k starling.RawKey, raw bool) string {
	if kind := k.Kind(); raw && (kind == starling.KindString || kind == starling.KindBytes) {
		return string(k[1:])
	}
	return k.String()
}

// valueText is how a value looks to people.
func valueText(v starling.Raw, raw bool) string {
	if raw {
		return string(notation.Content(v))
	}
	return v.String()
}

// printValue prints a value that nothing stands beside: with --raw its bytes and
// nothing else, otherwise on lines of its own.
func (p *Program) printValue(v starling.Raw, raw bool) error {
	if raw {
		_, err := p.Stdout.Write(notation.Content(v))
		return err
	}
	_, err := fmt.Fprintln(p.Stdout, notation.Text(v, notation.QuoteLines))
	return err
}

// say prints a text for people, in which names may stand that others have
// chosen.
func (p *Program) say(format string, args ...any) error {
	_, err := io.WriteString(p.Stdout, notation.Safe(fmt.Sprintf(format, args...), "\n\t"))
	return err
}

// counted is a number of things, of which one has no s.
func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printJSON prints one value on one line, with everything escaped that a
// terminal could not show.
func (p *Program) printJSON(v any) error {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := p.Stdout.Write(notation.EscapeJSON(line.Bytes()))
	return err
}

// pathText keeps two paths apart in JSON that are not UTF-8.
func pathText(path string) string {
	if utf8.ValidString(path) {
		return path
	}
	return strconv.Quote(path)
}

// printTable prints rows in aligned columns.
func printTable(w io.Writer, head []string, rows [][]string) error {
	for _, r := range rows {
		for i := range r {
			r[i] = notation.Safe(r[i], "")
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if head != nil {
		fmt.Fprintln(t, strings.Join(head, "\t"))
	}
	for _, r := range rows {
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	return t.Flush()
}
