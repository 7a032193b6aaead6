package runtime

import (
	"maps"

	"github.com/starlinghq/starling/protocol"
)

// nameOf is what a member is called in the log and in errors: those who read them know
// names, not ids. Any goroutine may call it.
func (m *Member) nameOf(id protocol.MemberID) string {
	known := map[protocol.MemberID]string{}
	if m.swim != nil { // there is none while the log is repaired before the start
		for _, k := range m.swim.Unheard() {
			known[k.ID] = k.Name
		}
		for _, p := range m.swim.Peers() {
			known[p.ID] = p.Name
		}
	}
	for _, a := range m.configuration().Members {
		known[a.ID] = a.Name
	}
	known[m.identity.Member] = m.identity.Name
	return protocol.LabelOf(id, maps.All(known))
}
