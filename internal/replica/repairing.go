package replica

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
)

const (
	// A place that has failed repairAfter times is repaired: what passes, passes sooner.
	repairAfter = 3
	// repairPause is when a place that could not be repaired is tried again, doubled each
	// time up to repairPauseMax.
	repairPause, repairPauseMax = 30 * time.Second, 10 * time.Minute
)

// repairing is the repair of a place of the log, if any.
type repairing struct {
	ground
	places *unreadable
	disk   *disk

	place protocol.Range
	repair.Live
}

// tick begins to repair a place when it is time, and asks on.
func (m *repairing) tick(now protocol.Instant) {
	if m.Idle() {
		if p := m.places.toRepair(now); p != nil {
			m.place = p.entries
			m.Begin(repair.Config{ID: m.cfg.ID, Seed: m.cfg.Seed}, max(p.entries.First, m.log.logTerms().FirstIndex()))
		}
	}
	m.Tick(now)
}

// deadline returns when tick is wanted.
func (m *repairing) deadline() protocol.Instant {
	if !m.Idle() {
		return m.Deadline()
	}
	at := protocol.Instant(math.MaxInt64)
	if !m.may() {
		return at
	}
	for k := range m.places.places {
		if p := &m.places.places[k]; p.bad() && p.failed >= repairAfter {
			at = min(at, p.repairAt)
		}
	}
	return at
}

// may reports whether the log may be changed: it is neither kept as it is nor given up.
func (m *repairing) may() bool {
	return m.standing.may(mayChange) && m.disk.failed == nil
}

// toRepair returns the place that is to be repaired next: first the one that stands in the
// way of the state.
func (u *unreadable) toRepair(now protocol.Instant) *place {
	if !u.repairing.may() {
		return nil
	}
	due := func(p *place) bool { return p != nil && p.bad() && p.failed >= repairAfter && now >= p.repairAt }
	if p := u.at(u.log.handed + 1); due(p) && u.stuck() != "" {
		return p
	}
	for k := range u.places {
		if p := &u.places[k]; due(p) {
			return p
		}
	}
	return nil
}

// Repaired answers Effects.Repair.
func (r *Replica) Repaired(now protocol.Instant, done repair.Done) {
	r.unreadable.repairing.Done(now, done)
	r.pump(now)
}

// follow takes what the repair wants done, and its end.
func (m *repairing) follow(now protocol.Instant) {
	e := m.Effects()
	for _, x := range e.Send {
		m.out.Send = append(m.out.Send, Send{Envelope: x})
	}
	if e.Step != nil {
		m.out.Repair = e.Step
	}
	switch {
	case e.End == nil:
	case e.End.Err != nil:
		m.givenUp(now, e.End)
	case e.End.Sound:
		m.places.again(now, m.place)
	default:
		m.finish(now, e.End)
	}
}

// finish says that the place is written again: whoever waits for it reads on.
func (m *repairing) finish(now protocol.Instant, end *repair.LiveEnd) {
	text := fmt.Sprintf("the log could not be read at entries %d to %d, which are written again", m.place.First, m.place.Last)
	var names []string
	for _, id := range end.Helped {
		names = append(names, m.flock.labelOf(id))
	}
	if len(names) > 0 {
		text += ", from " + strings.Join(names, ", ")
	}
	m.out.event(protocol.EventRepaired, text)
	m.places.again(now, m.place)
}

// givenUp leaves the place as it is, for now.
func (m *repairing) givenUp(now protocol.Instant, end *repair.LiveEnd) {
	p := m.places.at(m.place.First)
	if p == nil {
		return
	}
	p.hopeless = p.hopeless || end.Hopeless
	p.repairPause = min(max(2*p.repairPause, repairPause), repairPauseMax)
	p.repairAt = now.Add(p.repairPause)
	text := fmt.Sprintf("entries %d to %d cannot be repaired: %v; it is tried again in %v", m.place.First, m.place.Last, end.Err, p.repairPause)
	if m.places.bereft() == p {
		text += "; the state goes on from a checkpoint of the others as soon as there is one"
	}
	kind := protocol.EventGaveUp
	if u := m.places; now >= u.complainAt { // of a disk that fails as a whole, once
		kind, u.complainAt = protocol.EventUnreadable, now.Add(repairPause)
	}
	m.out.event(kind, text)
}

// again lets all places be read at once: others may have lain in the file that has been
// looked at. Those of the range, if they fail again, are not repaired again soon.
func (u *unreadable) again(now protocol.Instant, entries protocol.Range) {
	for k := range u.places {
		p := &u.places[k]
		if !p.bad() {
			continue
		}
		p.next, p.pause, p.failed = now, readPause, 0
		if entries.First <= p.entries.Last && p.entries.First <= entries.Last {
			p.repairAt, p.repairPause = now.Add(repairPause), 0
		}
	}
}

// bereft returns the place that nobody gives this member and that stands in the way of
// its state: only a checkpoint above it brings that on. Or nil.
func (u *unreadable) bereft() *place {
	if len(u.places) == 0 || u.stuck() == "" {
		return nil
	}
	if p := u.at(u.log.handed + 1); p.hopeless {
		return p
	}
	return nil
}
