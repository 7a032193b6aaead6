package notation

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// visible reports whether a terminal shows a rune as itself, and nothing else:
// it is no control character, changes no direction and has a shape. The space
// is the only blank.
func visible(r rune) bool { return unicode.IsPrint(r) }

// AppendString appends s, which is UTF-8, as a JSON string in which everything
// that is not visible is escaped.
func AppendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	for _, r := range string(s) {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		default:
			dst = appendVisible(dst, r)
		}
	}
	return append(dst, '"')
}

func appendVisible(dst []byte, r rune) []byte {
	switch {
	case visible(r):
		return utf8.AppendRune(dst, r)
	case r > 0xffff: // a pair of surrogates
		r -= 0x10000
		return appendUnit(appendUnit(dst, 0xd800+r>>10), 0xdc00+r&0x3ff)
	}
	return appendUnit(dst, r)
}

func appendUnit(dst []byte, unit rune) []byte {
	const digits = "0123456789abcdef"
	return append(dst, '\\', 'u', digits[unit>>12&15], digits[unit>>8&15], digits[unit>>4&15], digits[unit&15])
}

// EscapeJSON escapes what is not visible in JSON that somebody else has
// written. Outside of its strings there is nothing of the kind but white space,
// which is kept.
func EscapeJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r == '\n' || r == '\t' || r == '\r' {
			out = append(out, byte(r))
			continue
		}
		out = appendVisible(out, r)
	}
	return out
}

// Quote returns a string for a place of its own, such as a cell of a table: as
// it is, or in Go's quoted form if something in it is not visible, if its ends
// could be overlooked, or if it begins with a double quote. So no two strings
// look alike.
func Quote(s string) string {
	if s == "" || s[0] == ' ' || s[len(s)-1] == ' ' {
		return strconv.Quote(s)
	}
	return quoteUnless(s, visible)
}

// QuoteLines is Quote for a text that is alone on its lines: it may be empty,
// and tabs and newlines are shown as they are.
func QuoteLines(s string) string {
	return quoteUnless(s, func(r rune) bool { return visible(r) || r == '\n' || r == '\t' })
}

func quoteUnless(s string, fine func(rune) bool) string {
	if !strings.HasPrefix(s, `"`) && all(s, fine) {
		return s
	}
	return strconv.Quote(s)
}

func all(s string, fine func(rune) bool) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !fine(r) }) < 0
}

// Safe returns a text of somebody else, such as a name or an error, with
// everything escaped that is not visible, but for the characters in keep.
func Safe(s, keep string) string {
	fine := func(r rune) bool { return visible(r) || strings.ContainsRune(keep, r) }
	if all(s, fine) {
		return s
	}
	var out strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if piece := s[:size]; fine(r) && (r != utf8.RuneError || size > 1) {
			out.WriteString(piece)
		} else {
			quoted := strconv.Quote(piece)
			out.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return out.String()
}

// Text returns a value for people: a string by one of the Quote functions, a
// time and a float as they are written, anything else as plain JSON.
func Text(value []byte, quote func(string) string) string {
	if !sound(value) {
		return string(AppendRaw(nil, value))
	}
	it, _ := next(value)
	switch t, ok := it.time(); {
	case it.kind == kindString:
		return quote(string(it.payload))
	case ok:
		return t.Format(time.RFC3339Nano)
	}
	text := string(AppendValue(nil, value, Plain))
	if it.kind == kindFloat32 || it.kind == kindFloat64 {
		text = strings.Trim(text, `"`) // of NaN and the infinities
	}
	return text
}

// Content returns the bytes of a value that has some, a string, bytes, or what
// nobody can read, and the text of anything else.
func Content(value []byte) []byte {
	if !sound(value) {
		return value
	}
	if it, _ := next(value); it.kind == kindString || it.kind == kindBytes {
		return it.payload
	}
	return []byte(Text(value, QuoteLines))
}

// AsString returns a value that is a string, and whether it is one.
func AsString(value []byte) (string, bool) {
	if sound(value) {
		if it, _ := next(value); it.kind == kindString {
			return string(it.payload), true
		}
	}
	return "", false
}

// AsBytes returns a value whose bytes no JSON string can be, because it is
// bytes, a string that is not UTF-8, or unreadable; and whether it is one.
func AsBytes(value []byte) ([]byte, bool) {
	if !sound(value) {
		return value, true
	}
	it, _ := next(value)
	return it.payload, it.kind == kindBytes || it.kind == kindString && !utf8.Valid(it.payload)
}

// The names of the types of values, by kind.
var typeNames = [...]string{
	kindNil: "nil", kindBool: "bool", kindInt: "int", kindFloat32: "float32", kindFloat64: "float64",
	kindString: "string", kindBytes: "bytes", kindExt: "ext", kindArray: "array", kindMap: "map",
}

// TypeOf returns the name of a value's type: nil, bool, int, float32, float64,
// string, bytes, time, ext, array or map, and raw for what nobody can read.
func TypeOf(value []byte) string {
	if !sound(value) {
		return "raw"
	}
	it, _ := next(value)
	if it.kind == kindExt && it.ext == extTime {
		return "time"
	}
	return typeNames[it.kind]
}
