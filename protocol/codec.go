package protocol

import (
	"encoding/binary"
	"math"
)

// The codec writes and reads a strict subset of msgpack
// (github.com/msgpack/msgpack, spec.md): every structure is an array of fixed
// length, integers and lengths take the shortest form, ids and payloads are
// bin, names are str. Because each value has exactly one encoding, whatever a
// decoder accepts encodes to the same bytes again, so that sums over encoded
// bytes can be compared between members.
//
// The first bytes of the formats in use.
const (
	codeFixArray = 0x90
	codeFixStr   = 0xa0
	codeNil      = 0xc0
	codeFalse    = 0xc2
	codeTrue     = 0xc3
	codeBin8     = 0xc4
	codeBin16    = 0xc5
	codeBin32    = 0xc6
	codeUint8    = 0xcc
	codeUint16   = 0xcd
	codeUint32   = 0xce
	codeUint64   = 0xcf
	codeInt8     = 0xd0
	codeInt16    = 0xd1
	codeInt32    = 0xd2
	codeInt64    = 0xd3
	codeStr8     = 0xd9
	codeStr16    = 0xda
	codeStr32    = 0xdb
	codeArray16  = 0xdc
	codeArray32  = 0xdd

	fixIntMax         = 0x7f
	fixStrMax         = 31
	fixArrayMax       = 15
	negativeFixIntMin = -32
)

func appendUint(dst []byte, v uint64) []byte {
	switch {
	case v <= fixIntMax:
		return append(dst, byte(v))
	case v <= math.MaxUint8:
		return append(dst, codeUint8, byte(v))
	case v <= math.MaxUint16:
		return append(dst, codeUint16, byte(v>>8), byte(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, codeUint32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, codeUint64), v)
}

func sizeUint(v uint64) int {
	switch {
	case v <= fixIntMax:
		return 1
	case v <= math.MaxUint8:
		return 2
	case v <= math.MaxUint16:
		return 3
	case v <= math.MaxUint32:
		return 5
	}
	return 9
}

func appendInt(dst []byte, v int64) []byte {
	switch {
	case v >= 0:
		return appendUint(dst, uint64(v))
	case v >= negativeFixIntMin:
		return append(dst, byte(v))
	case v >= math.MinInt8:
		return append(dst, codeInt8, byte(v))
	case v >= math.MinInt16:
		return append(dst, codeInt16, byte(v>>8), byte(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, codeInt32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, codeInt64), uint64(v))
}

func sizeInt(v int64) int {
	switch {
	case v >= 0:
		return sizeUint(uint64(v))
	case v >= negativeFixIntMin:
		return 1
	case v >= math.MinInt8:
		return 2
	case v >= math.MinInt16:
		return 3
	case v >= math.MinInt32:
		return 5
	}
	return 9
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, codeTrue)
	}
	return append(dst, codeFalse)
}

func appendArray(dst []byte, n int) []byte {
	switch {
	case n <= fixArrayMax:
		return append(dst, codeFixArray|byte(n))
	case n <= math.MaxUint16:
		return append(dst, codeArray16, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, codeArray32), uint32(n))
}

func appendAll[T any](dst []byte, list []T, one func(v *T, dst []byte) []byte) []byte {
	dst = appendArray(dst, len(list))
	for i := range list {
		dst = one(&list[i], dst)
	}
	return dst
}

func appendIDs(dst []byte, ids []MemberID) []byte {
	return appendAll(dst, ids, func(id *MemberID, dst []byte) []byte { return appendID(dst, *id) })
}

func appendBinHeader(dst []byte, n int) []byte {
	switch {
	case n <= math.MaxUint8:
		return append(dst, codeBin8, byte(n))
	case n <= math.MaxUint16:
		return append(dst, codeBin16, byte(n>>8), byte(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, codeBin32), uint32(n))
}

func sizeBinHeader(n int) int {
	switch {
	case n <= math.MaxUint8:
		return 2
	case n <= math.MaxUint16:
		return 3
	}
	return 5
}

func appendBin(dst, v []byte) []byte { return append(appendBinHeader(dst, len(v)), v...) }

func appendString(dst []byte, v string) []byte {
	switch n := len(v); {
	case n <= fixStrMax:
		dst = append(dst, codeFixStr|byte(n))
	case n <= math.MaxUint8:
		dst = append(dst, codeStr8, byte(n))
	case n <= math.MaxUint16:
		dst = append(dst, codeStr16, byte(n>>8), byte(n))
	default:
		dst = binary.BigEndian.AppendUint32(append(dst, codeStr32), uint32(n))
	}
	return append(dst, v...)
}

// appendID writes 16 bytes; "nobody", which is frequent, takes one byte.
func appendID(dst []byte, id [16]byte) []byte {
	if id == [16]byte{} {
		return append(dst, codeNil)
	}
	return append(append(dst, codeBin8, byte(len(id))), id[:]...)
}

func appendSum(dst []byte, s LogSum) []byte {
	dst = append(dst, codeBin8, 16)
	dst = binary.BigEndian.AppendUint64(dst, s[0])
	return binary.BigEndian.AppendUint64(dst, s[1])
}
