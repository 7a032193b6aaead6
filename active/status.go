package active

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Status is a member's view of itself, for people and for decisions outside of
// Raft.
type Status struct {
	State  State
	Term   protocol.Term
	Leader protocol.MemberID // zero: unknown
	Commit protocol.Index
	Last   protocol.Index
	// Durable is the highest index that this member's disk has answered for.
	Durable protocol.Index
	// OwnTermCommitted says that a leader has committed an entry of its term: it
	// serves reads and may change the configuration.
	OwnTermCommitted bool
	// Stalled says that the disk has not answered for two election timeouts, and as
	// much longer as the writes of late say.
	Stalled bool
	// Installing says that a checkpoint is being installed.
	Installing bool
	// Transferee is to whom a leader hands over; zero unless it does.
	Transferee protocol.MemberID
	// Transferees are the voters that could take over, the best first, as Transfer would
	// choose; nil on everybody but a leader.
	Transferees []protocol.MemberID
	// Progress has a line for each other member that a leader feeds, sorted
	// by id; nil on everybody else.
	Progress []Progress
}

// Progress is what a leader knows of another active.
type Progress struct {
	ID       protocol.MemberID
	Suffrage protocol.Suffrage
	// Voter says that the member counts for quorums, in either half of the
	// configuration.
	Voter bool
	State ProgressState
	// Match is the highest index that the member is known to hold durably;
	// Next is the one that it is sent next.
	Match, Next protocol.Index
	// Active says that it was heard on a stream within the last election timeout, or has not
	// had as long to be heard: it is not known to be silent. Answers says that it
	// was heard, in this term.
	Active, Answers bool
	// Unfit says that the member said that it could answer nobody as a leader: the
	// leadership is not handed over to it.
	Unfit bool
	// Unable is why the leadership cannot be handed over to the member, if it is a
	// voter; empty: it can.
	Unable string
	// Told says that the member has answered a heartbeat of this term: what Unfit and
	// Room say is known. Room: its disk has room, and it would take writes as the leader.
	Told, Room bool
	// Takes is what a write takes there, as it said last in this term; 0: it does not say.
	Takes time.Duration
}

// Status returns the member's view of itself. It allocates for Transferees and Progress; State,
// Term and Leader do not.
func (m *Member) Status() Status {
	s := Status{
		State: m.State(), Term: m.hard.Term, Leader: m.leader,
		Commit: m.hard.Commit, Last: m.logTerms.LastIndex(), Durable: m.disk.stable,
		Stalled: m.disk.stalled(m.now), Installing: m.installing,
	}
	if m.state != StateLeader {
		return s
	}
	s.OwnTermCommitted = m.hasCommittedOwnTerm()
	if t := m.lead.transfer; t != nil {
		s.Transferee = t.to
	}
	for _, p := range transfereesOf(m, 0) {
		s.Transferees = append(s.Transferees, p.id)
	}
	s.Progress = make([]Progress, len(m.lead.progress))
	for i := range m.lead.progress {
		p := &m.lead.progress[i]
		lately := m.now < p.heard.Add(m.cfg.Election)
		s.Progress[i] = Progress{
			ID: p.id, Suffrage: p.suffrage, Voter: p.voter, State: p.state, Match: p.match, Next: p.next,
			Active: lately, Answers: lately && p.answered, Unfit: p.unfit, Told: p.told, Room: p.room, Takes: p.takes, Unable: unable(m, p),
		}
	}
	return s
}

// State returns the part that the member plays.
func (m *Member) State() State {
	if m.state != StateFollower {
		return m.state
	}
	if line, ok := m.current.Configuration.Find(m.cfg.ID); ok && line.Suffrage == protocol.SuffrageLearner && !line.Outgoing {
		return StateLearner
	}
	return StateFollower
}

// HasCommittedOwnTerm reports whether this member leads and has committed an entry of its term:
// then it holds all that was ever committed.
func (m *Member) HasCommittedOwnTerm() bool { return m.state == StateLeader && m.hasCommittedOwnTerm() }

// Term returns the current term.
func (m *Member) Term() protocol.Term { return m.hard.Term }

// Leader returns the leader of the current term, zero if none is known.
func (m *Member) Leader() protocol.MemberID { return m.leader }

// HardState returns term, vote and commit index as they are in memory; what is
// durable may be older.
func (m *Member) HardState() protocol.HardState { return m.hard }

// LogTerms returns the log's shape. It belongs to the member: the caller may read
// it until the next call, or Clone it.
func (m *Member) LogTerms() *protocol.LogTerms { return &m.logTerms }

// Configurations returns what the log says about who is active. It belongs to
// the member: the caller may read it until the next call, or Clone it.
func (m *Member) Configurations() *protocol.Configurations { return &m.configs }
