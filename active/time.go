package active

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Cluster time is what the entries of the log carry: sessions end by it. A leader
// begins with the time of the entry that was last when it was elected, and goes on
// with its own boot time (see protocol.Instant); no wall clock has a say in it.
//
// [S] Between two events of the leader it grows by at most timeStep. A leader that was
// stopped, or whose machine slept, would otherwise stamp the whole pause into its next
// entry, which ends all sessions at once, although their clients had nobody to whom to
// say that they live. What runs does not lose time by it: Deadline asks for an event
// twice in each step, whatever the heartbeat is.

// timeStepMax is a third of the shortest timeout of a session: a client that says three
// times in each that it lives loses no session by one pause.
const timeStepMax = 333 * time.Millisecond

// timeStep is how far cluster time grows between two events. A leader that was away for
// longer than an election timeout may have been replaced.
func (c *Config) timeStep() time.Duration { return min(c.Election, timeStepMax) }

// advance moves the clock. An instant from before the last one is a matter of
// order between events, not of time going back.
func (m *Member) advance(now protocol.Instant) {
	if now <= m.now {
		return
	}
	if m.lead != nil {
		m.lead.time += protocol.ClusterTime(min(now.Sub(m.now), m.cfg.timeStep()) / time.Nanosecond)
	}
	m.now = now
}

// timeAt is when a leader wants to be told the time next: with the other half of the
// step to spare, an event may come that late without loss.
func (m *Member) timeAt() protocol.Instant { return m.now.Add(m.cfg.timeStep() / 2) }

// LastTime returns the cluster time of the log's last entry.
func (m *Member) LastTime() protocol.ClusterTime { return m.lastTime }

// ClusterTime returns the cluster time at now, on a leader: what an entry that
// is proposed now would carry. On anybody else it is 0.
func (m *Member) ClusterTime(now protocol.Instant) protocol.ClusterTime {
	m.advance(now)
	if m.state != StateLeader {
		return 0
	}
	return m.lead.time
}
