package active

import (
	"math/rand/v2"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// State is the part that an active plays in its term.
type State uint8

const (
	// StateFollower listens to a leader, or waits for one.
	StateFollower State = iota
	// StateLearner is a follower without a vote.
	StateLearner
	// StatePreCandidate asks whether an election could be won, without
	// raising its term (dissertation, section 9.6).
	StatePreCandidate
	// StateCandidate asks for votes.
	StateCandidate
	// StateLeader leads.
	StateLeader
)

// stateNames are a list that is made once: a member's owner asks for the name at each step.
var stateNames = []string{"follower", "learner", "pre-candidate", "candidate", "leader"}

// String returns the state's name.
func (s State) String() string { return protocol.EnumText(s, "state", stateNames...) }

// Start is what the owner knows when it makes a member: what was on disk, or
// what the passive role leaves.
type Start struct {
	State          protocol.HardState
	LogTerms       protocol.LogTerms
	Configurations protocol.Configurations
	// LastTime is the cluster time of the log's last entry.
	LastTime protocol.ClusterTime
	// Taking says that the member takes the active role now: its log may not
	// be durable and its term may be old. See New.
	Taking bool
}

// Log is what a member asks of its log's owner.
type Log interface {
	// Fit returns the highest index, from first to last, such that the
	// entries first to it take at most the given number of encoded bytes; at
	// least first. The owner may answer with less. Only entries that were
	// handed out in a Ready's Delta are asked for.
	Fit(first, last protocol.Index, bytes int) protocol.Index
	// SumAt returns the log sum after index i. Only the commit index of a leader
	// that has committed an entry of its term is asked for, which the owner must
	// know.
	SumAt(i protocol.Index) (sum protocol.LogSum, known bool)
}

// Member is one active. Invariants, at the end of each call:
//   - hard.Commit <= shape.LastIndex(), and hard.Commit, hard.Term never go back;
//   - hard.Term >= shape.LastTerm();
//   - disk.stable <= disk.written <= shape.LastIndex();
//   - lead is set if and only if state is StateLeader.
type Member struct {
	cfg Config
	log Log
	rng *rand.Rand
	// now is the instant of the latest event. It never goes back.
	now protocol.Instant
	protocol.WallAhead

	state    State // never StateLearner: that is a follower that is no voter
	hard     protocol.HardState
	leader   protocol.MemberID // of hard.Term, if known
	logTerms protocol.LogTerms
	configs  protocol.Configurations
	lastTime protocol.ClusterTime

	// current is the latest configuration of the log, committed or not (the
	// paper, section 6); quorum says who decides under it.
	current protocol.ConfigurationAt
	quorum  quorum
	voter   bool // this member is a voter, in either half

	// See heed.go. named are the voters of all configurations that may be in
	// force; heardNamed is when a leader among them was heard last; called says
	// that somebody else has asked something since a leader was heard.
	named      []protocol.MemberID
	heardNamed protocol.Instant
	asked      bool
	deposed    bool // by a learner's answer, at deposedAt
	deposedAt  protocol.Instant
	unheeded   uint64           // messages
	toldAt     protocol.Instant // when it was said last that one did not count

	installing bool   // a checkpoint: see SetInstalling
	unfit      string // see SetUnfit
	stopped    bool   // see contradicted and Silence
	// unreadable: see SetUnreadable.
	unreadable protocol.Index
	// committedElsewhere is how far the log is committed by the word of others than a
	// leader: see CatchUp, Install and disagrees.
	committedElsewhere protocol.Index

	listening
	led        protocol.Instant // when this member ceased to lead
	electionAt protocol.Instant // when to campaign, unless a leader is heard

	ballots []ballot // aligned with quorum.voters; of a (pre-)candidate
	lead    *leadership
	disk    disk

	ready  protocol.Ready
	handed protocol.Index // the commit index of the last Ready
	due    bool           // a leader may have something to send
	values []uint64       // scratch for quorums
}

// New makes a member from what is known. It panics on an invalid
// configuration (see Config.Validate) and on a start that contradicts itself.
//
// [S] Whoever takes the active role was a passive, or is starting: it may have
// entries of a higher term than its hard state says (it then would take
// appends of a deposed leader and truncate committed entries), and entries
// that are not durable (it then would acknowledge what a power cut takes
// away). So the term rises to that of the last entry, the vote is kept only if
// the term was not raised, and with Taking everything is synced before the
// first message.
func New(now protocol.Instant, cfg Config, start Start, log Log) *Member {
	err := cfg.Validate()
	invariant.Check(err == nil, "configuration of a member: %v", err)
	m := &Member{
		cfg: cfg.WithDefaults(), log: log, now: now, listening: listening{heard: now, streamed: now}, heardNamed: now, led: now, state: StateFollower,
		rng:  rand.New(rand.NewPCG(cfg.Seed, 0x57a2)),
		hard: start.State, logTerms: start.LogTerms.Clone(), configs: start.Configurations.Clone(), lastTime: start.LastTime,
	}
	last := m.logTerms.LastIndex()
	invariant.Check(m.hard.Commit <= last, "commit %d above the log's end %d at the start", m.hard.Commit, last)
	m.hard.Commit = max(m.hard.Commit, m.logTerms.PrevIndex)
	m.disk = disk{written: last, stable: last, durable: start.State, taking: start.Taking, pace: pace{election: m.cfg.Election}}
	if start.Taking {
		m.disk.stable = m.logTerms.PrevIndex
	}
	if t := m.logTerms.LastTerm(); t > m.hard.Term {
		m.hard.Term, m.hard.Vote = t, protocol.MemberID{}
	}
	m.handed = m.hard.Commit
	m.ready.Commit = m.hard.Commit
	m.reconfigure()
	m.armElection()
	if m.alone() {
		m.electionAt = now // nobody else can lead: there is nothing to wait for
	}
	return m
}

// Tick tells the member that time has passed. Call it no later than Deadline
// says; calling it more often does no harm.
func (m *Member) Tick(now protocol.Instant) {
	m.advance(now)
	if m.disk.stalled(m.now) {
		m.diskStalled()
	}
	switch {
	case m.state == StateLeader:
		m.tickLeader()
	case m.now >= m.electionAt:
		m.electionTimeout()
	}
}

// Deadline returns the instant by which Tick is wanted, given that nothing
// else happens until then.
func (m *Member) Deadline() protocol.Instant {
	at := m.electionAt
	if m.state == StateLeader {
		at = min(m.lead.heartbeatAt, m.timeAt(), m.quorumHeard().Add(m.cfg.Election))
		if s, ok := m.disk.stallAt(); ok && !leadsOn(m) {
			at = min(at, s)
		}
		if t := m.lead.transfer; t != nil {
			at = min(at, t.until)
		}
	}
	return at
}

// Step takes a message of another member. Messages of other roles are ignored.
func (m *Member) Step(now protocol.Instant, from protocol.MemberID, msg protocol.Message) {
	m.advance(now)
	if m.stopped || m.condemned(from) || !vouched(m, from, msg) || !m.heeds(from, msg) {
		return
	}
	noteToken(m, from, msg)
	switch msg := msg.(type) {
	case *protocol.Vote:
		m.onVote(from, msg)
	case *protocol.VoteAnswer:
		m.onVoteAnswer(from, msg)
	case *protocol.Append:
		m.onAppend(from, msg)
	case *protocol.InstallCheckpoint:
		m.onInstallCheckpoint(from, msg)
	case *protocol.AppendAnswer:
		m.onAppendAnswer(from, msg)
	case *protocol.Heartbeat:
		m.onHeartbeat(from, msg)
	case *protocol.HeartbeatAnswer:
		m.onHeartbeatAnswer(from, msg)
	case *protocol.Pulse:
		onPulse(m, from, msg)
	case *protocol.PulseAnswer:
		onPulseAnswer(m, from, msg)
	case *protocol.ReadIndex:
		m.onReadIndex(from, *msg)
	case *protocol.ReadIndexAnswer:
		m.onReadIndexAnswer(from, msg)
	case *protocol.TimeoutNow:
		m.onTimeoutNow(from, msg)
	}
}

// HasReady reports whether Ready would say anything.
func (m *Member) HasReady() bool {
	return m.due || m.hard.Commit > m.handed || writeWanted(m) || aheadWanted(m) ||
		len(m.ready.Messages) > 0 || len(m.ready.Reads) > 0 || len(m.ready.Fresh) > 0 ||
		len(m.ready.Events) > 0 || m.ready.Checkpoint != nil || !m.ready.Delta.IsZero() ||
		len(m.ready.PutBack) > 0 || m.ready.Stop != nil
}

// Ready returns everything since the last call. It belongs to the caller.
func (m *Member) Ready() protocol.Ready {
	m.flush()
	m.emitWrite()
	emitAhead(m)
	m.ready.Commit = m.hard.Commit
	m.handed = m.hard.Commit
	out := m.ready
	m.ready = protocol.Ready{}
	m.checkInvariants()
	return out
}

// send hands a message out at once, or, from a member that is still taking its
// role, after its first write. [S] One that has stopped says nothing any more, nor what
// waited for a write by then: a vote, or an acknowledgement.
func (m *Member) send(to protocol.MemberID, msg protocol.Message) {
	if m.stopped {
		return
	}
	if m.disk.taking {
		m.hold(to, msg)
		return
	}
	m.ready.Messages = append(m.ready.Messages, protocol.Envelope{From: m.cfg.ID, To: to, Message: msg})
}

// emit records an event.
func (m *Member) emit(kind protocol.EventKind, member protocol.MemberID, index protocol.Index, text string) {
	m.ready.Events = append(m.ready.Events, protocol.Event{Kind: kind, Term: m.hard.Term, Index: index, Member: member, Text: text})
}

// armElection draws the next election timeout, from [T, 2T) unless the
// configuration says otherwise.
func (m *Member) armElection() {
	t := m.cfg.Election + time.Duration(m.rng.Int64N(int64(m.cfg.ElectionSpread)))
	m.electionAt = m.now.Add(t)
}

// checkInvariants runs at each Ready. The conditions come before the calls so
// that the arguments of a check that holds cost nothing.
func (m *Member) checkInvariants() {
	last := m.logTerms.LastIndex()
	if m.hard.Commit > last {
		invariant.Check(false, "commit %d above the log's end %d", m.hard.Commit, last)
	}
	if m.hard.Term < m.logTerms.LastTerm() {
		invariant.Check(false, "term %d below the last entry's %d", m.hard.Term, m.logTerms.LastTerm())
	}
	if m.disk.stable > m.disk.written || m.disk.written > last {
		invariant.Check(false, "stable %d, written %d, log's end %d out of order", m.disk.stable, m.disk.written, last)
	}
	if (m.lead != nil) != (m.state == StateLeader) {
		invariant.Check(false, "%s with leader's state %t", m.state, m.lead != nil)
	}
}
