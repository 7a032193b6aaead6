package kvmap

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/starlinghq/starling/internal/notation"
)

// tagUint is what tells an unsigned key from a signed one in exact JSON.
const tagUint = "$uint"

// String shows a key to people: a string as it is, quoted as in Go if something
// in it is not visible, if its ends could be overlooked or if it begins with a
// double quote; a number in decimal; bytes in base64; a malformed key as
// {"$raw":...}. Two keys of one kind never look alike.
func (k RawKey) String() string {
	switch k.Kind() {
	case KindString:
		return notation.Quote(string(k[1:]))
	case KindBytes:
		return base64.StdEncoding.EncodeToString(k[1:])
	}
	return string(k.appendJSON(nil, false))
}

// shown is String for a text that is to stay short.
func shown(stored []byte) string {
	const most = 40
	if len(stored) <= most {
		return RawKey(stored).String()
	}
	return RawKey(stored[:most]).String() + "..."
}

// MarshalJSON returns a string key as a JSON string, {"$str_b64":...} if it is
// not UTF-8, an integer key as a number, bytes as {"$b64":...}, and a malformed
// key as {"$raw":...} with all its bytes; each in base64.
func (k RawKey) MarshalJSON() ([]byte, error) { return k.appendJSON(nil, false), nil }

// AppendJSON appends the key as JSON from which [ParseRawKey] reads it back. It
// is that of MarshalJSON, but for unsigned keys: {"$uint":7}.
func (k RawKey) AppendJSON(dst []byte) []byte { return k.appendJSON(dst, true) }

func (k RawKey) appendJSON(dst []byte, exact bool) []byte {
	switch k.Kind() {
	case KindString:
		return notation.AppendText(dst, k[1:])
	case KindBytes:
		return notation.AppendBytes(dst, k[1:])
	case KindInt:
		return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(k[1:])^1<<63), 10)
	case KindUint:
		n := binary.BigEndian.Uint64(k[1:])
		if !exact {
			return strconv.AppendUint(dst, n, 10)
		}
		return append(strconv.AppendUint(append(dst, `{"`+tagUint+`":`...), n, 10), '}')
	}
	return notation.AppendRaw(dst, k)
}

// ParseRawKey reads a key that AppendJSON wrote. The error is for people.
func ParseRawKey(text []byte) (RawKey, error) {
	text = bytes.TrimSpace(text)
	name, content, tagged, err := notation.ParseTagged(text)
	switch {
	case err != nil:
		return nil, err
	case tagged:
		return parseTaggedKey(name, content)
	case len(text) > 0 && text[0] == '"':
		s, err := notation.ParseString(text)
		return AppendKey(nil, s), err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return nil, fmt.Errorf(`a key is a string, a whole number of 64 bits, {"%s":N}, or bytes as {"$b64":...}`, tagUint)
	}
	return AppendKey(nil, n), nil
}

func parseTaggedKey(name string, content []byte) (RawKey, error) {
	if name == tagUint {
		n, err := strconv.ParseUint(string(content), 10, 64)
		if err != nil {
			return nil, errors.New(tagUint + " takes a whole number from 0 to 18446744073709551615")
		}
		return AppendKey(nil, n), nil
	}
	b, err := notation.ParseBase64(content)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case name == "$b64":
		return AppendKey(nil, b), nil
	case name == "$str_b64":
		return AppendKey(nil, string(b)), nil
	case name == "$raw" && len(b) > 0:
		return b, nil
	}
	return nil, fmt.Errorf("no key is written with the field %q", name)
}
