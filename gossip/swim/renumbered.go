package swim

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/starlinghq/starling/gossip/reunion"
	"github.com/starlinghq/starling/protocol"
)

// surveyMax bounds how many members' names are looked up to find out whether a whole
// site was renumbered.
const surveyMax = 64

// means takes note of what the name of a member that is not heard means now. That it is
// another address than the one at which the member was heard is said once for each
// change, and of all of them together if nobody is heard.
func (s *Swim) means(id protocol.MemberID, name string, now []netip.AddrPort) {
	s.mu.Lock()
	known, lost := s.flock.Lost(id)
	if !lost || known.Number == "" || named(name) == "" || len(now) == 0 {
		s.mu.Unlock()
		return
	}
	other := meaning(known.Number, now)
	news, alone := s.flock.Means(id, name, other), s.flock.Size() == 0
	s.mu.Unlock()
	if news {
		s.cfg.Logger.Info("the name of a member that is not heard means another address now, where it is looked for",
			"member", id.Short(), "name", known.Name, "at", name, "was", known.Number, "means", other)
	}
	if news && alone {
		s.survey()
	}
}

// meaning returns what a name means, or nothing if the number is among that.
func meaning(number string, now []netip.AddrPort) string {
	was, err := netip.ParseAddrPort(number)
	if err == nil && slices.ContainsFunc(now, func(a netip.AddrPort) bool {
		return a.Port() == was.Port() && a.Addr() == was.Addr().WithZone("").Unmap()
	}) {
		return ""
	}
	var all []string
	for _, a := range now {
		all = append(all, a.String())
	}
	slices.Sort(all) // a resolver may turn them round
	return strings.Join(slices.Compact(all), " ")
}

// survey says, once until somebody is heard, that nobody is heard where it was, and that
// the names of all mean other addresses: a site was renumbered.
func (s *Swim) survey() {
	s.mu.Lock()
	var missed []reunion.Known
	for _, k := range s.flock.Unheard() {
		if k.Number != "" && named(k.Address) != "" && len(missed) < surveyMax {
			missed = append(missed, k)
		}
	}
	said := s.renumbered
	s.mu.Unlock()
	if said {
		return
	}
	var moves []string
	for _, k := range missed {
		now, err := s.lookUp(k.Address)
		if err != nil || len(now) == 0 || meaning(k.Number, now) == "" {
			return
		}
		moves = append(moves, k.Name+" "+k.Number+" -> "+meaning(k.Number, now))
	}
	if len(moves) == 0 {
		return
	}
	s.mu.Lock()
	said = s.renumbered || s.flock.Size() > 0
	s.renumbered = s.renumbered || !said
	s.mu.Unlock()
	if !said {
		s.cfg.Logger.Warn("no member is heard where it was, and the names of all that have one mean other addresses now, where they are looked for: were all renumbered?",
			"members", strings.Join(moves, ", "))
	}
}
