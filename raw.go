package starling

import (
	"bytes"
	"encoding/json"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/protocol"
)

// Raw is a value as it is encoded, of whatever type: for programs that show or
// move values that they do not know. It is a value type for Map and Queue.
type Raw []byte

// AppendBinary appends the value as it is.
func (r Raw) AppendBinary(dst []byte) ([]byte, error) { return append(dst, r...), nil }

// UnmarshalBinary takes a value as it is.
func (r *Raw) UnmarshalBinary(src []byte) error {
	*r = src
	return nil
}

// Text returns a value that is a string.
func (r Raw) Text() (string, bool) {
	if len(r) == 0 || !isString(r[0]) {
		return "", false
	}
	var s string
	err := msgpack.Unmarshal(r, &s)
	return s, err == nil
}

// isString reports whether a msgpack value that begins with c is a string.
func isString(c byte) bool { return c&0xe0 == 0xa0 || c >= 0xd9 && c <= 0xdb }

// MarshalJSON returns the value as JSON: bytes as base64, a map's keys in
// order. A value that is no msgpack is ErrMalformed.
func (r Raw) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
	}
	if err := protocol.CheckMsgpack(r); err != nil {
		return nil, err
	}
	d := msgpack.NewDecoder(bytes.NewReader(r))
	d.SetMapDecoder(decodeObject)
	v, err := d.DecodeInterface()
	if err != nil {
		return nil, protocol.ErrMalformed.Because(err)
	}
	return json.Marshal(v)
}

// decodeObject decodes a map with keys of any kind into one that JSON has.
func decodeObject(d *msgpack.Decoder) (any, error) {
	n, err := d.DecodeMapLen()
	if err != nil || n < 0 {
		return nil, err
	}
	out := map[string]any{}
	for range n {
		k, err := d.DecodeInterface()
		if err != nil {
			return nil, err
		}
		key, ok := k.(string)
		if !ok {
			b, err := json.Marshal(k)
			if err != nil {
				return nil, err
			}
			key = string(b)
		}
		if out[key], err = d.DecodeInterface(); err != nil {
			return nil, err
		}
	}
	return out, nil
}
