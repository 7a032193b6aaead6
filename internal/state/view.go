package state

import "github.com/starlinghq/starling/protocol"

// View is the state at one index, for a reader. Opening one takes constant time. While
// it is open, the versions that it may read are kept; if the state has moved on for more
// than 60 seconds it expires.
//
// A view belongs to one goroutine at a time. The zero value is a view that is closed.
type View struct {
	state *State
	node  *viewNode // nil: closed
	index protocol.Index
}

// Open opens a view at the published index. Anybody may; it must be closed.
func (s *State) Open() View {
	node, i := s.views.open()
	return View{state: s, node: node, index: i}
}

// Index returns the index that the view reads at.
func (v *View) Index() protocol.Index { return v.index }

// Close gives the view back. Closing it twice is harmless.
func (v *View) Close() {
	if v.node != nil {
		v.state.views.close(v.node)
		v.node = nil
	}
}

// Err returns ErrViewExpired if what was just read with the view is not to be trusted:
// the flag is set before the first version that the view may want is dropped. It is so
// of a closed view, too.
func (v *View) Err() error {
	if v.node == nil || v.node.expired.Load() {
		return protocol.ErrViewExpired
	}
	return nil
}

// Space returns the space of a resource, or nil. A space that has keys at the index is
// not dropped while the view is open.
func (v *View) Space(name string) *Space { return v.state.Space(name) }

// Get returns what a key of a space was at the index, nil if it did not exist; a space
// that is nil has no keys. Err says afterwards whether that is to be trusted.
func (v *View) Get(sp *Space, key []byte) *Version {
	if sp == nil {
		return nil
	}
	r := sp.find(key)
	if r == nil {
		return nil
	}
	return r.at(v.index)
}
