package replica

import (
	"fmt"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// What operators ask of a leader, who has a seat and to change that, is in its log. It
// must be answered where commands do not return, and where the state is far behind: that
// is when seats have to be changed. So nothing here waits for the state.

// proof is a question whether this member leads.
type proof struct {
	id, request uint64
	until       protocol.Instant
}

// leads asks whether this member leads, for one request.
func (q *reads) leads(now protocol.Instant, request uint64) {
	q.ids.next++
	q.proofs = append(q.proofs, proof{id: q.ids.next, request: request, until: now.Add(q.patience())})
	q.log.lead().ReadIndex(now, protocol.ReadIndex{Origin: q.cfg.ID, Run: q.ids.run, Request: q.ids.next, Held: q.log.commit})
}

// proven takes the answer to a proof, and reports whether it is one.
func (q *reads) proven(a protocol.Read) bool {
	i := slices.IndexFunc(q.proofs, func(p proof) bool { return p.id == a.Request })
	if a.Run != q.ids.run || i < 0 {
		return false
	}
	answer := ReadAnswer{Request: q.proofs[i].request, Index: a.Index}
	switch {
	case !q.log.leads():
		answer.Err = q.who.notLeadingForOperator()
	case a.Code != protocol.OK:
		answer.Err = noReadIndex(a.Code)
	}
	q.out.Reads = append(q.out.Reads, answer)
	q.proofs = slices.Delete(q.proofs, i, i+1)
	return true
}

// unproven answers the proofs that are meant with an error.
func (q *reads) unproven(meant func(*proof) bool, err error) {
	q.proofs = slices.DeleteFunc(q.proofs, func(p proof) bool {
		if !meant(&p) {
			return false
		}
		q.out.read(p.request, 0, err)
		return true
	})
}

// unsettled gives up on proofs that have waited for too long. A leader whom too few hear
// leads no more by then: this one has been elected, and cannot commit.
func (q *reads) unsettled(now protocol.Instant) {
	if len(q.proofs) > 0 && q.proofs[0].until <= now {
		q.unproven(func(p *proof) bool { return p.until <= now }, protocol.ErrUnavailable.With(fmt.Sprintf(
			"%s was elected, and no majority of the voters has stored anything that it sends since: their disks do not answer, or its own does not", q.cfg.Name)))
	}
}
