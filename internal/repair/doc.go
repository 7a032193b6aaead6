// Package repair brings a damaged log back from other members, as deterministic
// state machines: they ask, verify what they get, and say how the log is to be
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
// Open the log. If Needed says so, start no role: make a Start, tell it who is alive,
// give it what comes (see Takes), and do what its Effects say, until there is a plan;
// then close the log, call wal.Repair, and open it again. It asks with a Core, and
// fetches a checkpoint (internal/install) where nobody has the entries any more.
//
// A running member repairs a file of its log with a Live, which asks with a Core, too;
// snapshotter.Rebuilding does its steps. And it gives Answer to each RepairWant that comes.
package repair
