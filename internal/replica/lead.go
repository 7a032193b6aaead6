package replica

import (
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
	why   string     // the last decision that was told
	// failing are the actives that neither answer this leader nor are thought
	// alive, as long as it leads term.
	failing []policy.Failing
	term    protocol.Term
}

// sighting is a live member, and since when it has been alive and the same.
type sighting struct {
	peer  protocol.Peer
	since protocol.Instant
}

// seen follows who is alive.
func (p *policyState) seen(now protocol.Instant, peers []protocol.Peer) {
	next := make([]sighting, 0, len(peers))
	for _, peer := range peers {
		s := sighting{peer: peer, since: now}
		i, known := slices.BinarySearchFunc(p.seats, peer.ID, func(s sighting, id protocol.MemberID) int { return s.peer.ID.Compare(id) })
		if known && p.seats[i].peer.Role == peer.Role && p.seats[i].peer.Eligible == peer.Eligible {
			s.since = p.seats[i].since
		}
		next = append(next, s)
	}
	slices.SortFunc(next, func(a, b sighting) int { return a.peer.ID.Compare(b.peer.ID) })
	p.seats = next
}

// fails follows who has failed, from the leader's first look in its term on:
// what it knew before it led proves nothing.
func (p *policyState) fails(now protocol.Instant, term protocol.Term, progress []policy.Progress, peers []protocol.Peer) {
	if term != p.term {
		p.term, p.failing = term, nil
	}
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

// lead does what only a leader does beside Raft, once per heartbeat interval:
// it lets deadlines of sessions pass while nobody writes, and asks the policy.
func (r *Replica) lead(now protocol.Instant) {
	if now < r.policy.next || !r.leads() {
		return
	}
	r.policy.next = now.Add(r.cfg.Active.Heartbeat)
	r.passTime(now)
	r.proposeMark(now)
	r.requests.proposeGathered(now, r)
	if r.cfg.Policy {
		r.grow(now)
	}
}

// passTime proposes an empty entry when a deadline is due and no other entry,
// which would carry the time as well, is on its way.
func (r *Replica) passTime(now protocol.Instant) {
	if r.deadline == 0 || r.applied < r.tail.last() || r.active.ClusterTime(now) < r.deadline {
		return
	}
	// Refused only by an overloaded or a deposed leader: then others see to it.
	_, _ = r.active.Propose(now, []active.Proposal{{Kind: protocol.EntryTick}})
}

// grow asks the policy for the next change and proposes it.
func (r *Replica) grow(now protocol.Instant) {
	conf, ok := r.active.Configurations().Latest()
	if !ok {
		return
	}
	s := r.active.Status()
	in := policy.Input{Now: now, Self: r.cfg.ID, Configuration: conf, Commit: r.commit, OwnTerm: s.Settled}
	for _, p := range s.Progress {
		in.Progress = append(in.Progress, policy.Progress{ID: p.ID, Match: p.Match, Active: p.Active})
	}
	r.policy.fails(now, s.Term, in.Progress, r.peers)
	in.Failing = r.policy.failing
	heard := r.gossip.Heard()
	for _, x := range r.policy.seats {
		peer := policy.Peer{Peer: x.peer, Since: x.since}
		i, known := slices.BinarySearchFunc(heard, x.peer.ID, compareHeard)
		if known {
			peer.Tip, peer.TipKnown = heard[i].Tip, true
		}
		in.Peers = append(in.Peers, peer)
	}
	d := policy.Decide(policy.Config{Stable: r.cfg.PolicyStable, FailedAfter: r.cfg.PolicyFailed}, in)
	if d.Action == policy.Wait {
		return
	}
	_, err := r.active.ProposeConfiguration(now, d.Version, d.Next)
	why := d.Why
	if err != nil {
		why += ": refused: " + err.Error()
	}
	if why != r.policy.why {
		r.policy.why = why
		r.out.Events = append(r.out.Events, protocol.Event{Kind: protocol.EventPolicy, Term: s.Term, Index: d.Version, Member: d.Member, Text: why})
	}
}

func compareHeard(h gossip.Heard, id protocol.MemberID) int { return h.ID.Compare(id) }
