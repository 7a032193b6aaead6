// Package resources is what authors of resource types see: [Type], [Command],
// [Query], [Tx], [View], [Table], [Registry]; built-in types in sub-packages (kvmap,
// queue, counter, ...); resourcetest.
//
// # Writing a type
//
// A type is a few typed operations on an ordered map from keys to bytes, which
// the package keeps, versions, digests, watches and moves about. An operation
// is its behaviour and its typed client in one:
//
//	var bids = resources.NewTable[string, Bid]("bids")
//
//	var Place = resources.NewCommand("place", func(tx *resources.Tx, b Bid) (Bid, error) { ... })
//
//	var Type = resources.NewType("auction", 1, Place)
//
//	top, err := auction.Place.Do(ctx, client, "spring", auction.Bid{...})
//
// Others watch a table or a cell through a [Watch], which is declared beside the operations:
//
//	var Bids = resources.NewWatch(Type, bids)
//
//	for e, err := range auction.Bids.Watch(ctx, client, "spring", resources.WatchOptions{}) { ... }
//
// A type holds no state of its own; one value serves all instances. An instance
// is there, and of its type, from its first key to its last: the command that
// sets the one and deletes the other makes it and ends it, and what has no keys
// costs nothing. So a type that must not forget something with its last element,
// such as the numbers of a queue, keeps it in a key. Any instance can be ended by
// [Delete], whatever its type, and [Instances] lists them all.
//
// Names of types, operations and instances have 1 to 255 of the letters a-z and
// A-Z, digits, "-", "_" and "." (see [protocol.CheckName]); those of the built-in
// types, map, queue and counter, are taken.
//
// # What a command must not do
//
// A command runs on every member and must do the same on each: no clock (use
// [Tx.Now]), no randomness (use [Tx.Rand]), no range over a Go map that decides
// anything, no package variable that changes, no file, no network. The package
// resourcetest finds most mistakes of this kind.
//
// An error that a command returns drops all its writes and is the client's
// answer. So does a panic; its answer is always [protocol.ErrPanicked], because
// its text could differ between members. A command sets and deletes at most 16,384
// keys, and 2 MiB of keys and values in all; beyond that it fails with
// [protocol.ErrTooLarge] and has no effect, also if it goes on after the error.
//
// # Values
//
// What a table, a cell, an argument or an answer holds is one msgpack value;
// [AppendValue] has the rules, and docs/values.md the types that are refused. A
// type whose values would lose something is refused with the place and the way
// out: by [NewTable] and [NewCell], which panic, and by [NewRegistry] for what
// operations take and answer. Methods by which a value encodes itself are under
// the rules for commands.
//
// # What is not here
//
// The versioned map that holds the keys is internal/state; what applies entries, ends
// sessions, tells watchers and takes checkpoints is internal/machine. [Engine] is how the
// latter comes to a type's operations, and of no use to anybody else.
package resources
