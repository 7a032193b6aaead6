package replica

import (
	"cmp"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// ask asks for one read index on behalf of all reads that have gathered.
func (q *requests) ask(now protocol.Instant, list []uint64, r *Replica) {
	if r.quarantined() {
		for _, request := range list {
			r.out.Reads = append(r.out.Reads, ReadAnswer{Request: request, Err: r.notServing()})
		}
		return
	}
	q.next++
	m := protocol.ReadIndex{Origin: r.cfg.ID, Run: q.run, Request: q.next}
	leader := r.leader()
	g := readGroup{id: q.next, requests: list, until: now.Add(r.patience())}
	if leader != r.cfg.ID {
		g.to = leader
	}
	q.asked = append(q.asked, g)
	if r.role == protocol.RoleActive {
		r.active.ReadIndex(now, m)
		return
	}
	if leader.IsZero() {
		q.failGroup(len(q.asked)-1, protocol.ErrNoLeader, r)
		return
	}
	r.out.Send = append(r.out.Send, Send{Envelope: protocol.Envelope{From: r.cfg.ID, To: leader, Message: &m}})
}

// readAnswered takes the answer to a read index. One for another run of this
// member is not for this one, even if the number fits.
func (q *requests) readAnswered(now protocol.Instant, a protocol.Read, r *Replica) {
	i := slices.IndexFunc(q.asked, func(g readGroup) bool { return g.id == a.Request })
	if a.Run != q.run || i < 0 || q.asked[i].answered {
		return
	}
	if a.Code != protocol.OK {
		if a.Code == protocol.ErrNotLeader.Code {
			r.leadsNot(now, q.asked[i].to, a.Leader, a.Term)
		}
		q.failGroup(i, noReadIndex(a.Code), r)
		return
	}
	q.asked[i].answered, q.asked[i].index = true, a.Index
	q.serveReads(r)
}

// noReadIndex is the error of a read that the leader, or the lack of one, refuses.
func noReadIndex(code protocol.Code) error {
	for _, refusal := range []*protocol.Error{protocol.ErrNoLeader, protocol.ErrNotLeader, protocol.ErrOverloaded} {
		if code == refusal.Code {
			return refusal
		}
	}
	return protocol.ErrorOf(code, "the leader refuses a read: "+string(code))
}

// serveReads answers the reads whose index the state has reached.
func (q *requests) serveReads(r *Replica) {
	q.asked = slices.DeleteFunc(q.asked, func(g readGroup) bool {
		if !g.answered || g.index > r.applied {
			return false
		}
		for _, request := range g.requests {
			r.out.Reads = append(r.out.Reads, ReadAnswer{Request: request, Index: r.applied})
		}
		return true
	})
}

// failGroup answers the reads of one group with an error.
func (q *requests) failGroup(i int, err error, r *Replica) {
	for _, request := range q.asked[i].requests {
		r.out.Reads = append(r.out.Reads, ReadAnswer{Request: request, Err: err})
	}
	if i == 0 { // the usual case: nothing has to move
		q.asked[0] = readGroup{}
		q.asked = q.asked[1:]
		return
	}
	q.asked = slices.Delete(q.asked, i, i+1)
}

// failReadsOf answers the reads of the groups that are meant with an error.
func (q *requests) failReadsOf(meant func(*readGroup) bool, err error, r *Replica) {
	for i := len(q.asked) - 1; i >= 0; i-- {
		if meant(&q.asked[i]) {
			q.failGroup(i, err, r)
		}
	}
}

// failReads answers all reads: the role that asked for them is gone.
func (q *requests) failReads(r *Replica) {
	q.failReadsWith(protocol.ErrNoLeader.With("the member changed its role; read again"), r)
}

func (q *requests) failReadsWith(err error, r *Replica) {
	for len(q.asked) > 0 {
		q.failGroup(0, err, r)
	}
}

// resortReads puts a group whose time was extended behind the others.
func (q *requests) resortReads() {
	slices.SortStableFunc(q.asked, func(a, b readGroup) int { return cmp.Compare(a.until, b.until) })
}
