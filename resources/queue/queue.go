// Package queue is the first-in first-out queue. An element is any bytes; typed
// handles (starling.NewQueue) and the command line encode it by
// [resources.AppendValue]. Its number is the position in which it was pushed,
// from 1, and is never used again.
package queue

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// PeekMax limits how many elements one Peek answers; PeekBytesMax their bytes,
// unless the first one alone has more.
const (
	PeekMax      = 1000
	PeekBytesMax = 1 << 20
)

// ErrEmpty answers a Pop or a Peek of an empty queue. It is an ErrNotFound.
var ErrEmpty = protocol.ErrNotFound.With("the queue is empty")

// Element is one element and its number.
type Element struct {
	Number uint64
	Value  []byte
}

var (
	elements = resources.NewTable[uint64, raw]("elements")
	// last is the number given last. It is kept so that no number comes
	// twice, not even after the queue was empty.
	last = resources.NewCell[uint64]("last")
	// taken counts the elements popped: they go in order, so it is also the
	// number of the last one.
	taken = resources.NewCell[uint64]("taken")
)

// raw is bytes that are stored as they are.
type raw []byte

// AppendRaw appends the bytes.
func (r raw) AppendRaw(dst []byte) ([]byte, error) { return append(dst, r...), nil }

// ParseRaw takes any bytes.
func (raw) ParseRaw(src []byte) (raw, error) { return src, nil }

// Push adds an element at the end and answers its number.
var Push = resources.NewCommand("push", func(tx *resources.Tx, value []byte) (uint64, error) {
	n, err := last.Get(tx)
	if err != nil {
		return 0, err
	}
	n++
	if err := elements.Put(tx, n, value); err != nil {
		return 0, err
	}
	return n, last.Set(tx, n)
})

// Pop removes the first element and answers it. ErrEmpty.
var Pop = resources.NewCommand("pop", func(tx *resources.Tx, _ struct{}) (Element, error) {
	before, err := taken.Get(tx)
	if err != nil {
		return Element{}, err
	}
	n := before + 1
	value, ok, err := elements.Get(tx, n)
	if err != nil {
		return Element{}, err
	}
	if !ok {
		return Element{}, ErrEmpty
	}
	elements.Delete(tx, n)
	return Element{Number: n, Value: value}, taken.Set(tx, n)
})

// Peek answers the first elements, at most so many (0: one), without removing
// them. ErrEmpty.
var Peek = resources.NewQuery("peek", func(v *resources.View, limit int) ([]Element, error) {
	limit = max(limit, 1)
	if limit > PeekMax {
		return nil, protocol.ErrInvalid.With(fmt.Sprintf("a peek answers at most %d elements, not %d", PeekMax, limit))
	}
	var out []Element
	size := 0
	for row, err := range elements.All(v) {
		if err != nil {
			return nil, err
		}
		size += len(row.Value)
		if len(out) == limit || len(out) > 0 && size > PeekBytesMax {
			break
		}
		out = append(out, Element{Number: row.Key, Value: row.Value})
	}
	if len(out) == 0 {
		return nil, ErrEmpty
	}
	return out, nil
})

// Length counts the elements, at no cost.
var Length = resources.NewQuery("length", func(v *resources.View, _ struct{}) (uint64, error) {
	pushed, err := last.Get(v)
	if err != nil {
		return 0, err
	}
	popped, err := taken.Get(v)
	return pushed - popped, err
})

// Type is what a member needs to have queues.
var Type = resources.NewType("queue", 1, Push, Pop, Peek, Length)
