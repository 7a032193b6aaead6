package runtime

import (
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
)

// sessions tells the server what becomes of those that its clients open.
type sessions struct{ m *Member }

// Opened reads the answer to a command that opens a session.
func (sessions) Opened(r *protocol.Result) (protocol.SessionID, error) {
	return sessionop.Opened(r)
}

// Lives reports whether a session may be open: its id is the index at which it was
// opened, and this member may not have come there.
func (s sessions) Lives(id protocol.SessionID) bool {
	return protocol.Index(id) > s.m.machine.Applied() || s.m.machine.HasSession(id)
}

// Seen is what this member has applied: a command of its own program stands above it.
func (m *Member) Seen() protocol.Index { return m.machine.Applied() }
