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
}

// forwarded is a command that the leader was asked to propose. At ask it is asked
// after it, if it is the oldest.
type forwarded struct {
	id, request uint64
	to          protocol.MemberID
	ask         protocol.Instant
}

// deadline returns when the leader is asked after a command, or d.
func (a *abroad) deadline(d protocol.Instant) protocol.Instant {
	if len(a.sent) == 0 {
		return d
	}
	if a.silent != 0 {
		d = min(d, a.silent)
	}
	return min(d, a.sent[0].ask)
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
func (q *commands) forward(now protocol.Instant, list []command) {
	a := &q.abroad
	leader := q.who.leader()
	var lacking error // one text for all
	if leader.IsZero() || leader == q.cfg.ID {
		lacking = q.flock.noLeader()
	}
	for _, c := range list {
		switch {
		case !c.from.member.IsZero():
			q.answer(c.from, protocol.Failed(protocol.ErrNotLeader))
		case q.log.role.waits():
			q.answer(c.from, protocol.Failed(errStandsBy))
		case lacking != nil:
			q.answer(c.from, protocol.Failed(lacking))
		case len(c.encoded) > commandBytesMax: // the link between the two could not carry it
			q.answer(c.from, protocol.Failed(errCommandTooLarge(c.encoded)))
		default:
			q.ids.next++
			a.sent = append(a.sent, forwarded{id: q.ids.next, request: c.from.request, to: leader, ask: now.Add(q.cfg.Active.Election)})
			if c.sequence != 0 {
				q.out.Await = append(q.out.Await, Awaited{Request: c.from.request, Session: c.session, Sequence: c.sequence})
			}
			q.sendForward(leader, q.ids.next, c.encoded)
		}
	}
}

func (q *commands) sendForward(to protocol.MemberID, id uint64, encoded []byte) {
	q.out.send(to, &protocol.Forward{Run: q.ids.run, Request: id, Command: encoded})
}

// askAfter asks the leader, once per election timeout, whether it is at work on
// the oldest command. The others are as old at most; what was lost of them is
// asked after when it is the oldest.
func (q *commands) askAfter(now protocol.Instant) {
	a := &q.abroad
	if a.silent != 0 && now >= a.silent {
		q.disown(protocol.ErrUnknownOutcome.With("the leader says nothing; the write may have happened"), func(*forwarded) bool { return true })
	}
	if len(a.sent) == 0 || now < a.sent[0].ask {
		return
	}
	oldest := &a.sent[0]
	oldest.ask = now.Add(q.cfg.Active.Election)
	if a.silent == 0 {
		a.silent = now.Add(q.patience())
	}
	q.sendForward(oldest.to, oldest.id, nil)
}

// onForwardAnswer takes the leader's answer to a forwarded command.
func (q *commands) onForwardAnswer(now protocol.Instant, from protocol.MemberID, m *protocol.ForwardAnswer) {
	a := &q.abroad
	i, ok := a.find(m.Request)
	if m.Run != q.ids.run || !ok {
		return
	}
	if a.sent[i].to != from { // [S] whoever else says so does not know what became of it
		q.who.unheeded++
		return
	}
	a.silent = 0
	if m.Result.Code == protocol.AtWork {
		q.who.atWork(now, from)
		return
	}
	f := a.remove(i)
	switch m.Result.Code {
	case protocol.OK:
		q.who.atWork(now, from)
	case protocol.ErrNotLeader.Code:
		q.who.leadsNot(now, from, m.Leader, m.Term)
	}
	q.out.answer(f.request, m.Result)
}

// onForward takes a command that another member has forwarded, or its question after
// one.
func (q *commands) onForward(_ protocol.Instant, from protocol.MemberID, m *protocol.Forward) {
	o := origin{request: m.Request, member: from, run: m.Run}
	switch {
	case len(m.Command) == 0 && q.log.leads() && q.hold(o):
		q.answer(o, protocol.Result{Code: protocol.AtWork})
	case len(m.Command) == 0:
		q.answer(o, protocol.Failed(protocol.ErrUnknownOutcome.With("the leader has no such command in hand; the write may have happened")))
	case !q.log.leads():
		q.answer(o, protocol.Failed(protocol.ErrNotLeader))
	default:
		q.waiting = append(q.waiting, command{from: o, encoded: m.Command})
	}
}

// hold reports whether this leader has a command in hand.
func (q *commands) hold(o origin) bool {
	return slices.ContainsFunc(q.waiting, func(c command) bool { return c.from == o }) || q.turns.holds(o) ||
		slices.Contains(q.batched.from, o) ||
		slices.ContainsFunc(q.proposed, func(p proposed) bool {
			return p.batched == nil && p.from == o || slices.Contains(p.batched, o)
		})
}

// disown answers what was forwarded, as far as it is meant, with an error.
func (q *commands) disown(err error, meant func(*forwarded) bool) {
	a := &q.abroad
	a.sent = slices.DeleteFunc(a.sent, func(f forwarded) bool {
		if !meant(&f) {
			return false
		}
		q.out.answer(f.request, protocol.Failed(err))
		return true
	})
	if len(a.sent) == 0 {
		a.silent = 0
	}
}
