// Package sim is a whole cluster in one goroutine from one seed, with broken
// networks and disks, and checkers.
//
// The members are the real ones: internal/replica with its roles and its
// gossip, the real write-ahead log on a file system in memory, and the real
// state machine. Simulated are time, the network, membership, the moments at
// which disks answer and processes die, and the clients. All chance comes from
// the seed, so a seed is a film that can be watched again: Run it with a trace.
//
// # What it does to a cluster
//
// A seed draws a profile (calm, lossy, partitions, crashes, power, churn,
// chaos) and from it a stream of faults: links cut one way or both, clogged,
// slowed; datagrams lost, doubled and overtaken; streams broken; processes that
// die at any boundary between two effects; machines that lose power, one or
// all, and with it the pages that were not synced, in any order and torn; syncs
// that fail or take seconds; members that are paused while their clocks go on;
// clocks that drift; members that join late; a membership that learns late and
// suspects wrongly.
//
// # What it demands
//
// After every step the checkers look at what is new: see the Rule constants.
// At the end the faults stop, and within a bounded time there must be a leader,
// the voters that the target asks for, equal digests at an equal index on all
// members, an answer for every client, and histories that are linearizable.
package sim
