package resources

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// appendCanonical appends a msgpack value with the entries of each map, at any
// depth, in the order of their encoded keys. The input comes from our own
// encoder; it is checked all the same, because custom encoders can write
// anything.
func appendCanonical(dst, src []byte) ([]byte, error) {
	if err := protocol.CheckMsgpack(src); err != nil {
		return dst, err
	}
	for len(src) > 0 {
		dst, src = appendSorted(dst, src)
	}
	return dst, nil
}

// appendSorted moves one value from src to dst. src has been checked.
func appendSorted(dst, src []byte) (out, rest []byte) {
	head, elements, isMap := header(src)
	dst, src = append(dst, src[:head]...), src[head:]
	if !isMap {
		for range elements {
			dst, src = appendSorted(dst, src)
		}
		return dst, src
	}
	type pair struct{ key, value []byte }
	pairs := make([]pair, elements)
	for i := range pairs {
		pairs[i].key, src = appendSorted(nil, src)
		pairs[i].value, src = appendSorted(nil, src)
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	for _, p := range pairs {
		dst = append(append(dst, p.key...), p.value...)
	}
	return dst, src
}

// header returns the length of a value without the values inside it, and how
// many of those there are: pairs, if it is a map.
func header(src []byte) (head, elements int, isMap bool) {
	be := binary.BigEndian
	switch c := src[0]; {
	case c <= 0x7f || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3:
		return 1, 0, false
	case c <= 0x8f:
		return 1, int(c & 0x0f), true
	case c <= 0x9f:
		return 1, int(c & 0x0f), false
	case c <= 0xbf:
		return 1 + int(c&0x1f), 0, false
	case c == 0xc4 || c == 0xd9:
		return 2 + int(src[1]), 0, false
	case c == 0xc5 || c == 0xda:
		return 3 + int(be.Uint16(src[1:])), 0, false
	case c == 0xc6 || c == 0xdb:
		return 5 + int(be.Uint32(src[1:])), 0, false
	case c == 0xc7:
		return 3 + int(src[1]), 0, false
	case c == 0xc8:
		return 4 + int(be.Uint16(src[1:])), 0, false
	case c == 0xc9:
		return 6 + int(be.Uint32(src[1:])), 0, false
	case c >= 0xd4 && c <= 0xd8:
		return 2 + 1<<(c-0xd4), 0, false
	case c == 0xdc:
		return 3, int(be.Uint16(src[1:])), false
	case c == 0xdd:
		return 5, int(be.Uint32(src[1:])), false
	case c == 0xde:
		return 3, int(be.Uint16(src[1:])), true
	case c == 0xdf:
		return 5, int(be.Uint32(src[1:])), true
	}
	return 1 + numberSize(src[0]), 0, false
}

// numberSize returns the bytes that follow the first one of a number.
func numberSize(c byte) int {
	switch c {
	case 0xcc, 0xd0:
		return 1
	case 0xcd, 0xd1:
		return 2
	case 0xca, 0xce, 0xd2:
		return 4
	}
	return 8
}
