package value

import (
	"reflect"

	"github.com/starlinghq/starling/protocol"
)

// analyse completes what nodes have and how deep they are, once all are made.
func (b *builder) analyse() {
	for _, n := range b.order {
		n.has = n.own()
		n.faulty = n.refused()
	}
	done := map[*node]bool{}
	for _, n := range b.order {
		n.findLoops(done, map[*node]bool{})
	}
	for changed := true; changed; { // rings take a second round
		changed = false
		for i := len(b.order) - 1; i >= 0; i-- { // inner before outer
			n := b.order[i]
			before, faulty := n.has, n.faulty
			n.inside(func(inner *node, _ string) {
				n.has = n.has.or(inner.has)
				n.faulty = n.faulty || inner.faulty
			})
			changed = changed || n.has != before || n.faulty != faulty
		}
	}
	measured := map[*node]bool{}
	for _, n := range b.order {
		n.measure(measured)
	}
}

func (h has) or(o has) has {
	return has{h.maps || o.maps, h.codec || o.codec, h.any || o.any, h.times || o.times, h.loop || o.loop, h.doubt || o.doubt}
}

// own returns what a node has without those inside it.
func (n *node) own() has {
	return has{
		maps:  n.kind == kindMap || n.kind == kindCodec || n.kind == kindAny,
		codec: n.kind == kindCodec,
		any:   n.kind == kindAny,
		times: n.kind == kindTime,
		doubt: n.doubtful(),
	}
}

// findLoops marks a node of each ring.
func (n *node) findLoops(done, on map[*node]bool) {
	if on[n] {
		n.loop = true
	}
	if done[n] {
		return
	}
	done[n], on[n] = true, true
	n.inside(func(inner *node, _ string) { inner.findLoops(done, on) })
	on[n] = false
}

// measure completes the depth of a node and those inside it.
func (n *node) measure(done map[*node]bool) {
	if done[n] {
		return
	}
	done[n] = true
	n.inside(func(inner *node, _ string) {
		inner.measure(done)
		n.depth = max(n.depth, inner.depth)
	})
	if n.isContainer() {
		n.depth++
	}
	if n.loop {
		n.depth = protocol.DepthMax + 1
	}
}

// isContainer reports whether the bytes of a node count towards the depth.
func (n *node) isContainer() bool {
	return n.kind == kindSlice || n.kind == kindArray || n.kind == kindMap || n.kind == kindStruct
}

// doubtful reports whether a struct has a field that may be left out though it
// is not the zero value: that is for the type of the field to say.
func (n *node) doubtful() bool {
	if n.kind != kindStruct {
		return false
	}
	for _, f := range n.layout.list {
		if f.omitEmpty && f.typ != timeType && f.typ.Implements(zeroerType) {
			return true
		}
	}
	return false
}

var zeroerType = reflect.TypeFor[interface{ IsZero() bool }]()

// inside calls do with each node directly inside.
func (n *node) inside(do func(inner *node, suffix string)) {
	switch n.kind {
	case kindPointer:
		do(n.elem, "")
	case kindSlice, kindArray:
		do(n.elem, "[]")
	case kindMap:
		do(n.key, "[key]")
		do(n.elem, "[]")
	case kindStruct:
		for _, f := range n.layout.list {
			do(f.node, "."+f.path)
		}
	}
}
