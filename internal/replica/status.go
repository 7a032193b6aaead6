package replica

import (
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/protocol"
)

// Situation is what a replica is in. It is comparable, and changes seldom: an owner that
// publishes it after every step need not publish a new one then.
type Situation struct {
	Role     protocol.Role // RoleReserve while this member waits to be asked to follow
	RaftRole string        // leader, follower, candidate, learner; "none" for a passive
	Leads    bool
	Leader   protocol.MemberID // zero: not known
	// Leaderless says why, if there is no leader.
	Leaderless string
	// LeaderTerm is the term that Leader leads.
	LeaderTerm protocol.Term
	Installation
	// Behind is why nobody should ask this member, which is far behind the others,
	// with figures; empty if it is not.
	Behind string
	// Proven says that a bound on the age of the state has been known since the
	// start: until then this member may be far behind without knowing.
	Proven bool
	// Quarantine says why the state, which has diverged from the actives', must
	// not be read until it has been fetched anew; empty if it may be. Disputed
	// says that states differ and nobody knows whose is right.
	Quarantine, Disputed string
	// Differs is what is refused meanwhile, or nil.
	Differs *Differing
	// Unconfirmed says why the state, which is that of a checkpoint of others, must not be read so
	// far; empty if it may be.
	Unconfirmed string
	// Stuck says why nothing more is applied: this member cannot read its log there.
	// Unreadable says what it cannot read, stuck or not.
	Stuck, Unreadable string
	// Beyond says why this member applies nothing more: it does not know the format level
	// of what is committed.
	Beyond string
	// Cramped says why this leader takes only what frees space: the disks of too many
	// voters are nearly full.
	Cramped string
	// Slow says that this leader is clearly slower than others, or handed over of late because it
	// was.
	Slow string
	// DatagramsLost says of which members it is known that datagrams do not come back; see
	// gossip.Core.Streamed.
	DatagramsLost string
}

// Position is how far a replica is. It changes with nearly every step.
type Position struct {
	Term    protocol.Term
	Commit  protocol.Index
	Applied protocol.Index
	First   protocol.Index // lowest index held
	Last    protocol.Index // highest index held
	// Fresh bounds the age of the applied state.
	Fresh Fresh
}

// Status is all that a replica says of itself, for people.
type Status struct {
	Situation
	Position
	// Checkpoint is the index of the newest one kept, or 0.
	Checkpoint protocol.Index
	// Level is the format level in force above what is committed, LevelReason, of a leader,
	// why it does not rise, or empty.
	Level       protocol.FormatLevel
	LevelReason string
	// Ahead are the members that hold committed entries which this cluster does
	// not have; only a leader knows.
	Ahead []Ahead
	// Refusals counts what was refused because of a missing or false signature.
	Refusals uint64
	// Unheeded counts messages that did not count because of who sent them, or of
	// a term or an index that nobody can have come to.
	Unheeded uint64
	// Unknown counts, by kind, messages that this member or others did not know.
	Unknown []protocol.KindCount
}

// Installation is how far the installation of a checkpoint is.
type Installation struct {
	// Installing is the index of a checkpoint that is being fetched from other
	// members, or 0; Chunks of it ChunksLeft are still to come.
	Installing         protocol.Index
	Chunks, ChunksLeft int
	// Installs counts the installations that were begun since the start.
	Installs uint64
}

// SituationOf returns the situation at this moment. It is cheap, and allocates only where
// something is wrong.
func SituationOf(r *Replica) Situation {
	s := Situation{
		Role: r.log.role.kind(), RaftRole: r.log.role.raft(), Leads: r.log.leads(), Leader: r.hearing.leader(), LeaderTerm: r.hearing.term(),
		Behind: r.behind.text, Proven: r.behind.proven,
		Quarantine: quarantineOf(r), Disputed: r.audit.dispute(), Differs: r.audit.differences.refused, Unconfirmed: r.audit.awaiting(),
		Stuck: r.unreadable.stuck(), Unreadable: r.unreadable.String(),
		Beyond: r.formats.beyond(), Cramped: r.transferees.lacks(), Slow: r.transferees.slow.text,
	}
	if r.log.role.waits() {
		s.Role = protocol.RoleReserve
	}
	if s.Leader.IsZero() {
		s.Leaderless = r.flock.noLeader().Error()
	}
	if x := &r.install; x.Phase != install.None {
		s.Installing, s.Chunks, s.ChunksLeft = x.D.Index, x.Chunks(), x.Left()
	}
	s.Installs = r.install.begun
	_, s.DatagramsLost = r.gossip.Streamed()
	return s
}

// quarantineOf says why the state must not be read, and, as far as it is known, what was wrong.
func quarantineOf(r *Replica) string {
	text := r.standing.quarantine.says()
	if text == "" {
		return ""
	}
	if differs := r.audit.differences.says(r.standing.quarantine.at); differs != "" {
		text += "; what differed: " + differs
	}
	return text
}

// Streamed returns the members to whom what could be datagrams goes over streams; see
// gossip.Core.Streamed.
func Streamed(r *Replica) []protocol.MemberID {
	list, _ := r.gossip.Streamed()
	return list
}

// PositionOf returns the position at this moment. It is cheap.
func PositionOf(r *Replica, now protocol.Instant) Position {
	return Position{
		Term: r.log.role.HardState().Term, Commit: r.log.commit, Applied: r.log.applied,
		First: r.log.logTerms().FirstIndex(), Last: r.log.tail.last(), Fresh: FreshOf(r, now),
	}
}

// Status returns all of it.
func (r *Replica) Status(now protocol.Instant) Status {
	s := Status{
		Situation: SituationOf(r), Position: PositionOf(r, now),
		Checkpoint: r.checkpoints.newest(), Level: r.formats.inForce(), Ahead: r.aheads.now(),
		Refusals: r.gossip.Refusals(), Unheeded: r.hearing.unheeded + r.gossip.Unheeded() + r.log.role.Unheeded(),
		Unknown: r.unknown.list(),
	}
	if s.Leads {
		s.LevelReason = r.formats.reason
	}
	return s
}

// SourceOf returns how long ago this member last heard of the leader, by whatever way; see
// gossip.Core.Source.
func SourceOf(r *Replica, now protocol.Instant) (time.Duration, bool) { return r.gossip.Source(now) }

// Age bounds how old a state is that has applied everything up to an index:
// every write acknowledged longer ago is in it. It says false if nothing is
// known.
func (r *Replica) Age(now protocol.Instant, applied protocol.Index) (time.Duration, bool) {
	return r.gossip.Age(now, applied)
}

// Heard returns what other members last said of themselves, sorted by id.
func (r *Replica) Heard() []gossip.Heard { return r.gossip.Heard() }

// Peers returns the live members last set.
func (r *Replica) Peers() []protocol.Peer { return r.flock.peers }

// HardState, LogTerms and Configurations are what the role in force holds; for
// checks and status displays, to be read only.
func (r *Replica) HardState() protocol.HardState { return r.log.role.HardState() }

// LogTerms returns the log held in memory, without payload.
func (r *Replica) LogTerms() *protocol.LogTerms { return r.log.logTerms() }

// Configurations returns the configurations of the log.
func (r *Replica) Configurations() *protocol.Configurations { return r.log.configurations() }

// SumAt returns the log sum after an index, if it is in memory.
func (r *Replica) SumAt(i protocol.Index) (protocol.LogSum, bool) { return r.log.tail.sumAt(i) }
