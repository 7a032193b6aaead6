package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/keeper"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// checkpoints is the work on the store of checkpoints: taking them, installing
// those of others, and giving up bad ones. One goroutine does it, keepCheckpoints,
// because a store has one caller; others only queue. What waits is bounded: one
// to be taken, and the chunks that gossip has in flight.
type checkpoints struct {
	store storage.CheckpointStore
	work  queue[checkpointWork]

	mu     sync.Mutex
	taking bool // one is being taken, or is about to be
	// loaded is the state that an installation has built, until it is adopted.
	loaded   *machine.Loader
	loadedAt protocol.Index

	// The goroutine's own.
	install keeper.Installation
	index   protocol.Index // of the installation
}

// checkpointWork is one thing to do: exactly one field is set.
type checkpointWork struct {
	snap *machine.Snapshot
	d    storage.Description // of snap
	step *replica.InstallStep
	bad  protocol.Index
}

// claim reports whether a checkpoint can be taken now, and holds the place. One
// that cannot is skipped: the next mark comes.
func (c *checkpoints) claim() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.taking {
		return false
	}
	c.taking = true
	return true
}

// take has the state of a snapshot written. The place has been claimed.
func (c *checkpoints) take(snap *machine.Snapshot, d storage.Description) {
	c.work.add(checkpointWork{snap: snap, d: d})
}

// step has a step of an installation done.
func (c *checkpoints) step(s *replica.InstallStep) { c.work.add(checkpointWork{step: s}) }

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

// close gives up what waits, and the store. Nothing that was promised depends on it,
// and the store bounds how long it takes.
func (c *checkpoints) close() error {
	for w, ok := c.work.take(); ok; w, ok = c.work.take() {
		if w.snap != nil {
			w.snap.Close()
		}
	}
	return c.store.Close()
}

// keepCheckpoints is the one caller of the store. The end of the member aborts
// what it is at: it is as if that had never begun.
func (m *Member) keepCheckpoints() {
	m.checkpoints.work.serve(m.stop, func(w checkpointWork) bool {
		switch {
		case w.snap != nil:
			m.takeCheckpoint(w.snap, w.d)
		case w.bad != 0:
			m.giveUpCheckpoint(w.bad)
		default:
			m.installStep(w.step)
		}
		return m.life.Err() == nil
	})
}

// takeCheckpoint writes one. That it fails costs nothing but the room that the
// log goes on to take: the next mark comes.
func (m *Member) takeCheckpoint(snap *machine.Snapshot, d storage.Description) {
	c := &m.checkpoints
	began := m.clock.Now()
	if counted := snap.Recount(); counted != snap.Digest() {
		snap.Amend(counted)
		snap.Close()
		c.mu.Lock()
		c.taking = false
		c.mu.Unlock()
		m.mailbox.complete(func(now protocol.Instant) { m.replica.Recounted(now, d.Index, counted.Bytes()) })
		return
	}
	kept, err := keeper.Take(m.life, c.store, snap, d)
	c.mu.Lock()
	c.taking = false
	c.mu.Unlock()
	if m.checkpointFailed("taking a checkpoint", d.Index, err) {
		return
	}
	if err == nil {
		m.logger.Debug("checkpoint taken", "index", d.Index, "took", m.clock.Now().Sub(began))
	}
	m.mailbox.complete(func(now protocol.Instant) { m.replica.Kept(now, kept) })
}

// checkpointFailed tells of an error, and reports whether nothing more is to be
// said to the replica: the member stops.
func (m *Member) checkpointFailed(what string, i protocol.Index, err error) bool {
	switch {
	case err == nil:
		return false
	case m.life.Err() != nil || errors.Is(err, protocol.ErrClosed):
		return true
	case errors.Is(err, protocol.ErrDiskFailed):
		m.fail(fmt.Errorf("%s at %d: %w", what, i, err))
		return true
	}
	m.logger.Warn(what, "index", i, "err", err)
	return false
}

// giveUpCheckpoint gives up one that was found damaged while others read it.
func (m *Member) giveUpCheckpoint(i protocol.Index) {
	store := m.checkpoints.store
	err := store.Bad(i)
	if errors.Is(err, protocol.ErrNotFound) {
		return // somebody else was faster
	}
	if m.checkpointFailed("giving up a checkpoint", i, err) {
		return
	}
	m.mailbox.complete(func(now protocol.Instant) { m.replica.Kept(now, store.Kept()) })
}

// installStep does one step and says how it went.
func (m *Member) installStep(s *replica.InstallStep) {
	c := &m.checkpoints
	var tell func(now protocol.Instant)
	var err error
	switch {
	case s.Begin != nil:
		var missing []int
		c.load(nil, 0)
		c.index = s.Begin.Index
		missing, err = c.install.Begin(m.life, c.store, *s.Begin)
		tell = func(now protocol.Instant) { m.replica.InstallBegun(now, s.Begin.Index, missing, err) }
	case s.Chunk != nil:
		err = c.install.Chunk(*s.Chunk)
		n := s.Chunk.Number
		tell = func(now protocol.Instant) { m.replica.ChunkAdded(now, n, err) }
	case s.Finish:
		tell, err = m.finishInstall()
	case s.Discard:
		c.load(nil, 0)
	case s.Abort:
		err = c.install.Abort()
	case s.GiveUp != 0:
		m.giveUpCheckpoint(s.GiveUp)
	}
	if !m.checkpointFailed("installing a checkpoint", c.index, err) && tell != nil {
		m.mailbox.complete(tell)
	}
}

func (m *Member) finishInstall() (tell func(now protocol.Instant), err error) {
	c := &m.checkpoints
	loader, err := c.install.Finish(m.life, m.machine, m.logProgress("building the state of an installed checkpoint"))
	var time protocol.ClusterTime
	if err == nil {
		time = loader.Time()
		c.load(loader, c.index)
	}
	kept := c.store.Kept()
	return func(now protocol.Instant) { m.replica.InstallFinished(now, kept, time, err) }, err
}

// chunkWork is a chunk to be read for another member, or, if pin is not nil, what is
// to be pinned.
type chunkWork struct {
	read replica.ChunkRead
	pin  *replica.Pin
}

// readChunks reads chunks for other members from the store, and pins what they
// fetch, beside its one writer, so that nobody who catches up waits for a checkpoint
// that is being taken. What waits is bounded by what gossip serves at once.
func (m *Member) readChunks() {
	var pins keeper.Pins
	m.chunks.serve(m.stop, func(w chunkWork) bool {
		if p := w.pin; p != nil {
			held := pins.Set(m.checkpoints.store, p.Indexes)
			return m.mailbox.complete(func(now protocol.Instant) { m.replica.Pinned(now, *p, held) })
		}
		x := w.read
		data, err := m.checkpoints.store.ReadChunk(m.life, x.Index, x.Number)
		switch {
		case m.life.Err() != nil:
			return false
		case errors.Is(err, protocol.ErrCorrupt):
			m.logger.Error("a checkpoint is damaged", "index", x.Index, "err", err)
			m.checkpoints.work.add(checkpointWork{bad: x.Index})
		}
		return m.mailbox.complete(func(now protocol.Instant) { m.replica.ChunkRead(now, x, data, err) })
	})
}

// progressEvery is how often long work is told of in the log.
const progressEvery = time.Second

// logProgress returns what tells the log, now and then, how far the reading of a
// checkpoint has come, and how long it took.
func (m *Member) logProgress(what string) func(keeper.Progress) {
	began := m.clock.Now()
	last := began
	return func(p keeper.Progress) {
		now := m.clock.Now()
		if p.Done < p.Total && now.Sub(last) < progressEvery {
			return
		}
		last = now
		m.logger.Info(what, "index", p.Index, "items", p.Done, "of", p.Total, "took", now.Sub(began))
	}
}

// tellStart writes to the log what was found at the start.
func (m *Member) tellStart(e protocol.Event) {
	level := slog.LevelWarn
	if e.Kind == protocol.EventInstalled {
		level = slog.LevelInfo
	}
	m.logger.Log(context.Background(), level, e.Text)
}

// elsewhereTimeout is how long the other members may take to answer before a
// checkpoint that killed this process is tried again.
const elsewhereTimeout = 10 * time.Second

// elsewhere reports whether another member answers, of which a checkpoint may be
// had.
func (m *Member) elsewhere(ctx context.Context) bool {
	addresses := m.otherAddresses()
	if len(addresses) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, elsewhereTimeout)
	defer cancel()
	_, err := m.findCluster(ctx, addresses)
	return err == nil
}
