package policy

import (
	"fmt"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// Members are spread over zones when they are chosen: for a new seat, or for
// one that has to change hands anyway. No seat changes hands for the sake of
// the spread alone: each change is a risk now, against a loss that may never
// come.

// zones returns the zones in which members with at least the seat live, one for
// each of them, some excepted.
func (v *view) zones(least protocol.Suffrage, except ...protocol.MemberID) []string {
	var zones []string
	for _, m := range v.current.Members {
		if m.Suffrage < least || slices.Contains(except, m.ID) {
			continue
		}
		if p, alive := v.peer(m.ID); alive {
			zones = append(zones, p.Zone)
		}
	}
	return zones
}

// choose returns the first of the peers, which are in order of id, whose zone
// has fewest, of those that wish to be active, if there are any: a passive that
// was only allowed to be is there for when nobody else is. A member that names no zone says nothing of where it is, so it
// may be where all the others are.
func (v *view) choose(from []Peer, taken []string) (Peer, string) {
	if wishing := slices.DeleteFunc(slices.Clone(from), func(p Peer) bool { return !p.Wishes }); len(wishing) > 0 {
		from = wishing
	}
	best, least := 0, len(taken)+1
	for i, p := range from {
		if n := crowd(p.Zone, taken); n < least {
			best, least = i, n
		}
	}
	p := from[best]
	switch {
	case p.Zone == "":
		return p, ""
	case least == 0:
		return p, fmt.Sprintf(", the first in zone %s", p.Zone)
	}
	return p, fmt.Sprintf(", beside %d in zone %s", least, p.Zone)
}

// crowd counts who is in a zone.
func crowd(zone string, taken []string) int {
	if zone == "" {
		return len(taken)
	}
	n := 0
	for _, z := range taken {
		if z == zone {
			n++
		}
	}
	return n
}

// neighbours counts the other voters in a member's zone, but for those that go.
func (v *view) neighbours(id protocol.MemberID, going []protocol.MemberID) int {
	p, alive := v.peer(id)
	if !alive || p.Zone == "" {
		return 0
	}
	return crowd(p.Zone, v.zones(protocol.SuffrageVoter, append(slices.Clone(going), id)...))
}
