package sim

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// membership stands for SWIM: it tells each member who lives, late and
// sometimes wrongly. A member's view follows the truth with some probability at
// each look, and now and then suspects somebody without a cause.
type membership struct {
	s       *supervisor
	every   time.Duration
	learn   float64 // per look, that a change is noticed
	suspect float64 // per look, that a live member is taken for dead
}

// start begins the looks of a member that has booted.
func (w *membership) start(m *member) {
	m.later(between(w.s.random.membership, 0, w.every), func() { w.look(m) })
}

// look updates one member's view and tells the replica if it changed.
func (w *membership) look(m *member) {
	r := w.s.random.membership
	for i, other := range w.s.members {
		if i >= len(m.seen) {
			m.seen = append(m.seen, false)
		}
		if other == m {
			continue
		}
		lives := w.lives(other, &m.host)
		if m.seen[i] != lives {
			if chance(r, w.learn) {
				m.seen[i] = lives
			}
		} else if lives && chance(r, w.suspect) {
			m.seen[i] = false
			w.s.counts.add(countSuspicions, 1)
		}
	}
	role := m.replica.Status(m.now()).Role
	if m.role == protocol.RoleReserve && role != m.role {
		w.s.counts.add(countActivated, 1)
	}
	m.role = role
	w.tell(m)
	m.later(w.every/2+around(r, w.every/2), func() { w.look(m) })
}

// lives reports whether a member can be seen alive by another one.
func (w *membership) lives(other *member, by *host) bool {
	return other.runs() && !other.paused && w.reaches(&other.host, by)
}

// beginsAs is what a member with an empty disk announces.
func (h *host) beginsAs() protocol.Role {
	if h.reserve {
		return protocol.RoleReserve
	}
	return protocol.RolePassive
}

// peer is what a member announces of itself.
func (w *membership) peer(m *member) protocol.Peer {
	return protocol.Peer{
		ID: m.id, Name: m.label(), Address: m.address,
		Role: m.role, Eligible: m.wish == protocol.RoleActive && m.repairing == nil, Level: m.format.OrKnown(),
	}
}

// reaches reports whether news of a member gets to another one, at most over
// one that stands between, as SWIM's indirect probes do.
func (w *membership) reaches(from, to *host) bool {
	n := w.s.network
	if !n.Link(from.number, to.number).Cut {
		return true
	}
	for _, over := range w.s.members {
		if over.up() && !n.Link(from.number, over.number).Cut && !n.Link(over.number, to.number).Cut {
			return true
		}
	}
	return false
}

// peers returns whom a member takes to be alive.
func (w *membership) peers(of *process) (list []protocol.Peer) {
	for i, other := range w.s.members[:len(of.seen)] {
		if !of.seen[i] || other.id == of.id || slices.ContainsFunc(list, func(p protocol.Peer) bool { return p.ID == other.id }) {
			continue // an id is one peer; the original comes first
		}
		list = append(list, w.peer(other))
	}
	return list
}

// tell hands the view to the replica.
func (w *membership) tell(m *member) {
	peers := w.peers(&m.process)
	if slices.Equal(peers, m.told) {
		return
	}
	m.told = peers
	w.s.trace.note(tagSeen, m.number, uint64(len(peers)), 0)
	m.replica.SetPeers(m.now(), peers)
	m.serve()
}
