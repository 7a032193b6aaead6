package value

import (
	"encoding/binary"
	"slices"
	"strconv"
)

// AppendUint appends the shortest form of a number.
func AppendUint(dst []byte, v uint64) []byte {
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

// AppendInt appends the shortest form of a number.
func AppendInt(dst []byte, v int64) []byte {
	switch {
	case v >= 0:
		return AppendUint(dst, uint64(v))
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

// AppendString appends a string.
func AppendString(dst []byte, s string) []byte {
	dst = slices.Grow(dst, len(s)+longestHead)
	return append(appendLength(dst, len(s), 0xa0, 31, 0xd9), s...)
}

// AppendBytes appends bytes; nil ones are nil.
func AppendBytes(dst, b []byte) []byte {
	if b == nil {
		return append(dst, codeNil)
	}
	dst = slices.Grow(dst, len(b)+longestHead)
	return append(appendLength(dst, len(b), 0, -1, 0xc4), b...)
}

// longestHead is the longest head of a string or of bytes.
const longestHead = 5

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

// codeNil is the nil of msgpack.
const codeNil = 0xc0

// number is a whole number in msgpack: negative, or of 64 bits without a sign.
type number struct {
	negative bool
	n        uint64 // the two's complement, if negative
}

func (n number) String() string {
	if n.negative {
		return strconv.FormatInt(int64(n.n), 10)
	}
	return strconv.FormatUint(n.n, 10)
}

// readNumber reads a value that has been checked. It is false for anything but
// a whole number.
func readNumber(src []byte) (number, bool) {
	be := binary.BigEndian
	signed := func(n int64) (number, bool) { return number{n < 0, uint64(n)}, true }
	switch c := src[0]; {
	case c <= 0x7f:
		return number{n: uint64(c)}, true
	case c >= 0xe0:
		return signed(int64(int8(c)))
	case c == 0xcc:
		return number{n: uint64(src[1])}, true
	case c == 0xcd:
		return number{n: uint64(be.Uint16(src[1:]))}, true
	case c == 0xce:
		return number{n: uint64(be.Uint32(src[1:]))}, true
	case c == 0xcf:
		return number{n: be.Uint64(src[1:])}, true
	case c == 0xd0:
		return signed(int64(int8(src[1])))
	case c == 0xd1:
		return signed(int64(int16(be.Uint16(src[1:]))))
	case c == 0xd2:
		return signed(int64(int32(be.Uint32(src[1:]))))
	case c == 0xd3:
		return signed(int64(be.Uint64(src[1:])))
	}
	return number{}, false
}

// fitsInt reports whether a number is one of so many bits with a sign.
func (n number) fitsInt(bits int) bool {
	if n.negative {
		return int64(n.n) >= -1<<(bits-1)
	}
	return n.n <= 1<<(bits-1)-1
}

// fitsUint reports whether a number is one of so many bits without a sign.
func (n number) fitsUint(bits int) bool {
	return !n.negative && n.n>>(bits-1)>>1 == 0
}

// fitsFloat reports whether every number up to this one has a floating-point
// number of so many bits of its own.
func (n number) fitsFloat(bits int) bool {
	exact := uint64(1 << 53)
	if bits == 32 {
		exact = 1 << 24
	}
	if n.negative {
		return -n.n <= exact
	}
	return n.n <= exact
}
