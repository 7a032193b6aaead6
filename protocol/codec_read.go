package protocol

import (
	"encoding/binary"
	"math"
)

// reader takes values off the front of a byte slice. The first fault is kept
// and everything after it reads as zero, so that a decoder checks once, at its
// end. Slices that it returns alias the input.
type reader struct {
	src  []byte // what is left; empty after a fault
	err  error
	more int // fields of a later version at the end of the message: see message
}

// fail keeps the first fault. It empties src, so that fast paths fail too.
func (r *reader) fail(text string) {
	if r.err == nil {
		r.err = ErrMalformed.With("malformed message: " + text)
	}
	r.src = nil
}

// message reads the head of a message of n fields, or of more: what a later version
// has added stands at the end, and end passes over it. [S] Fewer are refused: what a
// message says of votes, terms and indexes is never a default.
func (r *reader) message(n int) { r.more = r.grows(n) }

// grows reads the head of a structure of at least n fields, and returns how many more
// there are. They are for skip, after the n.
func (r *reader) grows(n int) (more int) {
	have := r.arrayTo(n+laterFieldsMax, 1)
	if have < n {
		r.fail("an array of too few fields")
		return 0
	}
	return have - n
}

// readAll reads a list of at most limit elements, each of sizeMin bytes at least; nil for
// an empty one, and after a fault.
func readAll[T any](r *reader, limit, sizeMin int, one func(*reader) T) []T {
	n := r.arrayTo(limit, sizeMin)
	if n == 0 {
		return nil
	}
	list := make([]T, 0, min(n, allocatedMax))
	for range n {
		v := one(r)
		if r.err != nil {
			return nil
		}
		list = append(list, v)
	}
	return list
}

// skip passes over n values, whatever they are.
func (r *reader) skip(n int) {
	for range n {
		size, err := SizeMsgpack(r.src)
		if err != nil {
			r.fail("a field of a later version that is no value")
			return
		}
		r.src = r.src[size:]
	}
}

// end passes over the fields of a later version, returns the fault, if there was one,
// and refuses trailing bytes.
func (r *reader) end() error {
	r.skip(r.more)
	if len(r.src) > 0 {
		r.fail("bytes after its end")
	}
	return r.err
}

func (r *reader) short() { r.fail("cut short") }

func (r *reader) uint() uint64 {
	if len(r.src) > 0 && r.src[0] <= fixIntMax {
		v := r.src[0]
		r.src = r.src[1:]
		return uint64(v)
	}
	return r.uintLong()
}

func (r *reader) uintLong() uint64 {
	v, n := parseUint(r.src)
	if n == 0 {
		if len(r.src) == 0 {
			r.short()
		} else {
			r.fail("not an unsigned integer in its shortest form")
		}
		return 0
	}
	r.src = r.src[n:]
	return v
}

// parseUint returns an unsigned integer and its size; size 0 if there is none
// in its shortest form.
func parseUint(b []byte) (v uint64, size int) {
	if len(b) == 0 {
		return 0, 0
	}
	switch c := b[0]; {
	case c <= fixIntMax:
		return uint64(c), 1
	case c == codeUint8 && len(b) >= 2 && b[1] > fixIntMax:
		return uint64(b[1]), 2
	case c == codeUint16 && len(b) >= 3:
		v, size = uint64(binary.BigEndian.Uint16(b[1:])), 3
		if v <= math.MaxUint8 {
			return 0, 0
		}
	case c == codeUint32 && len(b) >= 5:
		v, size = uint64(binary.BigEndian.Uint32(b[1:])), 5
		if v <= math.MaxUint16 {
			return 0, 0
		}
	case c == codeUint64 && len(b) >= 9:
		v, size = binary.BigEndian.Uint64(b[1:]), 9
		if v <= math.MaxUint32 {
			return 0, 0
		}
	}
	return v, size
}

// parseInt is parseUint for int64.
func parseInt(b []byte) (v int64, size int) {
	if len(b) == 0 {
		return 0, 0
	}
	switch c := b[0]; {
	case c <= fixIntMax || c >= codeUint8 && c <= codeUint64:
		u, n := parseUint(b)
		if u > math.MaxInt64 {
			return 0, 0
		}
		return int64(u), n
	case c >= 0xe0:
		return int64(int8(c)), 1
	case c == codeInt8 && len(b) >= 2:
		v, size = int64(int8(b[1])), 2
	case c == codeInt16 && len(b) >= 3:
		v, size = int64(int16(binary.BigEndian.Uint16(b[1:]))), 3
	case c == codeInt32 && len(b) >= 5:
		v, size = int64(int32(binary.BigEndian.Uint32(b[1:]))), 5
	case c == codeInt64 && len(b) >= 9:
		v, size = int64(binary.BigEndian.Uint64(b[1:])), 9
	}
	if size == 0 || v >= 0 || sizeInt(v) != size {
		return 0, 0
	}
	return v, size
}

func (r *reader) int() int64 {
	v, n := parseInt(r.src)
	if n == 0 {
		if len(r.src) == 0 {
			r.short()
		} else {
			r.fail("not an integer in its shortest form")
		}
		return 0
	}
	r.src = r.src[n:]
	return v
}

// uintTo reads an integer of at most limit.
func (r *reader) uintTo(limit uint64) uint64 {
	v := r.uint()
	if v > limit {
		r.fail("an integer out of its range")
		return 0
	}
	return v
}

// nanos reads a duration or time that is never negative.
func (r *reader) nanos() int64 { return int64(r.uintTo(math.MaxInt64)) }

func (r *reader) bool() bool {
	if len(r.src) == 0 {
		r.short()
		return false
	}
	c := r.src[0]
	if c != codeTrue && c != codeFalse {
		r.fail("not a boolean")
		return false
	}
	r.src = r.src[1:]
	return c == codeTrue
}

// array reads the header of an array of exactly n elements.
func (r *reader) array(n int) {
	if r.arrayTo(n, 1) != n {
		r.fail("an array of another length")
	}
}

// arrayTo reads the header of an array of at most limit elements that take at
// least sizeMin bytes each. What it returns may be allocated.
func (r *reader) arrayTo(limit, sizeMin int) int {
	if len(r.src) == 0 {
		r.short()
		return 0
	}
	n, size := 0, 0
	switch c := r.src[0]; {
	case c&0xf0 == codeFixArray:
		n, size = int(c&0x0f), 1
	case c == codeArray16 && len(r.src) >= 3:
		n, size = int(binary.BigEndian.Uint16(r.src[1:])), 3
		if n <= fixArrayMax {
			size = 0
		}
	case c == codeArray32 && len(r.src) >= 5:
		n, size = length32(r.src[1:]), 5
		if n <= math.MaxUint16 {
			size = 0
		}
	}
	switch {
	case size == 0:
		r.fail("not an array with its length in its shortest form")
		return 0
	case n > limit:
		r.fail("an array with too many elements")
		return 0
	case n > (len(r.src)-size)/sizeMin:
		r.short()
		return 0
	}
	r.src = r.src[size:]
	return n
}

// parseBin returns where the bytes of a bin begin and end; end 0 if there is
// none in its shortest form. The end may lie beyond b.
func parseBin(b []byte) (begin, end int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch c := b[0]; {
	case c == codeBin8:
		return 2, 2 + int(b[1])
	case c == codeBin16 && len(b) >= 3:
		if n := int(binary.BigEndian.Uint16(b[1:])); n > math.MaxUint8 {
			return 3, 3 + n
		}
	case c == codeBin32 && len(b) >= 5:
		if n := length32(b[1:]); n > math.MaxUint16 {
			return 5, 5 + n
		}
	}
	return 0, 0
}

// bin reads at most limit bytes; nil if there are none.
func (r *reader) bin(limit int) []byte {
	begin, end := parseBin(r.src)
	switch {
	case len(r.src) == 0 || end > len(r.src):
		r.short()
		return nil
	case end == 0:
		r.fail("not a byte string with its length in its shortest form")
		return nil
	case end-begin > limit:
		r.fail("a byte string over its limit")
		return nil
	}
	out := r.src[begin:end:end]
	r.src = r.src[end:]
	if len(out) == 0 {
		return nil
	}
	return out
}

// str reads the bytes of a string of at most limit bytes, aliasing the input.
func (r *reader) str(limit int) []byte {
	if len(r.src) == 0 {
		r.short()
		return nil
	}
	n, size := 0, 0
	switch c := r.src[0]; {
	case c&0xe0 == codeFixStr:
		n, size = int(c&0x1f), 1
	case c == codeStr8 && len(r.src) >= 2:
		n, size = int(r.src[1]), 2
		if n <= fixStrMax {
			size = 0
		}
	case c == codeStr16 && len(r.src) >= 3:
		n, size = int(binary.BigEndian.Uint16(r.src[1:])), 3
		if n <= math.MaxUint8 {
			size = 0
		}
	case c == codeStr32 && len(r.src) >= 5:
		n, size = length32(r.src[1:]), 5
		if n <= math.MaxUint16 {
			size = 0
		}
	}
	switch {
	case size == 0:
		r.fail("not a string with its length in its shortest form")
		return nil
	case n > limit:
		r.fail("a string over its limit")
		return nil
	case n > len(r.src)-size:
		r.short()
		return nil
	}
	out := r.src[size : size+n]
	r.src = r.src[size+n:]
	return out
}

// string reads a string, copied.
func (r *reader) string(limit int) string { return string(r.str(limit)) }

// name reads a string of at most NameBytesMax bytes, copied.
func (r *reader) name() string { return string(r.str(NameBytesMax)) }

func (r *reader) id() (id [16]byte) {
	if len(r.src) > 0 && r.src[0] == codeNil {
		r.src = r.src[1:]
		return id
	}
	raw := r.bin(len(id))
	if len(raw) != len(id) {
		r.fail("an id of another length")
		return id
	}
	copy(id[:], raw)
	if id == [16]byte{} {
		r.fail("an id that is zero but not nil")
	}
	return id
}

func (r *reader) sum() (s LogSum) {
	raw := r.bin(16)
	if len(raw) != 16 {
		r.fail("a sum of another length")
		return s
	}
	return LogSum{binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])}
}

func (r *reader) index() Index { return Index(r.uint()) }

func (r *reader) term() Term { return Term(r.uint()) }

func (r *reader) member() MemberID { return r.id() }

func (r *reader) code() Code { return Code(r.name()) }
