package gossip

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// treed reports whether frames spread over links, by way of this member.
func (l *links) treed() bool {
	return l.cfg.Mode == Hybrid && l.self.Role != protocol.RoleActive && !l.members.direct()
}

// hands reports whether a frame that was pulled goes on to the eager children: they
// lack it, too, because this member did. What is pulled in bulk they pull themselves.
func (l *links) hands(f *protocol.Frame) bool {
	return l.treed() && l.self.Needs == 0 && protocol.RawSize(f.Entries) <= datagramEntriesBytes
}

// push sends a frame over this member's links: to eager children, and to
// some of the pruned ones. Bulk goes to eager ones only; the others hear that
// there is something.
func (l *links) push(now protocol.Instant, f *protocol.Frame, exclude protocol.MemberID) {
	n, _ := l.members.flock()
	bulk := protocol.RawSize(f.Entries) > datagramEntriesBytes
	cross := min(crossProbability, crossCopies/float64(degree(n)-1))
	told := 0.0
	if l.lossy && !bulk {
		told = tellCopies / float64(degree(n)-1)
	}
	for _, m := range l.children {
		if m.id == exclude || m.id == f.Origin {
			continue
		}
		passed := *f
		passed.Flags &= protocol.FrameTaint
		if !l.members.near(m) && f.Origin != l.cfg.ID {
			passed.Hop = uint8(min(int(f.Hop)+zoneHops, hopsMax))
		}
		if m.link.out != linkEager {
			p := cross
			if !l.members.near(m) {
				p = min(p/2, farCopies/float64(n)) // the way is dear
			}
			if l.rng.Float64() >= p {
				if told > 0 && l.members.near(m) && l.rng.Float64() < told && !slices.Contains(l.untold, m) {
					l.untold = append(l.untold, m)
				}
				continue
			}
			passed.Flags = protocol.FrameTaint | protocol.FrameCross
		}
		if bulk && m.link.out != linkEager {
			l.outbox.send(m.id, l.announce.have(now))
			continue
		}
		l.outbox.send(m.id, &passed)
	}
}

// tell tells those who got no copy what there is, once this member holds it.
func (l *links) tell(now protocol.Instant) {
	for _, m := range l.untold {
		if l.members.get(m.id) == m {
			l.outbox.send(m.id, l.announce.have(now))
		}
	}
	l.untold = l.untold[:0]
}

// makeEager makes a member that pushes frames an eager parent.
func (l *links) makeEager(m *member) {
	if m.link.in == linkNone {
		if len(l.parents) >= 2*linksMax+feedsEach {
			return
		}
		l.parents = append(l.parents, m)
	}
	m.link.in = linkEager
}

// eagerParents counts the parents that send every frame.
func (l *links) eagerParents() int {
	n := 0
	for _, m := range l.parents {
		if m.link.in == linkEager {
			n++
		}
	}
	return n
}

// graftOne makes one of the pruned links eager, of this zone if there is one.
func (l *links) graftOne(now protocol.Instant) {
	var pruned, near []*member
	for _, m := range l.parents {
		if m.link.in == linkPruned && now >= max(m.skipUntil, m.link.denied) {
			pruned = append(pruned, m)
			if l.members.near(m) {
				near = append(near, m)
			}
		}
	}
	if len(near) > 0 {
		pruned = near
	}
	if len(pruned) > 0 {
		l.graft(now, pruned[l.rng.IntN(len(pruned))])
	}
}

// anchorMember returns the anchor, or nil.
func (l *links) anchorMember() *member {
	if !l.treed() || !slices.ContainsFunc(l.parents, func(m *member) bool { return m.id == l.anchor }) {
		return nil
	}
	return l.members.get(l.anchor)
}
