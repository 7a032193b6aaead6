package runtime

import (
	"errors"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// repairer writes lost parts of the log again while the member runs: a goroutine that
// reads and writes files of its own, beside the log writer and the readers.
type repairer struct {
	steps queue[replica.RepairStep]
	// jobs are for the log writer: the two moments at which the log itself changes.
	jobs    chan logJob
	rebuild storage.Rebuild // under way; the goroutine's
}

// logJob is a change of the log that the replica does not order.
type logJob struct {
	do   func() error
	done chan error
}

func newRepairer() repairer {
	return repairer{steps: newQueue[replica.RepairStep](), jobs: make(chan logJob)}
}

// run takes one step after the other.
func (x *repairer) run(m *Member) {
	defer x.forget()
	x.steps.serve(m.stop, func(step replica.RepairStep) bool {
		done := replica.RepairDone{ID: step.ID}
		switch {
		case step.Look != 0:
			done.Err = x.look(m, step.Look)
			if done.Err == nil {
				done.Lost, done.Sound = x.rebuild.Lost(), x.rebuild.Sound()
			}
		case step.Write:
			done.Err = x.write(m, step.Found)
		default:
			x.forget()
			return true
		}
		return m.mailbox.complete(func(now protocol.Instant) { m.replica.Repaired(now, done) })
	})
}

// look finds what the file with an entry lacks.
func (x *repairer) look(m *Member, i protocol.Index) error {
	x.forget()
	log, ok := m.log.(storage.Rebuilder)
	if !ok {
		return protocol.ErrInvalid.With("the log is in memory only")
	}
	if err := x.byWriter(m, func() error { return log.EndSegment(i) }); err != nil {
		return err
	}
	var err error
	x.rebuild, err = log.Rebuild(m.life, i)
	return err
}

// write writes the file again, and puts it in the place of the old one.
func (x *repairer) write(m *Member, found [][]protocol.Entry) error {
	if x.rebuild == nil {
		return protocol.ErrInvalid.With("nothing was looked for")
	}
	defer x.forget()
	if err := x.rebuild.Write(m.life, found); err != nil {
		return err
	}
	return x.byWriter(m, x.rebuild.Switch)
}

func (x *repairer) forget() {
	if x.rebuild != nil {
		x.rebuild.Close()
		x.rebuild = nil
	}
}

// byWriter has the log writer do something. What it has taken it does.
func (x *repairer) byWriter(m *Member, do func() error) error {
	job := logJob{do, make(chan error, 1)}
	select {
	case x.jobs <- job:
		return <-job.done
	case <-m.stop:
		return protocol.ErrClosed
	}
}

// serve does what the repairer has asked for, and reports whether the log lives. Only a
// log that has failed ends its member.
func (j *logJob) serve(m *Member) bool {
	err := m.syncs.during(j.do)
	j.done <- err
	if errors.Is(err, protocol.ErrDiskFailed) {
		m.failDisk(err)
		return false
	}
	return true
}
