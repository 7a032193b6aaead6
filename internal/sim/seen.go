package sim

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/gossip/reunion"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/virtual/memberlist"
	"github.com/starlinghq/starling/protocol"
)

// membership is who each member takes to be alive. The memory of who is not heard, and the
// tries, are those of gossip/reunion, as in the runtime; a model of memberlist tells it who
// lives, over the same links as everything else.
type membership struct {
	s    *supervisor
	pace pacing
}

// pacing is how fast the members find out about each other.
type pacing struct {
	memberlist.Timing
	// try is the mean time between two tries of members that are not heard.
	try time.Duration
	// seedUntil is until when the address means somebody at which all look first; 0: always.
	seedUntil time.Duration
}

// eyes are what one run of a process sees of the others.
type eyes struct {
	w     *membership
	m     *member
	run   uint64
	list  *memberlist.List
	flock *reunion.Flock
	took  func([]protocol.Peer) // takes who is alive

	meta  string                     // what the member announces
	seats *protocol.Configuration    // whom the flock was told that the log names
	at    protocol.Index             // of that configuration
	faded map[protocol.MemberID]bool // whom the model has forgotten, and who is not heard since
	half  split

	died, changed bool
}

// split is how far the others are gone, of those that a member knew last.
type split uint8

const (
	together split = iota
	halfAway       // half of them are not heard
	halfGone       // and forgotten
)

// open begins the view of a process that has started; took hears of changes.
func (w *membership) open(m *member, took func([]protocol.Peer)) {
	e := &eyes{w: w, m: m, run: m.run, took: took, faded: map[protocol.MemberID]bool{}}
	m.eyes = e
	if m.given == nil {
		m.given = w.founders(m)
	}
	r := w.s.random.membership
	e.flock = reunion.New(e.instant(), reunion.Config{Self: m.id, Interval: w.pace.try, Rand: r, Known: m.known, Addresses: m.given})
	e.meta = e.announcement()
	e.list = memberlist.New(e, memberlist.Node{Name: m.id.String(), Address: m.address, Meta: e.meta}, w.pace.Timing, r, e.events())
	e.After(0, e.tick)
	e.After(w.pace.try, e.tell)
}

// seedAddress is what members are told to look at first. It means the first active, in some
// seeds until nobody is there any more: then a member has what it remembers.
const seedAddress = "seed:7000"

// founders are where somebody tells a new member to look.
func (w *membership) founders(m *member) (list []string) {
	if m.generation == 0 {
		return []string{seedAddress}
	}
	for _, other := range w.s.members[:min(w.s.options.Actives, len(w.s.members))] {
		if other != m {
			list = append(list, other.address)
		}
	}
	return list
}

// instant is the time as the core has it: 0 is never.
func (e *eyes) instant() protocol.Instant { return protocol.Instant(e.w.s.schedule.now) + 1 }

// events are what the model tells.
func (e *eyes) events() memberlist.Events {
	counts := &e.w.s.counts
	return memberlist.Events{
		Joined: e.hears, Updated: e.hears,
		Gone: func(n memberlist.Node) {
			if id, err := protocol.ParseMemberID(n.Name); err == nil {
				heard, _ := e.flock.Died(e.instant(), id)
				e.died, e.changed = e.died || heard, true
			}
		},
		Conflict: func(existing, other memberlist.Node) {
			if id, err := protocol.ParseMemberID(existing.Name); err == nil {
				e.flock.Claimed(id, other.Address)
			}
		},
		Departed: func(names []string) {
			for _, name := range names {
				if id, err := protocol.ParseMemberID(name); err == nil {
					e.flock.Left(id)
				}
			}
		},
		HeldDead: e.flock.HeldDead,
		Suspected: func(n memberlist.Node) {
			if other := e.w.whoIsAt(n.Address); other != nil && other.id.String() == n.Name {
				counts.add(countSuspicions, 1)
			}
		},
		Refuted: func() { counts.add(countRefuted, 1) },
		Forgot: func(n memberlist.Node) {
			if id, err := protocol.ParseMemberID(n.Name); err == nil {
				counts.add(countForgotten, 1)
				e.faded[id], e.changed = true, true
			}
		},
	}
}

// hears takes what a member announces.
func (e *eyes) hears(n memberlist.Node) {
	peer, err := protocol.DecodePeer([]byte(n.Meta))
	if err != nil || peer.ID == e.m.id {
		return
	}
	if e.faded[peer.ID] {
		delete(e.faded, peer.ID)
		e.w.s.counts.add(countFoundAgain, 1)
	}
	peer.Address, e.changed = n.Address, true
	e.flock.Heard(peer)
}

// tick looks for whoever is not heard, and sees to what the member announces.
func (e *eyes) tick() {
	e.look()
	if t, ok := e.flock.Tick(e.instant()); ok {
		e.try(t)
	}
	e.After(e.flock.Deadline().Sub(e.instant()), e.tick)
}

// tell has the exchanges with members to which datagrams do not get through.
func (e *eyes) tell() {
	if e.m.replica != nil {
		e.flock.Streamed(replica.Streamed(e.m.replica))
	}
	address, pause := e.flock.Exchange()
	if address == "" {
		e.After(pause, e.tell)
		return
	}
	e.list.Join(address, func(bool) { e.After(pause, e.tell) }) // one after the other, as production does
}

// look sees whether the role, or who has a seat, has changed.
func (e *eyes) look() {
	m := e.m
	if m.replica == nil {
		return
	}
	role := m.replica.Status(m.now()).Role
	if m.role == protocol.RoleReserve && role != m.role {
		e.w.s.counts.add(countActivated, 1)
	}
	m.role = role
	if meta := e.announcement(); meta != e.meta {
		e.meta = meta
		e.list.Update(meta)
	}
	latest, known := m.latest()
	if !known || e.seats != nil && latest.Index == e.at {
		return
	}
	last, next := e.seats, latest.Configuration
	e.flock.Name(reunion.Seats(&next))
	if last != nil {
		for _, id := range reunion.Removed(last, &next) {
			e.flock.Forget(id)
		}
	}
	e.seats, e.at = &next, latest.Index
}

// resolve returns what addresses mean. Whoever has not met anybody is told of one that means
// somebody, by and by; and whoever could not write down whom it met, for all may have moved since.
func (e *eyes) resolve(addresses []string) (at []string) {
	w := e.w
	for _, a := range addresses {
		switch {
		case a != seedAddress:
			at = append(at, a)
		case w.s.plan.seedUntil == 0 || w.s.schedule.now < Time(w.s.plan.seedUntil) || len(e.m.known) == 0 || e.m.forgot:
			at = append(at, w.s.members[0].address)
		}
	}
	return at
}

// try exchanges what is known with whoever is at a target's addresses.
func (e *eyes) try(t reunion.Try) {
	at := e.resolve(t.Addresses)
	address, ok := e.flock.Choose(at, e.m.address)
	if !ok {
		e.flock.Tried(t, at)
		return
	}
	e.exchange(t, at, address, 1)
}

func (e *eyes) exchange(t reunion.Try, at []string, address string, n int) {
	e.list.Join(address, func(ok bool) {
		if ok && e.flock.Again(t, n) {
			e.exchange(t, at, address, n+1)
			return
		}
		e.flock.Tried(t, at)
	})
}

// news says that something came from a member.
func (e *eyes) news(from protocol.MemberID) {
	if e == nil || e.flock.Missing() == 0 {
		return
	}
	if t, ok := e.flock.News(e.instant(), from); ok {
		e.try(t)
		e.follow()
	}
}

// follow does what has to follow a step.
func (e *eyes) follow() {
	for e.died {
		e.died = false
		dead := e.flock.Unsettled()
		e.list.Join(e.m.address, func(bool) {})
		if e.flock.Settled(e.instant(), dead) {
			e.list.Update(e.meta)
		}
	}
	for _, address := range e.flock.Freed() {
		e.list.Join(address, func(bool) {})
	}
	if !e.changed {
		return
	}
	e.changed = false
	e.measure()
	if e.m.forgot = e.m.full; !e.m.full {
		e.m.known = e.flock.Remembered(e.instant())
	}
	peers := e.flock.Peers()
	if slices.Equal(peers, e.m.told) {
		return
	}
	e.m.told = peers
	e.w.s.trace.note(tagSeen, e.m.number, uint64(len(peers)), 0)
	e.took(peers)
}

// measure counts how far the others are gone.
func (e *eyes) measure() {
	missing, faded := 0, 0
	for _, other := range e.w.s.machines() {
		if other == e.m || e.flock.Hears(other.id) {
			continue
		}
		if _, lost := e.flock.Lost(other.id); !lost {
			continue
		}
		missing++
		if e.faded[other.id] {
			faded++
		}
	}
	now, half := together, len(e.w.s.machines())/2
	switch {
	case faded >= half:
		now = halfGone
	case missing >= half:
		now = halfAway
	}
	if now > e.half {
		e.w.s.counts.add([...]tally{halfAway: countHalfAway, halfGone: countHalfGone}[now], 1)
	}
	e.half = now
}

// announcement is what the member says of itself.
func (e *eyes) announcement() string {
	m := e.m
	peer := protocol.Peer{
		ID: m.id, Name: m.label(), Role: m.role, Eligible: m.wish == protocol.RoleActive && m.repairing == nil, Level: m.format.OrKnown(),
	}
	return string(protocol.AppendPeer(nil, &peer))
}

// sees reports whether a member takes another one to be alive.
func (p *process) sees(other *member) bool {
	if p.eyes == nil {
		return false
	}
	peer, live := p.eyes.flock.Peer(other.id)
	return live && peer.Address == other.address
}

// seated reports whether a member's log says where another one is: it has a seat, and has not
// moved since. What goes to a member that is neither heard nor seated has no way.
func (p *process) seated(other *member) bool {
	latest, known := p.latest()
	if !known {
		return false
	}
	line, named := latest.Configuration.Find(other.id)
	return named && line.Address == other.address
}

// apart says who does not see whom, or nothing.
func (s *supervisor) apart() string {
	for _, m := range s.machines() {
		for _, other := range s.machines() {
			if m != other && m.runs() && other.runs() && !m.sees(other) {
				return m.name + " does not see " + other.name
			}
		}
	}
	return ""
}

// beginsAs is what a member with an empty disk announces.
func (h *host) beginsAs() protocol.Role {
	if h.reserve {
		return protocol.RoleReserve
	}
	return protocol.RolePassive
}
