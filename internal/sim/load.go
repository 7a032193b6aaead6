package sim

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// The objects: keys of one map, counters, queues, and places of values that are
// hard to encode alike on all members. They are few, so that clients
// meet, and enough to keep each one's history short.
const (
	mapKeys  = 8
	counters = 3
	queues   = 2
	awkwards = 3 // the last one has flags, the others records
	objects  = mapKeys + counters + queues + awkwards
	mapName  = "m"
	// awkwardName is the instance of the awkward records.
	awkwardName = "a"
	queueMax    = 8 // a queue that is longer is rather popped
)

func objectName(i int) string {
	switch {
	case i < mapKeys:
		return fmt.Sprintf("key%d", i)
	case i < mapKeys+counters:
		return fmt.Sprintf("counter%d", i-mapKeys)
	case i < mapKeys+counters+queues:
		return fmt.Sprintf("queue%d", i-mapKeys-counters)
	}
	return fmt.Sprintf("awkward%d", i-mapKeys-counters-queues)
}

// isAwkward and isFlags say what kind of object a number is.
func isAwkward(i int) bool { return i >= mapKeys+counters+queues }
func isFlags(i int) bool   { return i == objects-1 }

// drawOp draws what a client does next.
func (s *load) drawOp(c *client) *op {
	r := s.random.clients
	o := &op{object: r.IntN(objects)}
	draw, level := r.IntN(100), r.IntN(2)
	if level == 1 {
		o.consistency = protocol.Local
	}
	s.values++
	switch {
	case o.object < mapKeys:
		o.value = fmt.Sprintf("v%d", s.values)
		switch {
		case draw < 40:
			o.kind, o.twins = opPut, s.values%(2*twinsEach)%(twinsEach+1)
		case draw < 50:
			o.kind = opDelete
		case draw < 65:
			o.kind = opSwap
			o.version = s.state.at(o.object, s.state.acknowledged).version
		default:
			o.kind = opGet
		}
	case o.object < mapKeys+counters:
		o.number = int64(1 + r.IntN(9))
		switch {
		case draw < 55:
			o.kind = opAdd
		case draw < 60:
			o.kind = opSet
		default:
			o.kind = opCount
		}
	case isAwkward(o.object):
		o.number = int64(s.values)
		if o.kind = opRecall; draw < 70 {
			o.kind = opExchange
		}
	default:
		o.value = fmt.Sprintf("v%d", s.values)
		long := len(s.state.at(o.object, protocol.Index(len(s.state.applies))).queue) > queueMax
		switch {
		case draw < 40 && !long:
			o.kind = opPush
		case draw < 75:
			o.kind = opPop
		default:
			o.kind = opPeek
		}
	}
	return o
}
