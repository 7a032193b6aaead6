package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/sim/awkward"
	"github.com/starlinghq/starling/protocol"
)

// opKind is what an operation does.
type opKind uint8

const (
	opOpen opKind = iota
	opKeepAlive
	opPut
	opDelete
	opSwap // put if the version is as expected
	opGet
	opAdd
	opSet
	opCount
	opPush
	opPop
	opPeek
	opExchange // an awkward value for the one before; see package awkward
	opRecall
)

var opNames = [...]string{"open", "keepalive", "put", "delete", "swap", "get", "add", "set", "count", "push", "pop", "peek", "exchange", "recall"}

// op is one operation on one object: a key of a map, a counter, a queue, or the
// place of an awkward value.
type op struct {
	kind        opKind
	object      int // number of the object; see load.go
	value       string
	number      int64
	version     protocol.Index // that a swap expects; 0: absent
	twins       int            // keys that a put writes beside its own
	consistency protocol.Consistency
	timeout     time.Duration

	// executed is where the operation took effect, and got what came of it, as
	// the checkers saw it; got of a read is what the client was told.
	executed protocol.Index
	got      output
}

// output is what comes of an operation, for all kinds.
type output struct {
	failed  bool // by its condition
	found   bool
	value   string
	number  int64
	version protocol.Index
}

// command reports whether the operation changes state.
func (o *op) command() bool {
	return o.kind != opGet && o.kind != opCount && o.kind != opPeek && o.kind != opRecall
}

// stops reports whether the operation stops in the middle of what it does.
func (o *op) stops() bool {
	return o.kind == opExchange && !isFlags(o.object) && awkward.Stops(o.number)
}

// String names the operation for traces and violations.
func (o *op) String() string {
	s := fmt.Sprintf("%s %s", opNames[o.kind], objectName(o.object))
	switch o.kind {
	case opOpen, opKeepAlive:
		return opNames[o.kind]
	case opPut, opPush:
		s += " " + o.value
	case opSwap:
		s += fmt.Sprintf(" %s if %d", o.value, o.version)
	case opAdd, opSet, opExchange:
		s += fmt.Sprintf(" %d", o.number)
	case opGet, opCount, opPeek, opRecall:
		s += " " + o.consistency.String()
	}
	return s
}

// cell is the state of one object; number is that of a counter, of the last
// element that was pushed, or of an awkward value. A cell is never changed in place, so that
// the states at all indexes can be kept.
type cell struct {
	found   bool
	value   string
	number  int64
	version protocol.Index
	queue   []string
}

// equal compares cells, for the checker of histories.
func (c *cell) equal(d *cell) bool {
	return c.found == d.found && c.value == d.value && c.number == d.number && c.version == d.version && slices.Equal(c.queue, d.queue)
}

// step is the sequential specification: what an operation gives in a state, and
// the state after it. Versions are the indexes at which commands took effect.
func (o *op) step(c cell) (output, cell) {
	switch o.kind {
	case opPut:
		return output{version: o.executed}, cell{found: true, value: o.value, version: o.executed}
	case opDelete:
		return output{version: c.version}, cell{}
	case opSwap:
		if c.version != o.version {
			return output{failed: true, version: c.version}, c
		}
		return output{version: o.executed}, cell{found: true, value: o.value, version: o.executed}
	case opGet:
		return output{found: c.found, value: c.value, version: c.version}, c
	case opAdd:
		n := c.number + o.number
		return output{number: n}, cell{number: n}
	case opSet:
		return output{number: c.number}, cell{number: o.number}
	case opCount:
		return output{number: c.number}, c
	case opPush:
		n := c.number + 1
		return output{number: n}, cell{number: n, queue: append(slices.Clone(c.queue), o.value)}
	case opPop, opPeek:
		if len(c.queue) == 0 {
			return output{}, c
		}
		out := output{found: true, value: c.queue[0], number: c.number - int64(len(c.queue)) + 1}
		if o.kind == opPop {
			c.queue = c.queue[1:]
		}
		return out, c
	case opExchange:
		if o.stops() {
			return output{failed: true}, c
		}
		return output{found: c.found, number: c.number}, cell{found: true, number: o.number}
	case opRecall:
		return output{found: c.found, number: c.number}, c
	}
	return output{}, c
}
