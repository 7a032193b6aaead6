package replica

import (
	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
)

// keepAliveBatch is the keep-alives of sessions that a leader brings into one entry
// per heartbeat interval: a thousand idle clients cost ten entries a second and
// not a thousand.
type keepAliveBatch struct {
	list []sessionop.Kept
	from []origin
}

// batchKeepAlive takes a keep-alive, and reports whether the command was one.
func (q *commands) batchKeepAlive(now protocol.Instant, c *protocol.Command, from origin) bool {
	if c.Type != protocol.SessionType || c.Operation != protocol.SessionKeepAlive || c.Floor > protocol.SequenceMax {
		return false
	}
	g := &q.batched
	g.list = append(g.list, sessionop.Kept{Session: c.Session, Floor: c.Floor})
	g.from = append(g.from, from)
	if len(g.list) == protocol.SessionKeepAlivesMax {
		q.proposeBatched(now)
	}
	return true
}

// proposeBatched makes one entry of the keep-alives that wait.
func (q *commands) proposeBatched(now protocol.Instant) {
	g := q.batched
	if len(g.list) == 0 {
		return
	}
	q.batched = keepAliveBatch{}
	c := sessionop.KeepAliveMany(g.list)
	index, err := q.log.lead().Propose(now, []active.Proposal{{Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&c)}})
	if err != nil {
		for _, from := range g.from {
			q.answer(from, protocol.Failed(err))
		}
		return
	}
	q.proposed = append(q.proposed, proposed{index: index, term: q.log.lead().Term(), batched: g.from})
}

// reject answers keep-alives that were gathered by a leader that is none any
// more, and commands that wait for their turns: nothing has happened, and they are to be sent to the next one.
func (q *commands) reject() {
	g := q.batched
	q.batched = keepAliveBatch{}
	for _, from := range g.from {
		q.answer(from, protocol.Failed(protocol.ErrNotLeader))
	}
	for _, c := range q.turns.all() {
		q.answer(c.from, protocol.Failed(protocol.ErrNotLeader))
	}
}

// tell calls answer for all who wait for an entry.
func (p *proposed) tell(result protocol.Result, answer func(origin, protocol.Result)) {
	if p.batched == nil {
		answer(p.from, result)
		return
	}
	expired, err := sessionop.Expired(&result)
	if err != nil {
		for _, from := range p.batched {
			answer(from, protocol.Failed(err))
		}
		return
	}
	for k, from := range p.batched {
		one := protocol.Result{Index: result.Index}
		if len(expired) > 0 && expired[0] == k {
			expired = expired[1:]
			one = protocol.Failed(protocol.ErrSessionExpired)
			one.Index = result.Index
		}
		answer(from, one)
	}
}

// sessions lets the deadlines of sessions pass while nobody writes.
type sessions struct {
	ground
	deadline protocol.ClusterTime // the next one, from the state
}

// pass proposes an empty entry when a deadline is due and no other entry,
// which would carry the time as well, is on its way.
func (s *sessions) pass(now protocol.Instant) {
	if s.deadline == 0 || s.log.applied < s.log.tail.last() || s.log.lead().ClusterTime(now) < s.deadline {
		return
	}
	// Refused only by an overloaded or a deposed leader: then others see to it.
	_, _ = s.log.lead().Propose(now, []active.Proposal{{Kind: protocol.EntryTick}})
}
