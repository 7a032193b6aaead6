package member

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/keeper"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Doing is what a step on the store of checkpoints was about, in words that go before
// an error.
type Doing string

// What is noted.
const (
	Taking     Doing = "taking a checkpoint"
	Recounting Doing = "counting the state"
	Beginning  Doing = "beginning to install a checkpoint"
	Installing Doing = "installing a checkpoint"
	Installed  Doing = "building the state of an installed checkpoint"
	GivingUp   Doing = "giving up a checkpoint"
	Pinning    Doing = "pinning checkpoints"
	ReadingOf  Doing = "reading a checkpoint for another member"
)

// Note says what a step was about, and how it went. The zero value says nothing.
type Note struct {
	Doing Doing
	Index protocol.Index
	// Err is why it came to nothing, and costs no more than that.
	Err error
	// Count is how many chunks are still wanted of Of (Beginning), or how many
	// checkpoints are pinned (Pinning).
	Count, Of int
}

// checkpoints is the work on the store of checkpoints: taking them, installing those of
// others, and giving up bad ones, in the lane Store, for a store has one caller; pins
// and reading for others in the lane Chunks. What waits is bounded: one to be taken,
// and the chunks that gossip has in flight.
type checkpoints struct {
	store    storage.CheckpointStore
	machine  *machine.Machine
	progress func() func(keeper.Progress)
	ctx      context.Context

	mu     sync.Mutex
	taking bool // one is being taken, or is about to be
	// loaded is the state that an installation has built, until it is adopted.
	loaded   *machine.Loader
	loadedAt protocol.Index

	// The lane Store's own.
	installation keeper.Installation
	index        protocol.Index // of the installation
	// The lane Chunks' own.
	pins keeper.Pins
}

// Take has a checkpoint of the state taken in the background. While another one is
// still being written it is skipped: the next mark comes. It is called by whoever
// applies, right after the mark was applied.
func (d *Driver) Take(at storage.Description) {
	c := &d.checkpoints
	if !c.claim() {
		return
	}
	snap := d.c.Machine.Snapshot()
	d.c.Hands.Work(Store, func() Done { return c.take(snap, at) })
}

// Taking reports whether a checkpoint is being taken, or about to be. Any goroutine may
// ask.
func (d *Driver) Taking() bool {
	c := &d.checkpoints
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.taking
}

// Adopt makes the state that an installation has built for an index the one in force.
// It is called by whoever applies.
func (d *Driver) Adopt(a *replica.Apply) {
	if l := d.checkpoints.adopted(a.Adopt); a.Replace {
		d.c.Machine.Replace(l)
	} else {
		d.c.Machine.Adopt(l)
	}
}

// Applied says what applying has come to, for the replica. It is called by whoever
// applies.
func (d *Driver) Applied(results []protocol.Result) replica.Applied {
	stats := d.c.Machine.Stats()
	return replica.Applied{
		Last: stats.Applied, Results: results,
		Digest: stats.Digest.Bytes(), StateBytes: stats.Bytes,
		NextDeadline: d.c.Machine.NextDeadline(),
	}
}

// claim reports whether a checkpoint can be taken now, and holds the place.
func (c *checkpoints) claim() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taking {
		return false
	}
	c.taking = true
	return true
}

func (c *checkpoints) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taking = false
}

// adopted hands over the state that was built for an index.
func (c *checkpoints) adopted(i protocol.Index) *machine.Loader {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.loaded
	if l == nil || c.loadedAt != i {
		invariant.Check(false, "the state at %d is to be adopted, there is one at %d", i, c.loadedAt)
	}
	c.loaded, c.loadedAt = nil, 0
	return l
}

func (c *checkpoints) load(l *machine.Loader, i protocol.Index) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loaded, c.loadedAt = l, i
}

// done says how a step went. A store that cannot do something is no reason to stop; one
// whose disk fails is. The end of the member is told to nobody.
func (c *checkpoints) done(note Note, err error, tell func(*replica.Replica, protocol.Instant)) Done {
	switch {
	case c.ctx.Err() != nil || errors.Is(err, protocol.ErrClosed):
		return Done{}
	case errors.Is(err, protocol.ErrDiskFailed):
		return Done{Failed: fmt.Errorf("%s at %d: %w", note.Doing, note.Index, err)}
	}
	note.Err = err
	return Done{Tell: tell, Note: note}
}

// take writes a checkpoint. That it fails costs nothing but the room that the log goes
// on to take: the next mark comes.
func (c *checkpoints) take(snap *machine.Snapshot, d storage.Description) Done {
	if c.ctx.Err() != nil {
		snap.Close()
		return Done{}
	}
	if counted := snap.Recount(); counted != snap.Digest() {
		snap.Amend(counted)
		snap.Close()
		c.release()
		return c.done(Note{Doing: Recounting, Index: d.Index}, nil, func(r *replica.Replica, now protocol.Instant) { r.Recounted(now, d.Index, counted.Bytes()) })
	}
	kept, err := keeper.Take(c.ctx, c.store, snap, d)
	c.release()
	return c.done(Note{Doing: Taking, Index: d.Index}, err, func(r *replica.Replica, now protocol.Instant) { r.Kept(now, kept) })
}

// giveUp gives up a checkpoint that was found damaged.
func (c *checkpoints) giveUp(i protocol.Index) Done {
	err := c.store.Bad(i)
	if errors.Is(err, protocol.ErrNotFound) {
		return Done{} // somebody else was faster
	}
	kept := c.store.Kept()
	return c.done(Note{Doing: GivingUp, Index: i}, err, func(r *replica.Replica, now protocol.Instant) { r.Kept(now, kept) })
}

// install does one step of an installation and says how it went.
func (c *checkpoints) install(s *replica.InstallStep) Done {
	switch {
	case c.ctx.Err() != nil:
	case s.Begin != nil:
		c.load(nil, 0)
		c.index = s.Begin.Index
		missing, err := c.installation.Begin(c.ctx, c.store, *s.Begin)
		return c.done(Note{Doing: Beginning, Index: c.index, Count: len(missing), Of: len(s.Begin.Chunks)}, err,
			func(r *replica.Replica, now protocol.Instant) { r.InstallBegun(now, s.Begin.Index, missing, err) })
	case s.Chunk != nil:
		err := c.installation.Chunk(*s.Chunk)
		return c.done(Note{Doing: Installing, Index: c.index}, err,
			func(r *replica.Replica, now protocol.Instant) { r.ChunkAdded(now, s.Chunk.Number, err) })
	case s.Finish:
		return c.finish()
	case s.Discard:
		c.load(nil, 0)
	case s.Abort:
		return c.done(Note{Doing: Installing, Index: c.index}, c.installation.Abort(), nil)
	case s.GiveUp != 0:
		return c.giveUp(s.GiveUp)
	}
	return Done{}
}

// finish builds the state of a complete installation, for an Apply that adopts it.
func (c *checkpoints) finish() Done {
	progress := func(keeper.Progress) {}
	if c.progress != nil {
		progress = c.progress()
	}
	loader, err := c.installation.Finish(c.ctx, c.machine, progress)
	var at protocol.ClusterTime
	if err == nil {
		at = loader.Time()
		c.load(loader, c.index)
	}
	kept := c.store.Kept()
	return c.done(Note{Doing: Installed, Index: c.index}, err,
		func(r *replica.Replica, now protocol.Instant) { r.InstallFinished(now, kept, at, err) })
}

// pin has the store keep what others fetch.
func (c *checkpoints) pin(p replica.Pin) Done {
	held := c.pins.Set(c.store, p.Indexes)
	return c.done(Note{Doing: Pinning, Count: len(held)}, nil,
		func(r *replica.Replica, now protocol.Instant) { r.Pinned(now, p, held) })
}

// readChunk reads a chunk for another member. A checkpoint that is found damaged is
// given up by who may change the store.
func (d *Driver) readChunk(x replica.ChunkRead) Done {
	c := &d.checkpoints
	data, err := c.store.ReadChunk(c.ctx, x.Index, x.Number)
	if c.ctx.Err() != nil {
		return Done{}
	}
	if errors.Is(err, protocol.ErrCorrupt) {
		d.c.Hands.Work(Store, func() Done { return c.giveUp(x.Index) })
	}
	return Done{
		Tell: func(r *replica.Replica, now protocol.Instant) { r.ChunkRead(now, x, data, err) },
		Note: Note{Doing: ReadingOf, Index: x.Index, Err: err},
	}
}
