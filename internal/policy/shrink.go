package policy

import (
	"fmt"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// shrink takes a seat away when there are more voters than wanted: from one
// that fails, or does not answer, or wishes to be active no more, or else from
// one whose zone has others. A leader that wishes to keep its seat keeps it.
func (v *view) shrink() (Decision, bool) {
	voters := v.current.Voters()
	if len(voters) <= v.wanted || v.wanted < 1 {
		return Decision{}, false
	}
	best, score := protocol.MemberID{}, -1
	for _, id := range voters {
		s := v.neighbours(id) // fewer than ActivesMax
		switch {
		case id == v.Self && !v.unwilling(id):
			continue
		case id != v.Self && v.fails(id):
			s += 4 * protocol.ActivesMax
		case id != v.Self && !v.progress(id).Active:
			s += 3 * protocol.ActivesMax
		case id == v.Self: // whoever else may go goes first
			s = protocol.ActivesMax
		case v.unwilling(id):
			s += 2 * protocol.ActivesMax
		}
		if s >= score { // of equal ones the highest id
			best, score = id, s
		}
	}
	line, _ := v.current.Find(best)
	if best == v.Self {
		return v.handOver(leaver{line, unwilling})
	}
	return v.remove(line, fmt.Sprintf("%s gives up its seat: %d voters, %d wanted", line.Label(), len(voters), v.wanted)), true
}

// forget takes the seat from a learner that has failed for long, or wishes to
// be active no more. Nobody counts on it, but each one is fed and asked for
// ever.
func (v *view) forget() (Decision, bool) {
	for _, m := range v.current.Members {
		if m.Seat != protocol.SeatLearner {
			continue
		}
		if v.unwilling(m.ID) {
			return v.remove(m, fmt.Sprintf("learner %s loses its seat: it %s", m.Label(), unwilling)), true
		}
		i := slices.IndexFunc(v.Failing, func(f Failing) bool { return f.ID == m.ID })
		if i < 0 {
			continue
		}
		if due := v.Failing[i].Since.Add(v.FailedAfter); due > v.Now {
			v.lookAgain(due)
			continue
		}
		return v.remove(m, fmt.Sprintf("learner %s loses its seat: it has not answered for %v", m.Label(), v.silent(m.ID))), true
	}
	return Decision{}, false
}

// release lets a learner go that nobody needs any more: the voter came back
// whose seat it was to take. It has to have been active for as long as a voter
// has to have failed: what comes and goes faster is not followed.
func (v *view) release() (Decision, bool) {
	voters := v.current.Voters()
	if len(voters) < v.wanted || slices.ContainsFunc(voters, func(id protocol.MemberID) bool { return v.fails(id) || v.unwilling(id) }) {
		return Decision{}, false
	}
	for _, m := range v.current.Members {
		p, alive := v.peer(m.ID)
		if m.Seat != protocol.SeatLearner || !alive || p.Role != protocol.RoleActive || v.progress(m.ID).CatchUp {
			continue
		}
		if due := p.Since.Add(v.FailedAfter); due > v.Now {
			v.lookAgain(due)
			continue
		}
		return v.remove(m, fmt.Sprintf("learner %s gives up its seat: nobody needs it, %d voters of %d wanted", m.Label(), len(voters), v.wanted)), true
	}
	return Decision{}, false
}

func (v *view) remove(m protocol.ActiveMember, why string) Decision {
	return Decision{
		Action: Remove, Member: m.ID, Out: m.ID, Version: v.Configuration.Index, Next: v.current.Without(m.ID), Why: why,
	}
}
