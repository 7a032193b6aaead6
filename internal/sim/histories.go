package sim

import (
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// fork says that so many directories were put back that there may be two
// histories from now on: the checkers of the one history see no more.
func (s *checkers) fork() {
	s.forked, s.ledger.blind, s.state.blind = true, true, true
}

// Expel refuses a run whose directory was put back.
func (m *member) Expel(back protocol.RunOf) {
	id := back.Member
	m.s.counts.add(countCondemned, 1)
	m.watermarks.Condemn(id, back.Run)
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

// SuspendServing says that the member's log is of another history: it serves nobody from now
// on, and keeps what it has.
func (m *member) SuspendServing(d *gossip.Divergence) {
	if !m.s.forked {
		m.s.fail(violated(RuleHistory, "%s says: %s", m.name, d))
	}
	m.serving.diverged = true
}

// Stop ends a process that says that it must stop.
func (m *member) Stop(why error) {
	if !m.s.forked {
		m.s.fail(violated(RuleStateMachine, "%s stops: %v", m.name, why))
		return
	}
	m.tell(colorFault, "x stops: %v", why)
	m.stop()
	m.disk.crash(false)
}
