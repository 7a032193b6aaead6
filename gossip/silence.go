package gossip

import "github.com/starlinghq/starling/protocol"

// silent takes note of a pull that a member has left unanswered.
func (p *pulling) silent(now protocol.Instant, m *member, x *pull) {
	p.lost += (allPulls - p.lost) / lostOver
	m.silences = min(max(m.silences+1, 0), 64)
	if m.silences > 0 {
		m.skipUntil = max(m.skipUntil, now.Add(min(silenceMin<<min(m.silences, 8), silenceMax)))
		p.failed = min(p.failed+1, 32)
	}
	switch {
	case x.small:
		m.small.grow(false)
	case !m.small.on:
		m.small = smallness{on: true, bytes: smallBytesMin, tryAt: now}
	}
	p.withheld(m, x.ranges[0].First)
}

// withheld says that a member leaves pulls unanswered, when it has done so too
// often in a row: more than silencesMax times, and so often that what is lost on the way, which
// all members leave unanswered, explains it less than once in byChance. Others are asked
// meanwhile, and it is asked ever less often.
func (p *pulling) withheld(m *member, first protocol.Index) {
	chance := byChance
	for range m.silences {
		chance = chance * p.lost / allPulls
	}
	if m.silences > silencesMax && chance == 0 && !m.accused {
		m.accused = true
		p.outbox.event(protocol.EventWithheld, m.id, first, "this member says that it holds entries, and does not give them: others are asked")
	}
}
