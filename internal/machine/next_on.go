//go:build starling_next

package machine

import "github.com/starlinghq/starling/protocol"

// applyNext applies what format level 2 has: an entry that writes the cluster time into the
// state.
func applyNext(m *Machine, e *protocol.Entry) {
	if e.Kind == protocol.EntryNext {
		m.writeTime()
	}
}
