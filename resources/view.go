package resources

import (
	"iter"

	"github.com/starlinghq/starling/protocol"
)

// View is one instance of a resource as it was at one index, however much is
// written meanwhile. Opening one takes constant time.
//
// A view belongs to one goroutine at a time. It must be closed: while it is
// open, the versions that it may read are kept. If the state has moved on for
// more than 60 seconds, its reads fail with ErrViewExpired.
type View struct {
	views   *views
	node    *viewNode // nil: closed
	space   *space    // nil: the instance does not exist
	index   protocol.Index
	encoded EncodedFunc
}

var _ Reader = (*View)(nil)

// Index returns the index that the view reads at.
func (v *View) Index() protocol.Index { return v.index }

// Close gives the view back. Closing it twice is harmless.
func (v *View) Close() {
	if v.node != nil {
		v.views.close(v.node)
		v.node = nil
	}
}

// check reports whether what was just read is to be trusted: the mark is set
// before the first version that the view may want is dropped.
func (v *View) check() error {
	if v.node == nil || v.node.expired.Load() {
		return protocol.ErrViewExpired
	}
	return nil
}

// Len returns the number of keys.
func (v *View) Len() int {
	if v.space == nil {
		return 0
	}
	return v.space.sizeAt(v.index)
}

// Get returns the value of a key, without allocating. ErrViewExpired.
func (v *View) Get(key []byte) ([]byte, bool, error) {
	found, err := v.find(key)
	if found == nil {
		return nil, false, err
	}
	return found.value, true, nil
}

// Lookup returns the value of a key with its version. ErrViewExpired.
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

// Scan yields the keys from..to in order; see [Reader]. ErrViewExpired, as the
// last thing yielded.
func (v *View) Scan(from, to []byte) iter.Seq2[Item, error] {
	return v.space.scan(v.index, from, to, v.check)
}
