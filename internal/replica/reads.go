package replica

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// numbers tells the requests of this run apart: those of others', and of a run before,
// have other ones.
type numbers struct {
	run  protocol.RunID
	next uint64
}

// reads are the reads of clients that wait for a read index, or for the state to get
// there. Lists are in order of age, so that nothing depends on the order of a map.
type reads struct {
	ground
	ids    *numbers
	who    *hearing
	places interface{ stuck() string }
	gossip interface{ Contradicted(gossip.Divergence) }

	waiting []uint64    // for the end of this step: one read index serves all of them
	asked   []readGroup // by until
	proofs  []proof     // by until; only while this member leads
}

// readGroup is a set of reads that one read index answers.
type readGroup struct {
	id       uint64
	requests []uint64
	to       protocol.MemberID // the leader that was asked
	until    protocol.Instant
	// held is what was known here to be committed when the leader was asked. What
	// came later says nothing about the answer.
	held     protocol.Index
	answered bool
	by       protocol.MemberID // whose answer it is, if not the one of this member's own core
	index    protocol.Index
	sum      protocol.LogSum // the leader's, at index
	// compared says that this member's log has the same sum there.
	compared bool
}

// ask asks for one read index on behalf of all reads that have gathered.
func (q *reads) ask(now protocol.Instant, list []uint64) {
	if err := q.withheld(); err != nil {
		for _, request := range list {
			q.out.read(request, 0, err)
		}
		return
	}
	q.ids.next++
	m := protocol.ReadIndex{Origin: q.cfg.ID, Run: q.ids.run, Request: q.ids.next, Held: q.log.commit}
	leader := q.who.leader()
	g := readGroup{id: q.ids.next, requests: list, held: q.log.commit, until: now.Add(q.patience())}
	if leader != q.cfg.ID {
		g.to = leader
	}
	q.asked = append(q.asked, g)
	if q.log.role.readIndex(now, m) {
		return
	}
	if leader.IsZero() {
		q.failGroup(len(q.asked)-1, q.flock.noLeader())
		return
	}
	q.out.send(leader, &m)
}

// prove asks for a read index that no read waits for, unless one is under way: it
// says whether the actives have the history that this member has.
func (q *reads) prove(now protocol.Instant) {
	if !slices.ContainsFunc(q.asked, func(g readGroup) bool { return !g.answered && g.held == q.log.commit }) {
		q.ask(now, nil)
	}
}

// answered takes the answer to a read index. One for another run of this
// member is not for this one, even if the number fits.
func (q *reads) answered(now protocol.Instant, by protocol.MemberID, a protocol.Read) {
	if q.proven(a) {
		return
	}
	i := slices.IndexFunc(q.asked, func(g readGroup) bool { return g.id == a.Request })
	if a.Run != q.ids.run || i < 0 || q.asked[i].answered {
		return
	}
	if a.Code != protocol.OK {
		if a.Code == protocol.ErrNotLeader.Code {
			q.who.leadsNot(now, q.asked[i].to, a.Leader, a.Term)
		}
		err := noReadIndex(a.Code)
		if a.Code == protocol.ErrNoLeader.Code && q.who.leader().IsZero() || q.asked[i].to.IsZero() && !q.log.leads() { // this member knows why
			err = q.who.notLeading()
		}
		q.failGroup(i, err)
		return
	}
	q.who.atWork(now, by)
	g := &q.asked[i]
	g.answered, g.by, g.index, g.sum = true, by, a.Index, a.Sum
	q.compare(now)
	q.serve()
}

// compare compares the answers to read indexes with this member's own log, as
// soon as that has come so far.
//
// [S] The leader's round began after the question was asked. So its index is at
// least what was committed then, and its log has the same entries up to there. If
// not, it is of another history, as when all actives are put back to an old copy:
// then this member may be the only one that has what was acknowledged since.
// Entries that came meanwhile are no proof, they may be above the index of a round
// that began before them.
func (q *reads) compare(now protocol.Instant) {
	for i := 0; i < len(q.asked); i++ {
		g := &q.asked[i]
		if !g.answered || g.compared {
			continue
		}
		sum, known := q.log.tail.sumAt(g.index)
		switch {
		case g.index < g.held:
			q.contradicted(now, i, gossip.Divergence{Index: g.index + 1, Short: true, By: g.by})
			return
		case g.index > q.log.commit: // not come so far
		case !known: // it says nothing any more
			list := g.requests
			g.requests = nil
			q.failGroup(i, nil)
			i--
			q.ask(now, list)
		case sum != g.sum:
			q.contradicted(now, i, gossip.Divergence{Index: g.index, Mine: sum, Theirs: g.sum, By: g.by})
			return
		default:
			g.compared = true
		}
	}
}

// contradicted takes the answer of group i, which is of another history. [S] The
// word of a voter proves it; a member that is none, and was taken for the leader,
// spoils no more than the reads that it was asked for.
func (q *reads) contradicted(now protocol.Instant, i int, d gossip.Divergence) {
	if q.log.names(d.By) {
		q.gossip.Contradicted(d)
		return // what waits is answered when the core says so
	}
	q.failGroup(i, protocol.ErrNotServing.With(fmt.Sprintf(
		"%s, which the log does not name, answers a read as the leader of a log that contradicts this member's at %d", q.flock.labelOf(d.By), d.Index)))
}

// withheld is why this member answers no read, or nil.
func (q *reads) withheld() error {
	if err := q.standing.notServing(); err != nil || q.places.stuck() == "" {
		return err
	}
	return protocol.ErrNotServing.With("this member " + q.places.stuck())
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

// serve answers the reads whose index the state has reached, if it is one of
// this member's history.
func (q *reads) serve() {
	q.asked = slices.DeleteFunc(q.asked, func(g readGroup) bool {
		if !g.compared || g.index > q.log.applied {
			return false
		}
		for _, request := range g.requests {
			q.out.read(request, q.log.applied, nil)
		}
		return true
	})
}

// failGroup answers the reads of one group with an error.
func (q *reads) failGroup(i int, err error) {
	for _, request := range q.asked[i].requests {
		q.out.read(request, 0, err)
	}
	if i == 0 { // the usual case: nothing has to move
		q.asked[0] = readGroup{}
		q.asked = q.asked[1:]
		return
	}
	q.asked = slices.Delete(q.asked, i, i+1)
}

// failOf answers the reads of the groups that are meant with an error.
func (q *reads) failOf(meant func(*readGroup) bool, err error) {
	for i := len(q.asked) - 1; i >= 0; i-- {
		if meant(&q.asked[i]) {
			q.failGroup(i, err)
		}
	}
}

// failAll answers all reads: the role that asked for them is gone.
func (q *reads) failAll() {
	q.failWith(protocol.ErrNoLeader.With("the member changed its role; read again"))
}

func (q *reads) failWith(err error) {
	for len(q.asked) > 0 {
		q.failGroup(0, err)
	}
}

// resort puts a group whose time was extended behind the others.
func (q *reads) resort() {
	slices.SortStableFunc(q.asked, func(a, b readGroup) int { return cmp.Compare(a.until, b.until) })
}

// asks reports whether a passive has asked a member for a read index, or may
// have: whoever was taken for the leader passes the question on to the one that
// is.
func (q *reads) asks(from protocol.MemberID) bool {
	if q.log.names(from) || slices.ContainsFunc(q.asked, func(g readGroup) bool { return g.to == from }) {
		return true
	}
	q.who.unheeded++
	return false
}

// flush asks for an index on behalf of all that wait.
func (q *reads) flush(now protocol.Instant) {
	if len(q.waiting) > 0 {
		list := q.waiting
		q.waiting = nil
		q.ask(now, list)
	}
}

// expire gives up on what the leader has said nothing about.
func (q *reads) expire(now protocol.Instant) {
	q.unsettled(now)
	for len(q.asked) > 0 && q.asked[0].until <= now {
		if g := q.asked[0]; g.answered { // the state has not got there yet
			q.asked[0].until = now.Add(q.patience())
			q.resort()
			continue
		}
		q.failGroup(0, protocol.ErrNoLeader.With("the leader did not answer a read"))
	}
}

// deadline returns when expire has something to do, or d.
func (q *reads) deadline(d protocol.Instant) protocol.Instant {
	if len(q.asked) > 0 {
		d = min(d, q.asked[0].until)
	}
	if len(q.proofs) > 0 {
		d = min(d, q.proofs[0].until)
	}
	return d
}
