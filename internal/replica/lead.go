package replica

import (
	"fmt"
	"slices"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/policy"
	"github.com/starlinghq/starling/protocol"
)

// policyState is what a leader needs to remember between decisions.
type policyState struct {
	next  protocol.Instant
	seats []sighting // by id
	// word is what the policy said last, refused what was last asked for in
	// vain.
	word, refused string
	// about is which configuration the word is about.
	about looked
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
	// keyless are those of whom it was said in the term that they have no key.
	keyless []protocol.MemberID
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

// sighting is a live member, and since when it has been alive and the same. A
// reserve was asked to follow at called, 0: never.
type sighting struct {
	peer          protocol.Peer
	since, called protocol.Instant
}

// seen follows who is alive.
func (p *policyState) seen(now protocol.Instant, peers []protocol.Peer) {
	next := make([]sighting, 0, len(peers))
	for _, peer := range peers {
		s := sighting{peer: peer, since: now}
		i, known := slices.BinarySearchFunc(p.seats, peer.ID, func(s sighting, id protocol.MemberID) int { return s.peer.ID.Compare(id) })
		if known && p.seats[i].peer.Role == peer.Role && p.seats[i].peer.Eligible == peer.Eligible && p.seats[i].peer.Wishes == peer.Wishes && p.seats[i].peer.Signs == peer.Signs {
			s.since, s.called = p.seats[i].since, p.seats[i].called
		}
		if known && p.seats[i].peer.Reach() != peer.Reach() { // and perhaps back again, between two looks
			p.moving = slices.DeleteFunc(p.moving, func(m policy.Moving) bool { return m.ID == peer.ID })
		}
		next = append(next, s)
	}
	slices.SortFunc(next, func(a, b sighting) int { return a.peer.ID.Compare(b.peer.ID) })
	p.seats = next
}

// begin forgets what was seen under another term: it proves nothing.
func (p *policyState) begin(term protocol.Term) {
	p.term, p.failing, p.moving, p.entered, p.refused, p.handOver, p.short, p.keyless = term, nil, nil, nil, "", 0, 0, nil
}

// called remembers that a reserve was asked to follow.
func (p *policyState) called(now protocol.Instant, id protocol.MemberID) {
	if i, known := slices.BinarySearchFunc(p.seats, id, func(s sighting, id protocol.MemberID) int { return s.peer.ID.Compare(id) }); known {
		p.seats[i].called = now
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

// lead does what only a leader does beside Raft, once per heartbeat interval:
// it lets deadlines of sessions pass while nobody writes, and asks the policy.
func (r *Replica) lead(now protocol.Instant) {
	if now < r.policy.next || !r.log.leads() {
		return
	}
	r.policy.next = now.Add(r.cfg.Active.Heartbeat)
	r.lookAhead(now)
	r.passTime(now)
	r.proposeMark(now)
	r.requests.proposeGathered(now, r)
	r.heirs.lookForRoom(r)
	r.handOverHampered(now)
	if r.cfg.Policy {
		r.steer(now)
	}
}

// passTime proposes an empty entry when a deadline is due and no other entry,
// which would carry the time as well, is on its way.
func (r *Replica) passTime(now protocol.Instant) {
	if r.deadline == 0 || r.log.applied < r.log.tail.last() || r.log.lead().ClusterTime(now) < r.deadline {
		return
	}
	// Refused only by an overloaded or a deposed leader: then others see to it.
	_, _ = r.log.lead().Propose(now, []active.Proposal{{Kind: protocol.EntryTick}})
}

// steer asks the policy for the next change and proposes it.
func (r *Replica) steer(now protocol.Instant) {
	conf, ok := r.log.lead().Configurations().Latest()
	if !ok {
		return
	}
	s := r.log.lead().Status()
	if s.Term != r.policy.term {
		r.policy.begin(s.Term)
	}
	in := r.policyInput(now, conf, s)
	tellKeyless(r, &in)
	d := policy.Decide(policy.Config{
		Stable: r.cfg.PolicyStable, FailedAfter: r.cfg.PolicyFailed, MovedAfter: movedElections * r.cfg.Active.Election,
	}, in)
	r.policy.word, r.policy.about = d.Why, looked{conf.Index, conf.Index <= r.log.commit}
	var err error
	switch d.Action {
	case policy.Wait:
		return
	case policy.HandOver:
		if !s.Heir.IsZero() || now < r.policy.handOver {
			return
		}
		r.policy.handOver = now.Add(handOverPause * r.cfg.Active.Election)
		err = r.log.lead().Transfer(now, d.Member)
	case policy.Call:
		if !r.call(now, d) {
			return
		}
	default:
		var made protocol.Index
		if made, err = r.log.lead().ProposeConfiguration(now, d.Version, d.Next); err == nil {
			r.policy.about = looked{version: made}
		}
		if d.Action == policy.Move && err == nil {
			r.policy.enters(now, d.Member)
		}
	}
	if err != nil {
		r.policy.word += ": refused: " + err.Error()
		if r.policy.word == r.policy.refused {
			return // said already; it will be asked for again and again
		}
		r.policy.refused = r.policy.word
	}
	r.out.Events = append(r.out.Events, protocol.Event{Kind: protocol.EventPolicy, Term: s.Term, Index: d.Version, Member: d.Member, Text: r.policy.word})
}

// tellKeyless says once in a term whom the policy passes over for want of a key: nobody
// else would notice before a seat is free.
func tellKeyless(r *Replica, in *policy.Input) {
	r.policy.keyless = slices.DeleteFunc(r.policy.keyless, func(id protocol.MemberID) bool {
		return !slices.ContainsFunc(in.Peers, func(p policy.Peer) bool { return p.ID == id })
	})
	for _, p := range in.Peers {
		if !p.Eligible || !in.Keyless(p) || slices.Contains(r.policy.keyless, p.ID) {
			continue
		}
		r.policy.keyless = append(r.policy.keyless, p.ID)
		r.out.Events = append(r.out.Events, protocol.Event{Kind: protocol.EventKeyless, Term: r.policy.term, Member: p.ID, Text: r.labelOf(p.ID) + " " + policy.NoKey})
	}
}

// policyInput gathers what the policy looks at.
func (r *Replica) policyInput(now protocol.Instant, conf protocol.ConfigurationAt, s active.Status) policy.Input {
	in := policy.Input{Now: now, Self: r.cfg.ID, Configuration: conf, Commit: r.log.commit, OwnTerm: s.Settled, Signed: r.signed()}
	for _, p := range s.Progress {
		in.Progress = append(in.Progress, policy.Progress{
			ID: p.ID, Match: p.Match, Active: p.Active, Answers: p.Answers, CatchUp: p.State == active.ProgressCatchUp, Unfit: p.Unfit,
		})
	}
	r.policy.fails(now, in.Progress, r.peers)
	in.Failing = r.policy.failing
	heard := r.gossip.Heard()
	for _, x := range r.policy.seats {
		peer := policy.Peer{Peer: x.peer, Since: x.since, Called: x.called}
		i, known := slices.BinarySearchFunc(heard, x.peer.ID, compareHeard)
		if known {
			peer.Tip, peer.TipKnown = heard[i].Tip, true
		}
		in.Peers = append(in.Peers, peer)
	}
	// The membership tells a member of the others only.
	in.Peers = append(in.Peers, policy.Peer{Peer: protocol.Peer{
		ID: r.cfg.ID, Name: r.cfg.Name, Address: r.cfg.Address, Zone: r.cfg.Zone, Role: protocol.RoleActive, Eligible: !r.cfg.Unwilling, Signs: true, // or it would not start
	}})
	r.policy.lacks(now, &in)
	r.policy.moves(now, &in)
	return in
}

// Autopilot returns what the policy goes by, and its last word. It fails with
// ErrNotLeader, or ErrNoLeader if there is none: only a leader asks its policy.
func (r *Replica) Autopilot() (*protocol.AutopilotReport, error) {
	if !r.log.leads() {
		return nil, r.notLeading()
	}
	report := &protocol.AutopilotReport{LeaderID: r.cfg.ID, Leader: r.cfg.Name, Word: r.policy.word}
	report.Configuration, _ = r.log.lead().Configurations().Latest()
	report.InFlight = report.Configuration.Index > r.log.commit || report.Configuration.Configuration.Joint()
	version := report.Configuration.Index
	switch {
	case !r.cfg.Policy || r.policy.term != r.log.lead().Term():
		report.Word = "this leader has not asked its policy yet"
	case r.policy.about != looked{version, version <= r.log.commit}: // it would contradict what stands beside it
		report.Word = fmt.Sprintf("the autopilot has not looked at version %d of the configuration so far", version)
	}
	return report, nil
}

func compareHeard(h gossip.Heard, id protocol.MemberID) int { return h.ID.Compare(id) }
