package gossip

import "github.com/starlinghq/starling/protocol"

// presence says what this member has, lacks and knows of ages: its HAVE.
type presence struct {
	self     *standing
	clock    *protocol.WallAhead
	intake   *intake
	fresh    *freshness
	fetching *fetching
	giving   *giving
}

// announcer says what this member has, and how old that is.
type announcer interface {
	have(now protocol.Instant) *protocol.Have
}

// have is what this member says of itself now. A member that is no source
// claims to hold nothing, so that nobody pulls from it.
func (p *presence) have(now protocol.Instant) *protocol.Have {
	h := &protocol.Have{
		Applied: p.self.Applied,
		Commit:  max(p.self.Commit, p.self.LastIndex),
		Term:    p.self.Term,
		Behind:  p.fetching.behind(),
	}
	if p.self.source() {
		h.First, h.LastIndex = p.self.First, p.self.LastIndex
		h.Checkpoints = p.giving.announced()
	}
	h.Holes = p.intake.holes()
	if x, age, ok := p.fresh.newest(p.clock.Longest(now)); ok && !p.self.wrong {
		h.FreshKnown, h.FreshIndex, h.FreshSum, h.FreshAge = true, x.index, x.sum, int64(age)
	}
	// [S] Who was told of a leader passes that on with how old it is, or two of them tell each
	// other of one that is gone, for ever.
	if h.FreshKnown || p.self.Role == protocol.RoleActive {
		h.Leader = p.self.Leader
	}
	if p.self.wrong {
		h.Diverged = p.self.diverged
	}
	return h
}
