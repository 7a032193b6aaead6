// Package active is Raft as a deterministic state machine: elections,
// replication, quorums, reads, membership changes. A member is active while the
// configuration names it, as a voter or as a learner.
//
// The sources are "In Search of an Understandable Consensus Algorithm"
// (Ongaro and Ousterhout, USENIX ATC 2014; "the paper"), and Ongaro's
// dissertation. Comments give the section of a rule.
//
// # Inputs and outputs
//
// A Member starts no goroutine and knows no clock, network or disk. Its owner
// calls Tick, Step, Propose, ReadIndex and Persisted with the current instant
// and serves the Ready that comes of it, in the order that protocol.Ready
// gives. The core keeps the terms of the log (protocol.LogTerms), never its
// payload: what it sends are ranges, which the owner fills in.
//
// Where the paper has a match index, a leader here has what its followers have
// acknowledged from their disks (progress.go). Where it has InstallSnapshot, a leader
// offers a checkpoint, which the follower fetches from whoever has it (install.go). A
// membership change is one step, or a joint configuration where majorities would not
// overlap (change.go).
//
// # The disk is slow
//
// A Ready numbers its write, Persisted answers it, one is in flight and the
// next one gathers meanwhile. Whatever promises something, a vote or an
// acknowledgement, is held by the write that makes the promise true. A
// leader's appends promise nothing and leave at once; the leader counts itself
// only up to what its own disk has answered for.
//
// # Time
//
// Elapsed time is always the difference of two instants, never a count of
// ticks: a process that was stopped for a while finds out at its first event.
//
// No rule of safety depends on time, with one exception, which is off unless
// the replicated configuration turns it on: a leader with a lease serves reads
// on its own. It trusts that clocks run at the same rate (see lease.go).
//
// A Member belongs to one goroutine.
package active
