package active

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Lease reads (dissertation, section 6.4.1) are an option that the replicated
// configuration turns on (protocol.Configuration.Lease). For that long a member
// that heard a leader gives no vote to anybody else; so a leader whose round a
// majority answered knows for almost that long that nobody else leads, and
// serves reads at its commit index without asking.
//
// What this trusts, and nothing else in the package does: that clocks of
// members run at the same rate, within a tenth; that no clock of a member stops
// while it runs on (see protocol.Instant); and that a member knows how much
// time has passed whenever it answers. Where that does not hold, a read may be
// stale; no write is ever lost by it.
//
// [S] A lease is held by the longer of two clocks, and a pledge is kept by boot time
// alone: see protocol.WallAhead.

// leaseUsed returns how much of a lease a leader relies on. The rest is for
// clocks that do not run at the same rate.
func leaseUsed(lease time.Duration) time.Duration { return lease / 10 * 9 }

// lease returns the longest lease that any configuration asks for which may be
// in force.
func (m *Member) lease() time.Duration {
	inForce, known := m.configs.At(m.hard.Commit)
	longest := time.Duration(0)
	for _, c := range m.configs.All() {
		if !known || c.Index >= inForce.Index {
			longest = max(longest, c.Configuration.Lease)
		}
	}
	return longest
}

// isInLeasePromise reports whether this member must not vote, because a leader may rely
// on that.
//
// [S] It does not matter whether the member still follows that leader: it may
// have heard of a higher term meanwhile. And one that has just started may have
// answered a round before and does not know: unless there is no other voter, it
// waits as if it had heard a leader at its start.
func (m *Member) isInLeasePromise() bool {
	lease := m.lease()
	if lease == 0 || m.alone() {
		return false
	}
	return m.now < m.heard.Add(lease)
}

// renewLease follows the answers to rounds. [S] The lease runs from the sending
// of a round. An answer counts only if the member is known to hold the
// configuration, durably: whoever does not hold it pledges nothing.
func (m *Member) renewLease() {
	if m.current.Configuration.Lease == 0 {
		return
	}
	l := m.lead
	answered := m.quorumOf(l.round, func(p *progress) uint64 {
		if p.match < m.current.Index {
			return 0
		}
		return p.round
	})
	for i := range l.rounds {
		if r := &l.rounds[i]; r.number <= answered {
			l.leased, l.leaseFrom = true, r.at
		}
	}
}

// holdsLease reports whether the leader may serve a read on its own, now. [S]
// Time is what the clocks say, never a count of ticks; and a leader that has
// sent TimeoutNow has given its lease away for the rest of its term, because
// the election that follows does not heed it, however late it comes.
func (m *Member) holdsLease() bool {
	l := m.lead
	return l.leased && !l.handedOver && m.hasCommittedOwnTerm() && m.current.Index <= m.hard.Commit &&
		m.Longest(m.now) < l.leaseFrom.Add(leaseUsed(m.current.Configuration.Lease))
}

// endLease forgets the lease when the configuration changes: who answered
// before may not hold the new one.
func (l *leadership) endLease() { l.leased, l.leaseFrom = false, protocol.Instant(0) }
