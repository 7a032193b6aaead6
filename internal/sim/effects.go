package sim

import (
	"errors"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// serve carries out the effects of a step, in their order. The process may die
// at each boundary between two of them.
func (m *member) serve() {
	fx := m.replica.Effects()
	m.observe(fx.Events)
	if !m.histories(&fx) {
		return
	}
	if fx.Persist != nil && !m.persist(fx.Persist) {
		return
	}
	if len(fx.Send) > 0 && !m.send(fx.Send) {
		return
	}
	m.applies = append(m.applies, fx.Apply...)
	for i := range fx.Apply {
		if len(fx.Apply[i].Entries) > 0 {
			m.learns(fx.Apply[i].Entries)
		}
	}
	if !m.startApply() {
		return
	}
	for _, read := range fx.ReadLog {
		m.later(m.readTime(), func() { m.readLog(read) })
	}
	if fx.Repair != nil {
		m.live.step(fx.Repair)
	}
	for i := range fx.Install {
		m.do(func() { m.installStep(&fx.Install[i]) })
	}
	if p := fx.Pin; p != nil {
		m.later(m.readTime(), func() { m.pin(p) })
	}
	for _, x := range fx.ReadChunk {
		m.later(m.readTime(), func() { m.readChunk(x) })
	}
	for _, a := range fx.Answers {
		m.answer(a.Request, a.Result)
	}
	for _, a := range fx.Reads {
		m.readIndex(a)
	}
	if m.s.failed() {
		return
	}
	m.schedule()
}

// persist writes at once and syncs later.
func (m *member) persist(p *replica.Persist) bool {
	if !m.survives(beforeWrite) {
		return false
	}
	if p.Drop != 0 || p.Reset != nil {
		m.writes++
		m.writing = true
		return m.otherwise(p)
	}
	if m.s.trace.on() {
		m.s.trace.tell(m, colorPlain, "%s", m.describeWrite(&p.Write))
	}
	role := m.replica.Status(m.now()).Role
	if err := m.log.persist(m.s.ledger, m.number, role, p.ID, &p.Write, p.Entries); err != nil {
		m.s.fail(err)
		return false
	}
	m.s.trace.note(markPersist, m.number, uint64(p.Write.Last), uint64(p.Write.State.Term))
	if p.Write.Truncate {
		m.s.counts.add(countTruncations, 1)
	}
	m.knows(p.Write.State.Commit)
	m.writes++
	m.writing = true
	if !m.write(p) {
		return m.up() && m.half // one that waits for room goes on without the write
	}
	return m.written(p)
}

// written goes on after a write: it is synced, if it must be, and answered.
func (m *member) written(p *replica.Persist) bool {
	if !p.Write.Sync && !p.Write.SyncAll {
		m.later(m.writeTime(), func() { m.persisted(p.ID, nil) })
		return m.up()
	}
	if !m.survives(beforeSync) {
		return false
	}
	m.later(m.syncTime(), func() { m.sync(p.ID) })
	return true
}

// write hands the write to the operating system. A machine that dies in the
// middle of it has done a part.
func (m *member) write(p *replica.Persist) bool {
	if m.fused(amidWrite) {
		m.disk.stopIn(0)
	}
	err := m.wal.Write(p.Write, p.Entries)
	switch {
	case m.disk.stopped():
		m.half = true
		m.s.crash(m, m.torn, boundaryNames[amidWrite])
		return false
	case m.noRoom(err):
		m.waitForRoom(p)
		return false
	case err != nil:
		m.half = true // it was made, or it was not
		m.diskFailed(p.ID, err)
		return false
	}
	m.half = false
	return true
}

// waitForRoom tries a write again later: nothing of it was written. Meanwhile a
// leader notices that its disk does not answer, and steps down.
func (m *member) waitForRoom(p *replica.Persist) {
	if !m.half {
		m.s.trace.tell(m, colorTrouble, "%% no room for %s", run(p.Write.First, p.Write.Last, "a record"))
	}
	m.s.counts.add(countNoSpace, 1)
	m.half = true // if the process dies now, the write was not made
	m.later(roomPause, func() {
		if m.write(p) {
			m.s.counts.add(countRoomAgain, 1)
			m.written(p)
			if m.up() { // it may have died of that
				m.serve()
			}
		}
	})
}

// sync makes what was written durable, unless the disk stands still or fails.
func (m *member) sync(id uint64) {
	if wait := m.stalled.Sub(m.s.schedule.now); wait > 0 {
		m.later(wait, func() { m.sync(id) })
		return
	}
	if m.doomed {
		m.disk.failSync()
	}
	if err := m.wal.Sync(); err != nil {
		m.diskFailed(id, err)
		return
	}
	m.log.synced()
	if !m.survives(afterSync) {
		return
	}
	m.later(m.wakeTime(), func() {
		m.persisted(id, nil)
		if m.up() && !m.writing {
			m.idle()
		}
	})
}

// persisted answers a write.
func (m *member) persisted(id uint64, err error) {
	m.writing = false
	m.s.trace.note(markPersisted, m.number, id, 0)
	m.replica.Persisted(m.now(), id, err)
	m.serve()
}

// idle notes in the log how far it is durable, at once and, unless something is
// written meanwhile, 50 ms later with a sync.
func (m *member) idle() {
	pause := 50 * time.Millisecond
	if err := m.wal.Idle(); m.noRoom(err) {
		pause = roomPause
	} else if err != nil {
		m.diskFailed(0, err)
		return
	}
	m.settleLog(pause)
}

// settleLog makes the note after a pause, and again while there is no room for it.
func (m *member) settleLog(pause time.Duration) {
	writes := m.writes
	m.later(pause, func() {
		if m.writes != writes || m.writing {
			return
		}
		err := m.wal.Settle()
		if m.noRoom(err) {
			m.s.counts.add(countNotesLater, 1)
			m.settleLog(roomPause)
			return
		}
		if err == nil {
			err = m.wal.Prepare()
		}
		switch {
		case m.noRoom(err):
		case err != nil:
			m.diskFailed(0, err)
		default:
			m.rots()
		}
	})
}

// noRoom reports whether all that failed was that the log gets no new file now, because
// the disk is full or a call has failed: it can wait.
func (m *member) noRoom(err error) bool {
	return errors.Is(err, protocol.ErrNoSpace) && (m.full || m.disk.ails())
}

// diskFailed tells the replica, lets it say what it still has to say, and
// stops the process, as the runtime does.
func (m *member) diskFailed(id uint64, err error) {
	switch {
	case m.doomed:
		m.s.counts.add(countFailedSyncs, 1)
	case m.disk.ails():
		m.s.counts.add(countEndedByACall, 1)
	default:
		m.s.fail(violated(RuleFault, "%s: the disk fails without a cause: %v", m.name, err))
		return
	}
	m.s.trace.tell(m, colorFault, "x its disk has failed: %v", err)
	m.replica.Persisted(m.now(), id, err)
	fx := m.replica.Effects()
	if fx.Persist != nil {
		m.s.fail(violated(RuleFault, "%s writes on after its disk has failed", m.name))
		return
	}
	if !m.send(fx.Send) {
		return
	}
	m.s.crash(m, false, "its disk has failed")
}

// send hands messages to the network, and shows them to the checkers.
func (m *member) send(list []replica.Send) bool {
	if len(list) > 0 && !m.survives(beforeSend) {
		return false
	}
	for i := range list {
		e := &list[i]
		if i > 0 && !m.survives(amidSend) {
			return false
		}
		to := m.route(e.To)
		if _, gone := m.s.graves[e.To]; gone && e.From == m.id {
			continue // to a member that will never be again
		}
		if to == nil || e.From != m.id {
			m.s.fail(violated(RuleFault, "%s sends a %s from %s to %s", m.name, e.Message.Kind(), e.From.Short(), e.To.Short()))
			return false
		}
		if _, answer := e.Message.(*protocol.ForwardAnswer); answer && m.astray != nil && !m.quarantined() {
			continue // of a wrong state: see isWrong
		}
		if m.barred && !e.Message.Kind().OfFlock() {
			continue
		}
		m.shows(e.Message)
		if err := m.log.promises(e.Message, e.To, m.id); err != nil && !m.s.forked {
			m.s.fail(err)
			return false
		}
		m.s.network.send(m, to, e.Message, e.Datagram)
	}
	return len(list) == 0 || m.survives(afterSend)
}

// shows draws what a message proves about its sender.
func (m *member) shows(msg protocol.Message) {
	switch msg := msg.(type) {
	case *protocol.Append:
		m.leads(msg.Term)
		m.knows(msg.Commit)
	case *protocol.Heartbeat:
		m.leads(msg.Term)
		m.knows(msg.Commit)
	case *protocol.VoteAnswer:
		if !msg.Granted && msg.Pre {
			m.s.counts.add(countPreVotesRefused, 1)
		} else if !msg.Granted {
			m.s.counts.add(countVotesRefused, 1)
		}
	case *protocol.Have:
		m.knows(msg.Tip)
	case *protocol.Frame:
		m.s.counts.add(countFrames, 1)
		if msg.Origin == m.id {
			m.knows(msg.Commit)
		}
	case *protocol.Want:
		m.s.counts.add(countRepairs, 1)
	case *protocol.ReadIndex:
		m.s.counts.add(countForwardedReads, 1)
	}
}

// readLog serves a read of the log from the disk.
func (m *member) readLog(r replica.ReadLog) {
	entries, err := m.wal.Read(r.First, r.Last, r.Bytes)
	m.s.counts.add(countLogReads, 1)
	m.replica.LogRead(m.now(), r.ID, entries, err)
	m.serve()
}

// startApply gives the next batch to the state machine, and reports whether the
// process lives on.
func (m *member) startApply() bool {
	if m.busy || len(m.applies) == 0 {
		return true
	}
	if !m.survives(beforeApply) {
		return false
	}
	m.busy = true
	m.later(m.applyTime(len(m.applies[0].Entries)), m.apply)
	return true
}

// applyTime is how long a state machine takes for a batch.
func (m *member) applyTime(entries int) time.Duration {
	return between(m.s.random.members, 10*time.Microsecond, m.s.plan.apply) + time.Duration(entries)*2*time.Microsecond
}
