package sim

import (
	"github.com/starlinghq/starling/internal/replica"
)

// fork says that so many directories were put back that there may be two
// histories from now on: the checkers of the one history see no more.
func (s *simulation) fork() {
	s.forked, s.ledger.blind, s.state.blind, s.mute = true, true, true, true
}

// histories carries out what a member says of directories that were put back, and
// reports whether it goes on.
func (m *member) histories(fx *replica.Effects) bool {
	for _, back := range fx.PutBack {
		id := back.Member
		m.s.counts.add(countCondemned, 1)
		m.sightings.Condemn(id, back.Run)
		if m.holders.Holds(id, back.Run) {
			m.holders.Expel(id)
		}
		other := m.s.byID(id)
		if other != nil { // its streams are closed: it dials again, and is refused
			m.s.network.Reset(m.s.network.link(other, m))
		}
		if other == nil || !other.suspect() {
			m.s.fail(violated(RuleFault, "%s takes the directory of %s for one that was put back, without a cause", m.name, m.s.nameOf(id)))
		}
	}
	if d := fx.Diverged; d != nil {
		if !m.s.forked {
			m.s.fail(violated(RuleHistory, "%s says: %s", m.name, d))
			return false
		}
		m.diverged = true // it serves nobody from now on, and keeps what it has
	}
	if fx.Stop == nil {
		return true
	}
	if !m.s.forked {
		m.s.fail(violated(RuleStateMachine, "%s stops: %v", m.name, fx.Stop))
		return false
	}
	m.s.trace.tell(m, colorFault, "x stops: %v", fx.Stop)
	m.halted = fx.Stop
	m.stop()
	m.disk.crash(false)
	return false
}
