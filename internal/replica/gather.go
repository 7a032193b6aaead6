package replica

import (
	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
)

// gathering is the keep-alives of sessions that a leader brings into one entry
// per heartbeat interval: a thousand idle clients cost ten entries a second and
// not a thousand.
type gathering struct {
	list []sessionop.Kept
	from []origin
}

// gather takes a keep-alive, and reports whether the command was one.
func (q *requests) gather(now protocol.Instant, c *protocol.Command, from origin, r *Replica) bool {
	if c.Type != protocol.SessionType || c.Operation != protocol.SessionKeepAlive || c.Floor > protocol.SequenceMax {
		return false
	}
	g := &q.gathered
	g.list = append(g.list, sessionop.Kept{Session: c.Session, Floor: c.Floor})
	g.from = append(g.from, from)
	if len(g.list) == protocol.SessionKeepAlivesMax {
		q.proposeGathered(now, r)
	}
	return true
}

// proposeGathered makes one entry of the keep-alives that wait.
func (q *requests) proposeGathered(now protocol.Instant, r *Replica) {
	g := q.gathered
	if len(g.list) == 0 {
		return
	}
	q.gathered = gathering{}
	c := sessionop.KeepAliveMany(g.list)
	index, err := r.log.lead().Propose(now, []active.Proposal{{Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&c)}})
	if err != nil {
		for _, from := range g.from {
			r.answer(from, protocol.Failed(err))
		}
		return
	}
	q.proposed = append(q.proposed, proposed{index: index, term: r.log.lead().Term(), gathered: g.from})
}

// turnAway answers keep-alives that were gathered by a leader that is none any
// more: nothing has happened, and they are to be sent to the next one.
func (q *requests) turnAway(r *Replica) {
	g := q.gathered
	q.gathered = gathering{}
	for _, from := range g.from {
		r.answer(from, protocol.Failed(protocol.ErrNotLeader))
	}
}

// tell answers whoever waits for an entry.
func (p *proposed) tell(r *Replica, result protocol.Result) {
	if p.gathered == nil {
		r.answer(p.from, result)
		return
	}
	expired, err := sessionop.Expired(&result)
	if err != nil {
		for _, from := range p.gathered {
			r.answer(from, protocol.Failed(err))
		}
		return
	}
	for k, from := range p.gathered {
		one := protocol.Result{Index: result.Index}
		if len(expired) > 0 && expired[0] == k {
			expired = expired[1:]
			one = protocol.Failed(protocol.ErrSessionExpired)
			one.Index = result.Index
		}
		r.answer(from, one)
	}
}
