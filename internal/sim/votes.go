package sim

import (
	"time"

	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// Votes that are written ahead of a change that waits for room.

// votes are what a member's log writer does while a change waits, in one run.
type votes struct {
	m     *member
	vote  *replica.Persist // the newest one
	under bool             // it is being synced
	lacks bool             // the change that is under way has found no room
}

// waitForRoom tries again what has found no room, after a pause.
func (v *votes) waitForRoom(pause time.Duration) {
	m := v.m
	writes := m.writes
	m.later(pause, func() {
		if m.writes == writes && m.writer.Waits() {
			v.goOn()
		}
	})
}

// goOn does what the writer of the log has left to do, unless it is at something.
func (v *votes) goOn() {
	m := v.m
	switch {
	case v.under:
	case m.writer.Next() == driver.LogVotes:
		v.write()
	case !m.writing:
		m.note()
	case m.writer.Next() == driver.LogChanges:
		m.makeChange()
	}
}

// write writes a vote, and syncs it after a while. The machine may die in the middle of
// either.
func (v *votes) write() {
	m := v.m
	s := v.vote.Write.State
	back, err := m.log.vote(m.s.ledger, s.Term, s.Vote, m.log.half)
	if err != nil {
		m.s.fail(err)
		return
	}
	m.log.half++
	if m.atCrashPoint(amidWrite) {
		m.disk.stopIn(0)
	}
	did := m.writer.Step()
	switch {
	case m.disk.stopped():
		m.dies(m.torn, boundaryNames[amidWrite])
		return
	case did.Failed != nil: // it was made, or it was not
		m.finish(did.Done)
		return
	case m.writer.Next() != driver.LogSeals: // there is no room left for votes, either
		back()
		m.s.counts.add(countVotesWait, 1)
		if m.writing {
			m.makeChange()
		} else {
			v.waitForRoom(did.Pause)
		}
		return
	}
	m.disk.goesOn()
	m.log.half--
	v.under = true
	m.tell(colorPlain, "writes ahead: t%d", s.Term)
	if m.survives(beforeSync) {
		m.later(m.syncTime(), v.seal)
	}
}

// seal makes a vote durable, and what waits goes on.
func (v *votes) seal() {
	m := v.m
	if wait := m.stalled.Sub(m.s.schedule.now); wait > 0 {
		m.later(wait, v.seal)
		return
	}
	if m.doomed {
		m.disk.failSync()
	}
	did := m.writer.Step()
	v.under = false
	if did.Failed != nil {
		m.finish(did.Done)
		return
	}
	m.log.synced(m.log.half)
	m.s.counts.add(countVotesAhead, 1)
	if s := v.vote.Write.State; s.Vote != (protocol.MemberID{}) {
		m.s.ledger.ahead[s.Term] = true
	}
	if m.writer.Next() == driver.LogVouches {
		if did := m.writer.Step(); did.Failed != nil {
			m.finish(did.Done)
			return
		}
	}
	if !m.survives(afterSync) {
		return
	}
	m.later(m.wakeTime(), func() { m.finish(did.Done) })
	if v.lacks {
		v.waitForRoom(driver.RoomPause)
	} else {
		v.goOn()
	}
}
