package replica

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
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
	ground
	reads   *fetches
	places  *unreadable
	formats *formats
	asked   interface {
		expected(first, last protocol.Index) []proposed
	}

	flights []flight
	reading bool
	unfit   string // what the core was told last
}

// tellFit tells the core whether this member may lead.
func (a *applying) tellFit(now protocol.Instant) {
	if why := a.standing.unfit(); why != a.unfit {
		a.unfit = why
		a.log.role.SetUnfit(now, why)
	}
}

// flight is a batch, or the adoption of the state at an index, that is with the
// state machine.
type flight struct {
	entries   []protocol.Entry
	installed protocol.Index
	since     protocol.Instant
}

// last returns the index that is applied when it has landed.
func (f *flight) last() protocol.Index {
	if f.installed != 0 {
		return f.installed
	}
	return f.entries[len(f.entries)-1].Index
}

// underWay is how long the oldest batch of entries has been with the state machine; 0: none is.
func (a *applying) underWay(now protocol.Instant) time.Duration {
	if len(a.flights) == 0 || a.flights[0].installed != 0 {
		return 0
	}
	return now.Sub(a.flights[0].since)
}

// isInstalling reports whether the state of an installed checkpoint is still to take the
// place of the one in force.
func (a *applying) isInstalling() bool {
	return slices.ContainsFunc(a.flights, func(f flight) bool { return f.installed != 0 })
}

// dispatch gives committed entries to the state machine.
func (a *applying) dispatch(now protocol.Instant) {
	if !a.standing.may(mayApply) {
		return // what comes next is not in the log
	}
	upTo := a.formats.appliesTo()
	for len(a.flights) < a.flightsMax() && !a.reading && a.log.handed < upTo {
		first := a.log.handed + 1
		if first < a.log.tail.first {
			if a.places.at(first) != nil {
				return
			}
			a.reading = true
			a.reads.add(fetch{purpose: fetchApply, first: first, last: min(upTo, a.log.tail.first-1), bytes: applyReadBytes})
			return
		}
		last := a.log.tail.fit(first, min(upTo, first+protocol.AppendEntriesMax-1), applyBytesMax)
		a.dispatchRun(now, a.log.tail.slice(first, last))
	}
}

func (a *applying) dispatchRun(now protocol.Instant, entries []protocol.Entry) {
	entries = cut(entries)
	if entries[0].Index != a.log.handed+1 {
		invariant.Check(false, "entry %d handed to the state machine after %d", entries[0].Index, a.log.handed)
	}
	a.log.handed = entries[len(entries)-1].Index
	if a.log.handed > a.log.commit {
		invariant.Check(false, "entry %d handed to the state machine, committed is %d", a.log.handed, a.log.commit)
	}
	if upTo := a.formats.appliesTo(); a.log.handed > upTo {
		invariant.Check(false, "entry %d handed to the state machine, whose format level ends at %d", a.log.handed, upTo)
	}
	a.flights = append(a.flights, flight{entries: entries, since: now})
	a.out.Apply = append(a.out.Apply, Apply{
		Entries: entries, Take: a.take(entries),
		Epoch: a.standing.answering(), expected: a.asked.expected(entries[0].Index, a.log.handed),
	})
}

// cut returns the entries of one batch: those up to the first checkpoint entry, confirmation or ruling, or all.
func cut(entries []protocol.Entry) []protocol.Entry {
	for i := range entries {
		if k := entries[i].Kind; k == protocol.EntryCheckpoint || k.Confirms() {
			return entries[: i+1 : i+1]
		}
	}
	return entries
}

// flightsMax is one while the state waits for its confirmation: whether a checkpoint is built on a state that waits
// is decided when its entry is handed out, and the confirmation may be in the batch before it.
func (a *applying) flightsMax() int {
	if a.standing.in[unconfirmed] {
		return 1
	}
	return applyFlights
}

// take describes the checkpoint that is to be taken after a batch, or returns
// nil if the batch does not end with a checkpoint entry. One that is built on a checkpoint of others waits as that
// one does.
func (a *applying) take(batch []protocol.Entry) *storage.Manifest {
	last := &batch[len(batch)-1]
	if last.Kind != protocol.EntryCheckpoint {
		return nil
	}
	conf, known := a.log.configurations().At(last.Index)
	if !known {
		invariant.Check(false, "the configuration in force at %d is not known", last.Index)
	}
	return &storage.Manifest{Index: last.Index, Term: last.Term, LogSum: last.Sum, Configuration: conf, Installed: a.standing.in[unconfirmed]}
}

// landed takes the oldest of what was handed out, which is applied.
func (a *applying) landed(done protocol.Index) flight {
	if len(a.flights) <= 0 {
		invariant.Check(false, "applied %d, nothing was handed out", done)
	}
	f := a.flights[0]
	a.flights = a.flights[1:]
	if f.last() != done {
		invariant.Check(false, "applied %d, handed out up to %d", done, f.last())
	}
	a.log.applied = done
	return f
}

// installState has the state of an installed checkpoint take the place of the one in force.
func (a *applying) installState(i protocol.Index) {
	a.log.handed = i
	a.flights = append(a.flights, flight{installed: i})
	a.out.Apply = append(a.out.Apply, Apply{Installed: i, Replace: !a.standing.may(mayKeep)})
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

// Applied says that the state machine has taken the oldest batch.
func (r *Replica) Applied(now protocol.Instant, done Applied) {
	f := r.apply.landed(done.Last)
	if f.installed == 0 {
		r.transferees.slow.tempo.applies.add(now.Sub(f.since))
	}
	r.sessions.deadline = done.NextDeadline
	switch {
	case f.installed != 0:
		r.standing.quarantine.installing = false
		r.commands.skipped(f.installed)
		r.reads.serve()
		r.checkpoints.dropHead(now)
	case r.standing.quarantine.installing: // another one takes its place
	default:
		r.checkpoints.atCheckpoint(now, f.entries, &done)
		if r.standing.may(mayKeep) { // a state that is given up, by this checkpoint entry perhaps, answers nobody
			r.commands.applied(f.entries, done.Results)
			r.reads.serve()
		}
	}
	if r.audit.healed() {
		r.apply.tellFit(now)
		r.checkpoints.offer(now)
	}
	r.lead(now)
	r.pump(now)
}
