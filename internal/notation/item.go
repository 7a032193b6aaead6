package notation

import (
	"encoding/binary"
	"math"
	"math/bits"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// kind is what a msgpack value is.
type kind uint8

const (
	kindNil kind = iota
	kindBool
	kindInt
	kindFloat32
	kindFloat64
	kindString
	kindBytes
	kindExt
	kindArray
	kindMap
)

// extTime is the extension type of msgpack's timestamps.
const extTime = -1

// item is one msgpack value; of an array or a map the head alone.
type item struct {
	kind kind
	// number is an integer in two's complement, negative if so, the bits of a
	// float, or 1 for true.
	number   uint64
	negative bool
	payload  []byte // of a string, bytes and an extension
	ext      int8
	count    int    // elements of an array, pairs of a map
	encoded  []byte // all of the item
}

// sound reports whether value is exactly one msgpack value that can be read.
func sound(value []byte) bool {
	return len(value) > 0 && protocol.CheckMsgpack(value) == nil && len(skip(value)) == 0
}

// skip returns what follows the first value of src, which has been checked.
func skip(src []byte) []byte {
	for left := 1; left > 0; left-- {
		var it item
		it, src = next(src)
		left += it.inside()
	}
	return src
}

// inside returns how many values follow the head of an item and belong to it.
func (it *item) inside() int {
	if it.kind == kindMap {
		return 2 * it.count
	}
	return it.count
}

// next takes one item off src, which has been checked.
func next(src []byte) (it item, rest []byte) {
	size := it.read(src)
	it.encoded = src[:size]
	return it, src[size:]
}

// read fills in an item and returns its size.
func (it *item) read(src []byte) int {
	switch c := src[0]; {
	case c <= 0x7f:
		return it.integer(uint64(c), false, 1)
	case c <= 0x8f:
		it.kind, it.count = kindMap, int(c&0x0f)
		return 1
	case c <= 0x9f:
		it.kind, it.count = kindArray, int(c&0x0f)
		return 1
	case c <= 0xbf:
		return it.content(kindString, src, 1, int(c&0x1f))
	case c >= 0xe0:
		return it.integer(uint64(int64(int8(c))), true, 1)
	case c == 0xc2 || c == 0xc3:
		it.kind, it.number = kindBool, uint64(c-0xc2)
		return 1
	case c >= 0xc4 && c <= 0xc6:
		return it.sized(kindBytes, src, 1<<(c-0xc4))
	case c >= 0xc7 && c <= 0xc9:
		width := 1 << (c - 0xc7)
		it.ext = int8(src[1+width])
		return it.content(kindExt, src, 2+width, int(bigEndian(src[1:1+width])))
	case c == 0xca || c == 0xcb:
		it.kind = kindFloat32 + kind(c-0xca)
		size := 5 + 4*int(c-0xca)
		it.number = bigEndian(src[1:size])
		return size
	case c >= 0xcc && c <= 0xcf:
		size := 1 + 1<<(c-0xcc)
		return it.integer(bigEndian(src[1:size]), false, size)
	case c >= 0xd0 && c <= 0xd3:
		size := 1 + 1<<(c-0xd0)
		shift := 64 - 8*(size-1)
		n := int64(bigEndian(src[1:size])<<shift) >> shift
		return it.integer(uint64(n), n < 0, size)
	case c >= 0xd4 && c <= 0xd8:
		it.ext = int8(src[1])
		return it.content(kindExt, src, 2, 1<<(c-0xd4))
	case c >= 0xd9 && c <= 0xdb:
		return it.sized(kindString, src, 1<<(c-0xd9))
	case c >= 0xdc && c <= 0xdf:
		width := 2 << ((c - 0xdc) & 1)
		it.kind, it.count = kindArray+kind((c-0xdc)>>1), int(bigEndian(src[1:1+width]))
		return 1 + width
	}
	return 1 // nil
}

func (it *item) integer(n uint64, negative bool, size int) int {
	it.kind, it.number, it.negative = kindInt, n, negative
	return size
}

func (it *item) sized(k kind, src []byte, width int) int {
	return it.content(k, src, 1+width, int(bigEndian(src[1:1+width])))
}

func (it *item) content(k kind, src []byte, head, n int) int {
	it.kind, it.payload = k, src[head:head+n]
	return head + n
}

func bigEndian(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// canonical reports whether the item is encoded as the package would encode it.
// A longer head, or a signed code for a positive number, is not.
func (it *item) canonical() bool {
	var scratch [16]byte
	var head []byte
	switch it.kind {
	case kindInt:
		head = appendInt(scratch[:0], it.number, it.negative)
		return string(head) == string(it.encoded)
	case kindString, kindBytes, kindExt:
		head = appendHead(scratch[:0], it.kind, len(it.payload))
		if it.kind == kindExt {
			head = append(head, byte(it.ext))
		}
		return len(head)+len(it.payload) == len(it.encoded)
	case kindArray, kindMap:
		return len(appendHead(scratch[:0], it.kind, it.count)) == len(it.encoded)
	}
	return true
}

// appendInt appends the shortest form, with an unsigned code for whatever is
// not negative, as resources.AppendValue does.
func appendInt(dst []byte, n uint64, negative bool) []byte {
	be := binary.BigEndian
	if s := int64(n); negative {
		switch {
		case s >= -1<<5:
			return append(dst, byte(n))
		case s >= math.MinInt8:
			return append(dst, 0xd0, byte(n))
		case s >= math.MinInt16:
			return be.AppendUint16(append(dst, 0xd1), uint16(n))
		case s >= math.MinInt32:
			return be.AppendUint32(append(dst, 0xd2), uint32(n))
		}
		return be.AppendUint64(append(dst, 0xd3), n)
	}
	switch {
	case n < 1<<7:
		return append(dst, byte(n))
	case n <= math.MaxUint8:
		return append(dst, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return be.AppendUint16(append(dst, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return be.AppendUint32(append(dst, 0xce), uint32(n))
	}
	return be.AppendUint64(append(dst, 0xcf), n)
}

// appendHead appends the shortest head of a string, bytes, an extension (but
// for its type), an array or a map.
func appendHead(dst []byte, k kind, n int) []byte {
	be := binary.BigEndian
	fix, fixMax, first, widths := byte(0), -1, byte(0), 1
	switch k {
	case kindString:
		fix, fixMax, first = 0xa0, 31, 0xd9
	case kindBytes:
		first = 0xc4
	case kindExt:
		if n == 1 || n == 2 || n == 4 || n == 8 || n == 16 {
			return append(dst, 0xd4+byte(bits.TrailingZeros(uint(n))))
		}
		first = 0xc7
	case kindArray:
		fix, fixMax, first, widths = 0x90, 15, 0xdc-1, 2
	case kindMap:
		fix, fixMax, first, widths = 0x80, 15, 0xde-1, 2
	}
	switch {
	case n <= fixMax:
		return append(dst, fix|byte(n))
	case n < 1<<8 && widths == 1:
		return append(dst, first, byte(n))
	case n < 1<<16:
		return be.AppendUint16(append(dst, first+1), uint16(n))
	}
	return be.AppendUint32(append(dst, first+2), uint32(n))
}

// The seconds of the years 0 to 9999, which RFC 3339 can write.
const (
	secondsMin = -62_167_219_200
	secondsMax = 253_402_300_799
)

// time returns the time that an extension is, and whether it is one that has a
// text.
func (it *item) time() (time.Time, bool) {
	if it.kind != kindExt || it.ext != extTime {
		return time.Time{}, false
	}
	var seconds int64
	var nanos uint64
	switch b := it.payload; len(b) {
	case 4:
		seconds = int64(bigEndian(b))
	case 8:
		n := bigEndian(b)
		seconds, nanos = int64(n&(1<<34-1)), n>>34
	case 12:
		seconds, nanos = int64(bigEndian(b[4:])), bigEndian(b[:4])
	default:
		return time.Time{}, false
	}
	if nanos >= 1e9 || seconds < secondsMin || seconds > secondsMax {
		return time.Time{}, false
	}
	return time.Unix(seconds, int64(nanos)).UTC(), true
}

// appendTime appends a time as msgpack's timestamp, in its shortest form.
func appendTime(dst []byte, t time.Time) []byte {
	be := binary.BigEndian
	var b []byte
	switch seconds, nanos := uint64(t.Unix()), uint64(t.Nanosecond()); {
	case seconds < 1<<32 && nanos == 0:
		b = be.AppendUint32(nil, uint32(seconds))
	case seconds < 1<<34:
		b = be.AppendUint64(nil, nanos<<34|seconds)
	default:
		b = be.AppendUint64(be.AppendUint32(nil, uint32(nanos)), seconds)
	}
	return appendExt(dst, extTime, b)
}

func appendExt(dst []byte, ext int8, content []byte) []byte {
	return append(append(appendHead(dst, kindExt, len(content)), byte(ext)), content...)
}
