package member

import (
	"errors"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

const (
	// SettleAfter is how long the log writer waits for more before it makes the note
	// of how far the log lasts durable.
	SettleAfter = 50 * time.Millisecond
	// RoomPause is between two attempts to write where the log cannot go on in a new
	// file: the disk is full, or something else is lacking that may come.
	RoomPause = 500 * time.Millisecond
)

// LogStep is what a LogWriter does next.
type LogStep uint8

// The steps, in the order in which a write goes through them.
const (
	LogRests   LogStep = iota // nothing: it waits for a change
	LogChanges                // it makes the change: nothing of it is on the disk yet
	LogSyncs                  // it makes the change durable
	LogNotes                  // it notes in the log how far that lasts, if nothing waits to be written
	LogSettles                // it makes the note durable, if nothing came meanwhile
)

// LogWriter makes the changes of a log that a replica orders, one at a time, each in
// steps: a write, a sync if it is asked for, one completion. When nothing more comes it
// lets the log say on disk how far it is durable. It belongs to one goroutine, the only
// one that writes to the log.
type LogWriter struct {
	log  storage.Log
	next LogStep
	p    *replica.Persist // under way
}

// NewLogWriter returns the writer of a log, at rest.
func NewLogWriter(log storage.Log) LogWriter { return LogWriter{log: log} }

// Wrote is what has come of a step.
type Wrote struct {
	Done
	// Lacks, if not nil, is why the log cannot go on in a new file for now. Nothing was
	// changed, and the step is tried again after Pause. Meanwhile a leader notices that
	// its disk does not answer, and steps down.
	Lacks error
	// Pause is before the next step, unless a change comes first.
	Pause time.Duration
}

// Begin begins a change. None is under way.
func (w *LogWriter) Begin(p *replica.Persist) { w.p, w.next = p, LogChanges }

// Next says what Step does.
func (w *LogWriter) Next() LogStep { return w.next }

// Waits reports whether a change is under way that has found no room: it must be made
// before another one begins.
func (w *LogWriter) Waits() bool { return w.next == LogChanges }

// Step does what is next. It makes one call of the log.
func (w *LogWriter) Step() Wrote {
	switch w.next {
	case LogChanges:
		return w.change()
	case LogSyncs:
		w.next = LogNotes
		return w.persisted(w.log.Sync())
	case LogNotes:
		w.next = LogSettles
		return w.noted(w.log.Idle(), SettleAfter)
	case LogSettles:
		w.next = LogRests
		err := w.log.Settle()
		if errors.Is(err, protocol.ErrNoSpace) {
			w.next = LogSettles
		}
		return w.noted(err, 0)
	}
	return Wrote{}
}

// change makes the change, or nothing at all.
func (w *LogWriter) change() Wrote {
	p := w.p
	var err error
	var begin storage.Begin
	switch {
	case p.Drop != 0:
		begin, err = w.log.DropHead(p.Drop)
	case p.Reset != nil:
		err = w.log.Reset(*p.Reset, p.Write.State)
	default:
		err = w.log.Write(p.Write, p.Entries)
	}
	if errors.Is(err, protocol.ErrNoSpace) {
		return Wrote{Lacks: err, Pause: RoomPause}
	}
	w.next = LogNotes
	switch {
	case p.Drop != 0:
		return w.told(err, func(r *replica.Replica, now protocol.Instant) { r.Dropped(now, p.ID, begin, err) })
	case err == nil && p.Reset == nil && (p.Write.Sync || p.Write.SyncAll):
		w.next = LogSyncs
		return Wrote{}
	}
	return w.persisted(err)
}

// persisted says how a write went.
func (w *LogWriter) persisted(err error) Wrote {
	id := w.p.ID
	return w.told(err, func(r *replica.Replica, now protocol.Instant) { r.Persisted(now, id, err) })
}

// told ends a change. [S] After an error nobody knows what is on the disk: nothing more
// is written, and the replica acknowledges nothing more.
func (w *LogWriter) told(err error, tell func(*replica.Replica, protocol.Instant)) Wrote {
	w.p = nil
	if err != nil {
		w.next = LogRests
	}
	return Wrote{Done: Done{Tell: tell, Failed: err}}
}

// noted goes on after an attempt to note what is durable. Where the log cannot go on
// for now the note waits: it must not stop a member that waits with its writes as well.
func (w *LogWriter) noted(err error, pause time.Duration) Wrote {
	switch {
	case errors.Is(err, protocol.ErrNoSpace):
		return Wrote{Lacks: err, Pause: RoomPause}
	case err != nil:
		w.next = LogRests
		return Wrote{Done: Done{Failed: err}}
	}
	return Wrote{Pause: pause}
}
