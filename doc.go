// Package starling is the root: [Open] a member, [Dial] a cluster, [Local] for
// a whole one in this process; and handles to what is replicated: [Map],
// [Queue], [Counter].
//
// A few active members lead by consensus (Raft): a write is acknowledged when
// a majority of them has it on disk. Any number of passive members follow by
// gossip: they get the committed log from one another, hold everything, and
// serve reads and watches from their own memory, at a cost to the leader that
// does not grow with their number.
//
// # Three ways in
//
//	cluster, err := starling.Local(ctx, 3)                  // first steps and tests; with a logger, ...: OpenLocal
//	node, err := starling.Open(ctx, starling.Config{...})   // a member in this process
//	client, err := starling.Dial(ctx, starling.ClientConfig{Addresses: ...})
//
// A [Node] and a [Client] are both a [Caller]: every handle and every operation
// of a type works over either.
//
// # Reading
//
// A read is [Linearizable] unless asked otherwise: it never returns a value
// older than one acknowledged before it began, at any member. A read with
// [OwnWrites] reads its caller's own writes and never backwards; with [MaxStale]
// it is no older than it may be, or fails with [ErrTooStale]; with [Locally] it
// returns what the member at hand has. Every read can say the index that it read
// at, and an upper bound on the age of what it read, which holds without
// synchronised clocks: [WithInfo].
//
// [Map.Watch] tells changes as they happen, [Map.Follow] what is needed to keep
// a copy. Both go on at another member when the one that serves them is lost.
//
// # Writing
//
// A write takes effect at most once, however often it is retried, and exactly
// once if it is answered. It is retried until its context ends. If that is
// before an answer, the error is [ErrUnknownOutcome]: it may or may not have
// happened. Any other error says that it has not.
//
// # Types of one's own
//
// Package resources says how to write one, in about forty lines; see
// examples/auction. Pass it to Config.Types on all members.
package starling
