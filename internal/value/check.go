package value

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// memoryMax limits what one value takes in memory by its slices, arrays and
// maps: a byte each is enough to announce elements of any size.
const memoryMax = 64 << 20

// check demands that bytes are one value of the type: of the right kind
// everywhere, numbers within their range, no deeper and no larger than can be
// read. It looks into no part that methods of a type have written. Nil is the
// zero value of every type. ErrMalformed.
func (p *Plan) check(src []byte) error {
	if err := protocol.CheckMsgpack(src); err != nil {
		return err
	}
	if p.text {
		if src[0] != codeNil && !isString(src[0]) {
			return p.root.mismatch(src)
		}
		return nil
	}
	c := checker{memory: memoryMax}
	if _, err := c.check(p.root, src); err != nil {
		return at(p.root.typ.String(), err)
	}
	return nil
}

type checker struct {
	memory int // what is left
}

// check returns what follows the value.
func (c *checker) check(n *node, src []byte) (rest []byte, err error) {
	switch {
	case n.kind == kindCodec || src[0] == codeNil && n.kind != kindTime:
		return skip(src), nil
	case n.kind == kindAny:
		return c.untyped(src)
	}
	size, inside, _ := protocol.ScanMsgpack(src)
	ok := false
	switch n.kind {
	case kindBool:
		ok = src[0] == 0xc2 || src[0] == 0xc3
	case kindInt, kindUint, kindFloat:
		return src[size:], n.checkNumber(src)
	case kindString:
		ok = isString(src[0])
	case kindBytes:
		ok = isBytes(src[0])
	case kindByteArray:
		ok = isBytes(src[0]) && size-bytesHead(src[0]) <= n.typ.Len()
	case kindTime:
		ok = isTime(src)
	case kindPointer:
		if err := c.take(1, n.elem.typ); err != nil {
			return nil, err
		}
		return c.check(n.elem, src)
	case kindSlice, kindArray:
		if isArray(src[0]) && (n.kind == kindSlice || inside <= n.typ.Len()) {
			return c.elements(n, src[size:], inside)
		}
	case kindMap:
		if isMapCode(src[0]) {
			return c.entries(n, src[size:], inside/2)
		}
	case kindStruct:
		return c.structure(n, src)
	}
	if !ok {
		return nil, n.mismatch(src)
	}
	return src[size:], nil
}

// take counts memory.
func (c *checker) take(count int, t reflect.Type) error {
	if size := int(t.Size()); size > 0 && count > c.memory/size {
		return protocol.ErrMalformed.With(fmt.Sprintf("the value would take more than %d bytes of memory", memoryMax))
	}
	c.memory -= count * int(t.Size())
	return nil
}

func (c *checker) elements(n *node, src []byte, count int) ([]byte, error) {
	if n.kind == kindSlice {
		if err := c.take(count, n.elem.typ); err != nil {
			return nil, err
		}
	}
	for i := range count {
		var err error
		if src, err = c.check(n.elem, src); err != nil {
			return nil, at(fmt.Sprintf("[%d]", i), err)
		}
	}
	return src, nil
}

func (c *checker) entries(n *node, src []byte, count int) ([]byte, error) {
	err := c.take(count, n.elem.typ)
	if err == nil {
		err = c.take(count, n.key.typ)
	}
	for i := 0; i < count && err == nil; i++ {
		if src, err = c.check(n.key, src); err != nil {
			return nil, at("[key]", err)
		}
		if src, err = c.check(n.elem, src); err != nil {
			return nil, at("[]", err)
		}
	}
	return src, err
}

// untyped counts what a value without a type takes.
func (c *checker) untyped(src []byte) ([]byte, error) {
	for owed := 1; owed > 0; owed-- {
		size, inside, _ := protocol.ScanMsgpack(src)
		if err := c.take(inside, anyType); err != nil {
			return nil, err
		}
		src = src[size:]
		owed += inside
	}
	return src, nil
}

// structure checks a struct: a map by the names of the fields, of which those
// that are not known are passed over, or an array of all fields.
func (c *checker) structure(n *node, src []byte) (rest []byte, err error) {
	size, inside, _ := protocol.ScanMsgpack(src)
	code := src[0]
	src = src[size:]
	switch {
	case isArray(code) && (inside == 0 || inside == len(n.layout.list)):
		for i := range inside {
			f := n.layout.list[i]
			if src, err = c.check(f.node, src); err != nil {
				return nil, at("."+f.path, err)
			}
		}
		return src, nil
	case !isMapCode(code):
		return nil, mismatch(n.typ, code)
	}
	for i := range inside / 2 {
		if !isString(src[0]) {
			return nil, at("[key]", mismatch(reflect.TypeFor[string](), src[0]))
		}
		size, _, _ := protocol.ScanMsgpack(src)
		f := n.layout.named(src[stringHead(src[0]):size], i)
		if src = src[size:]; f == nil {
			src = skip(src)
			continue
		}
		if src, err = c.check(f.node, src); err != nil {
			return nil, at("."+f.path, err)
		}
	}
	return src, nil
}

// checkNumber checks a number, which the library would cut to its size.
func (n *node) checkNumber(src []byte) error {
	bits := n.typ.Bits()
	whole, ok := readNumber(src)
	fits := false
	switch n.kind {
	case kindInt:
		fits = ok && whole.fitsInt(bits)
	case kindUint:
		fits = ok && whole.fitsUint(bits)
	case kindFloat:
		fits = ok && whole.fitsFloat(bits) || src[0] == 0xca || src[0] == 0xcb && bits == 64
	}
	if ok && !fits {
		return protocol.ErrMalformed.With(fmt.Sprintf("%v does not fit %s", whole, n.typ))
	}
	if !fits {
		return n.mismatch(src)
	}
	return nil
}

func (n *node) mismatch(src []byte) error { return mismatch(n.typ, src[0]) }

func mismatch(t reflect.Type, code byte) error {
	return protocol.ErrMalformed.With(fmt.Sprintf("%s where a %s is wanted", codeName(code), t))
}

// placed is an error with the place in the value where it was.
type placed struct {
	path string
	why  error
}

// placeMax is how much of a path is told: that of a value which contains itself
// has no end.
const placeMax = 100

func (p *placed) Error() string {
	path := p.path
	if len(path) > placeMax {
		path = strings.ToValidUTF8(path[:placeMax], "") + "..."
	}
	if errors.Is(p.why, errTooDeep) {
		return fmt.Sprintf("%v (at %s)", p.why, path)
	}
	return path + ": " + p.why.Error()
}

func (p *placed) Unwrap() error { return p.why }

// at adds where an error was, from the inside out.
func at(where string, err error) error {
	if p, ok := err.(*placed); ok {
		return &placed{where + p.path, p.why}
	}
	return &placed{where, err}
}

// codeName says what a value is that begins with c.
func codeName(c byte) string {
	switch {
	case c == codeNil:
		return "nil"
	case c == 0xc2 || c == 0xc3:
		return "a bool"
	case c == 0xca || c == 0xcb:
		return "a floating-point number"
	case isString(c):
		return "a string"
	case isBytes(c):
		return "bytes"
	case isArray(c):
		return "an array"
	case isMapCode(c):
		return "a map"
	case c >= 0xc7 && c <= 0xc9 || c >= 0xd4 && c <= 0xd8:
		return "an extension type"
	}
	return "a whole number"
}

// skip passes over a value that has been checked.
func skip(src []byte) []byte {
	for owed := 1; owed > 0; owed-- {
		size, inside, _ := protocol.ScanMsgpack(src)
		src = src[size:]
		owed += inside
	}
	return src
}

// stringHead and bytesHead return the length of what precedes the bytes.
func stringHead(c byte) int {
	if c < 0xd9 {
		return 1
	}
	return 2 + (1<<(c-0xd9) - 1)
}

func bytesHead(c byte) int { return 2 + (1<<(c-0xc4) - 1) }

func isString(c byte) bool { return c&0xe0 == 0xa0 || c >= 0xd9 && c <= 0xdb }
func isBytes(c byte) bool  { return c >= 0xc4 && c <= 0xc6 }
func isArray(c byte) bool  { return c&0xf0 == 0x90 || c == 0xdc || c == 0xdd }

// isTime reports whether a value that has been checked is a timestamp.
func isTime(src []byte) bool {
	const timeType = 0xff // -1
	switch {
	case src[0] == 0xd6:
		return src[1] == timeType
	case src[0] == 0xd7:
		return src[1] == timeType && binary.BigEndian.Uint64(src[2:])>>34 < 1e9
	case src[0] == 0xc7 && src[1] == 12:
		return src[2] == timeType && binary.BigEndian.Uint32(src[3:]) < 1e9
	}
	return false
}
