package study

import (
	"cmp"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// event is something that happens to a server: a message arrives, a write is
// done, or, with neither, its deadline passes.
type event struct {
	at       protocol.Instant
	to, from int
	message  protocol.Message
	write    protocol.WriteID
}

// queue holds what is under way in order of time; events of one instant happen
// in the order in which they were put in. It holds a few dozen at most.
type queue struct{ list []event }

func (q *queue) push(e event) {
	i, _ := slices.BinarySearchFunc(q.list, e, func(a, b event) int {
		if a.at <= b.at {
			return -1
		}
		return cmp.Compare(a.at, b.at)
	})
	q.list = slices.Insert(q.list, i, e)
}

func (q *queue) pop() event {
	e := q.list[0]
	q.list = slices.Delete(q.list, 0, 1)
	return e
}
