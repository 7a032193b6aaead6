package starling

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
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

// unreadable says which value is malformed, or of another type than its handle.
func (m *Map[K, V]) unreadable(key []byte, err error) error {
	if !errors.Is(err, ErrMalformed) {
		return err
	}
	return malformedAt[V](fmt.Sprintf("map %q, key %v", m.name, RawKey(key)), err)
}

func (q *Queue[V]) unreadable(err error) error {
	if !errors.Is(err, ErrMalformed) {
		return err
	}
	return malformedAt[V](fmt.Sprintf("queue %q", q.name), err)
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

// watch asks for changes.
func watch(ctx context.Context, caller Caller, w protocol.Watch) (resources.WatchStream, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	return caller.Watch(ctx, w)
}
