package active

import (
	"fmt"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// Who is listened to, where Config.NamedOnly is set. Raft takes the sender of a
// message for what it says it is: one message of a high term, from whomever,
// deposes every leader, and one of the highest term deposes the last. Here a
// sender has to be somebody:
//
//   - An answer counts from a member of the latest configuration that was asked
//     in this term: a leader asks all that it feeds, whoever stands for election
//     all voters.
//   - A request (append, heartbeat, checkpoint, vote, TimeoutNow) counts from a
//     voter, in either half, of a configuration that may be in force: the one at
//     the commit index, and all above it. Learners lead nobody and stand for
//     nothing. A request of anybody else changes nothing, not even the term. It
//     may come of a configuration that this log has not got yet; so, unless a
//     leader is heard, the member asks at once those that its log names for what
//     is committed (see IsLeaderless).
//   - [S] Those may be gone: {A,B,C} became {C,D,E} while C was away, A was
//     removed, B is dead and so is E. Without C nobody is elected, and nobody
//     whom C knows can tell it so. So when no leader that the log names has been
//     heard for lostAfter election timeouts, requests count from anybody. To have
//     heard of members that the log names is not enough to go on waiting: the
//     removed A may be there all along.
//   - [S] A term far above what is in the log is nobody's. It is measured from
//     entries: measured from the own term, a few messages that each go as far as
//     they may would move the bound itself, and who was alone when they came is
//     refused by all others for good. A voter's may be twice as far, so that a
//     learner that goes to its bound leaves room for the elections that follow;
//     and a learner's is measured from what is committed, so that it gets no
//     further while nothing is. It deposes each leader once in lostAfter election
//     timeouts at most.
//
// What anybody asks of a leader for itself (read indexes) is exempt. Who a sender
// is, is claimed and not proven: see docs/threat-model.md.

// lostAfter is how many election timeouts without a leader that the log names
// make a member listen to anybody.
const lostAfter = 10

// heeds reports whether a message counts. What does not is counted, but for that of
// members that have lost their votes.
func (m *Member) heeds(from protocol.MemberID, msg protocol.Message) bool {
	if !m.cfg.NamedOnly {
		return true
	}
	switch {
	case !m.counts(from, msg):
		const why = "of one that the log does not name for it, or that was not asked"
		switch {
		case m.late(from, msg):
		case voted(m, from):
			tellIgnored(m, from, msg, why)
		default:
			m.ignore(from, msg, why)
		}
	case m.leaps(from, msg):
		m.ignore(from, msg, fmt.Sprintf("term %d is too far above what the log has", protocol.TermOf(msg)))
	case !protocol.IndexesWithin(msg):
		m.ignore(from, msg, "no log has such an index")
	case !m.mayDepose(from, msg):
		m.ignore(from, msg, "a learner has deposed this leader a moment ago")
	default:
		return true
	}
	return false
}

// mayDepose reports whether an answer may carry a leader to a higher term. A
// learner's may, but not again for lostAfter election timeouts: a voter that was
// demoted while it was away needs it once. [S] A learner that could do it with
// each answer could keep others without a leader for so long that they listen to
// anybody.
func (m *Member) mayDepose(from protocol.MemberID, msg protocol.Message) bool {
	if m.state != StateLeader || protocol.TermOf(msg) <= m.hard.Term || m.names(from) {
		return true
	}
	if m.deposed && m.now < m.deposedAt.Add(lostAfter*m.cfg.Election) {
		return false
	}
	m.deposed, m.deposedAt = true, m.now
	return true
}

// ignore counts a message that does not count, and says so.
func (m *Member) ignore(from protocol.MemberID, msg protocol.Message, why string) {
	m.unheeded++
	tellIgnored(m, from, msg, why)
}

// tellIgnored says that a message does not count, once in an election timeout: there may
// be any number of them.
func tellIgnored(m *Member, from protocol.MemberID, msg protocol.Message, why string) {
	if m.toldAt == 0 || m.now >= m.toldAt.Add(m.cfg.Election) {
		m.toldAt = m.now
		m.emit(protocol.EventRefused, from, m.logTerms.LastIndex(), msg.Kind().String()+": "+why)
	}
}

// counts reports whether the sender has a say in what the message is about.
func (m *Member) counts(from protocol.MemberID, msg protocol.Message) bool {
	switch msg := msg.(type) {
	case *protocol.ReadIndex:
		// [S] Whoever asks for another could do so before that one does: the
		// answer would be older than its question.
		return from == msg.Origin && from != m.cfg.ID || m.names(from)
	case *protocol.VoteAnswer:
		_, asked := slices.BinarySearchFunc(m.quorum.voters, from, protocol.MemberID.Compare)
		return asked && (m.state == StatePreCandidate || m.state == StateCandidate)
	case *protocol.AppendAnswer, *protocol.HeartbeatAnswer, *protocol.PulseAnswer:
		return m.state == StateLeader && m.lead.find(from) != nil
	case *protocol.ReadIndexAnswer, *protocol.TimeoutNow:
		// A leader that is not in the configuration that it has just committed
		// still answers, and names its transferee, which may know of the commit already.
		return from == m.leader || m.names(from)
	}
	if m.names(from) || m.Lost(m.now) {
		return true
	}
	if !m.hearsLeader() {
		m.asked = true
	}
	return false
}

// late reports whether a message is an answer of a member, which may have been
// asked a moment ago: that is nothing to speak of.
func (m *Member) late(from protocol.MemberID, msg protocol.Message) bool {
	switch msg.(type) {
	case *protocol.VoteAnswer, *protocol.AppendAnswer, *protocol.HeartbeatAnswer, *protocol.PulseAnswer:
		return m.current.Configuration.Names(from) || voted(m, from)
	}
	return false
}

// voted reports whether a member was a voter, as far back as the log goes. One whose seat
// was taken stands for election as before until it has learned of it: it is no stranger.
func voted(m *Member, id protocol.MemberID) bool {
	return slices.ContainsFunc(m.configs.All(), func(c protocol.ConfigurationAt) bool {
		line, named := c.Configuration.Find(id)
		return named && (line.Suffrage == protocol.SuffrageVoter || line.Outgoing)
	})
}

// names reports whether a member is a voter of a configuration that may be in
// force.
func (m *Member) names(id protocol.MemberID) bool {
	_, ok := slices.BinarySearchFunc(m.named, id, protocol.MemberID.Compare)
	return ok
}

// Named returns the members whose word counts as a leader's, sorted by id: the
// voters, in either half, of the configuration at the commit index and of all
// above. The caller must not change the list.
func (m *Member) Named() []protocol.MemberID { return m.named }

// nameVoters follows the configurations and the commit index.
func (m *Member) nameVoters() {
	inForce, known := m.configs.At(m.hard.Commit)
	var ids []protocol.MemberID
	for _, c := range m.configs.All() {
		if known && c.Index < inForce.Index {
			continue
		}
		for _, line := range c.Configuration.Members {
			if line.Suffrage == protocol.SuffrageVoter || line.Outgoing {
				ids = append(ids, line.ID)
			}
		}
	}
	slices.SortFunc(ids, protocol.MemberID.Compare)
	m.named = slices.Compact(ids)
	forgetTokens(m)
}

// Lost reports whether no leader that the log names has been heard for so long
// that none of those whom it names may be left: from then on this member listens
// to anybody, and takes committed entries from anybody.
func (m *Member) Lost(now protocol.Instant) bool {
	m.advance(now)
	return m.state != StateLeader && m.now >= max(m.heardNamed, m.led).Add(lostAfter*m.cfg.Election)
}

// Unheeded returns how many messages did not count, since the start, because of
// who sent them or of the term or index in them.
func (m *Member) Unheeded() uint64 { return m.unheeded }

// leaps reports whether a message would take this member to a term that is too
// far above its log.
func (m *Member) leaps(from protocol.MemberID, msg protocol.Message) bool {
	term := protocol.TermOf(msg)
	if term <= m.hard.Term {
		return false
	}
	if m.names(from) {
		return term-m.logTerms.LastTerm() > protocol.VoterLeapMax
	}
	committed, _ := m.logTerms.TermAt(m.hard.Commit)
	return term-committed > protocol.LeapMax
}
