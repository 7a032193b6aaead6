package protocol

import (
	"encoding/binary"
	"fmt"
)

// CheckMsgpack demands that src is one whole msgpack value that a general
// decoder can be given: see [SizeMsgpack]. ErrMalformed, also for bytes that
// follow the value.
func CheckMsgpack(src []byte) error {
	size, err := SizeMsgpack(src)
	if err == nil && size < len(src) {
		err = ErrMalformed.With(fmt.Sprintf("malformed value: %d bytes follow it", len(src)-size))
	}
	return err
}

// SizeMsgpack scans the msgpack value that src begins with and returns its
// length. It reports as ErrMalformed what would hurt a general decoder: a length
// that is not there (it would be allocated first), nesting beyond DepthMax (the
// stack would overflow), a value cut short. It runs before bytes from outside
// are decoded into a user's type. It takes one pass and allocates nothing.
func SizeMsgpack(src []byte) (int, error) {
	var open [DepthMax]uint32 // per level, how many values are still to come
	depth, at := 0, 0
	for owed := 1; owed > 0; { // their sum, and the value itself: each takes a byte at least
		left := len(src) - at
		if owed > left {
			return 0, ErrMalformed.With(fmt.Sprintf("malformed value: %d elements announced, %d bytes left", owed, left))
		}
		size, inside, ok := ScanMsgpack(src[at:])
		if !ok || size > left {
			return 0, ErrMalformed.With(fmt.Sprintf("malformed value: cut short, or unknown format, %d bytes before its end", left))
		}
		at += size
		owed--
		if depth > 0 {
			open[depth-1]--
		}
		if inside > 0 {
			if depth == DepthMax {
				return 0, ErrMalformed.With(fmt.Sprintf("malformed value: nested more than %d deep", DepthMax))
			}
			if inside > left-size {
				return 0, ErrMalformed.With(fmt.Sprintf("malformed value: %d elements announced, %d bytes left", inside, left-size))
			}
			open[depth] = uint32(inside)
			depth++
			owed += inside
		}
		for depth > 0 && open[depth-1] == 0 {
			depth--
		}
	}
	return at, nil
}

// ScanMsgpack returns how many bytes to pass over, for the head of a container
// or the whole of anything else, and how many values a container has inside: of
// a map two for each entry. It is false for a head that is cut short or unknown.
// src is not empty; size may go beyond its end.
func ScanMsgpack(b []byte) (size, inside int, ok bool) {
	c := b[0]
	switch {
	case c <= fixIntMax || c >= 0xe0 || c == codeNil || c == codeFalse || c == codeTrue:
		return 1, 0, true
	case c <= 0x8f:
		return 1, 2 * int(c&0x0f), true
	case c <= 0x9f:
		return 1, int(c & 0x0f), true
	case c <= 0xbf:
		return 1 + int(c&0x1f), 0, true
	}
	// The rest is a table: how many bytes of length or value follow the first
	// byte, and what they say.
	const mapKind, arrayKind, bytesKind, extKind, fixed = 0, 1, 2, 3, 4
	var width, kind int
	switch c {
	case codeBin8, codeStr8:
		width, kind = 1, bytesKind
	case codeBin16, codeStr16:
		width, kind = 2, bytesKind
	case codeBin32, codeStr32:
		width, kind = 4, bytesKind
	case 0xc7, 0xc8, 0xc9: // ext
		width, kind = 1<<(c-0xc7), extKind
	case codeUint8, codeInt8:
		width, kind = 1, fixed
	case codeUint16, codeInt16:
		width, kind = 2, fixed
	case codeUint32, codeInt32, 0xca: // float32
		width, kind = 4, fixed
	case codeUint64, codeInt64, 0xcb: // float64
		width, kind = 8, fixed
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // fixext, with its type byte
		width, kind = 1+1<<(c-0xd4), fixed
	case codeArray16:
		width, kind = 2, arrayKind
	case codeArray32:
		width, kind = 4, arrayKind
	case 0xde:
		width, kind = 2, mapKind
	case 0xdf:
		width, kind = 4, mapKind
	default:
		return 0, 0, false
	}
	if kind == fixed {
		return 1 + width, 0, true
	}
	if len(b) < 1+width {
		return 0, 0, false
	}
	n := bigEndian(b[1 : 1+width])
	switch kind {
	case bytesKind:
		return 1 + width + n, 0, true
	case extKind:
		return 1 + width + 1 + n, 0, true
	case arrayKind:
		return 1 + width, n, true
	}
	return 1 + width, 2 * n, true
}

func bigEndian(b []byte) int {
	switch len(b) {
	case 1:
		return int(b[0])
	case 2:
		return int(binary.BigEndian.Uint16(b))
	}
	return length32(b)
}

// lengthMax is longer than any input is, and small enough that sums and doubles of two
// fit 32 bits.
const lengthMax = 1 << 28

// length32 is a decoded length that becomes an int: of 32 bits, and so perhaps a
// negative one, unless it is compared first. Whatever is announced above lengthMax
// counts as that, and is not there either.
func length32(b []byte) int { return int(min(binary.BigEndian.Uint32(b), lengthMax)) }
