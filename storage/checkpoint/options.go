package checkpoint

import (
	"log/slog"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Options of a store. A zero field means its default.
type Options struct {
	// Logger gets what this package finds damaged; default: nothing is logged.
	Logger *slog.Logger
	// OnProgress is called during long work, about once per chunk, by the
	// goroutine that does it. It must return soon.
	OnProgress func(Progress)
	// SpaceReserve is how much free space must be left after what is about to
	// be written; default 128 MiB. Badger dies of a full disk, so it is not
	// given one. It is below the log's own low mark, because checkpoints are
	// what makes room there.
	SpaceReserve uint64
	// BootID tells one boot of the machine from another; default: what the
	// operating system says. Where it says nothing, all boots look like one.
	BootID string
	// Views is where folders with links to tables are made when a store is
	// opened to be read; default: beside the stores.
	Views string
	// ChunkBytes is the least size of a chunk but the last of a checkpoint;
	// default storage.ChunkBytesMin, which is also the most. Less is for
	// simulated clusters, whose states are small: all members of one must have
	// the same, or their chunks are not equal.
	ChunkBytes int
}

// Work is a kind of long work.
type Work string

// The kinds.
const (
	WorkWrite   Work = "write"   // items written to the store
	WorkVerify  Work = "verify"  // chunks read back before the pointer moves
	WorkRead    Work = "read"    // items given to the owner
	WorkInstall Work = "install" // chunks written from the spool to the store
)

// Progress says how far long work has come, in items. Total is 0 if it is not
// known.
type Progress struct {
	Work        Work
	Index       protocol.Index
	Done, Total uint64
}

const (
	reserveDefault  = 128 << 20
	chunkBytesLeast = 64
	// deathsMax is how many deaths in one boot set a store aside.
	deathsMax = 3
)

func (o Options) withDefaults(dir string) Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnProgress == nil {
		o.OnProgress = func(Progress) {}
	}
	if o.SpaceReserve == 0 {
		o.SpaceReserve = reserveDefault
	}
	if o.Views == "" {
		o.Views = dir
	}
	if o.BootID == "" {
		o.BootID = bootID()
	}
	if o.ChunkBytes <= 0 {
		o.ChunkBytes = storage.ChunkBytesMin
	}
	o.ChunkBytes = min(max(o.ChunkBytes, chunkBytesLeast), storage.ChunkBytesMin)
	return o
}
