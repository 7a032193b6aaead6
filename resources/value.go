package resources

import (
	"reflect"

	"github.com/starlinghq/starling/internal/value"
	"github.com/starlinghq/starling/protocol"
)

// RawCodec is what a type implements whose values are bytes already: what
// AppendRaw appends is stored as it is, in place of a msgpack value. Nobody but
// the type can show it. ParseRaw, of any value of the type, reads it; it sees
// bytes from the network and must check them; it may keep them, nobody changes
// them. It counts where a value stands alone, as an argument, an answer, or in a
// table, not inside another value.
type RawCodec[T any] interface {
	AppendRaw(dst []byte) ([]byte, error)
	ParseRaw(src []byte) (T, error)
}

// AppendValue appends the encoding of a value: one msgpack value, which depends
// on nothing but the value, so that equal values have equal bytes on all members;
// integers in their shortest form, maps in the order of their encoded keys. What
// is accepted can be read by ParseValue, and is what was written:
//
//   - Struct fields go by their names, or by their msgpack tags: "name",
//     "omitempty", "-", "alias", "inline", "noinline", and on a field _msgpack
//     "as_array". Fields with names in lower case are left away. Omitempty leaves
//     empty slices and maps away, which come back nil; otherwise nil and empty
//     are two things.
//   - A time comes back in UTC, without its zone and its monotonic clock.
//   - A type with EncodeMsgpack and DecodeMsgpack, MarshalMsgpack and
//     UnmarshalMsgpack, MarshalBinary and UnmarshalBinary, or MarshalText and
//     UnmarshalText is written and read by those, in this order; it needs both
//     halves of a pair. The first two write exactly one msgpack value, the other
//     two are stored as bytes. But a value that stands alone and has a text form
//     (netip.Addr, *big.Int, net.IP) is stored as that string, for people to read.
//   - What is in an interface comes back as its plain form: nil, bool, string,
//     []byte, time.Time, float32, float64, []any and map[string]any (also of
//     a struct), and whole numbers of any size as int64, or as uint64 if they
//     are too large for that.
//
// A type that would lose a part of its values is refused, by [CheckType] at the
// latest: docs/values.md has the list. So is a value that shows only when it is
// written: one that is cyclic or nested more than protocol.DepthMax deep, one
// whose methods write something else each time or nothing that they can read, one
// of more than protocol.FrameBytesMax bytes.
//
// The error is ErrInvalid, with the place in the value, whatever is wrong: codes
// are replicated, and of two faults in a map either may be found first. Only where
// a type can have no other fault (no methods, no interface, not itself inside) too
// many bytes are ErrTooLarge.
func AppendValue[T any](dst []byte, v T) ([]byte, error) {
	switch v := any(v).(type) { // what is common costs no plan
	case uint64:
		return value.AppendUint(dst, v), nil
	case protocol.Index:
		return value.AppendUint(dst, uint64(v)), nil
	case int64:
		return value.AppendInt(dst, v), nil
	case int:
		return value.AppendInt(dst, int64(v)), nil
	case string:
		return value.AppendString(dst, v), nil
	case []byte:
		return value.AppendBytes(dst, v), nil
	}
	return appendOther(dst, v)
}

func appendOther[T any](dst []byte, v T) ([]byte, error) {
	if own, ok := any(&v).(RawCodec[T]); ok {
		return own.AppendRaw(dst)
	}
	return value.Append(dst, reflect.ValueOf(&v).Elem())
}

// appendTold is AppendValue for an operation's machine.
func appendTold[T any](v T, encoded encodedFunc) ([]byte, error) {
	data, err := AppendValue(nil, v)
	if encoded != nil {
		tell(v, encoded, data, err)
	}
	return data, err
}

// tell stands alone because of the copy that outlives it.
func tell[T any](v T, encoded encodedFunc, data []byte, err error) {
	encoded(reflect.TypeFor[T](), data, err, func() ([]byte, error) { return AppendValue(nil, v) })
}

// ParseValue reads what AppendValue wrote, or ErrMalformed: also if there is a
// number that its type cannot hold, another kind of value than the type wants, or
// anything after the value. Nil and no bytes at all read as the zero value; fields
// that the type does not have are passed over. It withstands any input.
func ParseValue[T any](src []byte) (T, error) {
	p := new(T)
	if own, ok := any(p).(RawCodec[T]); ok {
		return parseOwn(own, src)
	}
	err := parseInto(src, p)
	return *p, err
}

// parserOf is ParseValue for who reads many of a type. What it costs to find out that a type reads itself, an
// allocation each time, it costs once: a codec that is a value has nothing that two calls could share.
func parserOf[T any]() func(src []byte) (T, error) {
	p := new(T)
	own, ok := any(*p).(RawCodec[T])
	if _, reads := any(p).(RawCodec[T]); !ok || !reads {
		return ParseValue[T]
	}
	return func(src []byte) (T, error) { return parseOwn(own, src) }
}

func parseOwn[T any](own RawCodec[T], src []byte) (T, error) {
	v, err := own.ParseRaw(src)
	if err != nil {
		err = protocol.ErrMalformed.With("malformed value").Because(err)
	}
	return v, err
}

func parseInto[T any](src []byte, into *T) (err error) {
	if len(src) == 0 {
		return nil
	}
	switch p := any(into).(type) { // what is common costs no plan
	case *uint64:
		*p, err = value.ParseUint(src, reflect.TypeFor[T]())
	case *protocol.Index:
		var n uint64
		n, err = value.ParseUint(src, reflect.TypeFor[T]())
		*p = protocol.Index(n)
	case *int64:
		*p, err = value.ParseInt(src, reflect.TypeFor[T]())
	case *int:
		var n int64
		n, err = value.ParseInt(src, reflect.TypeFor[T]())
		*p = int(n)
	case *string:
		*p, err = value.ParseString(src)
	case *[]byte:
		*p, err = value.ParseBytes(src)
	default:
		err = value.ParseInto(src, reflect.ValueOf(into).Elem())
	}
	return err
}

// CheckType reports whether values of a type can be stored: nil, or an
// ErrInvalid that names each place in the type where one would lose something,
// and the way out.
func CheckType[T any]() error {
	var v T
	if _, own := any(v).(RawCodec[T]); own {
		return nil
	}
	return value.PlanOf(reflect.TypeFor[T]()).Fault()
}
