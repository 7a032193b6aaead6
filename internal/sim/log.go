package sim

import (
	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Persist begins a change of the log: what is written is written at once, and synced
// later.
func (m *member) Persist(p *replica.Persist) {
	if m.failing {
		m.s.fail(violated(RuleFault, "%s writes on after its disk has failed", m.name))
		return
	}
	if !m.survives(beforeWrite) {
		return
	}
	m.writes++
	if p.Vote {
		m.votes.vote = p
		m.writer.Begin(p)
		if m.writer.Next() == driver.LogVotes { // else what has waited is being synced
			m.votes.write()
		}
		return
	}
	if err := m.follows(p); err != nil {
		m.s.fail(err)
		return
	}
	if p.Drop == 0 {
		m.log.half++
	}
	m.change, m.writing, m.votes.lacks = p, true, false
	m.writer.Begin(p)
	m.makeChange()
}

// follows lets the checkers follow a change.
func (m *member) follows(p *replica.Persist) error {
	w := &p.Write
	switch {
	case p.Drop != 0:
		return nil
	case p.Reset != nil:
		m.tell(colorPlain, "log begins after %d", p.Reset.Index)
		return m.log.reset(m.s.ledger, p.Reset, w.State)
	}
	if m.s.trace.on() {
		m.tell(colorPlain, "%s", m.describeWrite(w))
	}
	if err := m.log.persist(m.s.ledger, m.number, m.replica.Status(m.now()).Role, p.ID, w, p.Entries); err != nil {
		return err
	}
	m.s.trace.note(tagPersist, m.number, uint64(w.Last), uint64(w.State.Term))
	if w.Truncate {
		m.s.counts.add(countTruncations, 1)
	}
	m.knows(w.State.Commit)
	return nil
}

// makeChange makes the change. A machine that dies in the middle of it has done a
// part; a process that dies while it waits for room has done nothing.
func (m *member) makeChange() {
	if m.votes.under {
		return // it goes on after that
	}
	p, again := m.change, m.votes.lacks
	if m.writer.Next() == driver.LogVotes {
		m.votes.write()
		return
	}
	if m.atCrashPoint(amidWrite) {
		steps := 0
		if p.Drop != 0 || p.Reset != nil {
			steps = m.s.random.faults.IntN(6)
		}
		m.disk.stopIn(steps)
	}
	did := m.writer.Step()
	switch {
	case m.disk.stopped():
		m.dies(m.torn, boundaryNames[amidWrite])
		return
	case did.Failed != nil: // it was made, or it was not
		m.finish(did.Done)
		return
	case did.Lacks != nil:
		if !again {
			m.tell(colorTrouble, "%% no room for %s", run(p.Write.First, p.Write.Last, "a record"))
		}
		m.s.counts.add(countNoSpace, 1)
		m.mustLack(did.Lacks)
		m.votes.lacks = true
		m.votes.waitForRoom(did.Pause)
		m.finish(did.Done)
		return
	}
	m.disk.goesOn()
	m.log.half, m.votes.lacks = 0, false
	if again {
		m.s.counts.add(countRoomAgain, 1)
	}
	m.changed(p, did.Done)
}

// changed goes on after a change: it is synced, if it must be, and answered.
func (m *member) changed(p *replica.Persist, done driver.Done) {
	wait := m.syncTime
	switch {
	case m.writer.Next() == driver.LogSyncs:
		if m.survives(beforeSync) {
			m.later(m.syncTime(), m.sync)
		}
		return
	case p.Drop != 0:
		m.s.counts.add(countHeads, 1)
	case p.Reset != nil:
		m.log.synced(0)
		m.s.counts.add(countResets, 1)
	default:
		wait = m.writeTime
	}
	m.later(wait(), func() { m.persisted(done) })
}

// sync makes what was written durable, unless the disk stands still or fails.
func (m *member) sync() {
	if wait := m.stalled.Sub(m.s.schedule.now); wait > 0 {
		m.later(wait, m.sync)
		return
	}
	if m.doomed {
		m.disk.failSync()
	}
	did := m.writer.Step()
	if did.Failed != nil {
		m.finish(did.Done)
		return
	}
	m.log.synced(0)
	if m.survives(afterSync) {
		m.later(m.wakeTime(), func() { m.persisted(did.Done) })
	}
}

// persisted answers a change, and notes how far the log lasts if nothing more comes.
func (m *member) persisted(done driver.Done) {
	m.s.trace.note(tagPersisted, m.number, m.change.ID, 0)
	m.writing, m.change = false, nil
	run := m.run
	if m.finish(done); m.alive(run) {
		m.votes.goOn()
	}
}

// note does what the writer of a log does that is at rest, at once and, unless
// something is written meanwhile, after a pause.
func (m *member) note() {
	settles := m.writer.Next() == driver.LogSettles
	did := m.writer.Step()
	switch writes := m.writes; {
	case did.Failed != nil:
		m.finish(did.Done)
		return
	case did.Pause > 0:
		m.later(did.Pause, func() {
			if m.writes == writes && !m.writing {
				m.note()
			}
		})
	}
	switch {
	case did.Lacks != nil:
		m.mustLack(did.Lacks)
		if settles {
			m.s.counts.add(countNotesLater, 1)
		}
	case settles:
		m.prepare()
	}
}

// prepare makes the next file of the log, as the log of the runtime does on a goroutine
// of its own, and lets a disk rot whose log is at rest and says so: after a write that
// is not synced it does not.
func (m *member) prepare() {
	switch err := m.wal.Prepare(); {
	case m.noRoom(err):
	case err != nil:
		m.finish(driver.Done{Failed: err})
	case len(m.log.pending) == 0:
		m.rots()
	}
}

// mustLack checks that there is a reason for a log to wait.
func (m *member) mustLack(err error) {
	if !m.noRoom(err) {
		m.s.fail(violated(RuleFault, "%s: the log waits without a cause: %v", m.name, err))
	}
}

// diskFailed tells the replica that a write has failed, lets it say what it still has to
// say, and stops the process.
func (m *member) diskFailed(id uint64, err error) {
	m.finish(driver.Done{Failed: err, Tell: func(r *replica.Replica, now protocol.Instant) { r.Persisted(now, id, err) }})
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
