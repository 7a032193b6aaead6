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
	LogVotes                  // it writes a vote, ahead of a change that waits for room
	LogSeals                  // it makes the vote durable
	LogVouches                // it makes durable that the vote is, if a change still waits
	LogChanges                // it makes the change: nothing of it is on the disk yet
	LogSyncs                  // it makes the change durable
	LogNotes                  // it notes in the log how far that lasts, if nothing waits to be written
	LogSettles                // it makes the note durable, if nothing came meanwhile
)

// LogWriter makes the changes of a log that a replica orders, one at a time, each in
// steps: a write, a sync if it is asked for, one completion. When nothing more comes it
// lets the log say on disk how far it is durable. It belongs to one goroutine, the only
// one that writes to the log.
//
// A change that finds no room is tried again and again; meanwhile a vote is written ahead
// of it. [S] No state of a later change, of the one that waits neither, is below what such
// votes have said.
type LogWriter struct {
	log    storage.Log
	next   LogStep
	p      *replica.Persist   // under way
	vote   *replica.Persist   // to be written first
	voted  protocol.HardState // term and vote of the newest vote that was
	lacked bool               // the replica knows that p waits
}

// NewLogWriter returns the writer of a log, at rest.
func NewLogWriter(log storage.Log) LogWriter { return LogWriter{log: log} }

// Wrote is what has come of a step.
type Wrote struct {
	Done
	// Lacks, if not nil, is why the log cannot go on in a new file for now. Nothing was
	// changed, and the step is tried again after Pause; the replica is told so once.
	Lacks error
	// Pause is before the next step, unless a change comes first.
	Pause time.Duration
}

// Begin begins a change. None is under way, but for a vote; or it is a vote, while there is
// no other.
func (w *LogWriter) Begin(p *replica.Persist) {
	if p.Vote {
		w.vote = p
	} else {
		w.p, w.lacked = p, false
	}
	if w.next != LogSyncs && w.next != LogSeals {
		w.next = w.first()
	}
}

// first is the step with which what is under way begins.
func (w *LogWriter) first() LogStep {
	switch {
	case w.vote != nil:
		return LogVotes
	case w.p != nil:
		return LogChanges
	}
	return LogNotes
}

// Next says what Step does.
func (w *LogWriter) Next() LogStep { return w.next }

// Waits reports whether something is under way that has found no room: nothing else may be
// done with the log before it is made, but what Begin says.
func (w *LogWriter) Waits() bool { return w.p != nil || w.vote != nil }

// Step does what is next. It makes one call of the log.
func (w *LogWriter) Step() Wrote {
	switch w.next {
	case LogVotes:
		return w.writeVote()
	case LogSeals:
		p := w.vote
		w.vote, w.next = nil, LogVouches
		if w.p == nil {
			w.next = LogNotes
		}
		return w.persisted(p, w.log.Sync())
	case LogVouches:
		w.next = LogChanges
		err := w.log.Settle()
		if errors.Is(err, protocol.ErrNoSpace) {
			return Wrote{} // the room for votes is used up
		}
		return w.noted(err, 0)
	case LogChanges:
		return w.change()
	case LogSyncs:
		err := w.log.Sync()
		return w.changed(err)
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

// writeVote writes the vote. Where the room for votes is used up the change that waits is
// tried: it may free some.
func (w *LogWriter) writeVote() Wrote {
	s := w.vote.Write.State
	err := w.log.WriteVote(s.Term, s.Vote)
	switch {
	case err == nil:
		w.next, w.voted = LogSeals, w.voted.Noting(s.Term, s.Vote)
	case !errors.Is(err, protocol.ErrNoSpace):
		p := w.vote
		return w.persisted(p, err)
	case w.p == nil:
		return Wrote{Lacks: err, Pause: RoomPause}
	default:
		w.next = LogChanges
	}
	return Wrote{}
}

// change makes the change, or nothing at all.
func (w *LogWriter) change() Wrote {
	p := w.p
	write := p.Write
	write.State = write.State.Noting(w.voted.Term, w.voted.Vote)
	var err error
	var begin storage.Begin
	switch {
	case p.Drop != 0:
		begin, err = w.log.DropHead(p.Drop)
	case p.Reset != nil:
		err = w.log.Reset(*p.Reset, write.State)
	default:
		err = w.log.Write(write, p.Entries)
	}
	if errors.Is(err, protocol.ErrNoSpace) {
		w.next = w.first()
		did := Wrote{Lacks: err, Pause: RoomPause}
		if !w.lacked {
			w.lacked = true
			did.Tell = func(r *replica.Replica, now protocol.Instant) { r.Waits(now, p.ID) }
		}
		return did
	}
	switch {
	case p.Drop != 0:
		w.p = nil
		w.next = w.first()
		return w.told(err, func(r *replica.Replica, now protocol.Instant) { r.Dropped(now, p.ID, begin, err) })
	case err == nil && p.Reset == nil && (p.Write.Sync || p.Write.SyncAll):
		w.next = LogSyncs
		return Wrote{}
	}
	return w.changed(err)
}

// changed ends the change, and says how it went.
func (w *LogWriter) changed(err error) Wrote {
	p := w.p
	w.p = nil
	w.next = w.first()
	return w.persisted(p, err)
}

// persisted says how a write went.
func (w *LogWriter) persisted(p *replica.Persist, err error) Wrote {
	id := p.ID
	return w.told(err, func(r *replica.Replica, now protocol.Instant) { r.Persisted(now, id, err) })
}

// told ends a change. [S] After an error nobody knows what is on the disk: nothing more
// is written, and the replica acknowledges nothing more.
func (w *LogWriter) told(err error, tell func(*replica.Replica, protocol.Instant)) Wrote {
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
