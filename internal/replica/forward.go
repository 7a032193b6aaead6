package replica

import (
	"cmp"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// abroad is what this member has forwarded to the leader and has no answer to.
//
// No fixed time ends it. A leader whose disk is slow would be asked the same again
// and again, by everybody, just when it can do least; and nobody would have to
// wait for a leader that is gone. What ends it is knowledge: an answer; another
// leader, or none; the link's end; or the leader's own word that it does not have
// the command, or its silence when it is asked. Then the outcome is unknown, and
// the client asks again in its session, which makes that exact. A command without
// a session is never sent again by a member.
type abroad struct {
	sent []forwarded // by id
	// silent is when the leader has been silent for too long about the command
	// that it was asked after; 0: it is not asked, or has answered.
	silent protocol.Instant
	// leader and term are those that everything in sent was forwarded to.
	leader protocol.MemberID
	term   protocol.Term
}

// forwarded is a command that the leader was asked to propose. At ask it is asked
// after it, if it is the oldest.
type forwarded struct {
	id, request uint64
	to          protocol.MemberID
	ask         protocol.Instant
}

func (a *abroad) deadline() (at protocol.Instant, ok bool) {
	if len(a.sent) == 0 {
		return 0, false
	}
	at = a.sent[0].ask
	if a.silent != 0 {
		at = min(at, a.silent)
	}
	return at, true
}

// find returns the place of a command, by its number.
func (a *abroad) find(id uint64) (int, bool) {
	return slices.BinarySearchFunc(a.sent, id, func(f forwarded, id uint64) int { return cmp.Compare(f.id, id) })
}

func (a *abroad) remove(i int) forwarded {
	f := a.sent[i]
	a.sent = slices.Delete(a.sent, i, i+1)
	if len(a.sent) == 0 {
		a.silent = 0
	}
	return f
}

// forward sends commands to the leader, if one is known.
func (r *Replica) forward(now protocol.Instant, list []command) {
	q, a := &r.requests, &r.requests.abroad
	leader := r.leader()
	var lacking error // one text for all
	if leader.IsZero() || leader == r.cfg.ID {
		lacking = noLeader(r)
	}
	for _, c := range list {
		switch {
		case !c.from.member.IsZero():
			r.answer(c.from, protocol.Failed(protocol.ErrNotLeader))
		case r.log.role.waits():
			r.answer(c.from, protocol.Failed(errStandsBy))
		case lacking != nil:
			r.answer(c.from, protocol.Failed(lacking))
		case len(c.encoded) > commandBytesMax: // the link between the two could not carry it
			r.answer(c.from, protocol.Failed(errCommandTooLarge(c.encoded)))
		default:
			q.next++
			a.sent = append(a.sent, forwarded{id: q.next, request: c.from.request, to: leader, ask: now.Add(r.cfg.Active.Election)})
			r.sendForward(leader, q.next, c.encoded)
		}
	}
}

func (r *Replica) sendForward(to protocol.MemberID, id uint64, encoded []byte) {
	r.out.Send = append(r.out.Send, Send{Envelope: protocol.Envelope{From: r.cfg.ID, To: to,
		Message: &protocol.Forward{Run: r.requests.run, Request: id, Command: encoded}}})
}

// askAfter asks the leader, once per election timeout, whether it is at work on
// the oldest command. The others are as old at most; what was lost of them is
// asked after when it is the oldest.
func (r *Replica) askAfter(now protocol.Instant) {
	a := &r.requests.abroad
	if a.silent != 0 && now >= a.silent {
		r.disown(protocol.ErrUnknownOutcome.With("the leader says nothing; the write may have happened"), func(*forwarded) bool { return true })
	}
	if len(a.sent) == 0 || now < a.sent[0].ask {
		return
	}
	oldest := &a.sent[0]
	oldest.ask = now.Add(r.cfg.Active.Election)
	if a.silent == 0 {
		a.silent = now.Add(r.patience())
	}
	r.sendForward(oldest.to, oldest.id, nil)
}

// answered takes the leader's answer to a forwarded command.
func (r *Replica) answered(now protocol.Instant, from protocol.MemberID, m *protocol.ForwardAnswer) {
	a := &r.requests.abroad
	i, ok := a.find(m.Request)
	if m.Run != r.requests.run || !ok {
		return
	}
	if a.sent[i].to != from { // [S] whoever else says so does not know what became of it
		r.unheeded++
		return
	}
	a.silent = 0
	if m.Result.Code == protocol.AtWork {
		return
	}
	f := a.remove(i)
	if m.Result.Code == protocol.ErrNotLeader.Code {
		r.leadsNot(now, from, m.Leader, m.Term)
	}
	r.out.answer(f.request, m.Result)
}

// leadsNot takes the word of a member that it does not lead, and who does as far
// as it knows. An active knows better by itself; and what is older than what is
// known here counts for nothing.
func (r *Replica) leadsNot(now protocol.Instant, by, leader protocol.MemberID, term protocol.Term) {
	if r.log.knows() || by != r.hint.leader || term < r.hint.term || leader == by {
		return
	}
	r.hint.leader = protocol.MemberID{} // may stay nobody: better than asking again in vain
	if r.signed() {
		r.hint.leader, r.hint.named = leader, r.log.names(leader)
		return
	}
	r.heardOf(now, term, leader)
}

// forwarded takes a command that another member forwarded, or its question after
// one.
func (r *Replica) forwarded(_ protocol.Instant, from protocol.MemberID, m *protocol.Forward) {
	o := origin{request: m.Request, member: from, run: m.Run}
	switch {
	case len(m.Command) == 0 && r.log.leads() && r.requests.hold(o):
		r.answer(o, protocol.Result{Code: protocol.AtWork})
	case len(m.Command) == 0:
		r.answer(o, protocol.Failed(protocol.ErrUnknownOutcome.With("the leader has no such command in hand; the write may have happened")))
	case !r.log.leads():
		r.answer(o, protocol.Failed(protocol.ErrNotLeader))
	default:
		r.requests.commands = append(r.requests.commands, command{from: o, encoded: m.Command})
	}
}

// hold reports whether this leader has a command in hand.
func (q *requests) hold(o origin) bool {
	return slices.ContainsFunc(q.commands, func(c command) bool { return c.from == o }) ||
		slices.Contains(q.gathered.from, o) ||
		slices.ContainsFunc(q.proposed, func(p proposed) bool {
			return p.gathered == nil && p.from == o || slices.Contains(p.gathered, o)
		})
}

// disown answers what was forwarded, as far as it is meant, with an error.
func (r *Replica) disown(err error, meant func(*forwarded) bool) {
	a := &r.requests.abroad
	a.sent = slices.DeleteFunc(a.sent, func(f forwarded) bool {
		if !meant(&f) {
			return false
		}
		r.out.answer(f.request, protocol.Failed(err))
		return true
	})
	if len(a.sent) == 0 {
		a.silent = 0
	}
}

// followLeader answers what was asked of a leader that is none any more, as soon
// as another one is known, or it is not heard: a stale word of it changes nothing,
// because terms only rise.
func (r *Replica) followLeader() {
	a := &r.requests.abroad
	leader, term := r.leader(), r.leaderTerm()
	if leader == a.leader && term == a.term {
		return
	}
	a.leader, a.term = leader, term
	r.disown(protocol.ErrUnknownOutcome.With("the member that it was forwarded to leads no more; the write may have happened"),
		func(*forwarded) bool { return true })
	r.requests.failReadsOf(func(g *readGroup) bool { return !g.to.IsZero() && !g.answered },
		protocol.ErrNoLeader.With("the leader has changed; read again"), r)
}

// LinkLost says that the link to another member has ended, or that an attempt to
// make one has failed: what was asked over it may have arrived, and has no answer.
func (r *Replica) LinkLost(now protocol.Instant, to protocol.MemberID) {
	r.disown(protocol.ErrUnknownOutcome.With("the link to the leader is lost; the write may have happened"),
		func(f *forwarded) bool { return f.to == to })
	r.requests.failReadsOf(func(g *readGroup) bool { return g.to == to && !g.answered },
		protocol.ErrNoLeader.With("the link to the leader is lost; read again"), r)
	r.pump(now)
}

// Bar ends this member's part as an active for good, in this run: others have refused
// its directory, and their word counts (see Refusals). It goes on as a follower that
// nobody hears.
func (r *Replica) Bar(now protocol.Instant) {
	r.barred = true
	r.log.role.Silence(now)
	r.pump(now)
}

// LetIn says that what another run of a member says counts from now on.
func (r *Replica) LetIn(now protocol.Instant, id protocol.MemberID, run protocol.RunID) {
	r.log.role.LetIn(now, id, run)
	r.pump(now)
}

// Unsent says that a message was not sent, for certain, and why: it has the code
// of an error after which a client may ask again.
func (r *Replica) Unsent(now protocol.Instant, m protocol.Message, why error) {
	switch m := m.(type) {
	case *protocol.Forward:
		if i, ok := r.requests.abroad.find(m.Request); ok && m.Run == r.requests.run && len(m.Command) > 0 {
			f := r.requests.abroad.remove(i)
			r.out.answer(f.request, protocol.Failed(why))
		}
	case *protocol.ReadIndex:
		if m.Origin == r.cfg.ID && m.Run == r.requests.run {
			r.requests.failReadsOf(func(g *readGroup) bool { return g.id == m.Request && !g.answered }, why, r)
		}
	}
	r.pump(now)
}
