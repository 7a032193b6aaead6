package value

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/starlinghq/starling/protocol"
)

// walk looks at a value before the library does, which would follow a cycle
// until the stack overflows: at its depth and its size, and at the types of what
// is in interfaces, of which it returns what they have. It does not look into
// parts with methods of their own.
func (p *Plan) walk(v reflect.Value) (has, error) {
	w := walker{left: sinkBytesMax}
	if err := w.walk(p.root, v, 0, false); err != nil {
		return w.met, at(p.root.typ.String(), err)
	}
	return w.met, nil
}

type walker struct {
	left int // how many values may still come: each takes a byte at least
	met  has // in interfaces
}

var errTooDeep = fmt.Errorf("it is nested more than %d deep: does it contain itself?", protocol.DepthMax)

// walk looks at a value so many containers deep. Hidden ones are in interfaces.
func (w *walker) walk(n *node, v reflect.Value, depth int, hidden bool) error {
	if w.left--; w.left < 0 {
		return errSinkFull
	}
	if !hidden && !n.loop && !n.any {
		if depth+n.depth > protocol.DepthMax {
			return errTooDeep
		}
		return nil
	}
	if n.isContainer() && (n.kind == kindStruct || v.Len() > 0) { // an empty one is like a number
		if depth++; depth > protocol.DepthMax {
			return errTooDeep
		}
	}
	switch n.kind {
	case kindPointer:
		if !v.IsNil() {
			return w.walk(n.elem, v.Elem(), depth, hidden)
		}
	case kindSlice, kindArray:
		for i := range v.Len() {
			if err := w.walk(n.elem, v.Index(i), depth, hidden); err != nil {
				return at("[]", err)
			}
		}
	case kindMap:
		if hidden && n.key.kind != kindString && v.Len() > 0 {
			return errors.New("a map in an interface needs strings for keys to come back")
		}
		for entries := v.MapRange(); entries.Next(); { // an error may name any entry
			if err := w.walk(n.elem, entries.Value(), depth, hidden); err != nil {
				return at("[]", err)
			}
		}
	case kindStruct:
		for _, f := range n.layout.list {
			if err := w.walk(f.node, v.FieldByIndex(f.index), depth, hidden); err != nil {
				return at("."+f.path, err)
			}
		}
	case kindAny:
		if !v.IsNil() {
			return w.hidden(v.Elem(), depth)
		}
	}
	return nil
}

// hidden looks at what is in an interface.
func (w *walker) hidden(v reflect.Value, depth int) error {
	p := planHidden(v.Type())
	if p.fault != nil {
		return p.fault
	}
	w.met = w.met.or(p.has)
	return w.walk(p.root, v, depth, true)
}
