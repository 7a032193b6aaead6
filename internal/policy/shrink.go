package policy

import (
	"fmt"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// shrink takes seats away when there are more voters than wanted: two in one
// change if one would leave an even number that is still too many. Two voters
// survive the loss of nobody: on the way from three to one, a voter that has died
// and is not missed yet would take the cluster with it.
func (v *view) shrink() (Decision, bool) {
	voters := v.current.Voters()
	surplus := len(voters) - v.wanted
	if surplus <= 0 || v.wanted < 1 {
		return Decision{}, false
	}
	first := v.dispensable(voters, nil)
	line, _ := v.current.Find(first)
	if first == v.Self {
		return v.handOver(leaver{line, unwilling})
	}
	gives := func(m protocol.ActiveMember) string {
		return fmt.Sprintf("%s gives up its seat: %d voters, %d wanted", m.Label(), len(voters), v.wanted)
	}
	d := v.remove(line, gives(line))
	if surplus > 1 && len(voters)%2 == 1 {
		if second := v.dispensable(voters, []protocol.MemberID{first}); second != v.Self {
			line, _ = v.current.Find(second)
			d.Next, d.Why = d.Next.Without(second), d.Why+"; "+gives(line)
		}
	}
	return d, true
}

// dispensable returns the voter that is to go next, after some that go already:
// one that fails, or does not answer, or wishes to be active no more, or else one
// whose zone has others. A leader that wishes to keep its seat keeps it.
func (v *view) dispensable(voters, going []protocol.MemberID) protocol.MemberID {
	best, score := protocol.MemberID{}, -1
	for _, id := range voters {
		s := v.neighbours(id, going) // fewer than ActivesMax
		switch {
		case slices.Contains(going, id):
			continue
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
	return best
}

// forget takes the seat from a learner that has failed for long, wishes to be active no
// more, or may have none (see Barred). Nobody counts on it, but each one is fed and asked for
// ever.
func (v *view) forget() (Decision, bool) {
	for _, m := range v.current.Members {
		if m.Suffrage != protocol.SuffrageLearner {
			continue
		}
		if p, alive := v.peer(m.ID); alive && v.Barred(p) != "" {
			return v.remove(m, fmt.Sprintf("learner %s loses its seat: it %s", m.Label(), v.Barred(p))), true
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
// has to have failed: what comes and goes faster is not followed. One that is
// still catching up is let alone: somebody may be making it a voter by hand.
func (v *view) release() (Decision, bool) {
	voters := v.current.Voters()
	if len(voters) < v.wanted || slices.ContainsFunc(voters, func(id protocol.MemberID) bool { return v.fails(id) || v.unwilling(id) }) {
		return Decision{}, false
	}
	for _, m := range v.current.Members {
		p, alive := v.peer(m.ID)
		if m.Suffrage != protocol.SuffrageLearner || !alive || p.Role != protocol.RoleActive {
			continue
		}
		if x := v.progress(m.ID); x.CatchUp || x.Answers && x.Match < v.behind() {
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
