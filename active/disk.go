package active

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// disk is what the member knows of its disk. One write is in flight, the next
// one gathers.
//
// Nothing here recognises a write's content by index and term, which is
// ambiguous: entry 100 of term 3 is written, replaced by a leader of term 4,
// and put back by one of term 5 while the first write is still under way. A
// promise hangs on the number of the write that contains it, and a truncation
// lowers what the write in flight still proves.
type disk struct {
	lastID  protocol.WriteID
	written protocol.Index // the log up to here is on disk or in the write in flight
	cut     bool           // the disk holds more than written, which is to go first
	stable  protocol.Index // the log up to here is durable
	durable protocol.HardState
	taking  bool // the first write of the role, with SyncAll, is still to come back

	flight *flight
	waits  bool   // the owner has no room for what it was given; see ahead.go
	ahead  *ahead // of what waits
	held   []held // by the write that gathers
	pace   pace
}

// flight is the write in flight.
type flight struct {
	id     protocol.WriteID
	state  protocol.HardState
	last   protocol.Index // what it makes stable; lowered by truncations
	since  protocol.Instant
	waited bool // for room: what it took says nothing of the disk's pace
	held   []held
}

// held is a message that must not leave before a write is durable.
type held struct {
	to   protocol.MemberID
	term protocol.Term // in which it was made
	msg  protocol.Message
}

// Persisted says that a write, with everything in it, is durable, or what was written ahead
// of it.
func (m *Member) Persisted(now protocol.Instant, id protocol.WriteID) {
	m.advance(now)
	if a := m.disk.ahead; a != nil && a.id == id {
		persistedAhead(m)
		return
	}
	f := m.disk.flight
	if f == nil || f.id != id {
		invariant.Check(false, "write %d persisted, which is not in flight", id)
	}
	m.disk.flight = nil
	if !f.waited {
		m.disk.pace.took(m.now, m.now.Sub(f.since))
	}
	if m.disk.taking && m.alone() {
		m.electionAt = m.now // a timer that fired meanwhile could do nothing
	}
	m.disk.taking = false
	m.disk.durable = f.state
	m.disk.stable = max(m.disk.stable, f.last)
	release(m, f.held)
	switch m.state {
	case StateCandidate:
		m.countOwnVote()
	case StateLeader:
		m.maybeCommit()
		m.due = true
	}
}

// release sends what has waited for a write.
func release(m *Member, list []held) {
	var wait time.Duration // for votes
	if m.state == StateCandidate && asksVotes(list, m.hard.Term) {
		// One's own disk counts: those that are slow together have often written
		// nothing since they are.
		wait = m.disk.pace.stretch(max(m.disk.pace.slowest, m.disk.takes(m.now)))
	}
	if wait > 0 {
		m.armElection()
		m.electionAt = m.electionAt.Add(m.disk.pace.leave(m.now, wait))
	}
	for _, h := range list {
		// Whatever was made in an older term has become useless, and may have
		// become wrong: the vote may be another's, the entries may be gone.
		if h.term != m.hard.Term {
			continue
		}
		if v, ok := h.msg.(*protocol.Vote); ok {
			v.Wait = wait
		}
		m.send(h.to, h.msg)
	}
}

// promise sends a message that is true once everything up to now is durable:
// at once if it is already, otherwise with the write that makes it so.
func (m *Member) promise(to protocol.MemberID, msg protocol.Message, last protocol.Index) {
	d := &m.disk
	if d.holds(m.hard) && last <= d.stable {
		m.send(to, msg)
		return
	}
	m.hold(to, msg)
}

// hold attaches a message to the newest write that there is. What gathers
// contains everything that the member knows now; if nothing gathers, the write
// in flight does.
func (m *Member) hold(to protocol.MemberID, msg protocol.Message) {
	list := &m.disk.held
	if m.disk.flight != nil && !m.hasWork() {
		list = &m.disk.flight.held
	}
	if merge(*list, to, m.hard.Term, msg) {
		return
	}
	*list = append(*list, held{to: to, term: m.hard.Term, msg: msg})
}

// merge turns acknowledgements that wait for the same write into one.
func merge(list []held, to protocol.MemberID, term protocol.Term, msg protocol.Message) bool {
	ack, ok := msg.(*protocol.AppendAnswer)
	if !ok || ack.Reject || ack.Passive {
		return false
	}
	for i := range list {
		h := &list[i]
		if h.to != to || h.term != term {
			continue
		}
		if prior, ok := h.msg.(*protocol.AppendAnswer); ok && !prior.Reject && !prior.Passive {
			prior.Index = max(prior.Index, ack.Index)
			return true
		}
	}
	return false
}

// hasWork reports whether the next write has anything to say. A commit index
// that moved is no reason for one.
func (m *Member) hasWork() bool {
	d := &m.disk
	known := d.durable
	if d.flight != nil {
		known = d.flight.state
	}
	return d.cut || d.written < m.logTerms.LastIndex() || len(d.held) > 0 ||
		known.Term != m.hard.Term || known.Vote != m.hard.Vote
}

func writeWanted(m *Member) bool {
	return m.disk.flight == nil && (m.disk.taking || m.hasWork())
}

// emitWrite puts what has gathered into the Ready, if no write is in flight.
func (m *Member) emitWrite() {
	if !writeWanted(m) {
		return
	}
	d := &m.disk
	last := m.logTerms.LastIndex()
	d.lastID++
	w := &protocol.Write{
		ID: d.lastID, State: m.hard, First: d.written + 1, Last: last,
		Sync: true, SyncAll: d.taking,
	}
	if d.cut {
		w.Truncate, w.After = true, d.written
	}
	d.flight = &flight{id: d.lastID, state: m.hard, last: last, since: m.now, waited: d.waits, held: d.held}
	d.written, d.cut, d.held = last, false, nil
	m.ready.Write = w
}

// lose follows a truncation: what lies above after need not be written, is to
// be cut off if it was, and is proved by no write. Acknowledgements of it that
// wait are taken back. Most were made in an older term and would not leave
// anyway; but the flock and a checkpoint replace entries within a term.
func (d *disk) lose(after protocol.Index) {
	d.takeBack(after)
	if after < d.written {
		d.written, d.cut = after, true
	}
	d.stable = min(d.stable, after)
	if d.flight != nil {
		d.flight.last = min(d.flight.last, after)
	}
}

// takeBack drops the acknowledgements above an index that wait for a write.
func (d *disk) takeBack(after protocol.Index) {
	above := func(h held) bool {
		a, ok := h.msg.(*protocol.AppendAnswer)
		return ok && !a.Reject && a.Index > after
	}
	d.held = slices.DeleteFunc(d.held, above)
	if d.flight != nil {
		d.flight.held = slices.DeleteFunc(d.flight.held, above)
	}
}

// diskStalled gives up leadership, because a member with a hung disk can promise
// nothing while its heartbeats keep everybody else from leading. It names a transferee, as
// whoever steps down: what hangs is its own disk, not what it knows. A candidate keeps
// nobody from leading: it goes on when its disk does, if nobody leads by then.
func (m *Member) diskStalled() {
	switch m.state {
	case StateLeader:
		if leadsOn(m) {
			passOn(m)
			return
		}
		m.nameTransferee()
		m.stepDown(fmt.Sprintf("its disk has not answered for %v", m.now.Sub(m.disk.flight.since)))
	case StatePreCandidate:
		if m.disk.mute(m.now) {
			m.becomeFollower(m.hard.Term, protocol.MemberID{})
		}
	}
}
