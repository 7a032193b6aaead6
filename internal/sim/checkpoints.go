package sim

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/starlinghq/starling/internal/keeper"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine/standin"
)

// checkpoints is what one run of a member does about checkpoints, one thing
// after the other, as the runtime's goroutine does. The store is the one of production,
// on what stands for Badger on the simulated disk.
type checkpoints struct {
	store   *checkpoint.Store
	install keeper.Installation
	pins    keeper.Pins
	queue   []func()
	busy    bool
	taking  bool
	// loaded is the state that an installation has built, until it is adopted;
	// index is that of the installation.
	loaded *machine.Loader
	index  protocol.Index
}

// openStore opens the member's store.
func (m *member) openStore() error {
	store, err := checkpoint.Open(m.disk.fs, filepath.Join(directory, checkpoint.Folder), standin.New(m.disk.fs, m.s.plan.chunk), checkpoint.Options{
		SpaceReserve: 1, BootID: fmt.Sprintf("%s/%d", m.label(), m.boots), ChunkBytes: m.s.plan.chunk,
	})
	if err != nil {
		return err
	}
	m.checkpoints = checkpoints{store: store}
	return nil
}

// startFrom brings log, checkpoints and machine together, and lets the checkers
// follow.
func (m *member) startFrom() (storage.Recovered, replica.Restored, error) {
	m.machine = m.newMachine()
	before := m.wal.Recovered()
	rec, restored, err := keeper.Start(context.Background(), m.wal, m.checkpoints.store, m.machine, keeper.Options{})
	m.unsure = err != nil
	if err != nil {
		return rec, restored, err
	}
	if rec.Shape.PrevIndex != before.Shape.PrevIndex { // a crash had come between an installation's two ends
		m.s.counts.add(countInstallsResumed, 1)
		if err := m.log.reset(m.s.ledger, &storage.Begin{Index: rec.Shape.PrevIndex, Term: rec.Shape.PrevTerm, Sum: rec.Shape.PrevSum}, rec.State); err != nil {
			return rec, restored, err
		}
		m.log.synced()
	}
	m.applied = restored.Applied
	if restored.Applied > 0 {
		m.s.counts.add(countFromCheckpoint, 1)
		m.s.fail(m.takesOver(restored.Applied))
	}
	return rec, restored, nil
}

// do queues work on the store. It is done in order, each piece after a while.
func (m *member) do(work func()) {
	c := &m.checkpoints
	c.queue = append(c.queue, work)
	if !c.busy {
		c.busy = true
		m.later(m.storeTime(), m.work)
	}
}

func (m *member) work() {
	c := &m.checkpoints
	next, run := c.queue[0], m.run
	c.queue = c.queue[1:]
	if m.fused(amidCheckpoint) {
		m.disk.stopIn(m.s.random.faults.IntN(48))
	}
	next()
	if m.run != run || !m.up() {
		return
	}
	m.disk.goesOn()
	if len(c.queue) > 0 {
		m.later(m.storeTime(), m.work)
		return
	}
	c.busy = false
}

// storeTime is how long a piece of work on the store takes.
func (m *member) storeTime() time.Duration {
	return between(m.s.random.disk, 100*time.Microsecond, 2*time.Millisecond) + m.s.plan.sync
}

// take has a snapshot written, unless the one before is still being written.
func (m *member) take(d storage.Description) {
	c := &m.checkpoints
	if c.taking {
		m.s.counts.add(countMarksSkipped, 1)
		return
	}
	c.taking = true
	snap := m.machine.Snapshot()
	m.do(func() {
		if counted := snap.Recount(); counted != snap.Digest() {
			c.taking = false
			snap.Amend(counted)
			snap.Close()
			m.s.counts.add(countRecounted, 1)
			m.replica.Recounted(m.now(), d.Index, counted.Bytes())
			m.serve()
			return
		}
		kept, err := keeper.Take(context.Background(), c.store, snap, d)
		c.taking = false
		if m.storeFailed(err) {
			return
		}
		if err != nil && m.disk.ails() {
			m.s.counts.add(countCheckpointsGivenUp, 1)
			m.s.trace.tell(m, colorTrouble, "%% no checkpoint %d: %v", d.Index, err)
		}
		if err == nil {
			m.s.counts.add(countCheckpoints, 1)
			m.s.trace.tell(m, colorQuiet, "checkpoint %d", d.Index)
		}
		m.replica.Kept(m.now(), kept)
		m.serve()
	})
}

// storeFailed reports whether the member has died of what it did on the store.
// A store that cannot do something is no reason to stop.
func (m *member) storeFailed(err error) bool {
	switch {
	case m.disk.stopped():
		m.s.crash(m, m.torn, boundaryNames[amidCheckpoint])
		return true
	case errors.Is(err, protocol.ErrDiskFailed):
		m.diskFailed(0, err)
		return true
	}
	return false
}

// installStep does one step of an installation.
func (m *member) installStep(s *replica.InstallStep) {
	c, ctx := &m.checkpoints, context.Background()
	var err error
	var tell func()
	switch {
	case s.Begin != nil:
		var missing []int
		c.loaded, c.index = nil, s.Begin.Index
		missing, err = c.install.Begin(ctx, c.store, *s.Begin)
		if len(missing) > 1 {
			m.s.counts.add(countManyChunks, 1)
		}
		if len(missing) < len(s.Begin.Chunks) && len(missing) > 0 {
			m.s.counts.add(countInstallsResumed, 1)
		}
		tell = func() { m.replica.InstallBegun(m.now(), s.Begin.Index, missing, err) }
	case s.Chunk != nil:
		m.s.counts.add(countChunks, 1)
		err = c.install.Chunk(*s.Chunk)
		tell = func() { m.replica.ChunkAdded(m.now(), s.Chunk.Number, err) }
	case s.Finish:
		var loader *machine.Loader
		var at protocol.ClusterTime
		loader, err = c.install.Finish(ctx, m.machine, nil)
		if err == nil {
			at, c.loaded = loader.Time(), loader
			m.s.trace.tell(m, colorQuiet, "has installed %d", c.index)
		}
		kept := c.store.Kept()
		tell = func() { m.replica.InstallFinished(m.now(), kept, at, err) }
	case s.Discard:
		c.loaded = nil
	case s.Abort:
		err = c.install.Abort()
	case s.GiveUp != 0:
		if bad := c.store.Bad(s.GiveUp); bad == nil {
			tell = func() { m.replica.Kept(m.now(), c.store.Kept()) }
		}
	}
	if m.storeFailed(err) || tell == nil {
		return
	}
	tell()
	m.serve()
}

// pin has the store keep what others fetch. This and the reading of chunks go on
// beside the work on the store.
func (m *member) pin(p *replica.Pin) {
	c := &m.checkpoints
	held := c.pins.Set(c.store, p.Indexes)
	m.s.counts.add(countPins, uint64(len(held)))
	m.replica.Pinned(m.now(), *p, held)
	m.serve()
}

// readChunk serves a chunk to another member.
func (m *member) readChunk(x replica.ChunkRead) {
	c := &m.checkpoints
	data, err := c.store.ReadChunk(context.Background(), x.Index, x.Number)
	if errors.Is(err, protocol.ErrCorrupt) {
		m.do(func() {
			if bad := c.store.Bad(x.Index); bad == nil {
				m.replica.Kept(m.now(), c.store.Kept())
				m.serve()
			}
		})
	}
	m.replica.ChunkRead(m.now(), x, data, err)
	m.serve()
}

// adopt makes the installed state the one in force.
func (m *member) adopt(i protocol.Index, replace bool) error {
	c := &m.checkpoints
	if c.loaded == nil || c.index != i {
		return violated(RuleOrder, "%s is to adopt the state at %d, it has built one at %d", m.name, i, c.index)
	}
	if replace {
		m.machine.Replace(c.loaded)
	} else {
		m.machine.Adopt(c.loaded)
	}
	c.loaded = nil
	m.applied = i
	m.s.counts.add(countInstalls, 1)
	m.s.trace.tell(m, colorSeat, "# its state is the installed one of %d", i)
	return m.takesOver(i)
}

// adopted checks a state that did not come from entries.
func (s *state) adopted(name string, m *machine.Machine, i protocol.Index) error {
	index, digest := m.Digest()
	if index != i || i > protocol.Index(len(s.applies)) {
		return violated(RuleOrder, "%s takes over a state at %d, its machine is at %d, the newest that anybody applied is %d", name, i, index, len(s.applies))
	}
	if then := s.applies[i-1]; then.digest != digest {
		return violated(RuleDigest, "%s has taken over %s at %d, another member has applied to %s", name, digest, i, then.digest)
	}
	return nil
}

// otherwise carries out a change of the log that is not a write.
func (m *member) otherwise(p *replica.Persist) bool {
	if p.Reset != nil {
		m.s.trace.tell(m, colorPlain, "log begins after %d", p.Reset.Index)
		if err := m.log.reset(m.s.ledger, p.Reset, p.Write.State); err != nil {
			m.s.fail(err)
			return false
		}
		m.half = true // until it is done
	}
	if m.fused(amidWrite) {
		m.disk.stopIn(m.s.random.faults.IntN(6))
	}
	return m.attempt(p)
}

// attempt makes the change, or tries again when there may be room.
func (m *member) attempt(p *replica.Persist) bool {
	if p.Drop != 0 {
		begin, err := m.wal.DropHead(p.Drop)
		return m.changed(p, err, func() {
			m.s.counts.add(countHeads, 1)
			m.replica.Dropped(m.now(), p.ID, begin, nil)
		})
	}
	err := m.wal.Reset(*p.Reset, p.Write.State)
	if err == nil {
		m.half = false
		m.log.synced()
		m.s.counts.add(countResets, 1)
	}
	return m.changed(p, err, func() { m.replica.Persisted(m.now(), p.ID, nil) })
}

// changed goes on after such a change.
func (m *member) changed(p *replica.Persist, err error, tell func()) bool {
	switch {
	case m.disk.stopped():
		m.s.crash(m, m.torn, boundaryNames[amidWrite])
		return false
	case m.noRoom(err):
		m.s.counts.add(countNoSpace, 1)
		m.later(roomPause, func() { m.attempt(p) })
		return true
	case err != nil:
		m.diskFailed(p.ID, err)
		return false
	}
	m.disk.goesOn()
	m.later(m.syncTime(), func() {
		m.writing = false
		m.s.trace.note(markPersisted, m.number, p.ID, 1)
		tell()
		m.serve()
	})
	return true
}

// reset follows a log that is begun anew after a checkpoint. What is before it is
// committed, or it would not be in a checkpoint.
func (m *shadows) reset(l *ledger, b *storage.Begin, state protocol.HardState) error {
	if l.blind {
		return nil
	}
	if !l.isCommitted(b.Index, b.Sum) {
		return violated(RuleStateMachine, "%s begins its log after %d (%s), which is not what is committed", m.name, b.Index, b.Sum)
	}
	if !newer(m.written.state, state) {
		return violated(RuleHardState, "%s begins its log anew with %v after %v", m.name, state, m.written.state)
	}
	n := line{state: state, whole: true}
	for i := protocol.Index(1); i <= b.Index; i++ {
		c := l.at(i)
		n.terms, n.sums = append(n.terms, c.term), append(n.sums, c.sum)
	}
	m.written.write(&n)
	m.pending = append(m.pending, n)
	return nil
}
