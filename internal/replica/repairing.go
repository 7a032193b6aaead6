package replica

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

const (
	// A place that has failed repairAfter times is repaired: what passes, passes sooner.
	repairAfter = 3
	// repairPatience is how long the others are asked for one run of entries, and
	// repairPatienceMax if it comes in pieces.
	repairPatience, repairPatienceMax = 5 * time.Second, time.Minute
	// repairPause is when a place that could not be repaired is tried again, doubled each
	// time up to repairPauseMax.
	repairPause, repairPauseMax = 30 * time.Second, 10 * time.Minute
)

// repairPhase is how far the repair of a place is.
type repairPhase uint8

const (
	repairNone   repairPhase = iota
	repairLooks              // the log looks what is lost with it
	repairAsks               // the others are asked for it
	repairWrites             // the log writes it
)

// repairing is the place of the log that is being repaired, if any: what the file lacks
// that it lies in is asked of the others, and written again.
//
// [S] What counts as an answer is decided by log sums (internal/repair), as before a
// start: entries lead from the sum before the lost ones to the one that the next good
// record states, or they are not what was lost. That an active has committed something
// else there does not matter here: it is for Raft to say so.
type repairing struct {
	ground
	places *unreadable
	disk   *disk
	repairRun
}

// repairRun is how far the repairing of a place is.
type repairRun struct {
	phase  repairPhase
	id     uint64 // of the step that is awaited
	place  protocol.Range
	lost   []storage.Lost
	found  [][]protocol.Entry // of lost, in order
	core   *repair.Core
	until  protocol.Instant
	limit  protocol.Instant
	helped []protocol.MemberID // whose entries found has
}

// RepairStep is one step of the repair of a running log. Exactly one of Look, Found and
// Stop is set. The first two are answered by Repaired.
type RepairStep struct {
	ID uint64
	// Look asks what the file with an entry lacks (storage.Rebuilder).
	Look protocol.Index
	// Write says that the file is to be written again, with Found, and to be put in the
	// place of the old one.
	Write bool
	Found [][]protocol.Entry
	// Stop says that it is given up.
	Stop bool
}

// RepairDone answers a RepairStep.
type RepairDone struct {
	ID uint64
	// Lost is what is lacking, Sound says that nothing is wrong.
	Lost  []storage.Lost
	Sound bool
	Err   error
}

// tick begins to repair a place when it is time, and asks on.
func (m *repairing) tick(now protocol.Instant) {
	switch m.phase {
	case repairNone:
		if p := m.places.toRepair(now); p != nil {
			m.repairRun = repairRun{phase: repairLooks, id: m.id + 1, place: p.entries}
			m.out.Repair = &RepairStep{ID: m.id, Look: max(p.entries.First, m.log.shape().FirstIndex())}
		}
	case repairAsks:
		if now >= m.core.Deadline() {
			m.core.Tick(now)
		}
		m.follow(now)
		if m.phase == repairAsks && now >= m.until {
			x := m.lost[len(m.found)]
			m.giveUp(now, fmt.Errorf("none of %d other members gives entries %d to %d as they were", len(m.flock.peers), x.After+1, x.Last), true)
		}
	}
}

// deadline returns when tick is wanted.
func (m *repairing) deadline() protocol.Instant {
	switch m.phase {
	case repairAsks:
		return min(m.core.Deadline(), m.until)
	case repairNone:
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
	return math.MaxInt64
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

// Repaired answers a RepairStep.
func (r *Replica) Repaired(now protocol.Instant, done RepairDone) {
	r.unreadable.repairing.done(now, done)
	r.pump(now)
}

// done takes the answer to the step that is awaited.
func (m *repairing) done(now protocol.Instant, done RepairDone) {
	if done.ID != m.id || m.phase != repairLooks && m.phase != repairWrites {
		return
	}
	switch {
	case done.Err != nil:
		m.giveUp(now, done.Err, errors.Is(done.Err, protocol.ErrInvalid))
	case m.phase == repairWrites:
		m.finish(now)
	case m.phase == repairLooks && done.Sound:
		m.stop()
		m.places.again(now, m.place)
	case m.phase == repairLooks:
		m.phase, m.lost = repairAsks, done.Lost
		m.next(now)
	}
}

// next asks for the next run that is lost, or has what was found written.
func (m *repairing) next(now protocol.Instant) {
	if len(m.found) == len(m.lost) {
		m.phase, m.id, m.core = repairWrites, m.id+1, nil
		m.out.Repair = &RepairStep{ID: m.id, Write: true, Found: m.found}
		return
	}
	x := m.lost[len(m.found)]
	// A log of which these entries are lost, and nothing else is known.
	begin := storage.Begin{Index: x.After, Sum: x.Sum, Configuration: protocol.ConfigurationAt{Index: 1}}
	rec := &storage.Recovered{State: protocol.HardState{Commit: x.Last}, Damage: &storage.Damage{Begin: begin, Good: []storage.Range{
		{After: x.After, Sum: x.Sum, Last: x.After, LastSum: x.Sum}, {After: x.Last, Sum: x.LastSum, Last: x.Last, LastSum: x.LastSum},
	}}}
	m.until, m.limit = now.Add(repairPatience), now.Add(repairPatienceMax)
	m.core = repair.New(now, repair.Config{ID: m.cfg.ID, Seed: m.cfg.Seed ^ m.id}, rec, nothingElse{}, nil)
	m.core.SetPeers(now, m.flock.peers)
	m.follow(now)
}

// nothingElse is what can be read of a log of which nothing is known.
type nothingElse struct{}

// Read implements repair.Log.
func (nothingElse) Read(first, _ protocol.Index, _ int) ([]protocol.Entry, error) {
	return nil, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: entry %d", first))
}

// receive takes what another member has sent.
func (m *repairing) receive(now protocol.Instant, from protocol.MemberID, answer *protocol.Repair) {
	if m.phase != repairAsks {
		return
	}
	if len(answer.Entries) > 0 {
		m.until = min(now.Add(repairPatience), m.limit)
	}
	m.core.Receive(now, from, answer)
	m.follow(now)
}

// setPeers follows who can be asked.
func (m *repairing) setPeers(now protocol.Instant) {
	if m.phase == repairAsks {
		m.core.SetPeers(now, m.flock.peers)
		m.follow(now)
	}
}

// follow sends what the core asks, and takes its verdict.
func (m *repairing) follow(now protocol.Instant) {
	for _, e := range m.core.Ready().Messages {
		m.out.Send = append(m.out.Send, Send{Envelope: e})
	}
	x, v := m.lost[len(m.found)], m.core.Verdict()
	switch {
	case v.Plan != nil && v.Plan.Begin == nil && v.Plan.Last == x.Last && v.Plan.Sum == x.LastSum:
		m.found = append(m.found, slices.Concat(v.Plan.Patches...))
		for _, id := range m.core.Givers() {
			if !slices.Contains(m.helped, id) {
				m.helped = append(m.helped, id)
			}
		}
		m.next(now)
	case v.Plan != nil:
		m.giveUp(now, errors.New("an active has committed other entries there than this member holds"), true)
	case v.Lost != nil:
		m.giveUp(now, v.Lost, true)
	}
}

// finish says that the place is written again: whoever waits for it reads on.
func (m *repairing) finish(now protocol.Instant) {
	text := fmt.Sprintf("the log could not be read at entries %d to %d, which are written again", m.place.First, m.place.Last)
	var names []string
	for _, id := range m.helped {
		names = append(names, m.flock.labelOf(id))
	}
	if len(names) > 0 {
		text += ", from " + strings.Join(names, ", ")
	}
	m.out.event(protocol.EventRepaired, text)
	m.places.again(now, m.place)
	m.repairRun = repairRun{id: m.id}
}

// giveUp leaves the place as it is, for now. [S] Nothing of the log has changed: a log
// that has failed says so itself. It is hopeless if nobody gives what is lacking, or
// the log cannot take it; a disk that is full, say, has what it needs tomorrow.
func (m *repairing) giveUp(now protocol.Instant, why error, hopeless bool) {
	m.stop()
	p := m.places.at(m.place.First)
	if p == nil {
		return
	}
	p.hopeless = p.hopeless || hopeless
	p.repairPause = min(max(2*p.repairPause, repairPause), repairPauseMax)
	p.repairAt = now.Add(p.repairPause)
	text := fmt.Sprintf("entries %d to %d cannot be repaired: %v; it is tried again in %v", m.place.First, m.place.Last, why, p.repairPause)
	if m.places.bereft() == p {
		text += "; the state goes on from a checkpoint of the others as soon as there is one"
	}
	kind := protocol.EventRefused
	if u := m.places; now >= u.complainAt { // of a disk that fails as a whole, once
		kind, u.complainAt = protocol.EventUnreadable, now.Add(repairPause)
	}
	m.out.event(kind, text)
}

// stop gives up what is under way.
func (m *repairing) stop() {
	if m.phase == repairLooks || m.phase == repairAsks {
		m.out.Repair = &RepairStep{Stop: true}
	}
	m.repairRun = repairRun{id: m.id, place: m.place}
}

// String says how far it is, or is empty.
func (m *repairing) String() string {
	switch m.phase {
	case repairAsks:
		x := m.lost[len(m.found)]
		return fmt.Sprintf("; it is being repaired: entries %d to %d are asked of the others", x.After+1, x.Last)
	case repairLooks, repairWrites:
		return "; it is being repaired"
	}
	return ""
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
