package replica

import (
	"time"

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
	at     protocol.Instant // when it led last, as far as is known
	named  bool             // the log names it as a voter
}

// hintPatience is how many election timeouts a hint is kept that nobody renews.
const hintPatience = 10

// hearing is who leads, as far as this member knows, and whose word has counted.
type hearing struct {
	ground
	gossip interface {
		Heed(named []protocol.MemberID, others bool)
	}

	hint leaderHint
	// asked is whom this member last asked, and forwarded to: as of the last look.
	asked     protocol.MemberID
	askedTerm protocol.Term
	// unheeded counts messages that did not count because of who sent them, or of a term
	// or an index that nobody can have come to, beside those that the cores have counted.
	unheeded uint64
}

// leader returns the leader as far as this member knows, or zero.
func (h *hearing) leader() protocol.MemberID {
	if leader, _, ok := h.log.role.knows(); ok {
		return leader
	}
	if h.hint.leader == h.cfg.ID { // from when it had a seat: a passive never leads
		return protocol.MemberID{}
	}
	return h.hint.leader
}

// term returns the term that leader leads, or the newest known if there is
// none.
func (h *hearing) term() protocol.Term {
	if _, term, ok := h.log.role.knows(); ok {
		return term
	}
	return h.hint.term
}

// changed reports whether another leader is known than at the last look, or none any more.
func (h *hearing) changed() bool {
	leader, term := h.leader(), h.term()
	if leader == h.asked && term == h.askedTerm {
		return false
	}
	h.asked, h.askedTerm = leader, term
	return true
}

// haveSaid takes what a HAVE says of who leads. An active knows that by itself; of others it
// is as old as the freshness beside it, which comes from the leader.
func (h *hearing) haveSaid(now protocol.Instant, from protocol.MemberID, m *protocol.Have) {
	at := now
	if m.FreshKnown && !h.log.names(from) {
		age := max(time.Duration(m.FreshAge), 0)
		if age >= h.hintLasts() {
			return
		}
		at = now.Add(-age)
	}
	h.heardOf(at, m.Term, m.Leader)
}

func (h *hearing) hintLasts() time.Duration { return hintPatience * h.cfg.Active.Election }

// forget ends a hint that nobody has renewed for long: whom it names leads no more, or
// is not heard.
func (h *hearing) forget(now protocol.Instant) {
	if now >= h.hint.at.Add(h.hintLasts()) {
		h.hint.leader = protocol.MemberID{}
	}
}

// heardOf keeps the newest leader as whom to ask. One whom the log names as a
// voter goes before any other, whatever its term; what nobody has renewed for
// long gives way to anything: so a hint that was made up is got rid of, and a
// leader that the log does not name yet is found.
func (h *hearing) heardOf(at protocol.Instant, t protocol.Term, leader protocol.MemberID) {
	last := h.log.logTerms().LastTerm()
	switch {
	case leader.IsZero() || leader == h.cfg.ID: // a passive never leads
		return
	case t > last && t-last > protocol.VoterLeapMax && !h.log.logTerms().Empty():
		h.unheeded++
		return
	}
	h.forget(at)
	next := leaderHint{term: t, leader: leader, at: at, named: h.log.names(leader)}
	if h.hint.term == t && h.hint.leader == leader {
		next.at = max(at, h.hint.at)
	}
	if h.hint.leader.IsZero() || next.named && !h.hint.named || next.named == h.hint.named && t >= h.hint.term {
		h.hint = next
	}
}

// atWork takes an answer that only a leader gives.
func (h *hearing) atWork(now protocol.Instant, by protocol.MemberID) {
	if by == h.hint.leader {
		h.hint.at = now
	}
}

// leadsNot takes the word of a member that it does not lead, and who does as far
// as it knows. An active knows better by itself; and what is older than what is
// known here counts for nothing.
func (h *hearing) leadsNot(now protocol.Instant, by, leader protocol.MemberID, term protocol.Term) {
	if h.log.knows() || by != h.hint.leader || term < h.hint.term || leader == by {
		return
	}
	h.hint.leader = protocol.MemberID{} // may stay nobody: better than asking again in vain
	if h.cfg.signed() {
		h.hint.leader, h.hint.named = leader, h.log.names(leader)
		return
	}
	h.heardOf(now, term, leader)
}

// notLeading is the error of what only a leader can do.
func (h *hearing) notLeading() error {
	leader := h.leader()
	switch {
	case h.log.role.waits():
		return errStandsBy
	case leader.IsZero():
		return h.flock.noLeader()
	case !h.log.knows() && !h.flock.hears(leader): // an active would know
		return protocol.ErrNoLeader.With("no leader is known: " + h.flock.labelOf(leader) + ", which led last, is not heard; " + h.flock.quorumText())
	}
	return protocol.ErrNotLeader.With("this member does not lead, " + h.flock.labelOf(leader) + " does")
}

// notLeadingForOperator is notLeading for operators, who ask for seats: where a majority of the voters
// is not heard, there is no election to wait for.
func (h *hearing) notLeadingForOperator() error {
	err := h.notLeading()
	if code, _ := protocol.CodeOf(err); code != protocol.ErrNoLeader.Code || h.log.role.waits() || h.flock.hearsQuorum() {
		return err
	}
	return protocol.ErrNoQuorum.With(err.Error())
}

// heed tells the gossip core whose word on what is committed counts. The only
// voter of a cluster, when it has lost its state, can have it from nobody whom its
// log names: it takes a checkpoint as a passive does. Its log it keeps.
func (h *hearing) heed(now protocol.Instant, bereft bool) {
	named, others, ok := h.log.role.heeds(now)
	if ok {
		h.gossip.Heed(named, others || h.log.alone(named) && (bereft || !h.standing.may(mayApply)))
	}
}
