package replica

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// ask asks for one read index on behalf of all reads that have gathered.
func (q *requests) ask(now protocol.Instant, list []uint64, r *Replica) {
	if err := r.withheld(); err != nil {
		for _, request := range list {
			r.out.read(request, 0, err)
		}
		return
	}
	q.next++
	m := protocol.ReadIndex{Origin: r.cfg.ID, Run: q.run, Request: q.next, Held: r.log.commit}
	leader := r.leader()
	g := readGroup{id: q.next, requests: list, held: r.log.commit, until: now.Add(r.patience())}
	if leader != r.cfg.ID {
		g.to = leader
	}
	q.asked = append(q.asked, g)
	if r.log.role.readIndex(now, m) {
		return
	}
	if leader.IsZero() {
		q.failGroup(len(q.asked)-1, noLeader(r), r)
		return
	}
	r.out.send(leader, &m)
}

// prove asks for a read index that no read waits for, unless one is under way: it
// says whether the actives have the history that this member has.
func (q *requests) prove(now protocol.Instant, r *Replica) {
	if !slices.ContainsFunc(q.asked, func(g readGroup) bool { return !g.answered && g.held == r.log.commit }) {
		q.ask(now, nil, r)
	}
}

// readAnswered takes the answer to a read index. One for another run of this
// member is not for this one, even if the number fits.
func (q *requests) readAnswered(now protocol.Instant, by protocol.MemberID, a protocol.Read, r *Replica) {
	if q.proven(a, r) {
		return
	}
	i := slices.IndexFunc(q.asked, func(g readGroup) bool { return g.id == a.Request })
	if a.Run != q.run || i < 0 || q.asked[i].answered {
		return
	}
	if a.Code != protocol.OK {
		if a.Code == protocol.ErrNotLeader.Code {
			r.leadsNot(now, q.asked[i].to, a.Leader, a.Term)
		}
		err := noReadIndex(a.Code)
		if a.Code == protocol.ErrNoLeader.Code && r.leader().IsZero() || q.asked[i].to.IsZero() && !r.log.leads() { // this member knows why
			err = r.notLeading()
		}
		q.failGroup(i, err, r)
		return
	}
	g := &q.asked[i]
	g.answered, g.by, g.index, g.sum = true, by, a.Index, a.Sum
	q.compareReads(now, r)
	q.serveReads(r)
}

// compareReads compares the answers to read indexes with this member's own log, as
// soon as that has come so far.
//
// [S] The leader's round began after the question was asked. So its index is at
// least what was committed then, and its log has the same entries up to there. If
// not, it is of another history, as when all actives are put back to an old copy:
// then this member may be the only one that has what was acknowledged since.
// Entries that came meanwhile are no proof, they may be above the index of a round
// that began before them.
func (q *requests) compareReads(now protocol.Instant, r *Replica) {
	for i := 0; i < len(q.asked); i++ {
		g := &q.asked[i]
		if !g.answered || g.compared {
			continue
		}
		sum, known := r.log.tail.sumAt(g.index)
		switch {
		case g.index < g.held:
			q.contradicted(now, i, gossip.Divergence{Index: g.index + 1, Short: true, By: g.by}, r)
			return
		case g.index > r.log.commit: // not come so far
		case !known: // it says nothing any more
			list := g.requests
			g.requests = nil
			q.failGroup(i, nil, r)
			i--
			q.ask(now, list, r)
		case sum != g.sum:
			q.contradicted(now, i, gossip.Divergence{Index: g.index, Mine: sum, Theirs: g.sum, By: g.by}, r)
			return
		default:
			g.compared = true
		}
	}
}

// contradicted takes the answer of group i, which is of another history. [S] The
// word of a voter proves it; a member that is none, and was taken for the leader,
// spoils no more than the reads that it was asked for.
func (q *requests) contradicted(now protocol.Instant, i int, d gossip.Divergence, r *Replica) {
	if r.log.names(d.By) {
		r.gossip.Contradicted(d)
		return // what waits is answered when the core says so
	}
	q.failGroup(i, protocol.ErrNotServing.With(fmt.Sprintf(
		"%s, which the log does not name, answers a read as the leader of a log that contradicts this member's at %d", r.labelOf(d.By), d.Index)), r)
}

// strayed says that this member's log is of another history than the actives'.
func (r *Replica) strayed(now protocol.Instant, d *gossip.Divergence) {
	d.Name = r.labelOf(d.By)
	r.standing.stray(d)
	r.out.Diverged = d
	r.requests.failReadsWith(r.withheld(), r)
	if p := r.install.phase; p == installBegins || p == installFetches {
		r.giveUpInstall(now, r.withheld())
	}
}

// withheld is why this member answers no read, or nil.
func (r *Replica) withheld() error {
	if err := r.standing.notServing(); err != nil || r.stuck() == "" {
		return err
	}
	return protocol.ErrNotServing.With("this member " + r.stuck())
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

// serveReads answers the reads whose index the state has reached, if it is one of
// this member's history.
func (q *requests) serveReads(r *Replica) {
	q.asked = slices.DeleteFunc(q.asked, func(g readGroup) bool {
		if !g.compared || g.index > r.log.applied {
			return false
		}
		for _, request := range g.requests {
			r.out.read(request, r.log.applied, nil)
		}
		return true
	})
}

// failGroup answers the reads of one group with an error.
func (q *requests) failGroup(i int, err error, r *Replica) {
	for _, request := range q.asked[i].requests {
		r.out.read(request, 0, err)
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
