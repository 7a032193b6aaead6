package notation

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Form says how much of a stored value its JSON keeps.
type Form uint8

const (
	// Plain keeps all content, and is what people and scripts read easily.
	Plain Form = iota
	// Exact keeps every byte: [ParseValue] gives back what was stored.
	Exact
)

// The names of the single fields of what JSON has not.
const (
	tagBytes   = "$b64"
	tagString  = "$str_b64"
	tagMap     = "$map"
	tagExt     = "$ext"
	tagRaw     = "$raw"
	tagFloat64 = "$f64"
	tagFloat32 = "$f32"
	tagTime    = "$time"
)

// The bits of the numbers that are none, as math.NaN gives them.
const (
	nan64 = 0x7ff8000000000001
	nan32 = 0x7fc00000
)

// AppendValue appends a stored value as JSON on one line, whatever it is. All
// that a terminal could not show as it is stands behind a backslash.
func AppendValue(dst, value []byte, form Form) []byte {
	if !sound(value) {
		return appendTagged(dst, tagRaw, value)
	}
	dst, _ = form.value(dst, value)
	return dst
}

// value moves one value from src, which is sound, to dst.
func (f Form) value(dst, src []byte) (out, rest []byte) {
	it, after := next(src)
	if f == Exact && !it.canonical() {
		rest = skip(src)
		return appendTagged(dst, tagRaw, src[:len(src)-len(rest)]), rest
	}
	switch it.kind {
	case kindArray:
		return f.array(dst, after, it.count)
	case kindMap:
		return f.object(dst, after, it.count)
	}
	return f.scalar(dst, &it), after
}

// scalar appends what has no values inside.
func (f Form) scalar(dst []byte, it *item) []byte {
	switch it.kind {
	case kindBool:
		return strconv.AppendBool(dst, it.number != 0)
	case kindInt:
		return appendDecimal(dst, it)
	case kindFloat32, kindFloat64:
		return f.float(dst, it)
	case kindString:
		if !utf8.Valid(it.payload) {
			return appendTagged(dst, tagString, it.payload)
		}
		return AppendString(dst, it.payload)
	case kindBytes:
		return appendTagged(dst, tagBytes, it.payload)
	case kindExt:
		return f.extension(dst, it)
	}
	return append(dst, "null"...)
}

func appendDecimal(dst []byte, it *item) []byte {
	if it.negative {
		return strconv.AppendInt(dst, int64(it.number), 10)
	}
	return strconv.AppendUint(dst, it.number, 10)
}

// float appends a float: exactly, with its width unless it is the usual one and
// shows that it is no integer.
func (f Form) float(dst []byte, it *item) []byte {
	x, bits, tag, nan := math.Float64frombits(it.number), 64, tagFloat64, uint64(nan64)
	if it.kind == kindFloat32 {
		x, bits, tag, nan = float64(math.Float32frombits(uint32(it.number))), 32, tagFloat32, nan32
	}
	var text []byte
	switch {
	case math.IsNaN(x) && f == Exact && it.number != nan:
		return appendTagged(dst, tagRaw, it.encoded)
	case math.IsNaN(x) || math.IsInf(x, 0):
		text = AppendString(nil, strconv.FormatFloat(x, 'g', -1, 64))
	default:
		text = appendFloat(nil, x, bits)
	}
	if f == Plain || bits == 64 && x != math.Trunc(x) && !math.IsNaN(x) {
		return append(dst, text...)
	}
	return append(appendName(dst, tag), append(text, '}')...)
}

// appendFloat appends the shortest number that reads back as x, with an exponent
// only where people would write one.
func appendFloat(dst []byte, x float64, bits int) []byte {
	format := byte('f')
	if a := math.Abs(x); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, x, format, -1, bits)
}

func (f Form) extension(dst []byte, it *item) []byte {
	if t, ok := it.time(); ok && (f == Plain || bytes.Equal(appendTime(nil, t), it.encoded)) {
		text := t.Format(time.RFC3339Nano)
		if f == Plain {
			return AppendString(dst, text)
		}
		return append(AppendString(appendName(dst, tagTime), text), '}')
	}
	dst = append(appendName(dst, tagExt), '[')
	dst = append(strconv.AppendInt(dst, int64(it.ext), 10), ',')
	return append(appendBase64(dst, it.payload), "]}"...)
}

func (f Form) array(dst, src []byte, n int) (out, rest []byte) {
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, src = f.value(dst, src)
	}
	return append(dst, ']'), src
}

// object appends the n pairs of a map, as an object if one can have them.
func (f Form) object(dst, src []byte, n int) (out, rest []byte) {
	if !f.named(src, n) {
		dst = append(appendName(dst, tagMap), '[')
		for i := range n {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst, src = f.array(dst, src, 2)
		}
		return append(dst, "]}"...), src
	}
	dst = append(dst, '{')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		var key item
		key, src = next(src)
		dst = append(AppendString(dst, fieldName(&key)), ':')
		dst, src = f.value(dst, src)
	}
	return append(dst, '}'), src
}

// named reports whether the keys of a map can be the names of an object's
// fields: strings that are text, or in a plain form integers; each once.
func (f Form) named(src []byte, n int) bool {
	seen := make(map[string]bool, n)
	var first kind
	for i := range n {
		var key item
		key, src = next(src)
		if i == 0 {
			first = key.kind
		}
		text := key.kind == kindString && utf8.Valid(key.payload) && (f == Plain || key.canonical())
		whole := key.kind == kindInt && f == Plain
		if !text && !whole || key.kind != first {
			return false
		}
		name := string(fieldName(&key))
		if seen[name] || n == 1 && isTag(name) {
			return false
		}
		seen[name] = true
		src = skip(src)
	}
	return true
}

// isTag reports whether a single field of that name says what something is.
func isTag(name string) bool { return len(name) > 0 && name[0] == '$' }

func fieldName(key *item) []byte {
	if key.kind == kindInt {
		return appendDecimal(nil, key)
	}
	return key.payload
}

// appendName appends the beginning of an object with one field.
func appendName(dst []byte, tag string) []byte {
	return append(append(append(dst, `{"`...), tag...), `":`...)
}

func appendTagged(dst []byte, tag string, content []byte) []byte {
	return append(appendBase64(appendName(dst, tag), content), '}')
}

func appendBase64(dst, content []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), content)
	return append(dst, '"')
}

// AppendBytes appends bytes as {"$b64":...}.
func AppendBytes(dst, content []byte) []byte { return appendTagged(dst, tagBytes, content) }

// AppendRaw appends bytes that nobody understands as {"$raw":...}.
func AppendRaw(dst, content []byte) []byte { return appendTagged(dst, tagRaw, content) }

// AppendText appends a string as JSON, as {"$str_b64":...} if it is not UTF-8.
func AppendText[T ~string | ~[]byte](dst []byte, s T) []byte {
	if !utf8.ValidString(string(s)) {
		return appendTagged(dst, tagString, []byte(s))
	}
	return AppendString(dst, s)
}
