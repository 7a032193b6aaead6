package runtime

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// favoured is whom the server keeps a share of its slots and of its memory for.
type favoured struct {
	members   map[protocol.MemberID]struct{} // that the log of this member names
	addresses map[netip.Addr]struct{}        // of those, and of who is alive as far as the membership knows
}

// favours is favoured for many goroutines.
type favours struct{ now atomic.Pointer[favoured] }

// follow takes the configuration and what the membership knows. Members whose address
// is a name are favoured once the membership knows where they are.
func (f *favours) follow(addresses map[protocol.MemberID]string, conf *protocol.Configuration) {
	next := &favoured{
		members: make(map[protocol.MemberID]struct{}, len(conf.Members)), addresses: make(map[netip.Addr]struct{}, len(addresses)),
	}
	for i := range conf.Members {
		next.members[conf.Members[i].ID] = struct{}{}
	}
	for _, address := range addresses { // order does not matter: a set
		if at, err := netip.ParseAddrPort(address); err == nil {
			next.addresses[at.Addr().Unmap()] = struct{}{}
		}
	}
	f.now.Store(next)
}

// member reports whether the own log names a member, in either half of a joint
// configuration or as a learner.
func (f *favours) member(id protocol.MemberID) bool {
	now := f.now.Load()
	if now == nil {
		return false
	}
	_, named := now.members[id]
	return named
}

// address reports whether a member is there.
func (f *favours) address(from netip.Addr) bool {
	now := f.now.Load()
	if now == nil {
		return false
	}
	_, known := now.addresses[from]
	return known
}

// crowdEvery is how often the log says that connections give way.
const crowdEvery = time.Minute

// crowd says in the log when connections had to give way, and how many of each kind.
type crowd struct {
	said wire.Drops
	next time.Time
}

func (c *crowd) look(m *Member, now time.Time) {
	drops := m.server.Drops()
	if drops == c.said || now.Before(c.next) {
		return
	}
	m.logger.Warn("connections give way to newer ones: more come than there are slots or memory for (docs/limits.md)",
		"handshakes", drops.Handshakes-c.said.Handshakes, "frames", drops.Frames-c.said.Frames,
		"members", drops.Members-c.said.Members, "clients", drops.Clients-c.said.Clients)
	c.said, c.next = drops, now.Add(crowdEvery)
}
