package starling

import (
	"github.com/starlinghq/starling/internal/notation"
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
func (r Raw) Text() (string, bool) { return notation.AsString(r) }

// Type returns the name of the value's type: nil, bool, int, float32, float64,
// string, bytes, time, ext, array or map; raw if it cannot be decoded.
func (r Raw) Type() string { return notation.TypeOf(r) }

// String shows the value to people, on one line: a string as it is, quoted as in
// Go if something in it is not visible or if it begins with a double quote, a
// time in RFC 3339, anything else as JSON.
func (r Raw) String() string { return notation.Text(r, notation.Quote) }

// MarshalJSON returns the value as JSON, without loss of content: integers with
// all their digits, a time as a string in RFC 3339, the fields of a map in the
// order in which they are stored. What JSON has not is an object with one field:
// bytes {"$b64":"aGk="}, a string that is not UTF-8 {"$str_b64":"/w=="}, a map
// that no object can be {"$map":[[1,"a"]]}, an extension of msgpack
// {"$ext":[5,"aGk="]}, and what cannot be decoded {"$raw":"wQ=="}.
func (r Raw) MarshalJSON() ([]byte, error) { return notation.AppendValue(nil, r, notation.Plain), nil }

// RawKey is a key of a map as it is encoded, of whatever type. It is a key type
// for Map, with which a handle reads and writes maps whatever their keys are:
//
//	anything := starling.NewMap[starling.RawKey, starling.Raw](c, "name")
//
// A RawKey says its kind, shows itself as text and as JSON, and [KeyOf] reads it.
type RawKey = kvmap.RawKey

// KeyKind says what a RawKey is: KindString, KindBytes, KindInt or KindUint.
type KeyKind = kvmap.Kind

// The kinds of keys. Signed integers of all sizes are one, unsigned ones
// another.
const (
	KindBytes  = kvmap.KindBytes
	KindInt    = kvmap.KindInt
	KindString = kvmap.KindString
	KindUint   = kvmap.KindUint
)

// RawKeyOf encodes a key.
func RawKeyOf[K Key](key K) RawKey { return kvmap.AppendKey(nil, key) }

// KeyOf decodes a key. ErrWrongType: it is of another type, and the text says
// of which.
func KeyOf[K Key](key RawKey) (K, error) { return kvmap.ParseKey[K](key) }
