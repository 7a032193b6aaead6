package snapshotter

import (
	"context"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Rebuilding carries out the steps of the repair of a running log, one job after the
// other: the owner has each done, and says how it went. It takes the next step when the
// one before has come to its end. The zero value has nothing to do.
type Rebuilding struct {
	step    repair.Step
	jobs    []Job // of the step, that are still to be done
	rebuild storage.Rebuild
}

// Job is a part of a step.
type Job struct {
	// Writer says that the log's writer does it, between two writes: these are the two
	// moments at which the log itself changes. All else is done beside it.
	Writer bool
	// Reads says that nothing is written.
	Reads bool
	Do    func(ctx context.Context) error
}

// Begin takes a step, and returns its first job, or how it went, or neither: nothing is
// expected of a step that stops a repair.
func (x *Rebuilding) Begin(log storage.Log, step repair.Step) (*Job, *repair.Done) {
	x.step, x.jobs = step, nil
	if !step.Write {
		x.Close()
	}
	rebuilder, ok := log.(storage.Rebuilder)
	switch {
	case step.Stop:
		return nil, nil
	case !ok:
		return x.Next(protocol.ErrInvalid.With("the log is in memory only"))
	case step.Look != 0:
		x.jobs = []Job{{Writer: true, Do: func(context.Context) error { return rebuilder.EndSegment(step.Look) }}, {Reads: true, Do: func(ctx context.Context) (err error) {
			x.rebuild, err = rebuilder.Rebuild(ctx, step.Look)
			return err
		}}}
	case x.rebuild == nil:
		return x.Next(protocol.ErrInvalid.With("nothing was looked for"))
	default:
		rebuild := x.rebuild
		x.jobs = []Job{{Do: func(ctx context.Context) error { return rebuild.Write(ctx, step.Found) }}, {Writer: true, Do: func(context.Context) error { return rebuild.Switch() }}}
	}
	return x.Next(nil)
}

// Next goes on after a job: with another one, or with how the step went. [S] A file that
// was not written whole, and read again, takes nothing's place.
func (x *Rebuilding) Next(err error) (*Job, *repair.Done) {
	if err == nil && len(x.jobs) > 0 {
		job := x.jobs[0]
		x.jobs = x.jobs[1:]
		return &job, nil
	}
	done := &repair.Done{ID: x.step.ID, Err: err}
	if err == nil && x.step.Look != 0 {
		done.Lost, done.Sound = x.rebuild.Lost(), x.rebuild.Sound()
	}
	if err != nil || x.step.Write {
		x.Close()
	}
	return nil, done
}

// Close forgets what was looked for.
func (x *Rebuilding) Close() {
	if x.rebuild != nil {
		x.rebuild.Close()
		x.rebuild = nil
	}
}
