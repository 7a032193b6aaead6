package sim

import (
	"context"
	"errors"

	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
)

// liveRepair repairs the log of a running member: it gives the jobs of
// snapshotter.Rebuilding their times. The log writer does its own between two writes, all
// else is done beside it.
type liveRepair struct {
	*logWriter
	rebuilding snapshotter.Rebuilding
	steps      []repair.Step // that wait
	busy       bool
}

// step has a step done when those before have come to their end.
func (x *liveRepair) step(step *repair.Step) {
	x.steps = append(x.steps, *step)
	x.begin()
}

func (x *liveRepair) begin() {
	for !x.busy && len(x.steps) > 0 {
		step := x.steps[0]
		x.steps = x.steps[1:]
		job, done := x.rebuilding.Begin(x.wal, step)
		x.goOn(&step, job, done)
	}
}

// goOn has the next job of a step done, or says how the step went.
func (x *liveRepair) goOn(step *repair.Step, job *snapshotter.Job, done *repair.Done) {
	x.busy = job != nil
	if done != nil {
		x.done(step, done)
	}
	if job == nil {
		return
	}
	do := func() {
		if err := x.does(job); x.up() {
			next, done := x.rebuilding.Next(err)
			x.goOn(step, next, done)
			x.begin()
		}
	}
	switch {
	case job.Writer:
		x.byWriter(do)
	case job.Reads:
		x.later(x.readTime(), do)
	default:
		x.later(x.writeTime(), do)
	}
}

// byWriter does something while nothing is being written.
func (x *liveRepair) byWriter(do func()) {
	x.later(x.writeTime(), func() {
		if x.writing || x.stalled > x.s.schedule.now {
			x.later(x.syncTime(), func() { x.byWriter(do) })
			return
		}
		do()
	})
}

// does does a job. In the middle of one that writes the machine may die.
func (x *liveRepair) does(job *snapshotter.Job) error {
	if !job.Reads && x.atCrashPoint(amidRepairing) {
		x.disk.stopIn(x.s.random.faults.IntN(24))
	}
	err := job.Do(context.Background())
	if x.disk.stopped() {
		x.dies(x.torn, boundaryNames[amidRepairing])
		return err
	}
	x.disk.goesOn()
	return err
}

// done answers a step.
func (x *liveRepair) done(step *repair.Step, done *repair.Done) {
	if step.Write && done.Err == nil {
		x.s.counts.add(countRepairedRunning, 1)
		x.s.fail(x.alike(step.Found))
	}
	if x.s.failed() {
		return
	}
	if errors.Is(done.Err, protocol.ErrDiskFailed) {
		x.finish(driver.Done{Failed: done.Err, Tell: func(r *replica.Replica, now protocol.Instant) { r.Persisted(now, 0, done.Err) }})
		return
	}
	x.replica.Repaired(x.now(), *done)
	x.serve()
}

// alike checks that what was written again is what the log had there: each
// entry, by the sum of all up to it, that can be read now.
func (x *liveRepair) alike(found [][]protocol.Entry) (err error) {
	x.disk.unseen(func() {
		for _, run := range found {
			for k := range run {
				i := run[k].Index
				got, failed := x.wal.Read(i, i, 1)
				want := x.log.written.sumAt(i)
				if failed == nil && !x.s.ledger.blind && (len(got) != 1 || got[0].Sum != want) {
					err = violated(RuleDurable, "%s has repaired its running log: %d is not what it was", x.name, i)
				}
			}
		}
	})
	return err
}
