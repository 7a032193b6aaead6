package runtime

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// settleAfter is how long the log writer waits for more before it records that
// what it has synced is durable.
const settleAfter = 50 * time.Millisecond

// writeLog is the log writer: one write, one sync, one completion at a time.
// When nothing more comes, it lets the log say on disk what is durable.
func (m *Member) writeLog() {
	idle := time.NewTimer(settleAfter)
	idle.Stop()
	defer idle.Stop()
	for {
		select {
		case p, ok := <-m.writes:
			if !ok {
				return
			}
			if err := m.serveLog(p); err != nil {
				return
			}
			if len(m.writes) > 0 {
				continue
			}
			if !m.noted(m.syncs.during(m.log.Idle), idle) {
				return
			}
		case job := <-m.mender.jobs:
			if !job.serve(m) {
				return
			}
		case <-idle.C:
			err := m.syncs.during(m.log.Settle)
			if err != nil && !m.noted(err, idle) {
				return
			}
		}
	}
}

// noted says when the log is to settle after an attempt to note what is durable,
// and reports whether the disk is fit for use. Where the log cannot go on for now the
// note waits: it must not stop a member that waits with its writes as well.
func (m *Member) noted(err error, settle *time.Timer) bool {
	switch {
	case err == nil:
		m.guard.hasRoom(m)
		settle.Reset(settleAfter)
	case errors.Is(err, protocol.ErrNoSpace):
		m.guard.hasNone(m, err)
		settle.Reset(roomPause)
	default:
		m.failDisk(err)
		return false
	}
	return true
}

// serveLog makes one change of the log and says how it went.
func (m *Member) serveLog(p *replica.Persist) error {
	if p.Drop != 0 {
		var begin storage.Begin
		err := m.syncs.during(func() (err error) { begin, err = m.log.DropHead(p.Drop); return err })
		m.mailbox.complete(func(now protocol.Instant) {
			m.replica.Dropped(now, p.ID, begin, err)
			m.failDisk(err)
		})
		return err
	}
	err := m.persist(p)
	m.mailbox.put(func(in *mail) { in.persisted = append(in.persisted, persisted{p.ID, err}) })
	return err
}

// persist writes, and syncs if that is asked for.
func (m *Member) persist(p *replica.Persist) error {
	write := func() error { return m.log.Write(p.Write, p.Entries) }
	if p.Reset != nil {
		write = func() error { return m.log.Reset(*p.Reset, p.Write.State) }
	}
	if len(p.Entries) > 0 {
		m.guard.wrote(m, protocol.RawSize(p.Entries))
	}
	err := m.syncs.during(write)
	for errors.Is(err, protocol.ErrNoSpace) {
		// Nothing was written: service resumes when there is room, or whatever else
		// was lacking. Meanwhile a leader notices that its disk does not answer and
		// steps down.
		m.guard.hasNone(m, err)
		select {
		case <-m.stop:
			return err
		case <-time.After(roomPause):
		}
		err = m.syncs.during(write)
	}
	if err != nil {
		return err
	}
	m.guard.hasRoom(m)
	if p.Reset == nil && (p.Write.Sync || p.Write.SyncAll) {
		return m.syncs.during(m.log.Sync)
	}
	return nil
}

// failDisk stops the member if an error of a disk says so: for what has become of its
// directory, if that is why.
func (m *Member) failDisk(err error) {
	if err == nil {
		return
	}
	if gone := m.premises.look(); gone != nil {
		m.fail(gone)
		return
	}
	m.fail(vfs.Failed(err))
}

// roomPause is between two attempts to write where the log cannot go on in a new file.
const roomPause = 500 * time.Millisecond

// guardInterval is how often the disk's free space is looked at, at most, unless
// guardBytes have been written meanwhile: a fast writer must not be past the
// mark, and the space that is set aside, before anybody looks.
const (
	guardInterval = 100 * time.Millisecond
	guardBytes    = 128 << 10
)

// guard knows whether the disk is nearly full, without asking each time.
type guard struct {
	full atomic.Bool
	last atomic.Int64 // when it was looked at, on the member's clock
	// waits is why the log cannot go on, while it cannot.
	waits atomic.Pointer[string]
	// written counts the bytes since then, and lacked is since when no write has found
	// room, if none has; the log writer's.
	written int
	lacked  time.Time
}

// hasNone says that a write has found no room for the log, or that something else was
// lacking for a new file of it. It is said once.
func (g *guard) hasNone(m *Member, err error) {
	text := err.Error()
	g.waits.Store(&text)
	if g.lacked.IsZero() {
		g.lacked = time.Now()
		m.logger.Warn("the log waits", "err", err, "dir", m.cfg.Dir)
	}
	if errors.Is(err, vfs.ErrNoSpace) {
		g.set(m, true)
	}
}

// hasRoom says that a write was made. After one that found no room, a disk that does
// not say how full it is is full no longer: it may never say.
func (g *guard) hasRoom(m *Member) {
	if g.lacked.IsZero() {
		return
	}
	g.waits.Store(nil)
	m.logger.Info("the log goes on", "after", time.Since(g.lacked).Round(time.Millisecond), "dir", m.cfg.Dir)
	g.lacked = time.Time{}
	full, err := m.log.Full()
	g.set(m, full && err == nil)
}

// waiting says why the log cannot go on, or is empty.
func (g *guard) waiting() string {
	if text := g.waits.Load(); text != nil {
		return *text
	}
	return ""
}

func (g *guard) set(m *Member, full bool) {
	if g.full.Swap(full) != full {
		m.logger.Warn("free space", "full", full, "dir", m.cfg.Dir)
		m.hampers.change(m, func(h *replica.Hampered) { h.Full = full })
	}
}

// wrote takes note of bytes that go to the disk, and looks if it is time.
func (g *guard) wrote(m *Member, bytes int) {
	if g.written += bytes; g.written >= guardBytes {
		g.written = 0
		g.last.Store(0)
	}
	g.look(m)
}

// look asks the disk, unless that was done just now.
func (g *guard) look(m *Member) {
	now := int64(m.clock.Now())
	last := g.last.Load()
	if (last != 0 && now-last < int64(guardInterval)) || !g.last.CompareAndSwap(last, now) {
		return
	}
	full, err := m.log.Full()
	if err != nil {
		return // a disk that fails says so in a write
	}
	g.set(m, full)
}

// cannotApply stops serving: the log holds what this program does not know.
// The member goes on to vote and to store, so that it does not cost the quorum, and
// leads nobody.
func (m *Member) cannotApply(err error) {
	m.doubted.Store(&err)
	m.logger.Error("the member applies no more", "err", err)
	m.mailbox.complete(func(now protocol.Instant) { m.replica.CannotApply(now, err) })
}

// readLog reads entries that are no longer in memory. What waits is bounded by what
// the cores have in flight.
func (m *Member) readLog() {
	m.reads.serve(m.stop, func(x replica.ReadLog) bool {
		entries, err := m.log.Read(x.First, x.Last, x.Bytes)
		return m.mailbox.put(func(in *mail) { in.logReads = append(in.logReads, logRead{x.ID, entries, err}) })
	})
}
