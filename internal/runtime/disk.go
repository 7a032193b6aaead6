package runtime

import (
	"time"

	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// writeLog is the goroutine of the log writer.
func (m *Member) writeLog() {
	w := member.NewLogWriter(m.log)
	pause := time.NewTimer(time.Hour)
	pause.Stop()
	defer pause.Stop()
	for {
		writes, jobs, stop := m.writes, m.repairer.jobs, (chan struct{})(nil)
		if w.Waits() {
			jobs, stop = nil, m.stop // a vote may come, ahead of what waits
		}
		select {
		case p, ok := <-writes:
			if !ok {
				return
			}
			if len(p.Entries) > 0 {
				m.guard.wrote(m, protocol.RawSize(p.Entries))
			}
			w.Begin(p)
		case job := <-jobs:
			if !job.serve(m) {
				return
			}
			continue
		case <-pause.C:
		case <-stop:
			return
		}
		if !m.stepLog(&w, pause) {
			return
		}
	}
}

// stepLog does what the log writer can do now, and reports whether the log is fit for
// use.
func (m *Member) stepLog(w *member.LogWriter, pause *time.Timer) bool {
	for w.Next() != member.LogNotes || len(m.writes) == 0 {
		var did member.Wrote
		next := w.Next()
		_ = m.syncs.during(func() error { did = w.Step(); return nil })
		switch {
		case did.Lacks != nil:
			m.guard.hasNone(m, did.Lacks)
		case did.Failed == nil && next >= member.LogChanges && next != member.LogSyncs:
			m.guard.hasRoom(m)
		}
		m.complete(did.Done)
		if did.Failed != nil {
			return false
		}
		if did.Pause > 0 {
			pause.Reset(did.Pause)
			return true
		}
		if w.Next() == member.LogRests {
			return true
		}
	}
	return true
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

// cannotApply stops serving: the log holds what this program does not know.
// The member goes on to vote and to store, so that it does not cost the quorum, and
// leads nobody.
func (m *Member) cannotApply(err error) {
	m.suspended.Store(&err)
	m.logger.Error("the member applies no more", "err", err)
	m.mailbox.complete(func(now protocol.Instant) { m.replica.CannotApply(now, err) })
}
