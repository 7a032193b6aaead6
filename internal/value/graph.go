package value

import (
	"fmt"
	"reflect"
)

// builder makes the nodes of a plan, one for each type that is met.
type builder struct {
	nodes map[nodeKey]*node
	order []*node // outer before inner
}

// nodeKey is a type, and whether the library can take its values' addresses.
type nodeKey struct {
	typ         reflect.Type
	addressable bool
}

func (b *builder) build(t reflect.Type, addressable bool) *node {
	key := nodeKey{t, addressable}
	if n := b.nodes[key]; n != nil {
		return n
	}
	n := &node{typ: t}
	b.nodes[key] = n
	b.order = append(b.order, n)
	if t == timeType {
		n.kind = kindTime
		return n
	}
	if t.Kind() == reflect.Pointer {
		b.pointer(n)
		return n
	}
	if t == floatType {
		n.refuse("a big.Float comes back as another value, because its text leaves its precision out: store a string and the precision, or a big.Rat")
		return n
	}
	c, fault := codecOf(t, addressable)
	if fault != "" {
		n.refuse("%s", fault)
	}
	if c != codecNone {
		n.kind = kindCodec
		return n
	}
	b.plain(n, addressable)
	return n
}

// plain completes the node of a type without methods that encode it.
func (b *builder) plain(n *node, addressable bool) {
	t := n.typ
	switch t.Kind() {
	case reflect.Bool:
		n.kind = kindBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n.kind = kindInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n.kind = kindUint
	case reflect.Float32, reflect.Float64:
		n.kind = kindFloat
	case reflect.String:
		n.kind = kindString
	case reflect.Slice:
		n.kind = kindBytes
		if t.Elem().Kind() != reflect.Uint8 {
			n.kind, n.elem = kindSlice, b.build(t.Elem(), true)
		}
	case reflect.Array:
		b.array(n, addressable)
	case reflect.Map:
		n.kind, n.key, n.elem = kindMap, b.build(t.Key(), false), b.build(t.Elem(), false)
		if why := badKey(t.Key()); why != "" && !n.key.refused() {
			n.faults = append(n.faults, fault{"[key]", why})
		}
	case reflect.Struct:
		b.structure(n, addressable)
	case reflect.Interface:
		n.kind = kindAny
		if t.NumMethod() > 0 {
			n.refuse("an interface with methods cannot be read back, because the bytes do not say which type was in it: use a struct with a field for each, or any")
		}
	case reflect.Uintptr:
		n.refuse("a uintptr means nothing elsewhere: use uint64")
	default:
		n.refuse("a %s cannot be stored%s", t.Kind(), leaveAway)
	}
}

// pointer completes the node of a pointer. The library writes what it points to,
// or nil; which methods it calls for that depends on which of the two types it
// has met first in the life of the process.
func (b *builder) pointer(n *node) {
	elem := n.typ.Elem()
	n.kind = kindPointer
	switch elem.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		// Not built: a pointer may point to its own type.
		n.kind = kindRefused
		n.refuse("a pointer to a %s that is nil would come back as a nil pointer: use the %s itself", elem.Kind(), elem.Kind())
		return
	}
	n.elem = b.build(elem, true)
	for _, decode := range []bool{false, true} {
		direct, _ := halfOf(elem, decode)
		through := half(n.typ, decode)
		if elem != timeType && through != codecNone && direct != through && !n.elem.refused() {
			n.refuse("its pointer has other methods to encode it than its value, and which ones are used depends on what was encoded before: keep one kind of them")
			return
		}
	}
}

func (b *builder) array(n *node, addressable bool) {
	elem := n.typ.Elem()
	if elem.Kind() != reflect.Uint8 {
		n.kind, n.elem = kindArray, b.build(elem, addressable)
		return
	}
	n.kind = kindByteArray
	if elem != byteType && !addressable {
		n.refuse("an array of %s in a map or an interface cannot be encoded: use [%d]byte", elem, n.typ.Len())
	}
}

func (b *builder) structure(n *node, addressable bool) {
	n.kind, n.layout = kindStruct, layoutOf(n.typ)
	n.faults = append(n.faults, n.layout.faults...)
	if len(n.layout.faults) > 0 {
		n.layout.list = nil // what the library would make of it is not ours to guess
		return
	}
	if len(n.layout.list) == 0 && n.layout.hidden > 0 {
		n.refuse("%s", hiddenFault)
	}
	for _, f := range n.layout.list {
		f.node = b.build(f.typ, addressable)
		if why := badOmit(f); why != "" {
			n.faults = append(n.faults, fault{f.path, why + ": leave the option away"})
		}
	}
	for _, f := range n.layout.whole {
		f.node = b.build(f.typ, addressable)
	}
}

// badOmit returns why the library would take values of a field for empty that
// are not.
func badOmit(f *field) string {
	t := f.typ
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case !f.omitEmpty || t.Kind() != reflect.Struct || t == timeType:
	case t.Implements(zeroerType):
		if t.NumField() > 1 && promoted(t, "IsZero") {
			return "omitempty would ask an embedded field whether it is zero, and leave the others away with it"
		}
	case f.typ == t && encodesItself(t) && !alwaysWritten(t):
		return "omitempty would leave it away whatever it is, because the encoder looks at its exported fields only"
	}
	return ""
}

// alwaysWritten reports whether a struct has a field that is written even if it
// is empty.
func alwaysWritten(t reflect.Type) bool {
	for _, f := range layoutOf(t).list {
		if !f.omitEmpty {
			return true
		}
	}
	return false
}

// badKey returns why a type cannot be the key of a map: two keys that differ must
// be two in the bytes, and each must be found again.
func badKey(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Float32, reflect.Float64:
		return "a NaN is equal to nothing, so a floating-point number is no key: use a string or an integer"
	case reflect.Pointer:
		return "a pointer that is read is another one than was written, so it is no key: use what it points to"
	case reflect.Interface:
		return "what is in an interface may come back as another type, so it is no key: use a string or an integer"
	case reflect.Array:
		return badKey(t.Elem())
	case reflect.Struct:
		return badStructKey(t)
	}
	return ""
}

func badStructKey(t reflect.Type) string {
	if t == timeType {
		return "a time comes back in UTC, and equal times in different zones are different keys: use UnixNano or a string"
	}
	if encodesItself(t) {
		return ""
	}
	if kept := layoutOf(t); len(kept.faults) > 0 || kept.hidden > 0 || leftOut(t) {
		return "fields of it that are not stored would make keys the same that are not: use a key of exported fields only"
	}
	for i := range t.NumField() {
		if fault := badKey(t.Field(i).Type); fault != "" {
			return fmt.Sprintf("its field %s: %s", t.Field(i).Name, fault)
		}
	}
	return ""
}

// leftOut reports whether a struct has a field that its tag leaves away.
func leftOut(t reflect.Type) bool {
	for i := range t.NumField() {
		if tag, _ := parseTag(t.Field(i).Tag.Get("msgpack")); tag.name == "-" {
			return true
		}
	}
	return false
}

func (n *node) refuse(format string, args ...any) {
	n.faults = append(n.faults, fault{why: fmt.Sprintf(format, args...)})
}

func (n *node) refused() bool { return len(n.faults) > 0 }
