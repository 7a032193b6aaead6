package gossip

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// heed is whom an active believes where nobody signs.
//
// [S] An active takes committed entries, the manifest of a checkpoint and log
// sums from those that its log names, and from nobody else: what it takes for
// committed it puts in the place of what it has acknowledged. What the
// membership says of somebody's role is the word of that member, and counts for
// nothing here. Only when there may be nobody left of those whom the log names
// does it listen to anybody. A passive has acknowledged nothing.
type heed struct {
	cfg  *Config
	self *standing

	named   []protocol.MemberID // sorted
	anybody bool
	unasked uint64 // what came of others, and was dropped
}

// wary reports whether this member believes only those whom its log names.
func (h *heed) wary() bool {
	return h.self.Role == protocol.RoleActive && len(h.named) > 0 && !h.anybody && !h.cfg.checks()
}

// heeds reports whether a member's word on what is committed counts.
func (h *heed) heeds(id protocol.MemberID) bool {
	if !h.wary() {
		return true
	}
	_, named := slices.BinarySearchFunc(h.named, id, protocol.MemberID.Compare)
	return named
}

// vouches reports whether one member's word on a checkpoint or a log sum is
// enough: that of an active, as far as anybody knows.
func (h *heed) vouches(m *member) bool {
	if h.wary() {
		return h.heeds(m.id)
	}
	return m.peer.Role == protocol.RoleActive
}
