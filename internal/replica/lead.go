package replica

import (
	"fmt"
	"slices"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/internal/policy"
	"github.com/starlinghq/starling/protocol"
)

// policyState is what a leader needs to remember between decisions.
type policyState struct {
	ground
	gossip interface{ Heard() []gossip.Heard }

	next   protocol.Instant
	stable []stability // by id
	// lastReason is what the policy said last, refused what was last asked for in
	// vain.
	lastReason, refused string
	// about is which configuration the word is about.
	about looked
	// version is the configuration that this leader has seen since changedAt.
	version   protocol.Index
	changedAt protocol.Instant
	// handOver is when the leadership may be handed over again.
	handOver protocol.Instant
	// failing are the actives that neither answer this leader nor are thought
	// alive, as long as it leads term.
	failing []policy.Failing
	// moving are the actives that answer this leader elsewhere than the
	// configuration says, entered when it has entered where they are, as long as it
	// leads term.
	moving  []policy.Moving
	entered map[protocol.MemberID]protocol.Instant
	term    protocol.Term
	// short is since when this leader has seen fewer passives than are wanted;
	// 0: it sees enough.
	short protocol.Instant
	// barred are those of whom it was said in the term why they get no seat.
	barred []protocol.MemberID
}

// looked is a configuration as the policy has seen it, or has made it.
type looked struct {
	version   protocol.Index
	committed bool
}

// handOverPause is how many election timeouts pass before a leader that was to
// hand over, and still leads, tries again: while it tries, nobody can write.
const handOverPause = 20

// movedElections is for how many election timeouts an active must have answered
// at another address before that is entered: in one it is known whether those that
// were asked there answer, the others tell a move from two that claim one id.
const movedElections = 10

// stability is a live member, and since when it has been alive and the same. A
// reserve was asked to follow at called, 0: never.
type stability struct {
	peer             protocol.Peer
	since, activated protocol.Instant
}

// seen follows who is alive.
func (p *policyState) seen(now protocol.Instant, peers []protocol.Peer) {
	next := make([]stability, 0, len(peers))
	for _, peer := range peers {
		s := stability{peer: peer, since: now}
		i, known := slices.BinarySearchFunc(p.stable, peer.ID, func(s stability, id protocol.MemberID) int { return s.peer.ID.Compare(id) })
		if known && p.stable[i].peer.Role == peer.Role && p.stable[i].peer.Eligible == peer.Eligible && p.stable[i].peer.Wishes == peer.Wishes && p.stable[i].peer.Signs == peer.Signs {
			s.since, s.activated = p.stable[i].since, p.stable[i].activated
		}
		if known && p.stable[i].peer.Reach() != peer.Reach() { // and perhaps back again, between two looks
			p.moving = slices.DeleteFunc(p.moving, func(m policy.Moving) bool { return m.ID == peer.ID })
		}
		next = append(next, s)
	}
	slices.SortFunc(next, func(a, b stability) int { return a.peer.ID.Compare(b.peer.ID) })
	p.stable = next
}

// begin forgets what was seen under another term: it proves nothing.
func (p *policyState) begin(term protocol.Term) {
	p.term, p.failing, p.moving, p.entered, p.refused, p.handOver, p.short, p.barred, p.version = term, nil, nil, nil, "", 0, 0, nil, 0
}

// activated remembers that a reserve was asked to follow.
func (p *policyState) activated(now protocol.Instant, id protocol.MemberID) {
	if i, known := slices.BinarySearchFunc(p.stable, id, func(s stability, id protocol.MemberID) int { return s.peer.ID.Compare(id) }); known {
		p.stable[i].activated = now
	}
}

// lacks follows since when there have been too few passives, from the leader's
// first look in its term on.
func (p *policyState) lacks(now protocol.Instant, in *policy.Input) {
	switch {
	case !policy.ShortOfPassives(in.Configuration.Configuration, in.Peers):
		p.short = 0
	case p.short == 0:
		p.short = now
	}
	in.Short = p.short
}

// fails follows who has failed, from the leader's first look in its term on:
// what it knew before it led proves nothing.
func (p *policyState) fails(now protocol.Instant, progress []policy.Progress, peers []protocol.Peer) {
	var next []policy.Failing
	for _, x := range progress {
		if x.Active || slices.ContainsFunc(peers, func(peer protocol.Peer) bool { return peer.ID == x.ID }) {
			continue
		}
		f := policy.Failing{ID: x.ID, Since: now}
		if i := slices.IndexFunc(p.failing, func(f policy.Failing) bool { return f.ID == x.ID }); i >= 0 {
			f.Since = p.failing[i].Since
		}
		next = append(next, f)
	}
	p.failing = next
}

// moves follows who is elsewhere than the configuration says, from the leader's
// first look in its term on.
func (p *policyState) moves(now protocol.Instant, in *policy.Input) {
	in.Moving = in.Moved()
	for i := range in.Moving {
		m := &in.Moving[i]
		m.Since, m.Entered = now, p.entered[m.ID]
		k := slices.IndexFunc(p.moving, func(last policy.Moving) bool { return last.ID == m.ID && last.Address == m.Address })
		if k >= 0 {
			m.Since = p.moving[k].Since
		}
	}
	p.moving = in.Moving
}

// enters remembers that an address was entered.
func (p *policyState) enters(now protocol.Instant, id protocol.MemberID) {
	if p.entered == nil {
		p.entered = map[protocol.MemberID]protocol.Instant{}
	}
	p.entered[id] = now
}

// runAutopilot asks the policy for the next change and proposes it.
func (p *policyState) runAutopilot(now protocol.Instant) {
	conf, ok := p.log.lead().Configurations().Latest()
	if !ok {
		return
	}
	s := p.log.lead().Status()
	if s.Term != p.term {
		p.begin(s.Term)
	}
	in := p.policyInput(now, conf, s)
	p.tellBarred(&in)
	d := policy.Decide(policy.Config{
		Stable: p.cfg.PolicyStable, FailedAfter: p.cfg.PolicyFailed, MovedAfter: movedElections * p.cfg.Active.Election,
	}, in)
	p.lastReason, p.about = d.Why, looked{conf.Index, conf.Index <= p.log.commit}
	var err error
	switch d.Action {
	case policy.Wait:
		return
	case policy.HandOver:
		if !s.Transferee.IsZero() || now < p.handOver {
			return
		}
		p.handOver = now.Add(handOverPause * p.cfg.Active.Election)
		err = p.log.lead().Transfer(now, d.Member)
	case policy.Activate:
		if !p.activate(now, d) {
			return
		}
	default:
		var made protocol.Index
		if made, err = p.log.lead().ProposeConfiguration(now, d.Version, d.Next); err == nil {
			p.about = looked{version: made}
		}
		if d.Action == policy.Move && err == nil {
			p.enters(now, d.Member)
		}
	}
	if err != nil {
		p.lastReason += ": refused: " + err.Error()
		if p.lastReason == p.refused {
			return // said already; it will be asked for again and again
		}
		p.refused = p.lastReason
	}
	p.out.Events = append(p.out.Events, protocol.Event{Kind: protocol.EventPolicy, Term: s.Term, Index: d.Version, Member: d.Member, Text: p.lastReason})
}

// tellBarred says once in a term whom the policy passes over for want of a key or of a
// newer release: nobody else would notice before a seat is free.
func (p *policyState) tellBarred(in *policy.Input) {
	p.barred = slices.DeleteFunc(p.barred, func(id protocol.MemberID) bool {
		return !slices.ContainsFunc(in.Peers, func(p policy.Peer) bool { return p.ID == id })
	})
	for _, peer := range in.Peers {
		why := in.Barred(peer)
		if !peer.Eligible || why == "" || slices.Contains(p.barred, peer.ID) {
			continue
		}
		p.barred = append(p.barred, peer.ID)
		p.out.Events = append(p.out.Events, protocol.Event{Kind: protocol.EventBarred, Term: p.term, Member: peer.ID, Text: p.flock.labelOf(peer.ID) + " " + why})
	}
}

// policyInput gathers what the policy looks at.
func (p *policyState) policyInput(now protocol.Instant, conf protocol.ConfigurationAt, s active.Status) policy.Input {
	in := policy.Input{Now: now, Self: p.cfg.ID, Configuration: conf, Commit: p.log.commit, OwnTerm: s.OwnTermCommitted, Signed: p.cfg.signed(), Transferees: s.Transferees}
	if conf.Index != p.version {
		p.version, p.changedAt = conf.Index, now
	}
	in.Changed = p.changedAt
	for _, p := range s.Progress {
		in.Progress = append(in.Progress, policy.Progress{
			ID: p.ID, Match: p.Match, Active: p.Active, Answers: p.Answers, CatchUp: p.State == active.ProgressCatchUp,
		})
	}
	p.fails(now, in.Progress, p.flock.peers)
	in.Failing = p.failing
	heard := p.gossip.Heard()
	for _, x := range p.stable {
		peer := policy.Peer{Peer: x.peer, Since: x.since, Activated: x.activated}
		i, known := slices.BinarySearchFunc(heard, x.peer.ID, compareHeard)
		if known {
			peer.LastIndex, peer.LastIndexKnown = heard[i].LastIndex, true
		}
		in.Peers = append(in.Peers, peer)
	}
	// The membership tells a member of the others only.
	in.Peers = append(in.Peers, policy.Peer{Peer: protocol.Peer{
		ID: p.cfg.ID, Name: p.cfg.Name, Address: p.cfg.Address, Zone: p.cfg.Zone, Role: protocol.RoleActive, Eligible: !p.cfg.Unwilling, Signs: true, // or it would not start
		Level: p.cfg.Level,
	}})
	p.lacks(now, &in)
	p.moves(now, &in)
	return in
}

func compareHeard(h gossip.Heard, id protocol.MemberID) int { return h.ID.Compare(id) }

// activate asks a reserve to follow. A message may be lost, so it is asked until it
// is seen to follow; what is repeated is no news.
func (p *policyState) activate(now protocol.Instant, d policy.Decision) (news bool) {
	p.out.send(d.Member, &protocol.Activate{})
	if !d.First {
		return false
	}
	p.activated(now, d.Member)
	return true
}

// report says what the policy goes by.
func (p *policyState) report() *protocol.AutopilotReport {
	report := &protocol.AutopilotReport{LeaderID: p.cfg.ID, Leader: p.cfg.Name, Reason: p.lastReason}
	report.Configuration, _ = p.log.lead().Configurations().Latest()
	report.InFlight = report.Configuration.Index > p.log.commit || report.Configuration.Configuration.Joint()
	version := report.Configuration.Index
	switch {
	case !p.cfg.Policy || p.term != p.log.lead().Term():
		report.Reason = "this leader has not asked its policy yet"
	case p.about != looked{version, version <= p.log.commit}: // it would contradict what stands beside it
		report.Reason = fmt.Sprintf("the autopilot has not looked at version %d of the configuration so far", version)
	}
	return report
}

// changed says that the configuration is another one: what the policy said is of the one
// before.
func (p *policyState) changed() { p.next = 0 }

// lead does what only a leader does beside Raft, once per heartbeat interval:
// it lets deadlines of sessions pass while nobody writes, and asks the policy.
func (r *Replica) lead(now protocol.Instant) {
	if now < r.policy.next || !r.log.leads() {
		return
	}
	r.policy.next = now.Add(r.cfg.Active.Heartbeat)
	r.aheads.look(now)
	r.sessions.pass(now)
	r.audit.confirm(now)
	r.checkpoints.propose(now, r.unreadable.bereft() != nil, r.install.Phase != install.None)
	r.commands.proposeBatched(now)
	r.transferees.lookForRoom()
	r.transferees.handOver(now)
	r.transferees.slow.look(now)
	r.formats.raise(now)
	proposeNext(now, r)
	if r.cfg.Policy {
		r.policy.runAutopilot(now)
	}
}

// Autopilot returns what the policy goes by, and its last word. It fails with
// ErrNotLeader, or ErrNoLeader or ErrNoQuorum if there is none: only a leader asks its policy.
func (r *Replica) Autopilot() (*protocol.AutopilotReport, error) {
	if !r.log.leads() {
		return nil, r.hearing.notLeadingForOperator()
	}
	return r.policy.report(), nil
}
