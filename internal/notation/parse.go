package notation

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// ParseValue returns the stored value that a JSON text stands for. It is the
// inverse of AppendValue with Exact, and takes any JSON besides: a number
// without fraction and exponent is an integer of 64 bits, any other a float64,
// an object a map of its fields in their order. An error says what no value can
// be; it is for people.
func ParseValue(text []byte) ([]byte, error) {
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	r := reader{src: text}
	out, err := r.value(nil, 0)
	if err != nil {
		return nil, err
	}
	if r.raw {
		return out, nil
	}
	return out, protocol.CheckMsgpack(out)
}

// ParseString returns the content of a JSON string.
func ParseString(text []byte) (string, error) {
	if err := checkJSON(text); err != nil {
		return "", err
	}
	r := reader{src: text}
	if r.peek() != '"' {
		return "", errors.New("no string")
	}
	s, err := r.str()
	return string(s), err
}

// ParseTagged returns the name and the content of an object with one field, and
// whether text is one whose name begins with "$".
func ParseTagged(text []byte) (name string, content []byte, ok bool, err error) {
	if err = checkJSON(text); err != nil {
		return "", nil, false, err
	}
	r := reader{src: text}
	if r.peek() != '{' {
		return "", nil, false, nil
	}
	r.at++
	return r.tagged()
}

// ParseBase64 returns the bytes of a JSON string that is base64.
func ParseBase64(text []byte) ([]byte, error) {
	s, err := ParseString(text)
	if err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no base64 with padding: %v", shortened(s), err)
	}
	return b, nil
}

// shortened keeps the text of an error short.
func shortened(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}

// nestedMax keeps the reader's own stack small. What is stored may be nested
// protocol.DepthMax deep; that is checked in the result.
const nestedMax = 2 * protocol.DepthMax

// value appends the next value to dst.
func (r *reader) value(dst []byte, depth int) ([]byte, error) {
	if depth > nestedMax {
		return dst, fmt.Errorf("nested more than %d deep", protocol.DepthMax)
	}
	switch r.peek() {
	case 'n':
		r.at += len("null")
		return append(dst, 0xc0), nil
	case 'f':
		r.at += len("false")
		return append(dst, 0xc2), nil
	case 't':
		r.at += len("true")
		return append(dst, 0xc3), nil
	case '"':
		s, err := r.str()
		return appendContent(dst, kindString, s), err
	case '[':
		r.at++
		return r.array(dst, depth)
	case '{':
		r.at++
		return r.object(dst, depth)
	}
	return appendNumber(dst, r.word())
}

// appendNumber appends an integer, or a float if the number is written as one.
func appendNumber(dst []byte, text string) ([]byte, error) {
	if strings.ContainsAny(text, ".eE") || text == "-0" {
		return appendFloatText(dst, text, 64)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return appendInt(dst, uint64(n), n < 0), nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return dst, fmt.Errorf(`%s has more than 64 bits; a float is written {"%s":%[1]s}`, shortened(text), tagFloat64)
	}
	return appendInt(dst, n, false), nil
}

// appendFloatText appends a number, or the name of what is none, as a float.
func appendFloatText(dst []byte, text string, bits int) ([]byte, error) {
	x, err := strconv.ParseFloat(text, bits)
	if err != nil {
		return dst, fmt.Errorf("%s is no float of %d bits", shortened(text), bits)
	}
	n := math.Float64bits(x)
	if x != x {
		n = nan64
	}
	if bits == 64 {
		return binary.BigEndian.AppendUint64(append(dst, 0xcb), n), nil
	}
	n32 := math.Float32bits(float32(x))
	if x != x {
		n32 = nan32
	}
	return binary.BigEndian.AppendUint32(append(dst, 0xca), n32), nil
}

// appendContent appends a string or bytes.
func appendContent(dst []byte, k kind, content []byte) []byte {
	return append(appendHead(dst, k, len(content)), content...)
}

// array reads the values up to the closing bracket.
func (r *reader) array(dst []byte, depth int) ([]byte, error) {
	begin, n := len(dst), 0
	if r.peek() == ']' {
		r.at++
		return appendHead(dst, kindArray, 0), nil
	}
	for end := byte(','); end == ','; n++ {
		var err error
		if dst, err = r.value(dst, depth+1); err != nil {
			return dst, err
		}
		end = r.take()
	}
	return insertHead(dst, begin, kindArray, n), nil
}

// insertHead puts a head before the values that it has inside, when it is known
// how many they are.
func insertHead(dst []byte, begin int, k kind, n int) []byte {
	var scratch [16]byte
	return slices.Insert(dst, begin, appendHead(scratch[:0], k, n)...)
}

// object reads the fields up to the closing brace.
func (r *reader) object(dst []byte, depth int) ([]byte, error) {
	if r.peek() == '}' {
		r.at++
		return appendHead(dst, kindMap, 0), nil
	}
	begin := r.at
	if name, content, ok, err := r.tagged(); ok || err != nil {
		if err != nil {
			return dst, err
		}
		return r.tag(dst, name, content, depth)
	}
	r.at = begin
	start, n := len(dst), 0
	seen := map[string]bool{}
	for end := byte(','); end == ','; n++ {
		r.peek()
		name, err := r.str()
		if err != nil {
			return dst, err
		}
		if seen[string(name)] {
			return dst, fmt.Errorf("the field %q is there twice", shortened(string(name)))
		}
		seen[string(name)] = true
		dst = appendContent(dst, kindString, name)
		r.take()
		if dst, err = r.value(dst, depth+1); err != nil {
			return dst, err
		}
		end = r.take()
	}
	return insertHead(dst, start, kindMap, n), nil
}

// tag appends what an object with one field stands for.
func (r *reader) tag(dst []byte, name string, content []byte, depth int) ([]byte, error) {
	switch name {
	case tagBytes, tagString, tagRaw:
		b, err := ParseBase64(content)
		if err != nil {
			return dst, fmt.Errorf("%s: %w", name, err)
		}
		return r.bytes(dst, name, b, depth)
	case tagFloat64, tagFloat32:
		bits := 64
		if name == tagFloat32 {
			bits = 32
		}
		text := string(content)
		if content[0] == '"' {
			text, _ = strconv.Unquote(text)
		}
		dst, err := appendFloatText(dst, text, bits)
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		return dst, err
	case tagTime:
		s, err := ParseString(content)
		if err != nil {
			return dst, fmt.Errorf("%s: %w", name, err)
		}
		return AppendTime(dst, s)
	case tagExt:
		return appendExtText(dst, content)
	case tagMap:
		return pairs(dst, content, depth)
	}
	return dst, fmt.Errorf("an object with the single field %q stands for a value that this release does not know; a map with that field is written {%q:[[%[1]q,...]]}", name, tagMap)
}

// bytes appends what is written as base64. What is within something else must be
// a value.
func (r *reader) bytes(dst []byte, name string, b []byte, depth int) ([]byte, error) {
	switch {
	case name == tagBytes:
		return appendContent(dst, kindBytes, b), nil
	case name == tagString:
		return appendContent(dst, kindString, b), nil
	case depth == 0:
		r.raw = true
	case !sound(b):
		return dst, fmt.Errorf("%s: within a value it must be one value in msgpack", tagRaw)
	}
	return append(dst, b...), nil
}

// AppendTime appends the stored form of a time in RFC 3339.
func AppendTime(dst []byte, text string) ([]byte, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return dst, fmt.Errorf("%q is no time such as 2026-03-01T12:00:00.5Z", shortened(text))
	}
	return appendTime(dst, t), nil
}

func appendExtText(dst, content []byte) ([]byte, error) {
	var parts []json.RawMessage
	wrong := fmt.Errorf("%s takes [TYPE, BASE64], with a type from -128 to 127", tagExt)
	if json.Unmarshal(content, &parts) != nil || len(parts) != 2 {
		return dst, wrong
	}
	ext, err := strconv.ParseInt(string(parts[0]), 10, 8)
	if err != nil {
		return dst, wrong
	}
	b, err := ParseBase64(parts[1])
	if err != nil {
		return dst, fmt.Errorf("%s: %w", tagExt, err)
	}
	return appendExt(dst, int8(ext), b), nil
}

// pairs appends a map that is written as an array of pairs.
func pairs(dst, content []byte, depth int) ([]byte, error) {
	wrong := fmt.Errorf("%s takes [[KEY, VALUE], ...]", tagMap)
	r := reader{src: content}
	if r.take() != '[' {
		return dst, wrong
	}
	begin, n := len(dst), 0
	if r.peek() == ']' {
		return appendHead(dst, kindMap, 0), nil
	}
	for end := byte(','); end == ','; n++ {
		if r.take() != '[' || r.peek() == ']' {
			return dst, wrong
		}
		for i := range 2 {
			var err error
			if dst, err = r.value(dst, depth+1); err != nil {
				return dst, err
			}
			if between := r.take(); (between == ',') != (i == 0) {
				return dst, wrong
			}
		}
		end = r.take()
	}
	return insertHead(dst, begin, kindMap, n), nil
}
