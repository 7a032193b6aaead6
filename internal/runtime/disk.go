package runtime

import (
	"errors"
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
		case job := <-m.repairer.jobs:
			if !job.serve(m) {
				return
			}
		case <-idle.C:
			if err := m.syncs.during(m.log.Settle); err == nil {
				m.guard.hasRoom(m)
			} else if !m.noted(err, idle) {
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
