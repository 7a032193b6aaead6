package starling

import (
	"context"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// unstorable stands in for the caller of a handle whose values cannot be stored:
// nothing is sent, every call says why.
type unstorable struct{ fault error }

// callerFor returns the caller of a handle with values of type V.
func callerFor[V any](c Caller) Caller {
	if err := resources.CheckType[V](); err != nil {
		return unstorable{err}
	}
	return c
}

// faultOf returns why the values of a handle with this caller cannot be stored.
func faultOf(c Caller) error {
	if u, ok := c.(unstorable); ok {
		return u.fault
	}
	return nil
}

func (u unstorable) Command(context.Context, protocol.Command) (protocol.Result, error) {
	return protocol.Result{}, u.fault
}

func (u unstorable) Query(context.Context, protocol.Query) (protocol.Result, error) {
	return protocol.Result{}, u.fault
}

func (u unstorable) Watch(context.Context, protocol.Watch) (resources.WatchStream, error) {
	return nil, u.fault
}
