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

// TakeMax and TakeBytesMax limit what a Take that takes nothing answers, like those
// of a Peek.
const (
	TakeMax      = 16
	TakeBytesMax = 64 << 10
)

// Element is one element, its number, and where it was pushed: indexes rise with
// numbers, and go on rising when the queue is deleted and made anew.
type Element struct {
	Number uint64
	Index  resources.Index
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

// Pop removes the first element and answers it, whatever it holds. ErrEmpty.
var Pop = resources.NewCommand("pop", func(tx *resources.Tx, _ struct{}) (Element, error) {
	e, err := head(tx)
	if err != nil {
		return Element{}, err
	}
	return e, remove(tx, e.Number)
}).Frees()

// Take removes the first element if it was pushed at or before an index, that of the
// last of those that the caller has read and can use; it answers the element, without
// its value. Otherwise it takes nothing and is ErrConditionFailed, and its answer is
// the elements that are first now. ErrEmpty.
var Take = resources.NewCommand("take", func(tx *resources.Tx, upTo resources.Index) (Elements, error) {
	e, err := head(tx)
	if err != nil {
		return nil, err
	}
	if e.Index <= upTo {
		e.Value = nil
		return Elements{e}, remove(tx, e.Number)
	}
	others, err := first(tx, TakeMax, TakeBytesMax)
	if err != nil {
		return nil, err
	}
	return others, protocol.ErrConditionFailed.With(fmt.Sprintf(
		"the first element, number %d, was pushed at index %d, after %d", e.Number, e.Index, upTo))
}).Frees()

// Skip removes the first element if it has a number, and answers it: for one that
// nobody can use. Otherwise ErrNotFound. ErrEmpty.
var Skip = resources.NewCommand("skip", func(tx *resources.Tx, number uint64) (Element, error) {
	e, err := head(tx)
	if err != nil {
		return Element{}, err
	}
	if e.Number != number {
		return Element{}, protocol.ErrNotFound.With(fmt.Sprintf("the first element has the number %d, not %d", e.Number, number))
	}
	return e, remove(tx, e.Number)
}).Frees()

// head returns the first element, or ErrEmpty.
func head(tx *resources.Tx) (Element, error) {
	before, err := taken.Get(tx)
	if err != nil {
		return Element{}, err
	}
	row, ok, err := elements.Row(tx, before+1)
	if err == nil && !ok {
		err = ErrEmpty
	}
	return Element{Number: row.Key, Index: row.Version, Value: row.Value}, err
}

// remove takes the first element, whose number is given, out.
func remove(tx *resources.Tx, number uint64) error {
	elements.Delete(tx, number)
	return taken.Set(tx, number)
}

// first returns the first elements, so many of so many bytes, but one in any case.
func first(r resources.Reader, limit, bytes int) ([]Element, error) {
	var out []Element
	size := 0
	for row, err := range elements.All(r) {
		if err != nil {
			return nil, err
		}
		size += len(row.Value)
		if len(out) == limit || len(out) > 0 && size > bytes {
			break
		}
		out = append(out, Element{Number: row.Key, Index: row.Version, Value: row.Value})
	}
	return out, nil
}

// Peek answers the first elements, at most so many (0: one), without removing
// them. ErrEmpty.
var Peek = resources.NewQuery("peek", func(v *resources.View, limit int) ([]Element, error) {
	limit = max(limit, 1)
	if limit > PeekMax {
		return nil, protocol.ErrInvalid.With(fmt.Sprintf("a peek answers at most %d elements, not %d", PeekMax, limit))
	}
	out, err := first(v, limit, PeekBytesMax)
	if err == nil && len(out) == 0 {
		err = ErrEmpty
	}
	return out, err
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
var Type = resources.NewType("queue", 1, Push, Pop, Take, Skip, Peek, Length)
