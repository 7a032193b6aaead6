package runtime

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/protocol"
)

// roster is what one member knows of all: who is alive, who is named by the configuration,
// who was heard and is not any more, and what each said of itself.
type roster struct {
	now     protocol.Instant
	wall    time.Time
	conf    protocol.Configuration
	leader  protocol.MemberID
	peers   []protocol.Peer
	heard   []gossip.Heard
	unheard []swim.Known
	twin    func(protocol.MemberID) string // the other address at which an id is held
}

// list returns a line for each, with self as it says of itself, by role and name.
func (x *roster) list(self *protocol.Status) []protocol.MemberStatus {
	byID := map[protocol.MemberID]*protocol.MemberStatus{}
	get := func(id protocol.MemberID) *protocol.MemberStatus {
		line := byID[id]
		if line == nil {
			line = &protocol.MemberStatus{ID: id, Role: protocol.RolePassive.String()}
			byID[id] = line
		}
		return line
	}
	seats := map[protocol.MemberID]string{} // where the configuration says that its members are
	for _, a := range x.conf.Members {
		seats[a.ID] = a.Address
		line := get(a.ID)
		line.Name, line.Address, line.Suffrage, line.Role = a.Name, a.Address, a.Suffrage.String(), protocol.RoleActive.String()
	}
	for _, p := range x.peers {
		line := get(p.ID)
		line.Name, line.Address, line.Alive = p.Name, p.Address, true
		line.Moved, line.Configured = elsewhere(seats, &p)
		if line.Suffrage == "" {
			line.Role = p.Role.String()
		}
	}
	for _, h := range x.heard {
		if line, ok := byID[h.ID]; ok {
			ago := max(0, x.now.Sub(h.At)) // by which its state has grown older, for all that is known here
			line.Known, line.Applied, line.Said = true, h.Applied, int64(ago)
			line.AgeKnown, line.AgeNanos = h.AgeKnown, int64(h.Age+ago)
		}
	}
	for _, k := range x.unheard {
		line := get(k.ID)
		if line.Alive || line.Suffrage == "" && x.wall.Sub(k.Heard) > protocol.ListedFor {
			if !line.Alive {
				delete(byID, k.ID)
			}
			continue
		}
		if line.Suffrage == "" {
			line.Name, line.Address, line.Role = k.Name, k.Address, k.Role.String()
		}
		if !k.Heard.IsZero() {
			line.SilenceKnown, line.Silence = true, max(0, int64(x.wall.Sub(k.Heard)))
		}
	}
	me := get(self.ID)
	me.Name, me.Address, me.Alive, me.Role = self.Name, self.Address, true, self.Role
	me.Moved, me.Configured = elsewhere(seats, &protocol.Peer{ID: self.ID, Address: reach(self.Address)})
	me.Known, me.Applied, me.AgeKnown, me.AgeNanos = true, self.Applied, self.AgeKnown, self.AgeNanos
	list := make([]protocol.MemberStatus, 0, len(byID))
	for _, line := range byID {
		line.Leader, line.Other = line.ID == x.leader, x.twin(line.ID)
		list = append(list, *line)
	}
	slices.SortFunc(list, func(a, b protocol.MemberStatus) int {
		return cmp.Or(strings.Compare(a.Role, b.Role), strings.Compare(a.Name, b.Name), a.ID.Compare(b.ID))
	})
	return list
}

// elsewhere reports whether a member is not where the configuration, if it names
// it, says, and where that is.
func elsewhere(seats map[protocol.MemberID]string, p *protocol.Peer) (bool, string) {
	configured, named := seats[p.ID]
	if !named || p.At(configured) {
		return false, ""
	}
	return true, configured
}

// reach is protocol.Peer.Reach of the member that advertises an address, as the
// others see it: one way to write each IP address.
func reach(advertise string) string {
	if a, err := netip.ParseAddrPort(advertise); err == nil {
		return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).String()
	}
	return advertise
}

// namesIn are the labels in use.
func namesIn(s *protocol.Status) (list []protocol.NameInUse) {
	for _, x := range s.Members {
		if !x.Alive && x.Suffrage == "" {
			continue // who has gone leaves the name to others
		}
		list = append(list, protocol.NameInUse{Name: x.Name, Member: x.ID, Address: x.Address, Named: x.Suffrage != ""})
	}
	return list
}
