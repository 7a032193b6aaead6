package gossip

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// heed is whom an active believes where nobody signs.
//
// [S] An active takes committed entries, the description of a checkpoint and log
// sums from those that its log names, and from nobody else: what it takes for
// committed it puts in the place of what it has acknowledged. What the
// membership says of somebody's role is the word of that member, and counts for
// nothing here. Only when there may be nobody left of those whom the log names
// does it listen to anybody. A passive has acknowledged nothing.
type heed struct {
	named   []protocol.MemberID // sorted
	anybody bool
	unasked uint64 // what came of others, and was dropped
}

// Heed says whom this member believes while it is active: those named, sorted
// by id, or anybody. The list must not be changed afterwards. Until it is told
// it believes anybody.
func (c *Core) Heed(named []protocol.MemberID, anybody bool) {
	c.heed.named, c.heed.anybody = named, anybody
}

// wary reports whether this member believes only those whom its log names.
func (c *Core) wary() bool {
	return c.self.Role == protocol.RoleActive && len(c.heed.named) > 0 && !c.heed.anybody && !c.checks()
}

// heeds reports whether a member's word on what is committed counts.
func (c *Core) heeds(id protocol.MemberID) bool {
	if !c.wary() {
		return true
	}
	_, named := slices.BinarySearchFunc(c.heed.named, id, protocol.MemberID.Compare)
	return named
}

// vouches reports whether one member's word on a checkpoint or a log sum is
// enough: that of an active, as far as anybody knows.
func (c *Core) vouches(m *member) bool {
	if c.wary() {
		return c.heeds(m.id)
	}
	return m.peer.Role == protocol.RoleActive
}

// Unheeded returns how much of what others sent was dropped, since the start,
// because this member's log does not name them.
func (c *Core) Unheeded() uint64 { return c.heed.unasked }
