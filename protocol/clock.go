package protocol

import "time"

// WallAhead is what a core knows of the second of a member's two clocks. Boot time, in
// which all instants are, is never set, and may miss a pause that a host hides from
// its guest. The wall clock may have seen that pause, and anybody may set it.
//
// [S] Whatever can be wrong goes by the clock with which it ends too soon rather than
// too late. For how long something may be *relied on*, the larger of the two: held
// leases, and the ages of states. For how long something *was promised to others*,
// boot time alone: pledges to a lease. And so do elections, cluster time, and the
// patience with a disk: if a wall clock that is set forward ended those, one command
// of an operator at a majority of the voters would give them a second leader while the
// first one still answers from its lease.
//
// The zero value is a wall clock that has never been ahead.
type WallAhead struct{ most time.Duration }

// SetWallAhead says how far the wall clock has run ahead of boot time since some
// moment before all instants that are compared. The owner says it before the event
// with which it has found out. Only the most that was said counts: a wall clock that
// is set back does not make anything younger.
func (w *WallAhead) SetWallAhead(d time.Duration) { w.most = max(w.most, d) }

// Longest is an instant by the larger of the two clocks: the most that can have
// passed. Such readings are compared with one another only.
func (w *WallAhead) Longest(now Instant) Instant { return now.Add(w.most) }
