package storage

import "github.com/starlinghq/starling/protocol"

// Stretch is a part of a damaged log that can be read: the entries After+1 to
// Last. It may have none: then it is a point that the log leads through.
type Stretch struct {
	// Sum is the log sum after After, LastSum the one after Last.
	After   protocol.Index
	Sum     protocol.LogSum
	Last    protocol.Index
	LastSum protocol.LogSum
}

// MendPlan says how a log is put together again: what was damaged comes from
// other members (see internal/mend), the rest from the log itself. Whoever makes
// it has decided that this is right; that all of it joins is verified again.
type MendPlan struct {
	// Begin, if not nil, is a checkpoint that the mended log begins after:
	// entries up to there are given up. Otherwise it begins where it began.
	Begin *Begin
	// Patches are runs of entries with Raw set, in order of index, that count
	// instead of the log's own.
	Patches [][]protocol.Entry
	// Last is where the mended log ends, and Sum the log sum that it must have
	// there.
	Last protocol.Index
	Sum  protocol.LogSum
}
