package replica

import (
	"fmt"
	"slices"
	"strings"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/internal/policy"
	"github.com/starlinghq/starling/protocol"
)

// Change moves seats, all of them in one step, or tells the policy what to go
// by, or both. It must not name a member twice.
type Change struct {
	// Version is the configuration that the change is meant for, the index of
	// the entry that brought it. If another one is in force, nothing happens.
	Version protocol.Index
	// Promote raises each member by one seat: a passive becomes a learner, a
	// learner that has caught up a voter. Demote makes voters learners. Remove
	// takes the seat away.
	Promote, Demote, Remove []protocol.MemberID
	// Absent are members that must not be heard, or nothing happens.
	Absent []protocol.MemberID
	// Target is how many voters the policy is to aim at from now on; 0 leaves
	// it as it is.
	Target int
	// Autopilot is what the policy is to go by from now on; nil leaves it.
	Autopilot *protocol.Autopilot
	// StateBytes is the limit of the state from now on, 0 for none; nil leaves it.
	StateBytes *int64
}

// Change proposes a change of the configuration. It is answered once, by an
// Answer with the same request number, whose result has the version of the
// configuration that was appended: with OK when that is committed,
// whatever the state has come to (a change through a joint configuration is then
// completed by whoever leads), or with why nothing happened: not_leader, no_leader, no_quorum,
// stale_version, change_in_flight, not_learner, not_eligible, name_taken,
// would_lose_quorum, invalid, not_found. After unknown_outcome the configurations say what
// became of it.
func (r *Replica) Change(now protocol.Instant, request uint64, c Change) {
	r.membershipChanges.begin(now, request, c)
	r.pump(now)
}

// Transfer hands the leadership over to a voter, or, if to is zero, to the one
// that holds most of those with room on their disks. It is answered once: with OK when
// another member leads, the one that was asked for; with no_transferee at once when that voter,
// or every other, could not lead, and why; with unavailable when the transferee did not get there
// within an election timeout and this member leads on, or when another one has got there;
// with unknown_outcome when this member has given the lead up, and hears of no
// other that has it; or with why nothing happened: not_leader, no_leader, no_quorum, change_in_flight,
// invalid.
func (r *Replica) Transfer(now protocol.Instant, request uint64, to protocol.MemberID) {
	r.membershipChanges.transfer(now, request, to)
	r.pump(now)
}

// HandOver is Transfer to any voter by a member that stops: one without room is better than
// none.
func (r *Replica) HandOver(now protocol.Instant, request uint64) {
	r.membershipChanges.handOver(now, request, protocol.MemberID{}, r.membershipChanges.leading())
	r.pump(now)
}

// membershipChanges are what operators ask of a leader: to change who has a seat, and to hand the
// lead over.
type membershipChanges struct {
	ground
	who       *hearing
	room      *transferees
	autopilot interface{ changed() }

	transfers []transfer
	changes   []changing // by index; only while this member leads
}

// begin proposes a change, which is answered when it is committed.
func (q *membershipChanges) begin(now protocol.Instant, request uint64, c Change) {
	if index, err := q.change(now, c); err != nil {
		q.out.answer(request, protocol.Failed(err))
	} else {
		q.changes = append(q.changes, changing{index: index, term: q.log.lead().Term(), request: request})
	}
}

func (q *membershipChanges) change(now protocol.Instant, c Change) (protocol.Index, error) {
	if err := q.leading(); err != nil {
		return 0, err
	}
	latest, _ := q.log.lead().Configurations().Latest()
	if c.Version != latest.Index {
		return 0, protocol.ErrStaleVersion.With(fmt.Sprintf("meant for version %d of the configuration, which is at %d", c.Version, latest.Index))
	}
	if latest.Configuration.Joint() {
		return 0, protocol.ErrChangeInFlight
	}
	if err := q.absent(c.Absent); err != nil {
		return 0, err
	}
	next, err := q.moved(latest.Configuration, c)
	if err != nil {
		return 0, err
	}
	// Before the first commit of its term a leader has heard too few to tell, and
	// may not propose anyway.
	if q.log.lead().Status().OwnTermCommitted {
		if err := q.answering(c.Promote, next); err != nil {
			return 0, err
		}
		if err := q.survives(next); err != nil {
			return 0, err
		}
	}
	return q.log.lead().ProposeConfiguration(now, c.Version, next)
}

// moved returns the configuration that a change leads to.
func (q *membershipChanges) moved(conf protocol.Configuration, c Change) (protocol.Configuration, error) {
	if c.Target != 0 {
		conf.Target = c.Target
	}
	if c.Autopilot != nil {
		conf.Autopilot = *c.Autopilot
	}
	if c.StateBytes != nil {
		conf.StateBytes = *c.StateBytes
	}
	ids := slices.Concat(c.Promote, c.Demote, c.Remove)
	slices.SortFunc(ids, protocol.MemberID.Compare)
	if len(slices.Compact(slices.Clone(ids))) < len(ids) {
		return conf, protocol.ErrInvalid.With("the change names a member twice")
	}
	for _, id := range c.Promote {
		line, named := conf.Find(id)
		switch {
		case !named:
			peer, err := q.eligible(id)
			if err != nil {
				return conf, err
			}
			line = protocol.ActiveMember{ID: id, Name: peer.Name, Address: peer.Reach(), Suffrage: protocol.SuffrageLearner}
		case line.Suffrage == protocol.SuffrageVoter:
			return conf, protocol.ErrInvalid.With(line.Label() + " is a voter already")
		default:
			if peer := q.flock.find(id); peer != nil { // of one that is not heard the core knows more
				if err := q.barred(peer); err != nil {
					return conf, err
				}
			}
			line.Suffrage = protocol.SuffrageVoter
		}
		conf = conf.With(line)
	}
	for _, id := range c.Demote {
		line, named := conf.Find(id)
		if !named || line.Suffrage != protocol.SuffrageVoter {
			return conf, protocol.ErrNotFound.With(q.flock.labelOf(id) + " is no voter")
		}
		line.Suffrage = protocol.SuffrageLearner
		conf = conf.With(line)
	}
	for _, id := range c.Remove {
		if !conf.Names(id) {
			return conf, protocol.ErrNotFound.With(q.flock.labelOf(id) + " has no seat")
		}
		conf = conf.Without(id)
	}
	return conf, nil
}

// eligible returns what membership knows of a member that may get a seat.
func (q *membershipChanges) eligible(id protocol.MemberID) (protocol.Peer, error) {
	peer := q.flock.find(id)
	switch {
	case id == q.cfg.ID:
		return protocol.Peer{}, protocol.ErrNotEligible.With(q.cfg.Name + " leads without a seat, and is about to stop leading")
	case peer == nil:
		return protocol.Peer{}, protocol.ErrNotEligible.With(q.flock.labelOf(id) + " is not alive, as far as the leader hears: start it, or wait until `starling members` lists it as alive")
	case !peer.Eligible:
		return protocol.Peer{}, protocol.ErrNotEligible.With(q.flock.labelOf(id) + " does not wish to be active: start it again with --role active, or with --eligible")
	}
	return *peer, q.barred(peer)
}

// barred refuses a seat to a member that has no key, where this one believes only what is
// signed: nobody who checks signatures would believe it. [S] And to one that does not know
// the format level in force: it could not apply the log, nor lead.
func (q *membershipChanges) barred(p *protocol.Peer) error {
	latest, _ := q.log.configurations().Latest()
	in := policy.Input{Configuration: latest, Signed: q.cfg.signed()}
	if why := in.Barred(policy.Peer{Peer: *p}); why != "" {
		return protocol.ErrNotEligible.With(q.flock.labelOf(p.ID) + " " + why)
	}
	return nil
}

// answering refuses to make a learner a voter that has not answered yet. It passes:
// the leader has just begun to send it the log.
func (q *membershipChanges) answering(promoted []protocol.MemberID, next protocol.Configuration) error {
	for _, p := range q.log.lead().Status().Progress {
		if !p.Answers && next.IsVoter(p.ID) && slices.Contains(promoted, p.ID) {
			return protocol.ErrNotLearner.With(q.flock.labelOf(p.ID) + " is a learner, and does not answer the leader so far")
		}
	}
	return nil
}

// absent returns an error if one of the members is heard: it answers this leader, or
// the membership has it alive.
func (q *membershipChanges) absent(ids []protocol.MemberID) error {
	for _, id := range ids {
		answers := slices.ContainsFunc(q.log.lead().Status().Progress, func(p active.Progress) bool { return p.ID == id && p.Answers && p.Active })
		if answers || q.flock.find(id) != nil {
			return protocol.ErrNameTaken.With(q.flock.labelOf(id) + " is heard: its seat is not taken from it; stop it first")
		}
	}
	return nil
}

// survives refuses a configuration of whose voters no majority answers: nothing
// could be committed under it. It is a courtesy, not a rule of safety.
func (q *membershipChanges) survives(next protocol.Configuration) error {
	voters, alive := next.Voters(), 0
	if next.IsVoter(q.cfg.ID) {
		alive++
	}
	for _, p := range q.log.lead().Status().Progress {
		if p.Answers && next.IsVoter(p.ID) {
			alive++
		}
	}
	// A newcomer that the core does not know yet is refused there.
	if len(voters) > 0 && 2*alive <= len(voters) {
		return protocol.ErrWouldLoseQuorum.With(fmt.Sprintf("of the %d voters that would be left, %d answer", len(voters), alive))
	}
	return nil
}

// transfer is a request to hand the leadership over, to a voter or, if to is zero,
// to any.
type transfer struct {
	request uint64
	to      protocol.MemberID
	// until is how long another leader is waited for, once this member leads no
	// more; 0: it leads.
	until protocol.Instant
}

// transfer hands over to a voter that could lead.
func (q *membershipChanges) transfer(now protocol.Instant, request uint64, to protocol.MemberID) {
	err := q.leading()
	if err == nil {
		err = q.withoutTransferee(to)
	}
	q.handOver(now, request, to, err)
}

// leading is why this member cannot do what only a leader can, or nil.
func (q *membershipChanges) leading() error {
	if q.log.leads() {
		return nil
	}
	return q.who.notLeadingForOperator()
}

func (q *membershipChanges) handOver(now protocol.Instant, request uint64, to protocol.MemberID, err error) {
	if err == nil {
		err = q.log.lead().Transfer(now, to)
	}
	if err != nil {
		q.out.answer(request, protocol.Failed(err))
	} else {
		q.transfers = append(q.transfers, transfer{request: request, to: to})
	}
}

// withoutTransferee says why a voter, or, if to is zero, every other one, could not lead, or
// would not for longer than a moment: it would hand over because it has no room, as this
// leader has. Nil: there is one.
func (q *membershipChanges) withoutTransferee(to protocol.MemberID) error {
	var why []string
	for _, p := range q.log.lead().Status().Progress {
		if p.Suffrage != protocol.SuffrageVoter || !to.IsZero() && p.ID != to {
			continue
		}
		reason := p.Unable
		if reason == "" && p.Told && !p.Room && !q.room.now.Full {
			reason = WithoutRoom + ", and would hand over at once"
		}
		if reason == "" {
			return nil
		}
		why = append(why, q.flock.labelOf(p.ID)+" "+reason)
	}
	switch {
	case len(why) == 0 && to == q.cfg.ID:
		return protocol.ErrInvalid.With(q.flock.labelOf(to) + " leads already")
	case len(why) == 0 && !to.IsZero():
		return protocol.ErrInvalid.With(q.flock.labelOf(to) + " is no voter: `starling promote` makes it one")
	case len(why) == 0:
		return nil // the core says that there is no other one
	}
	text := strings.Join(why, "; ")
	if to.IsZero() {
		text = "no other voter can lead: " + text
	}
	return protocol.ErrNoTransferee.With(text)
}

// transferred answers those who wait for another leader. That this one leads no
// more is no answer: so it is when it has lost its quorum.
func (q *membershipChanges) transferred(now protocol.Instant) {
	if len(q.transfers) == 0 || q.log.leads() && !q.log.lead().Status().Transferee.IsZero() {
		return
	}
	waiting := q.transfers[:0]
	for _, t := range q.transfers {
		leader := q.who.leader()
		switch {
		case q.log.leads():
			q.out.answer(t.request, protocol.Failed(protocol.ErrUnavailable.With("the transferee was not elected within an election timeout; this member leads on")))
		case leader.IsZero() && t.until == 0:
			t.until = now.Add(q.patience())
			waiting = append(waiting, t)
		case leader.IsZero() && now < t.until:
			waiting = append(waiting, t)
		case leader.IsZero():
			q.out.answer(t.request, protocol.Failed(protocol.ErrUnknownOutcome.With("this member leads no more, and hears of nobody who does: too few voters answer")))
		case !t.to.IsZero() && leader != t.to:
			q.out.answer(t.request, protocol.Failed(protocol.ErrUnavailable.With(q.flock.labelOf(leader)+" was elected, not "+q.flock.labelOf(t.to))))
		default:
			q.out.answer(t.request, protocol.Result{})
		}
	}
	clear(q.transfers[len(waiting):])
	q.transfers = waiting
}

// changing is a change of the configuration in the log of this leader.
type changing struct {
	index   protocol.Index
	term    protocol.Term
	request uint64
}

// committed answers the changes that are committed: they are in force, whatever the
// state has come to.
func (q *membershipChanges) committed() {
	for len(q.changes) > 0 && q.changes[0].index <= q.log.commit {
		c := q.changes[0]
		q.changes = q.changes[1:]
		q.autopilot.changed()
		result := protocol.Result{Index: c.index}
		if term, known := q.log.logTerms().TermAt(c.index); known && term != c.term { // another leader's entry took the place
			result = protocol.Failed(protocol.ErrNotLeader)
		}
		q.out.answer(c.request, result)
	}
}

// changesLost says of the changes that are not committed that their outcome is open.
func (q *membershipChanges) changesLost(why error) {
	for _, c := range q.changes {
		q.out.answer(c.request, protocol.Failed(why))
	}
	q.changes = nil
}

// deadline returns when transferred has something to do, or d.
func (q *membershipChanges) deadline(d protocol.Instant) protocol.Instant {
	for _, t := range q.transfers {
		if t.until != 0 {
			d = min(d, t.until)
		}
	}
	return d
}

// failAll answers everything that waits.
func (q *membershipChanges) failAll(err error) {
	for _, t := range q.transfers {
		q.out.answer(t.request, protocol.Failed(err))
	}
	q.transfers = nil
	q.changesLost(err)
}
