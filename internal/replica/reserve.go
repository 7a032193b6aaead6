package replica

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// A reserve is a passive whose log is empty and that does not fetch one. It is
// alive to the membership and known to the policy, and that is all: no gossip,
// no payload, no state. It follows from the moment at which a leader says so,
// and then is a passive like any other, over restarts too, because its log is
// not empty any more.

// talking returns those with whom gossip has to do: reserves neither send nor get anything.
func (f *flock) talking() []protocol.Peer {
	list := make([]protocol.Peer, 0, len(f.peers))
	for _, p := range f.peers {
		if p.Role != protocol.RoleReserve && !f.log.role.waits() {
			list = append(list, p)
		}
	}
	return list
}

// onActivate reports whether a message ends this member's time as a reserve: a
// leader asks it to follow, or has given it a seat. It does not know who leads,
// so it takes anybody's word; to follow harms nobody.
func (r *Replica) onActivate(now protocol.Instant, from protocol.MemberID, m protocol.Message) bool {
	why := "asks it to follow"
	switch m.(type) {
	case *protocol.Activate:
	case *protocol.Append, *protocol.InstallCheckpoint:
		why = "sends it the log"
	default:
		return false
	}
	r.log.role.wait(false)
	r.gossip.SetPeers(now, r.flock.talking())
	r.out.event(protocol.EventBecamePassive, fmt.Sprintf("it was a reserve, and %s %s", r.flock.labelOf(from), why))
	return true
}
