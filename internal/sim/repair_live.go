package sim

import (
	"context"
	"errors"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// liveRepair repairs the log of a running member, as the runtime's repairer does: the log
// writer ends a segment and puts the new file in the place of the old one, between two
// writes; all else is read and written beside it.
type liveRepair struct {
	m       *member
	rebuild storage.Rebuild // under way; nil: none
}

// step does one step.
func (x *liveRepair) step(step *replica.RepairStep) {
	m := x.m
	switch {
	case step.Stop:
		x.forget()
	case step.Write:
		m.later(m.writeTime(), func() { x.write(step) })
	default:
		x.byWriter(func() {
			x.forget()
			if err := x.writes(func() error { return m.wal.EndSegment(step.Look) }); !m.up() || err != nil {
				x.done(replica.RepairDone{ID: step.ID, Err: err})
				return
			}
			m.later(m.readTime(), func() { x.look(step) })
		})
	}
}

// byWriter does something while nothing is being written.
func (x *liveRepair) byWriter(do func()) {
	m := x.m
	m.later(m.writeTime(), func() {
		if m.writing || m.stalled > m.s.schedule.now {
			m.later(m.syncTime(), func() { x.byWriter(do) })
			return
		}
		do()
	})
}

// writes does something that writes, in the middle of which the machine may die.
func (x *liveRepair) writes(do func() error) error {
	m := x.m
	if m.fused(amidRepairing) {
		m.disk.stopIn(m.s.random.faults.IntN(24))
	}
	err := do()
	if m.disk.stopped() {
		m.s.crash(m, m.torn, boundaryNames[amidRepairing])
		return err
	}
	m.disk.goesOn()
	return err
}

func (x *liveRepair) look(step *replica.RepairStep) {
	rebuild, err := x.m.wal.Rebuild(context.Background(), step.Look)
	done := replica.RepairDone{ID: step.ID, Err: err}
	if err == nil {
		x.rebuild = rebuild
		done.Lost, done.Sound = rebuild.Lost(), rebuild.Sound()
	}
	x.done(done)
}

func (x *liveRepair) write(step *replica.RepairStep) {
	m := x.m
	if x.rebuild == nil {
		x.done(replica.RepairDone{ID: step.ID, Err: protocol.ErrInvalid.With("nothing was looked for")})
		return
	}
	if err := x.writes(func() error { return x.rebuild.Write(context.Background(), step.Found) }); !m.up() || err != nil {
		x.done(replica.RepairDone{ID: step.ID, Err: err})
		return
	}
	x.byWriter(func() {
		if x.rebuild == nil {
			return // given up meanwhile
		}
		err := x.writes(x.rebuild.Switch)
		if m.up() && err == nil {
			m.s.counts.add(countRepairedRunning, 1)
			m.s.fail(x.alike(step.Found))
		}
		x.done(replica.RepairDone{ID: step.ID, Err: err})
	})
}

// done answers a step, unless the process has died in it.
func (x *liveRepair) done(done replica.RepairDone) {
	m := x.m
	if !m.up() || m.s.failed() {
		return
	}
	if done.Err != nil || done.Sound {
		x.forget()
	}
	if errors.Is(done.Err, protocol.ErrDiskFailed) {
		m.diskFailed(0, done.Err)
		return
	}
	m.replica.Repaired(m.now(), done)
	m.serve()
}

func (x *liveRepair) forget() {
	if x.rebuild != nil {
		x.rebuild.Close()
		x.rebuild = nil
	}
}

// alike checks that what was written again is what the log had there: each
// entry, by the sum of all up to it, that can be read now.
func (x *liveRepair) alike(found [][]protocol.Entry) (err error) {
	m := x.m
	x.rebuild = nil
	m.disk.unseen(func() {
		for _, run := range found {
			for k := range run {
				i := run[k].Index
				got, failed := m.wal.Read(i, i, 1)
				want := m.log.written.sumAt(i)
				if failed == nil && !m.s.ledger.blind && (len(got) != 1 || got[0].Sum != want) {
					err = violated(RuleDurable, "%s has repaired its running log: %d is not what it was", m.name, i)
				}
			}
		}
	})
	return err
}
