package policy

import (
	"cmp"
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

// leaver is a voter whose seat another one should have.
type leaver struct {
	protocol.ActiveMember
	why string
}

// unwilling is why a seat is given away that nobody has to give away.
const unwilling = "does not wish to be active any more"

// replace gives the seat of a voter that has failed for long, or wishes to be
// active no more, to another member, in one joint change: newcomer in, leaver
// out.
//
// One after the other would be worse than waiting: with the newcomer in first,
// three voters of which one is dead become four, and need three of the three
// that live. With the dead one out first, two are left, and need both.
func (v *view) replace() (Decision, bool) {
	out, ok := v.leaver()
	if !ok {
		return Decision{}, false
	}
	l := v.learners()
	if len(l.ready) > 0 {
		if out.ID == v.Self {
			return v.handOver(out)
		}
		p, zone := v.choose(l.ready, v.zones(protocol.SuffrageVoter, out.ID))
		return v.swap(out, p, zone), true
	}
	why := fmt.Sprintf("%s %s", out.Label(), out.why)
	if len(l.coming) > 0 {
		return v.wait(fmt.Sprintf("%s: %s, and is to take its seat", why, l.coming[0])), true
	}
	c, zones := v.candidates(), v.zones(protocol.SuffrageVoter, out.ID)
	full := len(v.current.Members) >= protocol.ActivesMax
	if len(c.can) == 0 || full {
		reason := "no passive wishes to be active"
		switch {
		case full:
			reason = fmt.Sprintf("the configuration names %d members, no more fit", len(v.current.Members))
		case len(c.cannot) > 0:
			reason = c.cannot[0]
		}
		if d, ok := v.activateFor(c, zones, why+", and no passive can take its seat"); ok && !full {
			return d, true
		}
		v.note = append(v.note, why+": "+reason)
		return Decision{}, false // perhaps something else can be done
	}
	p, zone := v.choose(c.can, zones)
	d := v.addLearner(p, zone)
	d.Why = fmt.Sprintf("%s becomes a learner%s, to take the seat of %s, which %s", label(p), zone, out.Label(), out.why)
	return d, true
}

// leaver returns the voter that is to be replaced next: the one that has failed
// for longest, if any has for long enough, or else one that wishes to be active
// no more, the leader itself last.
func (v *view) leaver() (leaver, bool) {
	list := slices.Clone(v.Failing)
	slices.SortFunc(list, func(a, b Failing) int { return cmp.Or(cmp.Compare(a.Since, b.Since), a.ID.Compare(b.ID)) })
	for _, f := range list {
		line, named := v.current.Find(f.ID)
		if !named || line.Suffrage != protocol.SuffrageVoter || f.ID == v.Self {
			continue
		}
		why := fmt.Sprintf("has not answered for %v", v.silent(f.ID))
		if due := f.Since.Add(v.FailedAfter); due > v.Now {
			v.lookAgain(due)
			v.note = append(v.note, fmt.Sprintf("%s %s of %v", line.Label(), why, v.FailedAfter))
			continue
		}
		return leaver{line, why}, true
	}
	var self leaver
	for _, m := range v.current.Members {
		if m.Suffrage != protocol.SuffrageVoter || !v.unwilling(m.ID) {
			continue
		}
		if m.ID != v.Self {
			return leaver{m, unwilling}, true
		}
		self = leaver{m, unwilling}
	}
	return self, !self.ID.IsZero()
}

// unwilling reports whether a member of the configuration is alive and has not
// wished to be active for a while. One that is being brought a checkpoint is
// left alone: it may be starting anew to be what it was.
func (v *view) unwilling(id protocol.MemberID) bool {
	p, alive := v.peer(id)
	if !alive || p.Eligible || v.progress(id).CatchUp {
		return false
	}
	if due := p.Since.Add(v.Stable); due > v.Now {
		v.lookAgain(due)
		return false
	}
	return true
}

func (v *view) swap(out leaver, p Peer, zone string) Decision {
	line, _ := v.current.Find(p.ID)
	line.Suffrage = protocol.SuffrageVoter
	return Decision{
		Action: Replace, Member: p.ID, Out: out.ID, Version: v.Configuration.Index,
		Next: v.current.Without(out.ID).With(line),
		Why: fmt.Sprintf("%s takes the seat of %s%s, which %s; acknowledged %d of %d",
			line.Label(), out.Label(), zone, out.why, v.progress(p.ID).Match, v.Commit),
	}
}

// handOver hands the leadership to the best transferee that will stay a voter: it then does
// what a leader does not do to itself.
func (v *view) handOver(out leaver) (Decision, bool) {
	i := slices.IndexFunc(v.Transferees, func(id protocol.MemberID) bool {
		p, alive := v.peer(id)
		return id != v.Self && v.current.IsVoter(id) && alive && p.Eligible && v.progress(id).Answers
	})
	if i < 0 {
		v.note = append(v.note, fmt.Sprintf("%s leads and %s: no other voter can lead in its place", out.Label(), out.why))
		return Decision{}, false
	}
	transferee, _ := v.current.Find(v.Transferees[i])
	return Decision{
		Action: HandOver, Member: transferee.ID, Out: out.ID, Version: v.Configuration.Index, Next: v.current,
		Why: fmt.Sprintf("%s is to lead in the place of %s, which %s", transferee.Label(), out.Label(), out.why),
	}, true
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

// fails reports whether an active has failed, for however long.
func (v *view) fails(id protocol.MemberID) bool {
	return slices.ContainsFunc(v.Failing, func(f Failing) bool { return f.ID == id })
}

// lookAgain remembers when the passing of time can change the answer.
func (v *view) lookAgain(at protocol.Instant) {
	if v.again == 0 || at < v.again {
		v.again = at
	}
}
