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
func (h *hands) Expel(back protocol.RunOf) {
	id := back.Member
	h.s.counts.add(countCondemned, 1)
	h.greeter.watermarks.Condemn(id, back.Run)
	if h.greeter.holders.Holds(id, back.Run) {
		h.greeter.holders.Expel(id)
	}
	other := h.s.byID(id)
	if other != nil { // its streams are closed: it dials again, and is refused
		h.greeter.network.Reset(h.greeter.network.Link(other.number, h.number))
	}
	if other == nil || !other.suspect() {
		h.s.fail(violated(RuleFault, "%s takes the directory of %s for one that was put back, without a cause", h.name, h.s.nameOf(id)))
	}
}

// SuspendServing says that the member's log is of another history: it serves nobody from now
// on, and keeps what it has.
func (h *hands) SuspendServing(d *gossip.Divergence) {
	if !h.s.forked {
		h.s.fail(violated(RuleHistory, "%s says: %s", h.name, d))
	}
	h.diverged = true
}

// Stop ends a process that says that it must stop.
func (h *hands) Stop(why error) {
	if !h.s.forked {
		h.s.fail(violated(RuleStateMachine, "%s stops: %v", h.name, why))
		return
	}
	h.tell(colorFault, "x stops: %v", why)
	h.ends()
}
