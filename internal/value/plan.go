package value

import (
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
)

var (
	timeType = reflect.TypeFor[time.Time]()
	byteType = reflect.TypeFor[byte]()
	anyType  = reflect.TypeFor[any]()
	// floatType loses its precision in its text and comes back as another value.
	floatType = reflect.TypeFor[big.Float]()
)

// Plan is what is known of a type before a value of it is seen. It does not
// change.
type Plan struct {
	root *node
	// fault, ErrInvalid, says why values of the type are not stored: each
	// place in the type, and the way out.
	fault error
	text  bool // a value that stands alone is written as a string
	has
}

// has says what values of a type may have inside, at any depth.
type has struct {
	maps  bool // the library writes their entries in random order
	codec bool // methods of the type run: anything may happen to the encoder
	any   bool // an interface, and in it anything
	times bool
	loop  bool // the type has itself inside: values may be deep, or cyclic
	// doubt: a value may be dropped that is not the zero value, because of
	// omitempty and the type's own notion of what is zero.
	doubt bool
}

// kind is what matters of a type for its bytes.
type kind uint8

const (
	kindRefused kind = iota
	kindBool
	kindInt
	kindUint
	kindFloat
	kindString
	kindBytes     // a slice
	kindByteArray // likewise written as bytes
	kindTime
	kindSlice
	kindArray
	kindMap
	kindStruct
	kindPointer
	kindAny
	kindCodec
)

// node is one type within a plan. Types that have themselves inside make rings.
type node struct {
	typ       reflect.Type
	kind      kind
	key, elem *node
	layout    *layout // of a struct
	faults    []fault // of this type itself
	has
	faulty bool // a fault lies here or inside
	depth  int  // how many containers deep its bytes are, if there is no loop
}

// plans remembers plans by type: of values that stand alone, whose address the
// library can take, and of those in interfaces, whose it cannot.
var (
	plans       sync.Map // order does not matter: looked up by reflect.Type only
	hiddenPlans sync.Map // order does not matter: looked up by reflect.Type only
)

// PlanOf returns the plan of a type for values that stand alone.
func PlanOf(t reflect.Type) *Plan {
	if known, ok := plans.Load(t); ok {
		return known.(*Plan)
	}
	known, _ := plans.LoadOrStore(t, newPlan(t, true))
	return known.(*Plan)
}

// planHidden returns the plan of a type whose values are in an interface.
func planHidden(t reflect.Type) *Plan {
	if known, ok := hiddenPlans.Load(t); ok {
		return known.(*Plan)
	}
	known, _ := hiddenPlans.LoadOrStore(t, newPlan(t, false))
	return known.(*Plan)
}

// Fault returns why values of the type are not stored, an ErrInvalid, or nil.
func (p *Plan) Fault() error { return p.fault }

// faultsMax limits how many faults of one type are told.
const faultsMax = 8

func newPlan(t reflect.Type, addressable bool) *Plan {
	b := builder{nodes: map[nodeKey]*node{}}
	root := b.build(t, addressable)
	b.analyse()
	p := &Plan{root: root, has: root.has, text: addressable && isText(t)}
	faults := collect(root, nil, "", nil)
	if len(faults) == 0 && !root.loop && root.depth > protocol.DepthMax {
		faults = append(faults, fault{why: fmt.Sprintf("it is nested %d deep, the limit is %d", root.depth, protocol.DepthMax)})
	}
	if len(faults) > 0 {
		p.fault = faultError(t, faults)
	}
	return p
}

// leaveAway is the way out for a field whose type cannot be stored.
const leaveAway = ": leave it away with the tag `msgpack:\"-\"`"

func faultError(t reflect.Type, faults []fault) error {
	name := t.String()
	if t.Name() == "" && t.Kind() == reflect.Struct {
		name = "the struct"
	}
	var lines []string
	for _, f := range faults {
		if !strings.Contains(f.path, ".") { // there is no field
			f.why = strings.TrimSuffix(f.why, leaveAway)
		}
		lines = append(lines, fmt.Sprintf("%s%s: %s", name, f.path, f.why))
	}
	return protocol.ErrInvalid.With("values of this type cannot be stored: " + strings.Join(lines, "; "))
}

// collect gathers the faults in a node and inside it, with their paths.
func collect(n *node, on []*node, path string, faults []fault) []fault {
	for _, outer := range on {
		if outer == n {
			return faults
		}
	}
	if !n.faulty || len(faults) >= faultsMax {
		return faults
	}
	for _, f := range n.faults {
		faults = append(faults, fault{joinPath(path, f.path), f.why})
	}
	on = append(on, n)
	n.inside(func(inner *node, suffix string) {
		faults = collect(inner, on, path+suffix, faults)
	})
	return faults
}
