package starling

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
)

// errNobody is what the calls of a handle end with that nobody made, nil or a
// zero value, or that was made over nothing.
var errNobody = protocol.ErrInvalid.With("this handle has nobody to ask: it was made without a Node or a Client")

// refusing stands in for the caller of a handle that cannot work: nothing is
// sent, every call says why.
type refusing struct{ why error }

// refusedName stands in for the name of such a handle, which may have none:
// names are looked at before anybody is asked.
const refusedName = "refused"

// callerFor returns the caller of a handle with values of type V.
func callerFor[V any](c Caller) Caller {
	if err := resources.CheckType[V](); err != nil {
		return refusing{err}
	}
	if c == nil {
		return refusing{errNobody}
	}
	return c
}

// targetOf returns whom a handle asks, and about which name.
func targetOf(c Caller, name string) (Caller, string) {
	if c == nil {
		return refusing{errNobody}, refusedName
	}
	if r, ok := c.(refusing); ok {
		return r, refusedName
	}
	return c, name
}

// faultOf returns why a handle with this caller cannot work.
func faultOf(c Caller, _ string) error {
	if r, ok := c.(refusing); ok {
		return r.why
	}
	return nil
}

// target returns whom the map's calls ask, and about which name.
func (m *Map[K, V]) target() (Caller, string) {
	if m == nil {
		return targetOf(nil, "")
	}
	return targetOf(m.caller, m.name)
}

func (q *Queue[V]) target() (Caller, string) {
	if q == nil {
		return targetOf(nil, "")
	}
	return targetOf(q.caller, q.name)
}

func (c *Counter) target() (Caller, string) {
	if c == nil {
		return targetOf(nil, "")
	}
	return targetOf(c.caller, c.name)
}

// DecodeError says of one element of a map or a queue, and of no other, that it
// cannot be read as the type of its handle: its key or number, its index, its bytes.
// errors.As finds it. Scan, Watch and Follow yield it and go on; Pop takes nothing,
// see [Queue.Skip].
type DecodeError = resources.DecodeError

// unreadable says which element is of another type than its handle: of a value what
// and where it is, of a key, which says so itself, nothing.
func (m *Map[K, V]) unreadable(item *kvmap.Item, err error) error {
	if errors.Is(err, ErrMalformed) {
		err = malformedAt[V](fmt.Sprintf("map %q, key %v", m.name, RawKey(item.Key)), err)
	}
	return &DecodeError{Key: item.Key, Index: item.Version, Value: item.Value, Cause: err}
}

func (q *Queue[V]) unreadable(e *queue.Element, err error) error {
	return &DecodeError{Number: e.Number, Index: e.Index, Value: e.Value,
		Cause: malformedAt[V](fmt.Sprintf("queue %q, number %d", q.name, e.Number), err)}
}

// ofOneElement reports whether an error says nothing of the elements after it.
func ofOneElement(err error) bool {
	var bad *DecodeError
	return errors.As(err, &bad)
}

func malformedAt[V any](place string, err error) error {
	return protocol.ErrMalformed.With(fmt.Sprintf("%s, read as %v", place, reflect.TypeFor[V]())).Because(err)
}

func (r refusing) Command(context.Context, protocol.Command) (protocol.Result, error) {
	return protocol.Result{}, r.why
}

func (r refusing) Query(context.Context, protocol.Query) (protocol.Result, error) {
	return protocol.Result{}, r.why
}

func (r refusing) Watch(context.Context, protocol.Watch) (resources.WatchStream, error) {
	return nil, r.why
}
