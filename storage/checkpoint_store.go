package storage

import (
	"context"
	"errors"

	"github.com/starlinghq/starling/protocol"
)

const (
	// SpaceBytesMax limits the name of an item's space.
	SpaceBytesMax = protocol.NameBytesMax
	// ItemValueBytesMax limits the value of an item. It is above
	// protocol.ValueBytesMax because of what a state keeps with a value.
	ItemValueBytesMax = protocol.ValueBytesMax + 256<<10

	// ChunkBytesMin and ChunkBytesMax bound a chunk: only the last one of a
	// checkpoint may be smaller, only one with a single item larger.
	ChunkBytesMin = 128 << 10
	ChunkBytesMax = 256 << 10
	// ChunkBytesLimit is the largest chunk there can be: one item at all its
	// limits. What comes from outside and is longer is refused.
	ChunkBytesLimit = ItemValueBytesMax + protocol.KeyBytesMax + 2*SpaceBytesMax + 64
	// ChunksMax limits the chunks of a checkpoint, so that its manifest
	// stays below protocol.FrameBytesMax. It is about 20 GB of items.
	ChunksMax = 1 << 17
)

// Item is one key of a checkpoint.
type Item struct {
	// Space and Key name it. Items are ordered by Space, then Key, bytewise.
	Space string
	Key   []byte // never empty
	// Index is the key's own index of last change, from 1 to that of the
	// checkpoint. It is part of the content: a member that restarts must see
	// the versions that its peers see.
	Index protocol.Index
	Value []byte
	// Deleted, in an incremental checkpoint only: the key is gone, and Index
	// and Value do not count.
	Deleted bool
}

// ChunkSum is a 128-bit sum over the bytes of a chunk. It detects faults, not
// attackers.
type ChunkSum [16]byte

// Manifest says what a checkpoint is. Members that took a checkpoint of the
// same state at the same index have equal manifests.
type Manifest struct {
	// Index and Term are those of the last entry whose effect is in it, LogSum
	// is the log sum after that entry, and Configuration the one in force.
	Index         protocol.Index
	Term          protocol.Term
	Configuration protocol.ConfigurationAt
	LogSum        protocol.LogSum
	// Digest is the owner's sum over the state. The store carries it.
	Digest [16]byte
	// Installed says, of a kept one, that it came from other members. It is not encoded: the
	// others are not told.
	Installed bool
	// Confirmed says likewise that the log has confirmed it (CheckpointStore.SetConfirmed).
	Confirmed bool

	// Items and Bytes count the items and the bytes of all chunks, Chunks has
	// the sum of each. The store fills them in.
	Items  uint64
	Bytes  uint64
	Chunks []ChunkSum
}

// SameLog reports whether both were taken of one log at one index.
func (d *Manifest) SameLog(e *Manifest) bool {
	return d.Index == e.Index && d.Term == e.Term && d.LogSum == e.LogSum
}

// ErrUnreadable is in a protocol.ErrDirectory where the disk did not give a
// checkpoint in any of several tries: a sector has become bad, or the disk is away.
var ErrUnreadable = errors.New("the disk does not give it")

// CheckpointStore keeps the last two checkpoints of a member.
//
// BeginFull, BeginIncremental, Install, Bad, SetAside, Retry and Close, and the methods of
// what they return, are called by one goroutine at a time; the others by any,
// also meanwhile. Errors have the codes of protocol:
//
//   - ErrNotFound: no such checkpoint is kept, or no such chunk is in it;
//   - ErrCorrupt: what was read is not what was written. Say Bad;
//   - ErrStaleVersion: not on top of what is kept: take a full one;
//   - ErrInvalid, ErrTooLarge: an item or a manifest that cannot be kept;
//   - ErrNoSpace: there is too little free space; nothing was changed;
//   - ErrDirectory: it cannot be done now, and nothing has changed; the next
//     checkpoint may be taken, and what is kept may be read later;
//   - ErrDiskFailed: nobody knows what the directory holds, and all later writes
//     will fail;
//   - ErrClosed.
//
// A context that ends stops long work with its error; the checkpoint under way
// is as if it had never begun.
type CheckpointStore interface {
	// Kept returns the checkpoints that can be used, newest first: at most two.
	// The caller must not change their chunk sums.
	Kept() []Manifest

	// Iterate calls fn for each item of a kept checkpoint, in order. An item is
	// given out only after its chunk has been compared with the manifest;
	// it is valid until fn returns. An error of fn ends it and is returned.
	// The owner compares its own digest at the end, and says Bad if it differs.
	Iterate(ctx context.Context, index protocol.Index, fn func(Item) error) error

	// Bad gives up a kept checkpoint whose content is wrong. The other one, if
	// there is one, is used from then on, but nothing is built on top of it.
	Bad(index protocol.Index) error

	// SetConfirmed says durably that the log has confirmed a kept checkpoint, or that it counts
	// as if it had not. The last one that is marked stays until a newer one is:
	// a new checkpoint takes the place of the one above it, if that is not.
	SetConfirmed(index protocol.Index, confirmed bool) error

	// SetAside gives a kept checkpoint up for as long as the disk does not give it: it
	// is neither used nor deleted, and Retry puts it back. It is for one that the disk has
	// given up (ErrUnreadable), while another one could be read.
	SetAside(index protocol.Index) error

	// ReadChunk returns chunk n, from 0, verified. The caller owns it.
	ReadChunk(ctx context.Context, index protocol.Index, n int) ([]byte, error)

	// Pin lets a kept checkpoint be read until release is called, also after it
	// has been given up: while its chunks are being sent. Kept does not name it
	// then, and a restart forgets it. It holds the space of a whole checkpoint:
	// whoever pins lets go of it after 10 min at most. release may be called
	// twice, by any goroutine, and after Close.
	Pin(index protocol.Index) (release func(), err error)

	// BeginFull begins a checkpoint of all items, in a store of its own. The
	// index is above that of each kept one. bytes estimates its size, for the
	// guard of free space; 0 if it is not known.
	BeginFull(ctx context.Context, index protocol.Index, bytes uint64) (CheckpointWriter, error)

	// BeginIncremental begins a checkpoint of the items that changed since
	// base, which must be the older one of two that are kept, of the same log:
	// the new one takes its place, so that two kept ones never have a file in
	// common. It returns ErrStaleVersion if base is not that, stays (SetConfirmed), or its store
	// has become too large: then a full one has to be taken.
	BeginIncremental(ctx context.Context, index protocol.Index, base Manifest) (CheckpointWriter, error)

	// Install begins, or after a restart resumes, the installation of a
	// checkpoint from other members. Its index is above that of each kept one:
	// say Bad to those that are in the way. One that is under way for another
	// manifest is given up, and its chunks count for this one as far as they
	// are the same; so do those of the kept checkpoints. An installation that a
	// checkpoint of this member's own has reached is given up, too.
	Install(ctx context.Context, d Manifest) (CheckpointInstall, error)
	// Installing returns the manifest of an installation that has begun and
	// not ended.
	Installing() (Manifest, bool)

	// Aside returns the checkpoints whose store could not be opened or read, or killed
	// the process three times in one boot. They are deleted when two good ones
	// above are kept, all but the last few.
	Aside() []Manifest
	// Retry tries the stores that were set aside again, and puts those back
	// that can be read, as far as they are not below two that are kept. It is
	// for the member that can get a checkpoint nowhere else, and for people. It
	// may kill the process again, which loses nothing.
	Retry(ctx context.Context) error

	// Close gives up what is under way. It is safe to call twice.
	Close() error
}

// CheckpointWriter takes one checkpoint.
type CheckpointWriter interface {
	// Write adds items, in any order. It keeps nothing of them. Items of a full
	// checkpoint come once each and are not Deleted; those of an incremental one
	// may come again, alike.
	Write(ctx context.Context, items []Item) error

	// Commit makes the checkpoint the newest kept one, durably, and gives up
	// the oldest. Before that it ends the store, opens it anew and reads all
	// that is in it. It fills in
	// Items, Bytes and Chunks and returns the whole manifest.
	Commit(ctx context.Context, d Manifest) (Manifest, error)

	// Abort gives the checkpoint up. It does nothing after a Commit that
	// succeeded, and is wanted after one that did not.
	Abort()
}

// CheckpointInstall builds a checkpoint from chunks.
type CheckpointInstall interface {
	// Missing returns the numbers of at most limit chunks that are still
	// wanted, lowest first. None: it is complete.
	Missing(limit int) []int
	// Add takes a chunk, in any order. It keeps nothing of data. ErrCorrupt:
	// these are not the described bytes. A chunk that is already there is
	// taken silently.
	Add(n int, data []byte) error
	// Iterate calls fn for each item of a complete installation, in order, as
	// CheckpointStore.Iterate does. A chunk that is found damaged (ErrCorrupt)
	// is missing again.
	Iterate(ctx context.Context, fn func(Item) error) error
	// Commit makes a complete installation the newest kept checkpoint, in a
	// store of its own.
	Commit(ctx context.Context) error
	// Abort gives it up, with all chunks.
	Abort() error
}
