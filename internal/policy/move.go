package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// movedPause is how long a member keeps the address that this leader has entered,
// whatever it announces: where two claim one id, the configuration does not follow
// now the one and now the other.
const movedPause = time.Minute

// Moving is a member of the configuration that announces another address than the
// configuration has, and answers the leader there.
type Moving struct {
	ID protocol.MemberID
	// Address is where it is, Since when both have been true without a break.
	Address string
	Since   protocol.Instant
	// Entered is when this leader has entered an address of the member last; 0:
	// it has not.
	Entered protocol.Instant
}

// Moved returns the members, by id, that are elsewhere than the configuration
// says, without Since and Entered. What is announced alone proves nothing: the
// leader speaks to a member where it is announced, and only one that answers is
// there. Of itself the leader knows.
func (in *Input) Moved() (list []Moving) {
	for _, line := range in.Configuration.Configuration.Members {
		i := slices.IndexFunc(in.Peers, func(p Peer) bool { return p.ID == line.ID })
		if i < 0 {
			continue
		}
		p := &in.Peers[i]
		address := p.Reach()
		if address == "" || p.At(line.Address) || len(address) > protocol.NameBytesMax {
			continue
		}
		answers := slices.ContainsFunc(in.Progress, func(p Progress) bool { return p.ID == line.ID && p.Answers })
		if answers || line.ID == in.Self {
			list = append(list, Moving{ID: line.ID, Address: address})
		}
	}
	return list
}

// move enters where a member is that has moved, one in each change. It is no
// decision on who is active, and made although those are switched off: whoever is
// asked for at its address in the configuration must be there.
func (v *view) move() (Decision, bool) {
	for _, m := range v.Moving {
		line, named := v.current.Find(m.ID)
		if !named {
			continue
		}
		due := m.Since.Add(v.MovedAfter)
		if m.Entered != 0 {
			due = max(due, m.Entered.Add(movedPause))
		}
		if due > v.Now {
			v.lookAgain(due)
			v.note = append(v.note, fmt.Sprintf("%s answers at %s, not at %s, for %v", line.Label(), m.Address, orNowhere(line.Address), v.Now.Sub(m.Since).Round(time.Millisecond)))
			continue
		}
		why := fmt.Sprintf("%s has moved from %s to %s, where it has answered for %v",
			line.Label(), orNowhere(line.Address), m.Address, v.Now.Sub(m.Since).Round(time.Millisecond))
		line.Address = m.Address
		return v.change(Move, line, why), true
	}
	return Decision{}, false
}

func orNowhere(address string) string {
	if address == "" {
		return "nowhere"
	}
	return address
}
