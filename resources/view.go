package resources

import (
	"context"
	"iter"

	"github.com/starlinghq/starling/internal/state"
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
	at      state.View
	space   *state.Space // nil: the instance does not exist
	encoded encodedFunc
	ctx     context.Context // of the query; nil: none, or one that does not end
}

var _ Reader = (*View)(nil)

// Index returns the index that the view reads at.
func (v *View) Index() Index { return v.at.Index() }

// Close gives the view back. Closing it twice is harmless.
func (v *View) Close() { v.at.Close() }

// Err returns why reads fail from now on, or nil if they do not: ErrViewExpired,
// or the error of the query's context.
func (v *View) Err() error {
	if err := v.at.Err(); err != nil || v.ctx == nil {
		return err
	}
	return v.ctx.Err()
}

// Len returns the number of keys.
func (v *View) Len() int {
	keys, _ := v.space.At(v.Index())
	return keys
}

// Get returns the value of a key, without allocating. It fails as Err says.
func (v *View) Get(key []byte) ([]byte, bool, error) {
	found := v.at.Get(v.space, key)
	if err := v.Err(); err != nil || found == nil {
		return nil, false, err
	}
	return found.Value(), true, nil
}

// Lookup returns the value of a key with its version. It fails as Err says.
func (v *View) Lookup(key []byte) (Item, bool, error) {
	found := v.at.Get(v.space, key)
	if err := v.Err(); err != nil || found == nil {
		return Item{}, false, err
	}
	return Item{Key: key, Value: found.Value(), Version: found.Index()}, true, nil
}

// Scan yields the keys from..to in order; see [Reader]. What Err says is the last
// thing yielded.
func (v *View) Scan(from, to []byte) iter.Seq2[Item, error] {
	return scan(v.space, v.Index(), from, to, v.Err)
}
