package storage

import (
	"context"

	"github.com/starlinghq/starling/protocol"
)

// Range is a part of a damaged log that can be read: the entries After+1 to
// Last. It may have none: then it is a point that the log leads through.
type Range struct {
	// Sum is the log sum after After, LastSum the one after Last.
	After   protocol.Index
	Sum     protocol.LogSum
	Last    protocol.Index
	LastSum protocol.LogSum
}

// RepairPlan says how a log is put together again: what was damaged comes from
// other members (see internal/repair), the rest from the log itself. Whoever makes
// it has decided that this is right; that all of it joins is verified again.
type RepairPlan struct {
	// Begin, if not nil, is a checkpoint that the repaired log begins after:
	// entries up to there are given up. Otherwise it begins where it began.
	Begin *Begin
	// Patches are runs of entries with Raw set, in order of index, that count
	// instead of the log's own.
	Patches [][]protocol.Entry
	// Last is where the repaired log ends, and Sum the log sum that it must have
	// there.
	Last protocol.Index
	Sum  protocol.LogSum
}

// Lost is a run of entries that a log cannot read, with what leads to it and what it
// leads to: After and Sum before the first, Last and LastSum at its end. Nothing else
// than what leads from the one to the other may take their place.
type Lost = Range

// Rebuilder is a log that can put what has rotted together again while it is used.
type Rebuilder interface {
	// EndSegment sees to it that an entry's record is not in the file that is being
	// written. The log's writer calls it.
	EndSegment(i protocol.Index) error
	// Rebuild looks for what cannot be read in the file that holds an entry. Any
	// goroutine may call it, one at a time. It is closed by whoever has called it. It
	// holds the file in memory once, until it returns; its context ends it.
	Rebuild(ctx context.Context, i protocol.Index) (Rebuild, error)
}

// Rebuild is one file of a log that is written anew, beside the old one.
type Rebuild interface {
	// Lost are the entries that are wanted, in order of their records. There may be
	// none, and Sound says that nothing else is wrong either.
	Lost() []Lost
	Sound() bool
	// Write writes the file with the entries, a run for each of Lost, and reads it
	// again. Nothing has changed yet: after an error nothing will. It holds in memory
	// the records that it makes of the entries, and then the file once; its context
	// ends it.
	Write(ctx context.Context, found [][]protocol.Entry) error
	// Switch puts it in the place of the old one, durably. The log's writer calls it.
	// Readers do not notice. protocol.ErrDiskFailed: the log has failed.
	Switch() error
	// Close forgets it, if it did not come to the switch.
	Close()
}
