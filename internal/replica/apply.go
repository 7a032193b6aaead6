package replica

import (
	"slices"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

const (
	// applyFlights batches may be with the state machine at once: one runs,
	// the next waits.
	applyFlights = 2
	// applyBytesMax and applyReadBytes bound one batch, from memory and from
	// the disk.
	applyBytesMax  = 1 << 20
	applyReadBytes = 4 << 20
)

// applying orders what goes to the state machine.
type applying struct {
	flights []flight
	reading bool
	unfit   string // what the core was told last
}

// CannotApply says that the state machine has stopped for good: what is committed is of
// a type that this program does not know. [S] The member goes on to vote and to store,
// so that it does not cost the quorum, and leads nobody: it would answer nobody. What
// it has in hand has an unknown outcome.
func (r *Replica) CannotApply(now protocol.Instant, why error) {
	r.standing.halt = "it cannot apply what is committed: " + why.Error()
	r.standing.set(halted, true)
	r.failAll(protocol.ErrUnknownOutcome.Because(why))
	r.pump(now)
}

// tellFit tells the core whether this member may lead.
func (a *applying) tellFit(now protocol.Instant, r *Replica) {
	if why := r.standing.unfit(); why != a.unfit {
		a.unfit = why
		r.log.role.SetUnfit(now, why)
	}
}

// flight is a batch, or the adoption of the state at an index, that is with the
// state machine.
type flight struct {
	entries []protocol.Entry
	adopt   protocol.Index
}

// last returns the index that is applied when it has landed.
func (f *flight) last() protocol.Index {
	if f.adopt != 0 {
		return f.adopt
	}
	return f.entries[len(f.entries)-1].Index
}

// adopting reports whether the state of an installed checkpoint is still to take the
// place of the one in force.
func (a *applying) adopting() bool {
	return slices.ContainsFunc(a.flights, func(f flight) bool { return f.adopt != 0 })
}

// handOut gives committed entries to the state machine.
func (r *Replica) handOut() {
	a := &r.apply
	if !r.standing.may(mayApply) {
		return // what comes next is not in the log
	}
	for len(a.flights) < applyFlights && !a.reading && r.log.handed < r.log.commit {
		first := r.log.handed + 1
		if first < r.log.tail.first {
			if r.unreadable.at(first) != nil {
				return
			}
			a.reading = true
			r.fetches.add(r, fetch{purpose: fetchApply, first: first, last: min(r.log.commit, r.log.tail.first-1), bytes: applyReadBytes})
			return
		}
		last := r.log.tail.fit(first, min(r.log.commit, first+protocol.AppendEntriesMax-1), applyBytesMax)
		r.give(r.log.tail.slice(first, last))
	}
}

func (r *Replica) give(entries []protocol.Entry) {
	a := &r.apply
	entries = cut(entries)
	if entries[0].Index != r.log.handed+1 {
		invariant.Check(false, "entry %d handed to the state machine after %d", entries[0].Index, r.log.handed)
	}
	r.log.handed = entries[len(entries)-1].Index
	if r.log.handed > r.log.commit {
		invariant.Check(false, "entry %d handed to the state machine, committed is %d", r.log.handed, r.log.commit)
	}
	a.flights = append(a.flights, flight{entries: entries})
	r.out.Apply = append(r.out.Apply, Apply{Entries: entries, Take: r.take(entries)})
}

// Applied says that the state machine has taken the oldest batch.
func (r *Replica) Applied(now protocol.Instant, done Applied) {
	a := &r.apply
	if len(a.flights) <= 0 {
		invariant.Check(false, "applied %d, nothing was handed out", done.Last)
	}
	f := a.flights[0]
	a.flights = a.flights[1:]
	if f.last() != done.Last {
		invariant.Check(false, "applied %d, handed out up to %d", done.Last, f.last())
	}
	r.log.applied = done.Last
	r.sessions.deadline = done.NextDeadline
	switch {
	case f.adopt != 0:
		r.standing.quarantine.adopting = false
		r.commands.skipped(f.adopt)
		r.reads.serve()
		r.dropHead(now)
	case !r.standing.may(mayKeep) || r.standing.quarantine.adopting: // a state that is given up answers nobody
	default:
		r.marked(now, f.entries, &done)
		r.commands.applied(f.entries, done.Results)
		r.reads.serve()
	}
	r.healed(now)
	r.lead(now)
	r.pump(now)
}
