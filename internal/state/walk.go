package state

import "github.com/starlinghq/starling/protocol"

// Walk is a place in the keys of a space, in order, at one index.
type Walk struct {
	space   *Space
	index   protocol.Index
	from    string // where it begins
	to      []byte // where it ends; nil: at the last key
	record  *Record
	version *Version
}

// Walk begins a walk through the keys from..to, to excluded, as they are at an index. A
// nil from is the beginning, a nil to the end. A space that is nil has no keys. What the
// writer adds meanwhile is met if it lies ahead and its index is not above.
func (sp *Space) Walk(i protocol.Index, from, to []byte) Walk {
	return Walk{space: sp, index: i, from: stringOf(from), to: to}
}

// Next goes on to the next key and reports whether there is one. Whoever walks with a
// [View] asks its Err after that, also at the end: if what lies ahead was dropped under
// the walk, that ends early.
func (w *Walk) Next() bool {
	if w.space == nil {
		return false
	}
	r := w.record
	if r == nil {
		r = w.space.list.seek(w.from)
	} else {
		r = w.space.list.after(r)
	}
	for ; r != nil && (w.to == nil || r.key < stringOf(w.to)); r = w.space.list.after(r) {
		if v := r.at(w.index); v != nil {
			w.record, w.version = r, v
			return true
		}
	}
	w.space = nil
	return false
}

// Key returns the key that the walk has come to. Nobody may change it.
func (w *Walk) Key() []byte { return w.record.KeyBytes() }

// Version returns what the key is at the walk's index.
func (w *Walk) Version() *Version { return w.version }
