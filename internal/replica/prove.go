package replica

import (
	"fmt"
	"slices"
	"strings"

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

// changing is a change of the configuration in the log of this leader.
type changing struct {
	index   protocol.Index
	term    protocol.Term
	request uint64
}

// Prove asks whether this member leads. It is answered by a ReadAnswer: without an error
// when a majority of the voters has confirmed, after the question, that it does, or while
// its lease says so. Another
// one may have taken the lead long ago, and changed seats since. That the state has come
// to the answer's index is not said.
func (r *Replica) Prove(now protocol.Instant, request uint64) {
	if !r.log.leads() {
		r.out.read(request, 0, r.notLeading())
		return
	}
	q := &r.requests
	q.next++
	q.proofs = append(q.proofs, proof{id: q.next, request: request, until: now.Add(r.patience())})
	r.log.lead().ReadIndex(now, protocol.ReadIndex{Origin: r.cfg.ID, Run: q.run, Request: q.next, Held: r.log.commit})
	r.pump(now)
}

// proven takes the answer to a proof, and reports whether it is one.
func (q *requests) proven(a protocol.Read, r *Replica) bool {
	i := slices.IndexFunc(q.proofs, func(p proof) bool { return p.id == a.Request })
	if a.Run != q.run || i < 0 {
		return false
	}
	answer := ReadAnswer{Request: q.proofs[i].request, Index: a.Index}
	switch {
	case !r.log.leads():
		answer.Err = r.notLeading()
	case a.Code != protocol.OK:
		answer.Err = noReadIndex(a.Code)
	}
	r.out.Reads = append(r.out.Reads, answer)
	q.proofs = slices.Delete(q.proofs, i, i+1)
	return true
}

// unproven answers the proofs that are meant with an error.
func (q *requests) unproven(meant func(*proof) bool, err error, r *Replica) {
	q.proofs = slices.DeleteFunc(q.proofs, func(p proof) bool {
		if !meant(&p) {
			return false
		}
		r.out.read(p.request, 0, err)
		return true
	})
}

// unsettled gives up on proofs that have waited for too long. A leader whom too few hear
// leads no more by then: this one has been elected, and cannot commit.
func (q *requests) unsettled(now protocol.Instant, r *Replica) {
	if len(q.proofs) > 0 && q.proofs[0].until <= now {
		q.unproven(func(p *proof) bool { return p.until <= now }, protocol.ErrUnavailable.With(fmt.Sprintf(
			"%s was elected, and no majority of the voters has stored anything that it sends since: their disks do not answer, or its own does not", r.cfg.Name)), r)
	}
}

// committed answers the changes that are committed: they are in force, whatever the
// state has come to.
func (q *requests) committed(r *Replica) {
	for len(q.changes) > 0 && q.changes[0].index <= r.log.commit {
		c := q.changes[0]
		q.changes = q.changes[1:]
		r.policy.next = 0 // what it said is of the configuration before
		result := protocol.Result{Index: c.index}
		if term, known := r.log.shape().TermAt(c.index); known && term != c.term { // another leader's entry took the place
			result = protocol.Failed(protocol.ErrNotLeader)
		}
		r.answer(origin{request: c.request}, result)
	}
}

// changesLost says of the changes that are not committed that their outcome is open.
func (q *requests) changesLost(r *Replica, why error) {
	for _, c := range q.changes {
		r.answer(origin{request: c.request}, protocol.Failed(why))
	}
	q.changes = nil
}

// notLeading is the error of what only a leader can do.
func (r *Replica) notLeading() error {
	leader := r.leader()
	switch {
	case r.log.role.waits():
		return errStandsBy
	case leader.IsZero():
		return noLeader(r)
	case !r.log.knows() && !hears(r, leader): // an active would know
		return protocol.ErrNoLeader.With("no leader is known: " + r.labelOf(leader) + ", which led last, is not heard; " + quorumText(r))
	}
	return protocol.ErrNotLeader.With("this member does not lead, " + r.labelOf(leader) + " does")
}

// noLeader says that no leader is known, and which voters are not heard.
func noLeader(r *Replica) error {
	return protocol.ErrNoLeader.With("no leader is known: " + quorumText(r))
}

// quorumText says which of the voters are not heard, by the membership, and what that
// means for an election.
func quorumText(r *Replica) string {
	latest, ok := r.log.configurations().Latest()
	if !ok {
		return "this member does not know the voters yet"
	}
	conf := latest.Configuration
	lost, all := []string(nil), 0
	for _, m := range conf.Members {
		if m.Seat != protocol.SeatVoter && !m.Outgoing {
			continue
		}
		all++
		if !hears(r, m.ID) {
			lost = append(lost, m.Label())
		}
	}
	slices.Sort(lost)
	switch {
	case len(lost) == 0:
		return "a majority of the voters cannot be reached, or an election is under way; all of them are heard"
	case quorumHeard(r, conf.Voters()) && (!conf.Joint() || quorumHeard(r, conf.OutgoingVoters())):
		return fmt.Sprintf("a majority of the voters cannot be reached, or an election is under way; of the %d voters %s", all, notHeard(lost))
	}
	return fmt.Sprintf("a majority of the voters cannot be reached: of the %d voters %s", all, notHeard(lost))
}

func notHeard(names []string) string {
	if len(names) == 1 {
		return names[0] + " is not heard"
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + " are not heard"
}

// quorumHeard reports whether a majority of some voters is heard.
func quorumHeard(r *Replica, voters []protocol.MemberID) bool {
	n := 0
	for _, id := range voters {
		if hears(r, id) {
			n++
		}
	}
	return 2*n > len(voters)
}

// hears reports whether a member is this one, or the membership has it alive.
func hears(r *Replica, id protocol.MemberID) bool {
	return id == r.cfg.ID || slices.ContainsFunc(r.peers, func(p protocol.Peer) bool { return p.ID == id })
}
