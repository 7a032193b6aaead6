package value

import (
	"fmt"
	"reflect"

	"github.com/starlinghq/starling/protocol"
)

// ParseString, ParseBytes, ParseInt and ParseUint read what their namesakes
// append, like ParseInto, without a plan. Nil is the zero value. ErrMalformed.
func ParseString(src []byte) (string, error) {
	if err := whole(src, isString, reflect.TypeFor[string]()); err != nil || src[0] == codeNil {
		return "", err
	}
	return string(src[stringHead(src[0]):]), nil
}

// ParseBytes returns a copy.
func ParseBytes(src []byte) ([]byte, error) {
	if err := whole(src, isBytes, reflect.TypeFor[[]byte]()); err != nil || src[0] == codeNil {
		return nil, err
	}
	return append(make([]byte, 0, len(src)), src[bytesHead(src[0]):]...), nil
}

// ParseInt reads a number of a type with a sign.
func ParseInt(src []byte, t reflect.Type) (int64, error) {
	n, err := parseNumber(src, t)
	if err == nil && !n.fitsInt(t.Bits()) {
		err = protocol.ErrMalformed.With(fmt.Sprintf("malformed value: %v does not fit %s", n, t))
	}
	return int64(n.n), err
}

// ParseUint reads a number of a type without a sign.
func ParseUint(src []byte, t reflect.Type) (uint64, error) {
	n, err := parseNumber(src, t)
	if err == nil && !n.fitsUint(t.Bits()) {
		err = protocol.ErrMalformed.With(fmt.Sprintf("malformed value: %v does not fit %s", n, t))
	}
	return n.n, err
}

func parseNumber(src []byte, t reflect.Type) (number, error) {
	isNumber := func(c byte) bool { return c <= 0x7f || c >= 0xe0 || c >= 0xcc && c <= 0xd3 }
	if err := whole(src, isNumber, t); err != nil || src[0] == codeNil {
		return number{}, err
	}
	n, _ := readNumber(src)
	return n, nil
}

// whole demands one value of a kind, or nil. src is not empty.
func whole(src []byte, kind func(c byte) bool, t reflect.Type) error {
	if !kind(src[0]) && src[0] != codeNil {
		return malformed(mismatch(t, src[0]))
	}
	if size, _, ok := protocol.ScanMsgpack(src); !ok || size != len(src) {
		return protocol.ErrMalformed.With(fmt.Sprintf("malformed value: %s of %d bytes, the value has %d", codeName(src[0]), size, len(src)))
	}
	return nil
}
