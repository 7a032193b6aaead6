package sim

import (
	"time"

	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// logWriter gives the steps of a log's writer their times, in one run of the process.
type logWriter struct {
	*witnessed
	driver.LogWriter
	rests func() // the log is at rest, and says so

	change  *replica.Persist // that it makes; nil: none
	writes  uint64           // begun
	writing bool             // one is under way
	// Of votes that are written ahead of a change that waits for room: the newest one,
	// whether it is being synced, and whether the change has found no room.
	vote         *replica.Persist
	under, lacks bool
}

// persist begins a change of the log: what is written is written at once, and synced
// later.
func (x *logWriter) persist(p *replica.Persist) {
	if x.failing {
		x.s.fail(violated(RuleFault, "%s writes on after its disk has failed", x.name))
		return
	}
	if !x.survives(beforeWrite) {
		return
	}
	x.writes++
	if p.Vote {
		x.vote = p
		x.Begin(p)
		if x.Next() == driver.LogVotes { // else what has waited is being synced
			x.writeVote()
		}
		return
	}
	if err := x.follows(p); err != nil {
		x.s.fail(err)
		return
	}
	if p.Drop == 0 {
		x.log.half++
	}
	x.change, x.writing, x.lacks = p, true, false
	x.Begin(p)
	x.makeChange()
}

// makeChange makes the change. A machine that dies in the middle of it has done a
// part; a process that dies while it waits for room has done nothing.
func (x *logWriter) makeChange() {
	if x.under {
		return // it goes on after that
	}
	p, again, most := x.change, x.lacks, 1
	if x.Next() == driver.LogVotes {
		x.writeVote()
		return
	}
	if p.Drop != 0 || p.Reset != nil {
		most = 6
	}
	did, ok := x.step(most)
	switch {
	case !ok:
		return
	case did.Lacks != nil:
		if !again {
			x.tell(colorTrouble, "%% no room for %s", run(p.Write.First, p.Write.Last, "a record"))
		}
		x.s.counts.add(countNoSpace, 1)
		x.mustLack(did.Lacks)
		x.lacks = true
		x.waitForRoom(did.Pause)
		x.finish(did.Done)
		return
	}
	x.disk.goesOn()
	x.log.half, x.lacks = 0, false
	if again {
		x.s.counts.add(countRoomAgain, 1)
	}
	x.changed(p, did.Done)
}

// step writes to the disk. The machine may die in the middle of it, after fewer than most
// operations. It reports whether the process goes on.
func (x *logWriter) step(most int) (did driver.Wrote, ok bool) {
	if x.atCrashPoint(amidWrite) {
		steps := 0
		if most > 1 {
			steps = x.s.random.faults.IntN(most)
		}
		x.disk.stopIn(steps)
	}
	did = x.Step()
	switch {
	case x.disk.stopped():
		x.dies(x.torn, boundaryNames[amidWrite])
	case did.Failed != nil: // it was made, or it was not
		x.finish(did.Done)
	default:
		return did, true
	}
	return did, false
}

// changed goes on after a change: it is synced, if it must be, and answered.
func (x *logWriter) changed(p *replica.Persist, done driver.Done) {
	wait := x.syncTime
	switch {
	case x.Next() == driver.LogSyncs:
		if x.survives(beforeSync) {
			x.later(x.syncTime(), func() {
				x.sync(func(done driver.Done) {
					x.log.synced(0)
					if x.survives(afterSync) {
						x.later(x.wakeTime(), func() { x.persisted(done) })
					}
				})
			})
		}
		return
	case p.Drop != 0:
		x.s.counts.add(countHeads, 1)
	case p.Reset != nil:
		x.log.synced(0)
		x.s.counts.add(countResets, 1)
	default:
		wait = x.writeTime
	}
	x.later(wait(), func() { x.persisted(done) })
}

// sync makes what was written durable, unless the disk stands still or fails.
func (x *logWriter) sync(then func(driver.Done)) {
	if wait := x.stalled.Sub(x.s.schedule.now); wait > 0 {
		x.later(wait, func() { x.sync(then) })
		return
	}
	if x.doomed {
		x.disk.failSync()
	}
	did := x.Step()
	if did.Failed != nil {
		x.finish(did.Done)
		return
	}
	then(did.Done)
}

// persisted answers a change, and notes how far the log lasts if nothing more comes.
func (x *logWriter) persisted(done driver.Done) {
	x.s.trace.note(tagPersisted, x.number, x.change.ID, 0)
	x.writing, x.change = false, nil
	run := x.run
	if x.finish(done); x.alive(run) {
		x.goOn()
	}
}

// goOn does what there is left to do, unless it is at something.
func (x *logWriter) goOn() {
	switch {
	case x.under:
	case x.Next() == driver.LogVotes:
		x.writeVote()
	case !x.writing:
		x.note()
	case x.Next() == driver.LogChanges:
		x.makeChange()
	}
}

// waitForRoom tries again what has found no room, after a pause.
func (x *logWriter) waitForRoom(pause time.Duration) {
	writes := x.writes
	x.later(pause, func() {
		if x.writes == writes && x.Waits() {
			x.goOn()
		}
	})
}

// writeVote writes a vote, and syncs it after a while. The machine may die in the middle of
// either.
func (x *logWriter) writeVote() {
	s := x.vote.Write.State
	back, err := x.log.vote(x.s.ledger, s.Term, s.Vote, x.log.half)
	if err != nil {
		x.s.fail(err)
		return
	}
	x.log.half++
	did, ok := x.step(1)
	switch {
	case !ok:
		return
	case x.Next() != driver.LogSeals: // there is no room left for votes, either
		back()
		x.s.counts.add(countVotesWait, 1)
		if x.writing {
			x.makeChange()
		} else {
			x.waitForRoom(did.Pause)
		}
		return
	}
	x.disk.goesOn()
	x.log.half--
	x.under = true
	x.tell(colorPlain, "writes ahead: t%d", s.Term)
	if x.survives(beforeSync) {
		x.later(x.syncTime(), func() { x.sync(x.sealed) })
	}
}

// sealed goes on after a vote that is durable, with what waits.
func (x *logWriter) sealed(done driver.Done) {
	x.under = false
	x.log.synced(x.log.half)
	x.s.counts.add(countVotesAhead, 1)
	if s := x.vote.Write.State; s.Vote != (protocol.MemberID{}) {
		x.s.ledger.ahead[s.Term] = true
	}
	if x.Next() == driver.LogVouches {
		if did := x.Step(); did.Failed != nil {
			x.finish(did.Done)
			return
		}
	}
	if !x.survives(afterSync) {
		return
	}
	x.later(x.wakeTime(), func() { x.finish(done) })
	if x.lacks {
		x.waitForRoom(driver.RoomPause)
	} else {
		x.goOn()
	}
}

// note does what the writer of a log does that is at rest, at once and, unless
// something is written meanwhile, after a pause.
func (x *logWriter) note() {
	settles := x.Next() == driver.LogSettles
	did := x.Step()
	switch writes := x.writes; {
	case did.Failed != nil:
		x.finish(did.Done)
		return
	case did.Pause > 0:
		x.later(did.Pause, func() {
			if x.writes == writes && !x.writing {
				x.note()
			}
		})
	}
	switch {
	case did.Lacks != nil:
		x.mustLack(did.Lacks)
		if settles {
			x.s.counts.add(countNotesLater, 1)
		}
	case settles:
		x.prepare()
	}
}

// prepare makes the next file of the log, as the log of the runtime does on a goroutine
// of its own, and lets a disk rot whose log is at rest and says so: after a write that
// is not synced it does not.
func (x *logWriter) prepare() {
	switch err := x.wal.Prepare(); {
	case x.noRoom(err):
	case err != nil:
		x.finish(driver.Done{Failed: err})
	case len(x.log.pending) == 0:
		x.rests()
	}
}

// mustLack checks that there is a reason for a log to wait.
func (x *logWriter) mustLack(err error) {
	if !x.noRoom(err) {
		x.s.fail(violated(RuleFault, "%s: the log waits without a cause: %v", x.name, err))
	}
}
