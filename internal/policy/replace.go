package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Failing is an active that neither answers the leader nor is thought alive by
// the membership. Either alone proves nothing: a link may be broken, and the
// membership is often wrong for a moment.
type Failing struct {
	ID protocol.MemberID
	// Since is when both began.
	Since protocol.Instant
}

// replace gives the seat of a voter that has failed for long to another member,
// in one joint change: newcomer in, failed one out.
//
// One after the other would be worse than waiting: with the newcomer in first,
// three voters of which one is dead become four, and need three of the three
// that live. With the failed one out first, two are left, and need both.
func (v *view) replace() (Decision, bool) {
	failed, ok := v.failedVoter()
	if !ok {
		return Decision{}, false
	}
	ready, waiting := v.learners()
	if len(ready) > 0 {
		p, zone := v.choose(ready, v.zonesWithout(failed.ID))
		return v.swap(failed, p, zone), true
	}
	why := fmt.Sprintf("%s has not answered for %v", failed.Label(), v.silent(failed.ID))
	if v.coming > 0 {
		return v.wait(fmt.Sprintf("%s; %s is to take its seat", why, waiting[0])), true
	}
	candidates, others := v.candidates()
	if len(candidates) == 0 || len(v.current.Members) >= protocol.ActivesMax {
		reason := "no passive wishes to be active"
		if len(others) > 0 {
			reason = others[0]
		}
		v.note = append(v.note, why+": "+reason)
		return Decision{}, false // perhaps something else can be done
	}
	p, zone := v.choose(candidates, v.zonesWithout(failed.ID))
	d := v.addLearner(p, zone)
	d.Why = fmt.Sprintf("%s becomes a learner%s, to take the seat of %s: %s", label(p), zone, failed.Label(), why)
	return d, true
}

// failedVoter returns the voter that has failed for longest, if any has for long
// enough.
func (v *view) failedVoter() (protocol.ActiveMember, bool) {
	list := slices.Clone(v.Failing)
	slices.SortFunc(list, func(a, b Failing) int {
		if a.Since != b.Since {
			return int(max(-1, min(1, int64(a.Since-b.Since))))
		}
		return a.ID.Compare(b.ID)
	})
	for _, f := range list {
		line, named := v.current.Find(f.ID)
		if !named || line.Seat != protocol.SeatVoter || f.ID == v.Self {
			continue
		}
		if due := f.Since.Add(v.FailedAfter); due > v.Now {
			v.lookAgain(due)
			continue
		}
		return line, true
	}
	return protocol.ActiveMember{}, false
}

func (v *view) swap(failed protocol.ActiveMember, p Peer, zone string) Decision {
	line, _ := v.current.Find(p.ID)
	line.Seat = protocol.SeatVoter
	return Decision{
		Action: Replace, Member: p.ID, Out: failed.ID, Version: v.Configuration.Index,
		Next: v.current.Without(failed.ID).With(line),
		Why: fmt.Sprintf("%s takes the seat of %s%s, which has not answered for %v; acknowledged %d of %d",
			line.Label(), failed.Label(), zone, v.silent(failed.ID), v.progress(p.ID).Match, v.Commit),
	}
}

// forget takes the seat from a learner that has failed for long. Nobody counts
// on it, but each one is fed and asked for ever.
func (v *view) forget() (Decision, bool) {
	for _, m := range v.current.Members {
		i := slices.IndexFunc(v.Failing, func(f Failing) bool { return f.ID == m.ID })
		if m.Seat != protocol.SeatLearner || i < 0 {
			continue
		}
		if due := v.Failing[i].Since.Add(v.FailedAfter); due > v.Now {
			v.lookAgain(due)
			continue
		}
		return Decision{
			Action: Remove, Member: m.ID, Out: m.ID, Version: v.Configuration.Index, Next: v.current.Without(m.ID),
			Why: fmt.Sprintf("learner %s loses its seat: it has not answered for %v", m.Label(), v.silent(m.ID)),
		}, true
	}
	return Decision{}, false
}

// shrink takes a seat away when there are more voters than wanted: from one
// that fails, or else from one whose zone has others, never from the leader.
func (v *view) shrink() (Decision, bool) {
	voters := v.current.Voters()
	if len(voters) <= v.current.Target || v.current.Target < 1 {
		return Decision{}, false
	}
	best, score := protocol.MemberID{}, -1
	for _, id := range voters {
		if id == v.Self {
			continue
		}
		s := v.neighbours(id)
		if slices.ContainsFunc(v.Failing, func(f Failing) bool { return f.ID == id }) {
			s += protocol.ActivesMax
		}
		if s >= score { // of equal ones the highest id
			best, score = id, s
		}
	}
	line, _ := v.current.Find(best)
	return Decision{
		Action: Remove, Member: best, Out: best, Version: v.Configuration.Index, Next: v.current.Without(best),
		Why: fmt.Sprintf("%s gives up its seat: %d voters, %d wanted", line.Label(), len(voters), v.current.Target),
	}, true
}

// neighbours counts the other voters in a member's zone.
func (v *view) neighbours(id protocol.MemberID) int {
	p, alive := v.peer(id)
	if !alive || p.Zone == "" {
		return 0
	}
	n := 0
	for _, other := range v.current.Voters() {
		if q, alive := v.peer(other); alive && other != id && q.Zone == p.Zone {
			n++
		}
	}
	return n
}

// zonesWithout returns the zones of the voters except one.
func (v *view) zonesWithout(id protocol.MemberID) []string {
	var zones []string
	for _, other := range v.current.Voters() {
		if p, alive := v.peer(other); alive && other != id {
			zones = append(zones, p.Zone)
		}
	}
	return zones
}

// silent is for how long an active has failed.
func (v *view) silent(id protocol.MemberID) time.Duration {
	for _, f := range v.Failing {
		if f.ID == id {
			return v.Now.Sub(f.Since).Round(time.Second)
		}
	}
	return 0
}

// lookAgain remembers when the passing of time can change the answer.
func (v *view) lookAgain(at protocol.Instant) {
	if v.again == 0 || at < v.again {
		v.again = at
	}
}
