package runtime

import (
	"context"
	"errors"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
)

// repairer writes lost parts of the log again while the member runs: a goroutine that
// reads and writes files of its own, beside the log writer and the readers.
type repairer struct {
	steps queue[repair.Step]
	// jobs are for the log writer.
	jobs chan logJob
}

// logJob is a change of the log that the replica does not order.
type logJob struct {
	do   func() error
	done chan error
}

func newRepairer() repairer {
	return repairer{steps: newQueue[repair.Step](), jobs: make(chan logJob)}
}

// run takes one step after the other.
func (x *repairer) run(m *Member) {
	var r snapshotter.Rebuilding
	defer r.Close()
	x.steps.serve(m.stop, func(step repair.Step) bool {
		job, done := r.Begin(m.log, step)
		for job != nil {
			job, done = r.Next(x.do(m, job))
		}
		return done == nil || m.mailbox.complete(func(now protocol.Instant) { m.replica.Repaired(now, *done) })
	})
}

func (x *repairer) do(m *Member, job *snapshotter.Job) error {
	if job.Writer {
		return x.byWriter(m, func() error { return job.Do(context.Background()) })
	}
	return job.Do(m.life)
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
