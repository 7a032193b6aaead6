package active

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// ballot is what a voter answered.
type ballot uint8

const (
	ballotOpen ballot = iota
	ballotGranted
	ballotRefused
	// ballotSilent is an open one of a voter that has left the pre-vote before unanswered,
	// for a whole election timeout.
	ballotSilent
)

// mayCampaign reports whether the member may stand for election: if it is a
// voter, or if the latest configuration has taken that from it, is not
// committed, and an earlier one that may still be in force counts it.
//
// [S] The second case: {A,B} becomes {B,C}; all three have the joint
// configuration, the leader A appends the final one and crashes. A's log is the
// newest, so A refuses B and C; if A might not campaign, nobody could ever be
// elected. A does not count its own vote then. A member
// that was a learner all along never campaigns.
func (m *Member) mayCampaign() bool {
	if m.installing || m.unfit != "" || m.disk.taking || m.stopped || m.disk.mute(m.now) {
		return false
	}
	if m.voter {
		return true
	}
	if m.current.Index <= m.hard.Commit {
		return false
	}
	inForce, known := m.configs.At(m.hard.Commit)
	for _, c := range m.configs.All() {
		if known && c.Index < inForce.Index {
			continue
		}
		if c.Configuration.IsVoter(m.cfg.ID) {
			return true
		}
	}
	return false
}

// electionTimeout passes when no leader was heard and no election was won.
func (m *Member) electionTimeout() {
	m.armElection()
	if m.state == StateCandidate && !m.disk.holds(m.hard) {
		return // nobody was asked yet
	}
	if m.mayCampaign() && !m.isInLeasePromise() && !yields(m) {
		m.preCampaign()
		return
	}
	m.becomeFollower(m.hard.Term, protocol.MemberID{}) // whoever led is not heard any more
}

// preCampaign asks whether an election in the next term could be won.
func (m *Member) preCampaign() {
	m.ballots = ballotsAfter(m)
	m.state, m.leader = StatePreCandidate, protocol.MemberID{}
	m.disk.pace.slowest = 0
	m.emit(protocol.EventBecamePreCand, protocol.MemberID{}, m.logTerms.LastIndex(), "")
	for _, id := range m.quorum.voters {
		if id != m.cfg.ID {
			m.send(id, m.voteRequest(id, true, false))
		}
	}
	if m.voter {
		m.count(m.cfg.ID, true)
	}
}

// ballotsAfter returns the ballots of a pre-vote that begins. One that follows a pre-vote
// which nobody has decided knows who was silent in that: an answer to it waits for no disk.
func ballotsAfter(m *Member) []ballot {
	ballots := make([]ballot, len(m.quorum.voters))
	if m.state != StatePreCandidate || len(m.ballots) != len(ballots) {
		return ballots
	}
	for i, b := range m.ballots {
		if b == ballotOpen || b == ballotSilent {
			ballots[i] = ballotSilent
		}
	}
	return ballots
}

// Silent returns the voters that have left a pre-vote of this member unanswered for a whole
// election timeout, and have not answered the one that followed it, which may have been
// sent just now: none on everybody but a pre-candidate.
func (m *Member) Silent() (silent []protocol.MemberID) {
	for i, b := range m.ballots {
		if b == ballotSilent {
			silent = append(silent, m.quorum.voters[i])
		}
	}
	return silent
}

// campaign enters the next term and asks for votes. The requests leave with
// the write of the term and the own vote: a request that left before could be
// forgotten in a crash and made again, in the same term, over a shorter log,
// and would then find its old answers.
func (m *Member) campaign(transfer bool) {
	m.hard.Term++
	m.hard.Vote = m.cfg.ID
	m.state, m.leader = StateCandidate, protocol.MemberID{}
	m.ballots = make([]ballot, len(m.quorum.voters))
	m.disk.pace.until = 0
	if transfer { // nobody was asked before
		m.disk.pace.slowest = 0
	}
	m.armElection()
	m.emit(protocol.EventBecameCandidate, protocol.MemberID{}, m.logTerms.LastIndex(), "")
	for _, id := range m.quorum.voters {
		if id != m.cfg.ID {
			m.hold(id, m.voteRequest(id, false, transfer))
		}
	}
}

func (m *Member) voteRequest(to protocol.MemberID, pre, transfer bool) *protocol.Vote {
	v := &protocol.Vote{
		Term: m.hard.Term, Pre: pre, Transfer: transfer,
		LastIndex: m.logTerms.LastIndex(), LastTerm: m.logTerms.LastTerm(), Token: m.cfg.tokenFor(to),
	}
	if pre {
		v.Term++
	}
	return v
}

// countOwnVote counts a candidate's own vote once it is durable.
func (m *Member) countOwnVote() {
	d := m.disk.durable
	if m.voter && d.Term == m.hard.Term && d.Vote == m.cfg.ID {
		m.count(m.cfg.ID, true)
	}
}

// count enters one ballot and acts on the result. Only voters of the
// candidate's own configuration count; each once.
func (m *Member) count(id protocol.MemberID, granted bool) {
	i, ok := slices.BinarySearchFunc(m.quorum.voters, id, protocol.MemberID.Compare)
	if !ok || m.ballots[i] == ballotGranted || m.ballots[i] == ballotRefused {
		return
	}
	m.ballots[i] = ballotRefused
	if granted {
		m.ballots[i] = ballotGranted
	}
	switch m.election() {
	case electionWon:
		if m.state == StatePreCandidate {
			m.campaign(false)
		} else {
			m.becomeLeader()
		}
	case electionLost:
		m.becomeFollower(m.hard.Term, protocol.MemberID{})
	}
}

// onVote is RequestVote, receiver's side (the paper, figure 2). Learners
// answer as voters do: whether it counts is for the candidate's configuration
// to say, which may be newer than this member's.
func (m *Member) onVote(from protocol.MemberID, v *protocol.Vote) {
	if v.Term < m.hard.Term {
		m.refuseVote(from, v, "its term is over")
		return
	}
	if why := mayBeLed(m); why != "" && !v.Transfer {
		if v.Pre { // its sender is to know that this member is heard
			m.refuseVote(from, v, why)
		} else {
			m.emit(protocol.EventVoteRefused, from, v.LastIndex, why)
		}
		return
	}
	if v.Pre {
		m.onPreVote(from, v)
		return
	}
	m.heedTerm(from, v.Term)
	switch {
	case !m.hard.Vote.IsZero() && m.hard.Vote != from:
		m.refuseVote(from, v, "the vote of this term is given")
	case !m.leader.IsZero():
		m.refuseVote(from, v, "the term has a leader")
	case !m.upToDate(v.LastIndex, v.LastTerm):
		m.refuseVote(from, v, "its log is older")
	default:
		m.hard.Vote = from
		m.armElection()
		m.electionAt = m.electionAt.Add(m.disk.pace.leave(m.now, v.Wait))
		m.emit(protocol.EventVoted, from, v.LastIndex, "")
		m.promise(from, &protocol.VoteAnswer{Term: m.hard.Term, Granted: true, Token: m.cfg.tokenFor(from)}, 0)
	}
}

// mayBeLed says why no election is heeded; empty: one is.
func mayBeLed(m *Member) string {
	switch {
	case m.hearsLeader():
		return "a leader is heard"
	case m.isInLeasePromise():
		return "a leader may hold a lease"
	}
	return ""
}

// onPreVote answers whether the vote would be given. It changes nothing, so
// it waits for no write.
func (m *Member) onPreVote(from protocol.MemberID, v *protocol.Vote) {
	switch {
	case v.Term == m.hard.Term:
		// The sender is a term behind: told which one it is, it catches up.
		m.refuseVote(from, v, "its term has begun")
	case !m.upToDate(v.LastIndex, v.LastTerm):
		m.refuseVote(from, v, "its log is older")
	case m.disk.mute(m.now):
		m.refuseVote(from, v, "the disk does not answer: no vote could be given")
	case m.state == StateCandidate && !m.disk.holds(m.hard) || m.now < m.disk.pace.until:
		m.refuseVote(from, v, "an election waits for disks")
	default:
		m.send(from, &protocol.VoteAnswer{Term: v.Term, Pre: true, Granted: true, Write: m.disk.takes(m.now), Token: m.cfg.tokenFor(from)})
	}
}

func (m *Member) refuseVote(from protocol.MemberID, v *protocol.Vote, why string) {
	m.emit(protocol.EventVoteRefused, from, v.LastIndex, why)
	m.send(from, &protocol.VoteAnswer{Term: m.hard.Term, Pre: v.Pre, Token: m.cfg.tokenFor(from)})
}

// onVoteAnswer counts an answer of the election that is under way.
func (m *Member) onVoteAnswer(from protocol.MemberID, a *protocol.VoteAnswer) {
	if a.Pre && a.Granted {
		// Its term is that of the question, which nobody has entered.
		if m.state == StatePreCandidate && a.Term == m.hard.Term+1 {
			m.disk.pace.slowest = max(m.disk.pace.slowest, a.Write)
			m.count(from, true)
		}
		return
	}
	// Who refuses a pre-vote enters no term for it, and may be in an older one.
	if old := m.heedTerm(from, a.Term); old && !a.Pre {
		return
	}
	if a.Pre && m.state == StatePreCandidate || !a.Pre && m.state == StateCandidate {
		m.count(from, a.Granted)
	}
}

// onTimeoutNow campaigns at once, without a pre-vote, because the leader
// hands over its leadership (dissertation, section 3.10).
func (m *Member) onTimeoutNow(from protocol.MemberID, t *protocol.TimeoutNow) {
	if t.Term != m.hard.Term || from != m.leader || m.state != StateFollower || !m.voter || !m.mayCampaign() {
		m.emit(protocol.EventRefused, from, m.logTerms.LastIndex(), "leadership transfer")
		return
	}
	m.campaign(true)
}
