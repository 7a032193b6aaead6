package kvmap

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// KeyBytesMax limits the bytes of a key, which may be empty.
const KeyBytesMax = protocol.KeyBytesMax - 1

// Kind says what a key is. It is the first byte of the key as the map holds it;
// other first bytes are reserved.
type Kind byte

const (
	KindBytes  Kind = 'b'
	KindInt    Kind = 'i'
	KindString Kind = 's'
	KindUint   Kind = 'u'
)

// Kinds returns all kinds, in the order in which a map that has keys of several
// holds them.
func Kinds() []Kind { return []Kind{KindBytes, KindInt, KindString, KindUint} }

// String returns bytes, int, string or uint, and malformed for anything else.
func (k Kind) String() string {
	switch k {
	case KindBytes:
		return "bytes"
	case KindInt:
		return "int"
	case KindString:
		return "string"
	case KindUint:
		return "uint"
	}
	return "malformed"
}

// KindOf returns the kind of the keys of type K, signed integers of all sizes
// being one, unsigned ones another. A RawKey has none of its own: 0.
func KindOf[K resources.Key]() Kind {
	var key K
	switch any(key).(type) {
	case string:
		return KindString
	case RawKey:
		return 0
	}
	switch t := reflect.TypeFor[K](); {
	case t.Kind() == reflect.String:
		return KindString
	case t.Kind() == reflect.Slice:
		return KindBytes
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		return KindInt
	}
	return KindUint
}

// AppendKey appends a key as maps hold it: a byte that says what it is, then the
// key by [resources.AppendKey], which keeps the order. A [RawKey] is appended as
// it is.
func AppendKey[K resources.Key](dst []byte, key K) []byte {
	if kind := KindOf[K](); kind != 0 {
		dst = append(dst, byte(kind))
	}
	return resources.AppendKey(dst, key)
}

// EncodeKey is AppendKey for a key that a request names: ErrTooLarge if it has
// more than KeyBytesMax bytes, ErrInvalid for a RawKey of none.
func EncodeKey[K resources.Key](key K) ([]byte, error) {
	stored := AppendKey(make([]byte, 0, 32), key)
	if err := checkSize("key", stored); err != nil {
		return nil, err
	}
	if len(stored) == 0 {
		return nil, protocol.ErrInvalid.With("a raw key is not empty: it begins with the byte of its kind")
	}
	return stored, nil
}

// checkSize speaks of the bytes that the user has given: those behind the kind,
// if there is one.
func checkSize(what string, stored RawKey) error {
	given, most := len(stored), protocol.KeyBytesMax
	if given <= most {
		return nil
	}
	if stored.Kind() != 0 {
		given, most = given-1, KeyBytesMax
	}
	return protocol.ErrTooLarge.With(fmt.Sprintf("the %s has %d bytes, the limit is %d", what, given, most))
}

// EncodePrefix returns what the stored keys begin with that begin with prefix,
// as bytes of strings and byte slices do; of a RawKey, the prefix as it is. No
// bytes are all keys, of whatever kind. ErrInvalid: integers begin with nothing.
func EncodePrefix[K resources.Key](prefix []byte) ([]byte, error) {
	if len(prefix) == 0 {
		return nil, nil
	}
	kind, stored := KindOf[K](), prefix
	switch kind {
	case KindInt, KindUint:
		return nil, protocol.ErrInvalid.With(fmt.Sprintf("a prefix is what string and bytes keys begin with, and these keys are of type %v: watch all of them, or scan a range", kind))
	case KindString, KindBytes:
		stored = append([]byte{byte(kind)}, prefix...)
	}
	return stored, checkSize("prefix", stored)
}

// ParseKey reads what AppendKey wrote; the result does not alias it. A key of
// another kind is ErrWrongType and says of which, one that AppendKey never
// writes ErrMalformed. A RawKey takes any.
func ParseKey[K resources.Key](stored []byte) (K, error) {
	var key K
	if raw, ok := any(&key).(*RawKey); ok {
		*raw = bytes.Clone(stored)
		return key, nil
	}
	kind, want := RawKey(stored).Kind(), KindOf[K]()
	switch kind {
	case want:
		return resources.ParseKey[K](stored[1:])
	case 0:
		return key, protocol.ErrMalformed.With(fmt.Sprintf("malformed key %s: no kind of key is stored like this", shown(stored)))
	}
	return key, protocol.ErrWrongType.With(fmt.Sprintf("the key %s is of type %v, and keys of type %v were asked for", shown(stored), kind, want))
}

// RawKey is a key as a map holds it, of whatever kind: for programs that show
// or move keys that they do not know. It is encoded as it is, so whoever makes
// one answers for it.
type RawKey []byte

// Kind returns what the key is, 0 if it is malformed.
func (k RawKey) Kind() Kind {
	if len(k) == 0 {
		return 0
	}
	kind := Kind(k[0])
	switch number := kind == KindInt || kind == KindUint; {
	case number && len(k) != 1+8, !slices.Contains(Kinds(), kind):
		return 0
	}
	return kind
}
