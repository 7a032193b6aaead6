package sim

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// operator stands for the people who look after a cluster: they move seats,
// hand over leaderships, send members away, and remove those whose disk is
// gone. The policy goes on beside them, and undoes some of what they do.
type operator struct {
	s *directories
	// every is the mean time between two of their ideas; 0: they have none.
	every time.Duration
}

// start begins the operator's work.
func (o *operator) start() {
	if o.every > 0 {
		o.s.schedule.after(around(o.s.random.memberships, o.every), o.work)
	}
}

// work carries out one idea, while there are faults.
func (o *operator) work() {
	if o.s.quiet {
		return
	}
	o.s.schedule.after(around(o.s.random.memberships, o.every), o.work)
	if o.s.faultFreeFor > 0 {
		return
	}
	r := o.s.random.memberships
	idea, wrong := r.IntN(100), chance(r, 0.08)
	m := o.s.leaderNow()
	if wrong {
		m = o.s.members[r.IntN(len(o.s.machines()))]
	}
	if m == nil || !m.up() || m.paused {
		return
	}
	switch {
	case idea < 25:
		o.transfer(m)
	case idea < 33:
		o.sendAway(m)
	default:
		o.move(m)
	}
}

// leaderNow returns the member that leads the newest term, or nil.
func (s *cluster) leaderNow() *member {
	var leader *member
	for _, m := range s.members {
		if m.up() && m.replica.Status(m.now()).Leads && (leader == nil || m.leader > leader.leader) {
			leader = m
		}
	}
	return leader
}

// transfer asks a member to hand the leadership over, mostly to nobody in
// particular.
func (o *operator) transfer(m *member) {
	r := o.s.random.memberships
	var transferee protocol.MemberID
	if other := o.s.members[r.IntN(len(o.s.machines()))]; chance(r, 0.5) {
		transferee = other.id
	}
	o.s.counts.add(countTransfersAsked, 1)
	m.tell(colorSuffrage, "# asked to hand over to %s", o.s.nameOf(transferee))
	n := m.serving.request(func(r protocol.Result) {
		o.answered("transfer", m, r)
		switch {
		case r.Code != protocol.OK:
		case transferee.IsZero():
			o.s.counts.add(countTransfers, 1)
		default:
			o.s.counts.add(countNamedTransfers, 1)
		}
	})
	m.replica.Transfer(m.now(), n, transferee)
	m.serve()
}

// sendAway takes the seat of a member, which then stops for a while and comes
// back with its directory: starling leave.
func (o *operator) sendAway(m *member) {
	r := o.s.random.memberships
	other, away := o.s.members[r.IntN(len(o.s.machines()))], around(r, 3*time.Second)
	conf, ok := m.latest()
	if !ok || !conf.Configuration.Names(other.id) || !other.up() {
		return
	}
	run := other.run
	o.change(m, replica.Change{Version: conf.Index, Remove: []protocol.MemberID{other.id}}, conf, func() {
		o.s.counts.add(countLeft, 1)
		o.s.schedule.after(0, func() { // not in the middle of another step
			if other.run != run || !other.up() || o.s.faultFreeFor > 0 {
				return
			}
			other.tell(colorSuffrage, "# leaves")
			other.ends()
			o.s.schedule.after(away, func() { o.s.restart(other) })
		})
	})
}

// move draws a membership change, of one or of several.
func (o *operator) move(m *member) {
	r := o.s.random.memberships
	conf, ok := m.latest()
	if !ok {
		return
	}
	c := replica.Change{Version: conf.Index}
	if chance(r, 0.05) {
		c.Version--
	}
	if chance(r, 0.05) {
		c.Target = 1 + r.IntN(o.s.options.Actives)
	}
	if l := o.s.random.limits; o.s.plan.limit > 0 && chance(l, 0.2) {
		c.StateBytes = new(drawLimit(l))
	}
	lost := chance(r, 0.6)
	moves := 1 + r.IntN(3)*r.IntN(2)
	if lost {
		c.Remove = o.s.buried(conf.Configuration)
	}
	for range moves {
		other, what := o.s.members[r.IntN(len(o.s.machines()))], r.IntN(10)
		id := other.id
		if slices.Contains(slices.Concat(c.Promote, c.Demote, c.Remove), id) {
			continue
		}
		line, named := conf.Configuration.Find(id)
		switch {
		case !named || line.Suffrage == protocol.SuffrageLearner && what < 7:
			c.Promote = append(c.Promote, id)
		case line.Suffrage == protocol.SuffrageVoter && what < 6:
			c.Demote = append(c.Demote, id)
		default:
			c.Remove = append(c.Remove, id)
		}
	}
	o.change(m, c, conf, func() { o.count(m, c) })
}

// count says what a change that was made consisted of.
func (o *operator) count(m *member, c replica.Change) {
	add := o.s.counts.add
	add(countPromotions, uint64(len(c.Promote)))
	add(countDemotions, uint64(len(c.Demote)))
	add(countRemovals, uint64(len(c.Remove)))
	if len(c.Promote)+len(c.Demote)+len(c.Remove) > 1 {
		add(countSeveral, 1)
	}
	if slices.Contains(c.Remove, m.id) || slices.Contains(c.Demote, m.id) {
		add(countLeaderRemoved, 1)
	}
}

// change asks a member for a change, unless it would leave too few whole disks:
// the people know which ones are lost, and do not ask for what could never be
// committed.
func (o *operator) change(m *member, c replica.Change, from protocol.ConfigurationAt, done func()) {
	if len(c.Promote)+len(c.Demote)+len(c.Remove) == 0 && c.Target == 0 && c.StateBytes == nil {
		return
	}
	next := moved(from.Configuration, c)
	if c.Target > 0 {
		next.Target = c.Target
	}
	if c.StateBytes != nil {
		next.StateBytes = *c.StateBytes
	}
	if len(next.Voters()) == 0 || !o.s.bears(next, nil) || !o.s.bearsShrinking(next, nil) || !o.s.bears(from.Configuration.Toward(next), nil) {
		return
	}
	o.s.counts.add(countChangesAsked, 1)
	o.s.trace.note(tagSuffrage, m.number, uint64(c.Version), uint64(len(c.Promote)<<16|len(c.Demote)<<8|len(c.Remove)))
	if o.s.trace.on() {
		m.tell(colorSuffrage, "# asked to%s%s%s", o.s.names(" promote", c.Promote), o.s.names(" demote", c.Demote), o.s.names(" remove", c.Remove))
	}
	n := m.serving.request(func(r protocol.Result) {
		o.answered("change", m, r)
		if r.Code == protocol.OK {
			done()
		}
	})
	m.replica.Change(m.now(), n, c)
	m.serve()
}

// answered follows what came of a wish.
func (o *operator) answered(what string, m *member, r protocol.Result) {
	if r.Code == protocol.OK {
		return
	}
	o.s.counts.add(countMembershipChangesRefused, 1)
	m.tell(colorSuffrage, "# %s: %s", what, r.Code)
}

// tidy is what the people do when the faults have stopped: they remove the
// members that will never come back.
func (o *operator) tidy() {
	m := o.s.leaderNow()
	if m == nil {
		return
	}
	conf, ok := m.latest()
	if !ok {
		return
	}
	c := replica.Change{Version: conf.Index, Remove: o.s.buried(conf.Configuration)}
	o.change(m, c, conf, func() { o.s.counts.add(countRemovals, uint64(len(c.Remove))) })
}

// moved is the configuration that a change leads to, as far as it is allowed.
func moved(c protocol.Configuration, change replica.Change) protocol.Configuration {
	for _, id := range change.Promote {
		line, named := c.Find(id)
		if !named {
			line = protocol.ActiveMember{ID: id, Suffrage: protocol.SuffrageNone}
		}
		line.Suffrage = min(line.Suffrage+1, protocol.SuffrageVoter)
		c = c.With(line)
	}
	for _, id := range change.Demote {
		if line, named := c.Find(id); named {
			line.Suffrage = protocol.SuffrageLearner
			c = c.With(line)
		}
	}
	for _, id := range change.Remove {
		c = c.Without(id)
	}
	return c
}

// request notes a question to the replica that is answered once.
func (x *serving) request(answer func(protocol.Result)) uint64 {
	return x.answers.Command(func(r protocol.Result) {
		if x.answering && x.quarantined() {
			x.s.fail(violated(RuleQuarantine, "%s answers with what it applies, its state is in quarantine", x.name))
		}
		answer(r)
	})
}

func (s *cluster) names(verb string, list []protocol.MemberID) string {
	for i, id := range list {
		if i == 0 {
			verb += " "
		} else {
			verb += ","
		}
		verb += s.nameOf(id)
	}
	if len(list) == 0 {
		return ""
	}
	return verb
}
