// Package repair brings a damaged log back from other members, as a deterministic
// state machine: it asks, verifies what it gets, and says how the log is to be
// put together (storage.RepairPlan). A member that needs it starts no role until
// that is done; it neither votes nor campaigns nor acknowledges.
//
// # What makes an entry acceptable
//
// The log sum is chained over all entries from index 1, so that two logs with
// one sum at an index are equal up to there. That gives three ways, and no other:
//
//   - The entries lead from the sum before the damage to the sum that the next
//     good record states. Then they are what was damaged, whoever sent them,
//     committed or not.
//   - An active with a sound log has committed entries that lead to another sum
//     at the end of the damage, or before it. Then what was damaged, and all that
//     the log holds above, was never committed: those entries take its place.
//   - A checkpoint, which is of committed entries, has taken the place of all
//     entries up to its index. What the log holds above is kept if the log's sum
//     at that index is the checkpoint's.
//
// In the second case the active's entries must be taken, at least up to where
// the logs differ. It is not enough to end the log below the damage and let
// replication bring them: this member may have acknowledged some of them, and be
// one of the majority that made them committed.
//
// # Use
//
// Open the log. If Needed says so, start no role: make a Core, tell it who is
// alive, send what Ready returns, give it each Repair and RepairWant that comes,
// and Tick it at its Deadline. When Verdict has a plan, close the log, call
// wal.Repair, and open it again. While Verdict wants a checkpoint, fetch one into
// the member's store (gossip knows how), and when it is kept there, durably and
// verified, tell Core.Checkpoint where a log begins after it.
//
// A member that runs gives Answer to each RepairWant.
package repair
