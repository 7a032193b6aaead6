package starling

import (
	"context"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// A handle that nobody made, nil or a zero value, asks nobody about nothing,
// and so does one over a Node or a Client that is nil or zero: its calls end
// with ErrInvalid. Handles go through these methods for that.

func (m *Map[K, V]) asks() Caller {
	if m == nil {
		return nil
	}
	return m.caller
}

func (m *Map[K, V]) named() string {
	if m == nil {
		return ""
	}
	return m.name
}

func (q *Queue[V]) asks() Caller {
	if q == nil {
		return nil
	}
	return q.caller
}

func (q *Queue[V]) named() string {
	if q == nil {
		return ""
	}
	return q.name
}

func (c *Counter) asks() Caller {
	if c == nil {
		return nil
	}
	return c.caller
}

func (c *Counter) named() string {
	if c == nil {
		return ""
	}
	return c.name
}

// watch asks for changes, once it is known that somebody may be asked for them.
func watch(ctx context.Context, caller Caller, w protocol.Watch) (resources.WatchStream, error) {
	if caller == nil {
		return nil, protocol.ErrInvalid.With("a watch has nobody to ask: its handle was made without a Node or a Client")
	}
	if err := w.Validate(); err != nil {
		return nil, err
	}
	return caller.Watch(ctx, w)
}
