package replica

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// Whom an active listens to is decided in its core (active/heed.go), and whose
// word on what is committed it takes in gossip's (gossip/heed.go), which is told
// here whom the log names. What is left are a passive's questions to the leader:
// they go where a hint says, and a hint is anybody's word.

// leaderHint is the newest leader that this member heard of, as a passive.
type leaderHint struct {
	term   protocol.Term
	leader protocol.MemberID
	at     protocol.Instant // when it was heard of last
	named  bool             // the log names it as a voter
}

// hintPatience is how many election timeouts a hint is kept that nobody repeats.
const hintPatience = 10

// heardOf keeps the newest leader as whom to ask. One whom the log names as a
// voter goes before any other, whatever its term; what nobody has repeated for
// long gives way to anything: so a hint that was made up is got rid of, and a
// leader that the log does not name yet is found.
func (r *Replica) heardOf(now protocol.Instant, t protocol.Term, leader protocol.MemberID) {
	last := r.log.shape().LastTerm()
	switch {
	case leader.IsZero() || leader == r.cfg.ID: // a passive never leads
		return
	case t > last && t-last > protocol.VoterLeapMax && !r.log.shape().Empty():
		r.unheeded++
		return
	}
	h := leaderHint{term: t, leader: leader, at: now, named: r.log.names(leader)}
	stale := r.hint.leader.IsZero() || now >= r.hint.at.Add(hintPatience*r.cfg.Active.Election)
	if stale || h.named && !r.hint.named || h.named == r.hint.named && t >= r.hint.term {
		r.hint = h
	}
}

// asks reports whether a passive has asked a member for a read index, or may
// have: whoever was taken for the leader passes the question on to the one that
// is.
func (q *requests) asks(from protocol.MemberID, r *Replica) bool {
	if r.log.names(from) || slices.ContainsFunc(q.asked, func(g readGroup) bool { return g.to == from }) {
		return true
	}
	r.unheeded++
	return false
}

// heed tells the gossip core whose word on what is committed counts. The only
// voter of a cluster, when it has lost its state, can have it from nobody whom its
// log names: it takes a checkpoint as a passive does. Its log it keeps.
func (r *Replica) heed(now protocol.Instant) {
	named, others, ok := r.log.role.heeds(now)
	if !ok {
		return
	}
	alone := len(named) == 1 && named[0] == r.cfg.ID
	r.gossip.Heed(named, others || alone && (!r.standing.may(mayApply) || r.unreadable.bereft(r) != nil))
}

// unheededNow returns how many messages did not count, since the start, because
// of who sent them or of a term or an index that nobody can have come to.
func (r *Replica) unheededNow() uint64 {
	return r.unheeded + r.gossip.Unheeded() + r.log.role.Unheeded()
}
