package active

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// A disk that is slow is not a disk that is dead. Nothing that a member says
// without a promise waits for its disk: heartbeats, their answers, read rounds,
// pre-votes. [S] A vote does, and so an election takes as long as the disks of its
// voters, whatever the election timeout. So the core measures what its own writes
// take, and grants an election, and a leader's write, as much more time as that
// says:
//
//   - A leader gives up for a write that has no answer after two election timeouts
//     and what two of the slowest writes of late took (see disk.stallAt).
//   - Who grants a pre-vote says what its writes take. A candidate asks for votes
//     when its own is durable, says how long it will wait for the slowest of those
//     that granted it the pre-vote, and waits for that long. Until its own vote is
//     durable, it waits for its disk alone.
//   - Whoever has given a vote leaves the candidate that time: it does not campaign,
//     and grants no pre-vote. A vote of a higher term it gives as ever.
//
// Two writes each, because a vote may find another write under way. What fits into
// half an election timeout costs nothing: with such disks every instant is what it
// would be without this. And nothing here makes anything wait for a voter that is
// dead: a dead one grants no pre-vote.

const (
	// paceElections bounds what slow disks add to any wait, in election timeouts,
	// and paceMax does so in time. Writes of half of that, 5 s, are waited for in
	// full; with slower ones it takes luck to be elected. A disk that stood still for
	// a minute once does not make anybody wait a minute for one that hangs.
	paceElections = 20
	paceMax       = 10 * time.Second
	// paceWindow is for how many election timeouts a slow write counts, at least;
	// up to twice that. Disks that are slow are so again and again: when others
	// flush, or a checkpoint is written.
	paceWindow = 60
)

// pace is what the member knows of how long writes take.
type pace struct {
	election       time.Duration    // the configured timeout
	since          protocol.Instant // when recent began
	recent, before time.Duration    // the slowest write since then, and of the window before
	// slowest is what a write takes at the slowest voter that granted the pre-vote of
	// the election that is under way, and until is when its disks have had their time.
	slowest time.Duration
	until   protocol.Instant
}

// took notes what a write of this member has taken. A window ends with the first
// write after it, so that a member that writes nothing forgets nothing.
func (p *pace) took(now protocol.Instant, d time.Duration) {
	if now >= p.since.Add(paceWindow*p.election) {
		p.since, p.before, p.recent = now, p.recent, 0
	}
	p.recent = max(p.recent, d)
}

// done is the slowest write of late that has come back.
func (p *pace) done() time.Duration { return max(p.recent, p.before) }

// stretch is how much longer to wait for two writes of the given time than an
// election timeout has room for.
func (p *pace) stretch(write time.Duration) time.Duration {
	most := p.stretchMax()
	write = min(write, most) // it may be anything: others say it
	return min(max(2*write-p.election/2, 0), most)
}

func (p *pace) stretchMax() time.Duration { return min(paceElections*p.election, paceMax) }

// leave leaves an election some time from now on, besides that of any election, and
// returns how far that moves the election timeout.
func (p *pace) leave(now protocol.Instant, wait time.Duration) time.Duration {
	wait = min(max(wait, 0), p.stretchMax())
	p.until = now.Add(wait)
	return wait
}

// takes is what a write of this member takes, as far as is known: one that is under way takes as
// long as it has already, at least. Not so one that waits for room, or has waited, nor a vote that
// was written ahead of it, and may wait as well: they say nothing of how slow the disk is.
func (d *disk) takes(now protocol.Instant) time.Duration {
	if f := d.flight; f != nil && !f.waited {
		return max(d.pace.done(), now.Sub(f.since))
	}
	return d.pace.done()
}

// votingSince returns since when the write is under way that a vote would wait for.
func (d *disk) votingSince() (protocol.Instant, bool) {
	switch {
	case d.ahead != nil:
		return d.ahead.since, true
	case d.flight != nil && (!d.waits || d.taking):
		return d.flight.since, true
	}
	return 0, false
}

// stallAt returns when the write in flight will have been unanswered for two
// election timeouts, and as much longer as the writes of late say.
func (d *disk) stallAt() (protocol.Instant, bool) {
	if d.flight == nil {
		return 0, false
	}
	return d.stalls(d.flight.since), true
}

// stalls is when a write will have been unanswered for too long.
func (d *disk) stalls(since protocol.Instant) protocol.Instant {
	return since.Add(2*d.pace.election + d.pace.stretch(d.pace.done()))
}

func (d *disk) stalled(now protocol.Instant) bool {
	at, ok := d.stallAt()
	return ok && now >= at
}

// mute reports whether no vote could be given, because the write that it would wait for
// has no answer.
func (d *disk) mute(now protocol.Instant) bool {
	since, ok := d.votingSince()
	return ok && now >= d.stalls(since)
}

// holds reports whether term and vote are durable.
func (d *disk) holds(h protocol.HardState) bool {
	return d.durable.Term == h.Term && d.durable.Vote == h.Vote
}

// asksVotes reports whether requests for votes of a term are among what goes.
func asksVotes(list []held, term protocol.Term) bool {
	return slices.ContainsFunc(list, func(h held) bool {
		_, vote := h.msg.(*protocol.Vote)
		return vote && h.term == term
	})
}
