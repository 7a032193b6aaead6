package policy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// A reserve costs next to nothing while it stands by, and a whole replica from
// the moment at which it is called: nobody sends it back. So it is called for a
// seat that nobody else can have, and for a passive that has been missing for as
// long as a voter has to have failed: one that was only restarted is back by
// then.

// ShortOfPassives reports whether fewer passives are alive than the
// configuration wants. Reserves do not count, and neither do members with a
// seat.
func ShortOfPassives(c protocol.Configuration, peers []Peer) bool {
	return len(passives(c, peers)) < c.Autopilot.Passives
}

func passives(c protocol.Configuration, peers []Peer) []Peer {
	return slices.DeleteFunc(slices.Clone(peers), func(p Peer) bool { return p.Role != protocol.RolePassive || c.Names(p.ID) })
}

// reinforce calls a reserve when passives have been missing for long.
func (v *view) reinforce() (Decision, bool) {
	if !ShortOfPassives(v.current, v.peers) {
		return Decision{}, false
	}
	there := passives(v.current, v.peers)
	missing := fmt.Sprintf("%d passives of %d wanted for %v", len(there), v.current.Autopilot.Passives, v.Now.Sub(v.Short).Round(time.Second))
	if due := v.Short.Add(v.FailedAfter); due > v.Now {
		v.lookAgain(due)
		v.note = append(v.note, fmt.Sprintf("%s of %v", missing, v.FailedAfter))
		return Decision{}, false
	}
	var zones []string
	for _, p := range there {
		zones = append(zones, p.Zone)
	}
	d, ok := v.activate(v.reserves(false), zones, missing)
	if !ok {
		v.note = append(v.note, missing+", and no reserve stands by")
	}
	return d, ok
}

// activateFor calls a reserve for a seat, unless a passive may soon be there for it.
func (v *view) activateFor(c candidates, zones []string, why string) (Decision, bool) {
	reserves := v.reserves(true)
	if c.patience > v.Now && len(reserves) > 0 {
		v.lookAgain(c.patience)
		return Decision{}, false
	}
	return v.activate(reserves, zones, why)
}

// reserves returns those that can be called now.
func (v *view) reserves(eligible bool) []Peer {
	var list []Peer
	for _, p := range v.peers {
		if p.Role != protocol.RoleReserve || v.current.Names(p.ID) || eligible && (!p.Eligible || v.Barred(p) != "") {
			continue
		}
		if stable := p.Since.Add(v.Stable); stable > v.Now {
			v.lookAgain(stable)
			continue
		}
		list = append(list, p)
	}
	return list
}

// activate calls the one that was called lately, if there is one: it has to be given
// time to follow, and two must not come where one is missing. Otherwise one that
// was never called, before those that do not listen.
func (v *view) activate(reserves []Peer, zones []string, why string) (Decision, bool) {
	if len(reserves) == 0 {
		return Decision{}, false
	}
	d := Decision{Action: Activate, Version: v.Configuration.Index, Next: v.current}
	for _, p := range reserves {
		if p.Activated != 0 && p.Activated.Add(v.FailedAfter) > v.Now {
			d.Member, d.Why = p.ID, fmt.Sprintf("%s, a reserve, was asked to follow: %s", label(p), why)
			return d, true
		}
	}
	first := slices.MinFunc(reserves, func(a, b Peer) int { return cmp.Compare(a.Activated, b.Activated) }).Activated
	reserves = slices.DeleteFunc(reserves, func(p Peer) bool { return p.Activated != first })
	p, zone := v.choose(reserves, zones)
	d.Member, d.First, d.Why = p.ID, true, fmt.Sprintf("%s, a reserve, is asked to follow%s: %s", label(p), zone, why)
	return d, true
}
