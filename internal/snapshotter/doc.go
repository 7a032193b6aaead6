// Package snapshotter does what a replica asks about checkpoints, on a store and a
// state machine.
//
// It is the order of three things that a replica only describes: a start from
// what a crash has left (Start), taking a checkpoint of a state that goes on
// changing (Take), and installing one that comes in chunks from other members
// (Installation). Nothing here has a goroutine: who calls decides, the runtime
// on a goroutine of its own, a simulator as events.
//
// # What a start trusts
//
// A checkpoint counts when the digest of the state that was built from it is the
// one in its manifest. One that does not is given up (Bad), aloud, and the
// older one, or another member's, takes its place. What becomes of the log beside
// it replica.Join decides; [S] whatever that is, a log never goes back below its
// own begin, and never forgets its votes.
package snapshotter
