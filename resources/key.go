package resources

import (
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/starlinghq/starling/protocol"
)

// Key is what tables and maps can be keyed by. The encoding keeps the order:
// strings and bytes bytewise, numbers by value. It does not say what a key is:
// a table knows, and a map puts a byte before it (see kvmap.AppendKey).
type Key interface {
	~string | ~[]byte |
		~int | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// AppendKey appends the encoding of a key: the bytes of a string or a slice as
// they are, and eight bytes, most significant first, for a number, the sign bit
// of a signed one turned over.
func AppendKey[K Key](dst []byte, key K) []byte {
	switch k := any(key).(type) {
	case string:
		return append(dst, k...)
	case []byte:
		return append(dst, k...)
	case int:
		return appendSigned(dst, int64(k))
	case int64:
		return appendSigned(dst, k)
	case uint64:
		return binary.BigEndian.AppendUint64(dst, k)
	}
	v := reflect.ValueOf(key)
	switch {
	case v.Kind() == reflect.String:
		return append(dst, v.String()...)
	case v.Kind() == reflect.Slice:
		return append(dst, v.Bytes()...)
	case v.CanInt():
		return appendSigned(dst, v.Int())
	}
	return binary.BigEndian.AppendUint64(dst, v.Uint())
}

func appendSigned(dst []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(n)^1<<63)
}

// ParseKey reads what AppendKey wrote. Bytes that AppendKey[K] never writes are
// refused with ErrMalformed. The result does not alias src.
func ParseKey[K Key](src []byte) (K, error) {
	var key K
	v := reflect.ValueOf(&key).Elem()
	switch v.Kind() {
	case reflect.String:
		v.SetString(string(src))
		return key, nil
	case reflect.Slice:
		v.SetBytes(append([]byte{}, src...))
		return key, nil
	}
	if len(src) != 8 {
		return key, protocol.ErrMalformed.With(fmt.Sprintf("malformed key: a %T has 8 bytes, this key %d", key, len(src)))
	}
	n := binary.BigEndian.Uint64(src)
	if v.CanInt() {
		if signed := int64(n ^ 1<<63); !v.OverflowInt(signed) {
			v.SetInt(signed)
			return key, nil
		}
	} else if !v.OverflowUint(n) {
		v.SetUint(n)
		return key, nil
	}
	return key, protocol.ErrMalformed.With(fmt.Sprintf("malformed key: out of the range of %T", key))
}

// PrefixEnd returns the first key after all keys that begin with prefix, or nil
// if there is none: Scan(prefix, PrefixEnd(prefix)) reads exactly those.
func PrefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := append([]byte{}, prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}
