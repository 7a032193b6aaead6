package resources

import (
	"context"
	"iter"

	"github.com/starlinghq/starling/protocol"
)

// View is one instance of a resource as it was at one index, however much is
// written meanwhile. Opening one takes constant time.
//
// A view belongs to one goroutine at a time. It must be closed: while it is
// open, the versions that it may read are kept. If the state has moved on for
// more than 60 seconds, its reads fail with ErrViewExpired.
//
// The view of a query ends with the query: when nobody waits for the answer any
// more, because the caller's context has ended or its connection is gone, every
// read fails with that context's error. That is how a long query stops. One that
// computes for long without reading cannot be stopped: it should look now and
// then at Err.
type View struct {
	state   *state
	node    *viewNode // nil: closed
	space   *space    // nil: the instance does not exist
	index   protocol.Index
	encoded EncodedFunc
	ctx     context.Context // of the query; nil: none, or one that does not end
}

var _ Reader = (*View)(nil)

// Index returns the index that the view reads at.
func (v *View) Index() protocol.Index { return v.index }

// Close gives the view back. Closing it twice is harmless.
func (v *View) Close() {
	if v.node != nil {
		v.state.views.close(v.node)
		v.node = nil
	}
}

// Err returns why reads fail from now on, or nil if they do not: ErrViewExpired,
// or the error of the query's context.
func (v *View) Err() error { return v.check() }

// check reports whether what was just read is to be trusted, and wanted: the mark
// is set before the first version that the view may want is dropped.
func (v *View) check() error {
	if v.node == nil || v.node.expired.Load() {
		return protocol.ErrViewExpired
	}
	if v.ctx != nil {
		return v.ctx.Err()
	}
	return nil
}

// Len returns the number of keys.
func (v *View) Len() int {
	if v.space == nil {
		return 0
	}
	keys, _ := v.space.at(v.index)
	return keys
}

// Get returns the value of a key, without allocating. It fails as Err says.
func (v *View) Get(key []byte) ([]byte, bool, error) {
	found, err := v.find(key)
	if found == nil {
		return nil, false, err
	}
	return found.value, true, nil
}

// Lookup returns the value of a key with its version. It fails as Err says.
func (v *View) Lookup(key []byte) (Item, bool, error) {
	found, err := v.find(key)
	if found == nil {
		return Item{}, false, err
	}
	return Item{Key: key, Value: found.value, Version: found.index}, true, nil
}

func (v *View) find(key []byte) (*version, error) {
	var found *version
	if v.space != nil {
		if r := v.space.find(key); r != nil {
			found = r.at(v.index)
		}
	}
	if err := v.check(); err != nil {
		return nil, err
	}
	return found, nil
}

// Scan yields the keys from..to in order; see [Reader]. What Err says is the last
// thing yielded.
func (v *View) Scan(from, to []byte) iter.Seq2[Item, error] {
	return v.space.scan(v.index, from, to, v.check)
}
