package resources

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"fmt"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/protocol"
)

// Values, arguments and answers of user types are msgpack, ints in their
// shortest form, maps in the order of their encoded keys, so that equal values
// have equal bytes on all members.
//
// A type that implements encoding.BinaryAppender (by value) and
// encoding.BinaryUnmarshaler (by pointer) encodes itself instead. Its
// UnmarshalBinary sees bytes from the network and must check them; it may keep
// them, nobody changes them.

// AppendValue appends the encoding of a value.
func AppendValue[T any](dst []byte, value T) ([]byte, error) {
	switch v := any(value).(type) { // what is common costs no encoder
	case uint64:
		return appendUint(dst, v), nil
	case protocol.Index:
		return appendUint(dst, uint64(v)), nil
	case int64:
		return appendInt(dst, v), nil
	case int:
		return appendInt(dst, int64(v)), nil
	case string:
		return append(appendLength(dst, len(v), 0xa0, 31, 0xd9), v...), nil
	case []byte:
		if v == nil {
			return append(dst, 0xc0), nil
		}
		return append(appendLength(dst, len(v), 0, -1, 0xc4), v...), nil
	}
	return appendAny(dst, value)
}

func appendAny[T any](dst []byte, value T) ([]byte, error) {
	if own, ok := any(value).(encoding.BinaryAppender); ok && ownCodec[T]() {
		return own.AppendBinary(dst)
	}
	e := encoders.Get().(*encoder)
	defer e.release()
	if err := e.msgpack.Encode(&value); err != nil {
		return dst, protocol.ErrInvalid.With("the value cannot be encoded: " + err.Error())
	}
	if mayHoldMap(reflect.TypeFor[T]()) {
		return appendCanonical(dst, e.buffer.Bytes())
	}
	return append(dst, e.buffer.Bytes()...), nil
}

// ParseValue reads what AppendValue wrote, or ErrMalformed. It withstands any
// input. No bytes read as nothing: the zero value, or of an argument that is a
// struct without fields.
func ParseValue[T any](src []byte) (T, error) {
	var value T
	if own, ok := any(&value).(encoding.BinaryUnmarshaler); ok && ownCodec[T]() {
		return value, malformed(own.UnmarshalBinary(src))
	}
	if len(src) == 0 {
		return value, nil
	}
	if err := protocol.CheckMsgpack(src); err != nil {
		return value, err
	}
	return value, malformed(unmarshal(src, &value))
}

// unmarshal decodes a value by the library, which panics on some input that its
// types do not expect (a nil where a time belongs): that is malformed, too.
func unmarshal(src []byte, into any) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("decoding a %T: %v", into, cause)
		}
	}()
	return msgpack.Unmarshal(src, into)
}

// appendUint appends the shortest form.
func appendUint(dst []byte, v uint64) []byte {
	switch {
	case v < 1<<7:
		return append(dst, byte(v))
	case v < 1<<8:
		return append(dst, 0xcc, byte(v))
	case v < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0xcd), uint16(v))
	case v < 1<<32:
		return binary.BigEndian.AppendUint32(append(dst, 0xce), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xcf), v)
}

// appendInt appends the shortest form.
func appendInt(dst []byte, v int64) []byte {
	switch {
	case v >= 0:
		return appendUint(dst, uint64(v))
	case v >= -1<<5:
		return append(dst, byte(v))
	case v >= -1<<7:
		return append(dst, 0xd0, byte(v))
	case v >= -1<<15:
		return binary.BigEndian.AppendUint16(append(dst, 0xd1), uint16(v))
	case v >= -1<<31:
		return binary.BigEndian.AppendUint32(append(dst, 0xd2), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xd3), uint64(v))
}

// appendLength appends the head of a string or of bytes: fix with a length of
// at most fixMax, or one of three codes from long on.
func appendLength(dst []byte, n int, fix byte, fixMax int, long byte) []byte {
	switch {
	case n <= fixMax:
		return append(dst, fix|byte(n))
	case n < 1<<8:
		return append(dst, long, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, long+1), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, long+2), uint32(n))
}

// malformed hides the text of a decoder from what is replicated: it may change
// with its release.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	return protocol.ErrMalformed.Because(err)
}

// ownCodec reports whether T has both halves of a codec.
func ownCodec[T any]() bool {
	var value T
	_, out := any(value).(encoding.BinaryAppender)
	_, in := any(&value).(encoding.BinaryUnmarshaler)
	return out && in
}

// encoder is pooled: making one costs more than a small value.
type encoder struct {
	buffer  bytes.Buffer
	msgpack *msgpack.Encoder
}

var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.msgpack = msgpack.NewEncoder(&e.buffer)
	e.msgpack.UseCompactInts(true)
	return e
}}

// encoderBytesMax is how large a buffer may be to go back to the pool.
const encoderBytesMax = 64 << 10

func (e *encoder) release() {
	if e.buffer.Cap() <= encoderBytesMax {
		e.buffer.Reset()
		encoders.Put(e)
	}
}

// mapTypes remembers for each type whether its values may hold a Go map, whose
// entries the encoder writes in random order.
var mapTypes sync.Map // order does not matter: looked up by reflect.Type only

func mayHoldMap(t reflect.Type) bool {
	if known, ok := mapTypes.Load(t); ok {
		return known.(bool)
	}
	found := holdsMap(t, map[reflect.Type]bool{})
	mapTypes.Store(t, found)
	return found
}

func holdsMap(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Map, reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return encodesItself(t) || holdsMap(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsMap(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return encodesItself(t)
}

// encodesItself reports whether a type writes its own msgpack, in which case
// anything may be inside.
func encodesItself(t reflect.Type) bool {
	custom := reflect.TypeFor[msgpack.CustomEncoder]()
	marshal := reflect.TypeFor[msgpack.Marshaler]()
	p := reflect.PointerTo(t)
	return t.Implements(custom) || t.Implements(marshal) || p.Implements(custom) || p.Implements(marshal)
}
