package runtime

import (
	"net/netip"

	"github.com/starlinghq/starling/protocol"
)

// favoured is whom the server keeps a share of its slots and of its memory for.
type favoured struct {
	members   map[protocol.MemberID]struct{} // that the log of this member names
	addresses map[netip.Addr]struct{}        // of those, and of who is alive as far as the membership knows
}

// favour follows the configuration and the membership. Members whose address is
// a name are favoured once the membership knows where they are.
func (m *Member) favour(addresses map[protocol.MemberID]string, conf *protocol.Configuration) {
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
	m.favoured.Store(next)
}

// favours reports whether the own log names a member, in either half of a joint
// configuration or as a learner.
func (m *Member) favours(id protocol.MemberID) bool {
	f := m.favoured.Load()
	if f == nil {
		return false
	}
	_, named := f.members[id]
	return named
}

// favoursAddress reports whether a member is there.
func (m *Member) favoursAddress(from netip.Addr) bool {
	f := m.favoured.Load()
	if f == nil {
		return false
	}
	_, known := f.addresses[from]
	return known
}
