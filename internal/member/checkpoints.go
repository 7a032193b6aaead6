package member

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/snapshotter"
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
	Confirmed  Doing = "marking a checkpoint as confirmed"
	Pinning    Doing = "pinning checkpoints"
	ReadingOf  Doing = "reading a checkpoint for another member"
	// Noting is of a quarantine that begins at Note.Index, or, if that is 0, ends.
	Noting Doing = "noting a quarantine or its end"
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
	*Config
	taking atomic.Bool           // one is being taken, or is about to be
	built  atomic.Pointer[built] // by an installation, until it is taken over

	// The lane Store's own.
	installation snapshotter.Installation
	index        protocol.Index // of the installation
	// The lane Chunks' own.
	pins snapshotter.Pins
}

// built is the state of the checkpoint at an index.
type built struct {
	*machine.Loader
	at protocol.Index
}

// Take has a checkpoint of the state taken in the background. While another one is
// still being written it is skipped: the next checkpoint entry comes. It is called by whoever
// applies, right after the checkpoint entry was applied.
func (d *Driver) Take(a *replica.Apply) {
	at := *a.Take
	c := &d.checkpoints
	if !c.taking.CompareAndSwap(false, true) {
		return
	}
	snap := c.Machine.Snapshot()
	c.Hands.Work(Store, func() Done { return c.take(snap, at) })
}

// Taking reports whether a checkpoint is being taken, or about to be. Any goroutine may
// ask.
func (d *Driver) Taking() bool { return d.checkpoints.taking.Load() }

// Install makes the state that an installation has built for an index the one in force.
// It is called by whoever applies.
func (d *Driver) Install(a *replica.Apply) {
	b := d.checkpoints.built.Swap(nil)
	if b == nil || b.at != a.Installed {
		invariant.Check(false, "the state at %d is to be taken over, and has not been built: %v", a.Installed, b)
	}
	if a.Replace {
		d.c.Machine.Replace(b.Loader)
	} else {
		d.c.Machine.Install(b.Loader)
	}
}

// Applied answers those who wait for what was applied, and says what that has come to, for
// the replica. It is called by whoever applies, after readers can see it.
func (d *Driver) Applied(batch *replica.Apply, results []protocol.Result) replica.Applied {
	d.c.Answers.applied(batch, results)
	stats := d.c.Machine.Stats()
	return replica.Applied{
		Last: stats.Applied, Results: results,
		Digest: stats.Digest.Bytes(), StateBytes: stats.Bytes,
		NextDeadline: d.c.Machine.NextDeadline(),
		Skipped:      batch.Take != nil && d.Taking(),
	}
}

// done says how a step went. A store that cannot do something is no reason to stop; one
// whose disk fails is. The end of the member is told to nobody.
func (c *checkpoints) done(note Note, err error, tell func(*replica.Replica, protocol.Instant)) Done {
	switch {
	case c.Context.Err() != nil || errors.Is(err, protocol.ErrClosed):
		return Done{}
	case errors.Is(err, protocol.ErrDiskFailed):
		return Done{Failed: fmt.Errorf("%s at %d: %w", note.Doing, note.Index, err)}
	}
	note.Err = err
	return Done{Tell: tell, Note: note}
}

// take counts the state, and has a checkpoint written. That it fails costs nothing but the room that the log goes
// on to take: the next checkpoint entry comes.
func (c *checkpoints) take(snap *machine.Snapshot, d storage.Manifest) Done {
	if c.Context.Err() != nil {
		snap.Close()
		return Done{}
	}
	counted, list := snap.Recount()
	parts := replica.NewTally(d.Index, counted.Bytes(), list)
	if counted != snap.Digest() {
		snap.Amend(counted)
		snap.Close()
		c.taking.Store(false)
		return c.done(Note{Doing: Recounting, Index: d.Index}, nil, func(r *replica.Replica, now protocol.Instant) {
			replica.Counted(r, now, parts)
			r.Recounted(now, d.Index, counted.Bytes())
		})
	}
	// What was counted is told at once: to write it takes long with a large state, and may fail.
	c.Hands.Work(Store, func() Done { return c.write(snap, d) })
	return c.done(Note{}, nil, func(r *replica.Replica, now protocol.Instant) { replica.Counted(r, now, parts) })
}

// write writes a checkpoint that was counted.
func (c *checkpoints) write(snap *machine.Snapshot, d storage.Manifest) Done {
	kept, err := snapshotter.Take(c.Context, c.Store, snap, d)
	c.taking.Store(false)
	return c.done(Note{Doing: Taking, Index: d.Index}, err, func(r *replica.Replica, now protocol.Instant) { r.Kept(now, kept) })
}

// giveUp gives up a checkpoint that was found damaged.
func (c *checkpoints) giveUp(i protocol.Index) Done {
	if c.Context.Err() != nil {
		return Done{}
	}
	err := c.Store.Bad(i)
	if errors.Is(err, protocol.ErrNotFound) {
		return Done{} // somebody else was faster
	}
	kept := c.Store.Kept()
	return c.done(Note{Doing: GivingUp, Index: i}, err, func(r *replica.Replica, now protocol.Instant) { r.Kept(now, kept) })
}

// mark marks a checkpoint as confirmed, or not. That it fails costs nothing at once: it is tried again with the next one.
func (c *checkpoints) mark(i protocol.Index, confirmed bool) Done {
	err := c.Store.SetConfirmed(i, confirmed)
	if err != nil {
		if errors.Is(err, protocol.ErrNotFound) {
			return Done{} // it is not kept any more
		}
		return c.done(Note{Doing: Confirmed, Index: i}, err, nil)
	}
	kept := c.Store.Kept()
	return c.done(Note{}, nil, func(r *replica.Replica, now protocol.Instant) { replica.Confirmed(r, now, kept) })
}

// install does one step of an installation and says how it went.
func (c *checkpoints) install(s *replica.InstallStep) Done {
	switch {
	case c.Context.Err() != nil:
	case s.Begin != nil:
		c.built.Store(nil)
		c.index = s.Begin.Index
		missing, err := c.installation.Begin(c.Context, c.Store, *s.Begin)
		return c.done(Note{Doing: Beginning, Index: c.index, Count: len(missing), Of: len(s.Begin.Chunks)}, err,
			func(r *replica.Replica, now protocol.Instant) { r.InstallBegun(now, s.Begin.Index, missing, err) })
	case s.Chunk != nil:
		err := c.installation.Chunk(*s.Chunk)
		return c.done(Note{Doing: Installing, Index: c.index}, err,
			func(r *replica.Replica, now protocol.Instant) { r.ChunkAdded(now, s.Chunk.Number, err) })
	case s.Finish:
		return c.finish()
	case s.Discard:
		c.built.Store(nil)
	case s.Abort:
		return c.done(Note{Doing: Installing, Index: c.index}, c.installation.Abort(), nil)
	case s.GiveUp != 0:
		return c.giveUp(s.GiveUp)
	case s.ConfirmedAt != 0:
		return c.mark(s.ConfirmedAt, s.Confirmed)
	}
	return Done{}
}

// finish builds the state of a complete installation, for an Apply that takes over it.
func (c *checkpoints) finish() Done {
	progress := func(snapshotter.Progress) {}
	if c.Progress != nil {
		progress = c.Progress()
	}
	loader, err := c.installation.Finish(c.Context, c.Machine, progress)
	var at protocol.ClusterTime
	if err == nil {
		at = loader.Time()
		c.built.Store(&built{loader, c.index})
	}
	kept := c.Store.Kept()
	return c.done(Note{Doing: Installed, Index: c.index}, err,
		func(r *replica.Replica, now protocol.Instant) { r.InstallFinished(now, kept, at, err) })
}

// pin has the store keep what others fetch.
func (c *checkpoints) pin(p replica.Pin) Done {
	held := c.pins.Set(c.Store, p.Indexes)
	return c.done(Note{Doing: Pinning, Count: len(held)}, nil,
		func(r *replica.Replica, now protocol.Instant) { r.Pinned(now, p, held) })
}

// readChunk reads a chunk for another member. A checkpoint that is found damaged is
// given up by who may change the store.
func (c *checkpoints) readChunk(x replica.ChunkRead) Done {
	data, err := c.Store.ReadChunk(c.Context, x.Index, x.Number)
	if c.Context.Err() != nil {
		return Done{}
	}
	if errors.Is(err, protocol.ErrCorrupt) {
		c.Hands.Work(Store, func() Done { return c.giveUp(x.Index) })
	}
	return Done{
		Tell: func(r *replica.Replica, now protocol.Instant) { r.ChunkRead(now, x, data, err) },
		Note: Note{Doing: ReadingOf, Index: x.Index, Err: err},
	}
}
