package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/notation"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// The default form of export and import, docs/export.md: a header, a line for
// each key, a footer. A line gives back every byte of what is stored.
const (
	exportFormat  = "starling-map"
	exportVersion = 1

	// byteOrderMark is what some editors and shells put before a text. In the tab
	// form it belongs to a key.
	byteOrderMark = "\xef\xbb\xbf"

	// valueTextMax is the longest form of a value that is not base64 of its
	// bytes: a few bytes can take many characters.
	valueTextMax = 3 << 20
	// typedLineMax is the longest line.
	typedLineMax = valueTextMax + 64<<10
)

// exportHeader is the first line. The types are those of the first entries; a
// reader that must know all of them finds them in the footer.
type exportHeader struct {
	Format     string         `json:"format"`
	Version    int            `json:"version"`
	Map        string         `json:"map"`
	KeyTypes   []string       `json:"key_types"`
	ValueTypes []string       `json:"value_types"`
	Index      starling.Index `json:"index"`
}

// exportFooter is the last line. Its index is that of the header only if all
// pages were read there: then the export is the state at that index.
type exportFooter struct {
	Entries    *int64         `json:"entries"`
	KeyTypes   []string       `json:"key_types"`
	ValueTypes []string       `json:"value_types"`
	Index      starling.Index `json:"index"`
}

// appendEntry appends the line of one key, its newline included.
func appendEntry(dst []byte, key starling.RawKey, value starling.Raw) []byte {
	dst = append(dst, `{"key":`...)
	begin := len(dst)
	dst = key.AppendJSON(dst)
	if back, err := kvmap.ParseRawKey(dst[begin:]); err != nil || !bytes.Equal(back, key) {
		dst = notation.AppendRaw(dst[:begin], key)
	}
	dst = append(dst, `,"value":`...)
	begin = len(dst)
	dst = notation.AppendValue(dst, value, notation.Exact)
	if back, err := notation.ParseValue(dst[begin:]); err != nil || !bytes.Equal(back, value) || len(dst)-begin > valueTextMax {
		dst = notation.AppendRaw(dst[:begin], value)
	}
	return append(dst, "}\n"...)
}

// appendJSONLine appends a header or a footer.
func appendJSONLine(dst []byte, v any) []byte {
	b, _ := json.Marshal(v) // both can be encoded
	return append(append(dst, b...), '\n')
}

// parseEntry reads the line of one key.
func parseEntry(fields []notation.Field) (key starling.RawKey, value starling.Raw, err error) {
	for _, f := range fields {
		switch {
		case f.Name == "key" && key == nil:
			if key, err = kvmap.ParseRawKey(f.Value); err != nil {
				return nil, nil, fmt.Errorf("key: %w", err)
			}
		case f.Name == "value" && value == nil:
			b, err := notation.ParseValue(f.Value)
			if err != nil {
				return nil, nil, fmt.Errorf("value: %w", err)
			}
			value = append(starling.Raw{}, b...)
		default:
			return nil, nil, fmt.Errorf(`the field %q; a line has "key" and "value", each once`, f.Name)
		}
	}
	if key == nil || value == nil {
		return nil, nil, errors.New(`a line has a "key" and a "value"`)
	}
	return key, value, checkEntry(key, value)
}

// checkEntry reports what a map would refuse, in the user's own numbers.
func checkEntry(key starling.RawKey, value starling.Raw) error {
	if _, err := kvmap.EncodeKey(key); err != nil {
		return err
	}
	if len(value) > protocol.ValueBytesMax {
		return fmt.Errorf("the value has %d bytes as encoded, which is up to 5 more than a string has, the limit is %d", len(value), protocol.ValueBytesMax)
	}
	return nil
}

// line is one line that has been read.
type line struct {
	number int
	key    starling.RawKey
	value  starling.Raw
}

// badLine is a line that is reported and passed over.
type badLine struct{ error }

// entrySource is what an import reads: a line with a key, a badLine, or io.EOF.
// Any other error ends the import.
type entrySource interface {
	next() (line, error)
	bytes() int64 // read so far
}

// tabSource reads lines of key, TAB, value.
type tabSource struct{ lines *lineReader }

func (s *tabSource) bytes() int64 { return s.lines.b }

func (s *tabSource) next() (line, error) {
	text, err := s.lines.next()
	out := line{number: s.lines.n}
	if err != nil {
		return out, err
	}
	if s.lines.n == 1 {
		if _, err := parseHeader(text); err == nil {
			return out, errors.New("line 1: this is an export in its default form: import it without --format tab")
		}
	}
	key, value, err := parseLine(text)
	if err != nil {
		return out, badLine{err}
	}
	out.key = starling.RawKeyOf(string(key))
	out.value, err = resources.AppendValue(nil, string(value))
	return out, err
}

// typedSource reads an export.
type typedSource struct {
	lines   *lineReader
	header  *exportHeader
	entries int64
	ended   bool // the footer has been read
}

func (s *typedSource) bytes() int64 { return s.lines.b }

func (s *typedSource) next() (line, error) {
	for {
		text, err := s.lines.next()
		l := line{number: s.lines.n}
		if l.number == 1 {
			text = bytes.TrimPrefix(text, []byte(byteOrderMark))
		}
		switch {
		case errors.Is(err, io.EOF):
			return l, s.atEnd()
		case err == nil && len(bytes.TrimSpace(text)) == 0:
			continue
		case s.ended:
			return l, fmt.Errorf("line %d: nothing may follow the last line of an export; import one at a time", l.number)
		case s.header == nil:
			if s.header, err = parseHeader(text); err != nil {
				return l, fmt.Errorf("line %d: %w", l.number, err)
			}
			continue
		case err != nil:
			s.entries++
			return l, err
		}
		fields, err := notation.ParseFields(text)
		if err == nil && slices.ContainsFunc(fields, func(f notation.Field) bool { return f.Name == "entries" }) {
			if err := s.foot(text); err != nil {
				return l, fmt.Errorf("line %d: %w", l.number, err)
			}
			continue
		}
		s.entries++
		if err == nil {
			l.key, l.value, err = parseEntry(fields)
		}
		if err != nil {
			return l, badLine{err}
		}
		return l, nil
	}
}

// parseHeader reads the first line.
func parseHeader(text []byte) (*exportHeader, error) {
	var h exportHeader
	if err := json.Unmarshal(text, &h); err != nil || h.Format != exportFormat {
		return nil, fmt.Errorf(`no header of an export, {"format":%q,"version":%d,...}; lines of key, TAB, value are imported with --format tab`, exportFormat, exportVersion)
	}
	if h.Version != exportVersion {
		return nil, fmt.Errorf("the export is of version %d, and this release reads version %d: import it with a release that knows it", h.Version, exportVersion)
	}
	return &h, nil
}

// foot reads the last line.
func (s *typedSource) foot(text []byte) error {
	var f exportFooter
	if err := json.Unmarshal(text, &f); err != nil || f.Entries == nil {
		return errors.New(`the last line of an export says how many entries there are: {"entries":N,...}`)
	}
	if *f.Entries != s.entries {
		return fmt.Errorf("the export had %d entries, and %s came: some are missing, or were added", *f.Entries, counted(s.entries, "line"))
	}
	s.ended = true
	return nil
}

// atEnd says whether the input may end here.
func (s *typedSource) atEnd() error {
	switch {
	case s.header == nil:
		_, err := parseHeader(nil)
		return fmt.Errorf("the input is empty: %w", err)
	case !s.ended:
		return fmt.Errorf("the export was cut: its last line, with the number of entries, is missing after %d of them", s.entries)
	}
	return io.EOF
}
