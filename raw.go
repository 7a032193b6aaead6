package starling

import (
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// Raw is a value as it is encoded, of whatever type: for programs that show or
// move values that they do not know. It is a value type for Map and Queue.
type Raw []byte

// AppendRaw appends the value as it is.
func (r Raw) AppendRaw(dst []byte) ([]byte, error) { return append(dst, r...), nil }

// ParseRaw takes a value as it is.
func (Raw) ParseRaw(src []byte) (Raw, error) { return src, nil }

// Text returns a value that is a string, and whether it is one.
func (r Raw) Text() (string, bool) {
	if len(r) == 0 || !isString(r[0]) {
		return "", false
	}
	s, err := resources.ParseValue[string](r)
	return s, err == nil
}

// isString reports whether a msgpack value that begins with c is a string.
func isString(c byte) bool { return c&0xe0 == 0xa0 || c >= 0xd9 && c <= 0xdb }

// MarshalJSON returns the value as JSON: bytes as base64, the entries of a map
// in order. A value that cannot be decoded is the quoted string of its bytes.
func (r Raw) MarshalJSON() ([]byte, error) { return kvmap.ValueJSON(r), nil }
