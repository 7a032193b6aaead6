// Package passive is the role that follows: it accepts contiguous verified
// runs of committed entries, says what to persist and which reads may be
// answered.
//
// A passive's log holds committed entries only. So it is a prefix of every
// leader's log, and a passive that becomes active starts Raft over the same
// log. It never votes, never acknowledges, and its last index is not durable: nobody
// may count it.
//
// Other systems call such a member a standby, an observer or a read replica. How old its
// state may be (staleness) is not known here: gossip keeps the claims about that, and
// package replica puts both together.
//
// A Member is a deterministic state machine without goroutines, clock, disk or
// network. It belongs to one goroutine. Its owner calls Take, Step and
// Persisted, and serves the Ready that follows.
package passive

import (
	"math"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// UnwrittenBytesMax limits what may wait for the disk. Beyond it Take answers
// Full and takes nothing: a slow disk slows the follower down instead of
// filling its memory.
const UnwrittenBytesMax = 16 << 20

// writeBytesMax is what one write holds, unless one entry has more. Whoever reads some
// of its entries back from the disk reads all of them: a member that fell behind would
// otherwise read everything that it got meanwhile for each piece that it applies.
const writeBytesMax = 256 << 10

// Config says who the member is.
type Config struct {
	ID protocol.MemberID
	// Signed says that whoever hands out runs has checked an active's signature
	// of them. [S] Then nothing else is believed: what Raft's messages say, to a
	// member that does not take part, nobody has signed.
	Signed bool
}

// Start is the log over which the role begins.
type Start struct {
	// State is what was kept. What the log holds above State.Commit is
	// dropped (the first write says so): a restart knows the commit index as a
	// lower bound only, and a passive fetches the rest again.
	State          protocol.HardState
	LogTerms       protocol.LogTerms
	Configurations protocol.Configurations
	// LastSum is the log sum after the last entry that is kept: State.Commit,
	// or the log's last index if that is lower.
	LastSum protocol.LogSum
	// LastTime is the cluster time of the last entry.
	LastTime protocol.ClusterTime
}

// Run is a contiguous piece of the committed log, as somebody sent it.
type Run struct {
	// From sent it, Origin made it from its own log.
	From, Origin protocol.MemberID
	// Before is the log sum before the first entry.
	Before  protocol.LogSum
	Entries []protocol.Entry
	// Commit is the highest index that the origin knew to be committed.
	// Nothing above it is taken.
	Commit protocol.Index
}

// Verdict is what became of a run.
type Verdict uint8

const (
	// Taken: the log grew.
	Taken Verdict = iota + 1
	// Old: everything in the run is held already, or not committed.
	Old
	// Gap: the run begins above the log's end.
	Gap
	// Mismatch: the run contradicts itself or the log that is held. Either
	// may be wrong; gossip finds out which.
	Mismatch
	// Full: too much waits for the disk.
	// Ask again later.
	Full
)

// String returns the verdict's name.
func (v Verdict) String() string {
	return protocol.EnumText(v, "verdict", "none", "taken", "old", "gap", "mismatch", "full")
}

// Member is one passive.
//
// Invariants: State.Commit == LogTerms.LastIndex(); the term is at least that of
// every entry held; written <= LogTerms.LastIndex().
type Member struct {
	id       protocol.MemberID
	signed   bool // see Config.Signed
	state    protocol.HardState
	logTerms protocol.LogTerms
	confs    protocol.Configurations
	lastSum  protocol.LogSum
	lastTime protocol.ClusterTime

	written   protocol.Index // highest index given to a write
	unwritten int            // bytes taken and not answered by Persisted yet
	waiting   []piece        // what follows written, a write each
	inFlight  protocol.WriteID
	flying    int // bytes of the write in flight
	nextID    protocol.WriteID
	cut       bool // the next write truncates the disk to written
	dirty     bool // the hard state changed since the last write

	announced protocol.Index // commit index of the last Ready
	ready     protocol.Ready
}

// piece is entries up to an index that are written together.
type piece struct {
	last  protocol.Index
	bytes int
}

// New starts the role.
func New(_ protocol.Instant, cfg Config, start Start) *Member {
	m := &Member{
		id:       cfg.ID,
		signed:   cfg.Signed,
		state:    start.State,
		logTerms: start.LogTerms.Clone(),
		confs:    start.Configurations.Clone(),
		lastSum:  start.LastSum,
		lastTime: start.LastTime,
		nextID:   1,
	}
	// What was dropped from the head had been committed.
	m.state.Commit = max(m.state.Commit, m.logTerms.PrevIndex)
	if m.logTerms.LastIndex() > m.state.Commit {
		after := m.state.Commit
		m.event(protocol.EventTruncated, protocol.MemberID{}, after, "a passive keeps committed entries only")
		m.logTerms.TruncateAfter(after)
		m.confs.TruncateAfter(after)
		m.ready.Delta.Cut(after)
		m.cut = true
	}
	m.state.Commit = m.logTerms.LastIndex()
	m.written = m.state.Commit
	m.announced = start.State.Commit
	m.raiseTerm(m.logTerms.LastTerm())
	return m
}

// Take offers a run. The entries must not be changed afterwards; the member
// copies them, because it fills in their sums. Any entry that is taken raises
// the term to at least its own.
func (m *Member) Take(_ protocol.Instant, run Run) Verdict {
	verdict, fresh, sum, changes := m.examine(run)
	switch verdict {
	case Taken:
		// [S] A directory that was put back to before its member had a vote is found here. Anybody may
		// have sent that, so it stops nobody; but nobody gets a vote by it.
		for _, c := range changes {
			if c.Configuration.Needs(m.id) {
				m.event(protocol.EventRejected, run.Origin, c.Index, protocol.HasForgotten(m.id, c).Error())
				return Mismatch
			}
		}
		m.appendRun(fresh, sum, changes)
	case Mismatch:
		m.event(protocol.EventRejected, run.Origin, m.logTerms.LastIndex(), "a run does not fit the log held")
	}
	return verdict
}

// Tick does nothing: the role has no timers. It is here because owners drive
// all roles alike.
func (m *Member) Tick(protocol.Instant) {}

// Deadline returns the far future.
func (m *Member) Deadline() protocol.Instant { return protocol.Instant(math.MaxInt64) }

// Persisted answers a write.
func (m *Member) Persisted(_ protocol.Instant, id protocol.WriteID) {
	invariant.Check(id == m.inFlight && id != 0, "write %d persisted while %d is in flight", id, m.inFlight)
	m.inFlight = 0
	m.unwritten -= m.flying
	m.flying = 0
}

// HasReady reports whether Ready would say anything.
func (m *Member) HasReady() bool {
	r := &m.ready
	return !r.Delta.IsZero() || r.Checkpoint != nil || r.Stop != nil || len(r.Messages) > 0 || len(r.Events) > 0 ||
		m.state.Commit > m.announced || m.inFlight == 0 && m.wantsWrite()
}

// Ready returns everything since the last call. While a write is in flight the
// next ones gather; entries are in Delta at once.
func (m *Member) Ready() protocol.Ready {
	out := m.ready
	m.ready = protocol.Ready{}
	out.Commit = m.state.Commit
	m.announced = m.state.Commit
	if m.inFlight == 0 && m.wantsWrite() {
		out.Write = m.write()
	}
	return out
}

func (m *Member) wantsWrite() bool {
	return m.dirty || m.cut || m.written < m.logTerms.LastIndex()
}

// write makes the next write of what waits. It is not synced: what
// a passive holds is held by a majority already, and a passive that loses its
// last entries fetches them again.
func (m *Member) write() *protocol.Write {
	next := piece{last: m.written}
	if len(m.waiting) > 0 {
		next, m.waiting = m.waiting[0], m.waiting[1:]
	}
	w := &protocol.Write{
		ID: m.nextID, State: m.state,
		Truncate: m.cut, After: m.written,
		First: m.written + 1, Last: next.last,
	}
	w.State.Commit = next.last
	if !w.Truncate {
		w.After = 0
	}
	m.nextID++
	m.inFlight = w.ID
	m.flying = next.bytes
	m.written = w.Last
	m.cut, m.dirty = false, false
	return w
}

// HardState returns the term, the vote that was kept from an active time, and
// the commit index, which is the last index held.
func (m *Member) HardState() protocol.HardState { return m.state }

// LogTerms returns the log's shape. The caller must not change it.
func (m *Member) LogTerms() *protocol.LogTerms { return &m.logTerms }

// Configurations returns what the log says about who is active. The caller
// must not change it.
func (m *Member) Configurations() *protocol.Configurations { return &m.confs }

// LastTime returns the cluster time of the last entry.
func (m *Member) LastTime() protocol.ClusterTime { return m.lastTime }

func (m *Member) event(kind protocol.EventKind, who protocol.MemberID, at protocol.Index, text string) {
	m.ready.Events = append(m.ready.Events, protocol.Event{
		Kind: kind, Term: m.state.Term, Index: at, Member: who, Text: text,
	})
}
