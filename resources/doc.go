// Package resources is what is replicated: [Type], [Command], [Query],
// [Registry], the state, sessions; built-in types in sub-packages (kvmap,
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
// A type holds no state of its own; one value serves all instances, and an
// instance is there once a command has used it.
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
// its text could differ between members.
//
// # The machine
//
// [Machine] holds the state of one member: one goroutine applies entries, any
// number of others query, watch and wait.
package resources
