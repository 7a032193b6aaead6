package gossip

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// On a pruned link a copy goes with crossProbability: it repairs the tree
	// before a timer would. A member with many links gets crossCopies of them
	// for each frame at most.
	crossProbability, crossCopies = 0.05, 0.25
	// Where holes are common, about tellCopies of a member's pruned children hear of each
	// frame as soon as it is here: who lacks it pulls at once.
	tellCopies = 2.0
	// To other zones go farCopies of them for each frame, about, of all members
	// together: one in zoneLeave of their links leads there.
	farCopies = 2.0
	// anchorWins is how many frames in a row must come by another link first,
	// by more than winMargin or over fewer hops, until it is the anchor.
	anchorWins = 3
	winMargin  = time.Millisecond
	// After parentMisses holes in a row that an eager parent left, the anchor too, it is
	// given up; after two it does not count among those that are wanted.
	parentMisses = 3
	// zonePatience is how much later than from another zone a frame may come from
	// this one.
	zonePatience = 5 * time.Millisecond
	// A PRUNE is repeated for a duplicate that comes at least this much later.
	pruneAgain = 10 * time.Millisecond
	// A GRAFT is repeated, when there is a hole, to a parent that was silent for
	// so long.
	graftPatience = 50 * time.Millisecond
	// A second parent is wanted when more than a share of secondParent of the
	// entries did not come by themselves, a third beyond thirdParent.
	secondParent, thirdParent = 0.01, 0.1
	// shareWindow is over how many frames shares are taken.
	shareWindow = 64
	// arrivalsMax is how many frames are remembered for their first copy.
	arrivalsMax = 128
)

// duplicatesMax is how many duplicates per frame are put up with, by how many
// parents are wanted: with none of them a parent that is pruned at the first
// duplicate.
var duplicatesMax = [...]float64{1: 0, 2: 0.28, 3: 1.2}

// arrival is the first copy of a frame.
type arrival struct {
	r     protocol.Range
	from  protocol.MemberID
	at    protocol.Instant
	hop   uint8
	taint bool
}

// tree is what a member learns of its links from the frames that come by them.
type tree struct {
	members *members
	links   *links
	intake  arrivals

	lessons
}

// arrivals tells which entries have come.
type arrivals interface {
	// reached is up to where all is there or handed out.
	reached() protocol.Index
	// unseen returns what of a range has not come by.
	unseen(within protocol.Range) []protocol.Range
}

// lessons is the state of tree.
type lessons struct {
	arrivals [arrivalsMax]arrival
	next     int
	counted  protocol.Index // holes up to it have been counted

	fresh, duplicates, holes int // frames, in this window
	large                    int // of the fresh ones, those that came by stream
	share, copies            float64
	wanted                   int  // parents
	lack                     bool // a hole asks for a link
	streamed, bulk           bool // the last one came by stream, and was of many entries
}

// arrived learns from a frame that was pushed: fresh ones say who is fast,
// duplicates which links are not needed.
func (t *tree) arrived(now protocol.Instant, from protocol.MemberID, f *protocol.Frame, fresh bool) {
	m := t.members.get(from)
	if m == nil {
		return
	}
	cross := f.Flags&protocol.FrameCross != 0
	if !cross {
		m.link.heard = now
	}
	switch {
	case fresh:
		overlap := t.overlapping(f.Range(), from)
		t.arrivals[t.next] = arrival{
			r: f.Range(), from: from, at: now, hop: f.Hop, taint: f.Flags&(protocol.FrameTaint|protocol.FrameCross) != 0,
		}
		t.next = (t.next + 1) % arrivalsMax
		t.fresh++
		if t.streamed = streamed(f); t.streamed {
			t.large++
		}
		t.bulk = t.streamed && len(f.Entries) > 1
		t.reckonShares(now)
		if !cross {
			t.delivered(m, f)
		}
		if overlap != nil && !cross {
			t.overlapped(now, m, overlap)
		}
	case cross:
		m.link.wins = 0
		if m.link.in == linkPruned && t.nearer(now, m, t.overlapping(f.Range(), from), f) && !t.members.near(t.links.anchorMember()) {
			t.links.graft(now, m) // it may take the anchor's place
		}
	case m.id == t.links.anchor:
		t.duplicates++
		t.anchorBeaten(now, m, f)
	default:
		t.duplicates++
		first := t.overlapping(f.Range(), from)
		if first != nil {
			m.link.missed = 0
		}
		if t.nearer(now, m, first, f) && f.Flags&protocol.FrameTaint == 0 && m.link.in == linkEager && !t.members.near(t.links.anchorMember()) {
			t.won(now, m)
			return
		}
		m.link.wins = 0
		t.notNeeded(now, m, first)
	}
}

// overlapped settles a frame of which a part was known: two actives cut the log
// into frames in different ways, and this member is in both of their trees. It
// stays in the anchor's.
func (t *tree) overlapped(now protocol.Instant, m *member, known *arrival) {
	t.duplicates++
	if m.id != t.links.anchor {
		t.notNeeded(now, m, known)
	} else if other := t.members.get(known.from); other != nil && !known.taint {
		t.notNeeded(now, other, &arrival{})
	}
}

// notNeeded prunes a link over which came what had come before, by first.
func (t *tree) notNeeded(now protocol.Instant, m *member, first *arrival) {
	// [S] taint: the first copy took a random hop. It says nothing about this
	// link, which may be the one that the tree needs.
	if first == nil || first.taint {
		return
	}
	if m.link.in != linkEager && now < m.link.asked.Add(max(pruneAgain, 2*m.rtt)) {
		return // the PRUNE is on its way
	}
	if m.link.in == linkEager && t.links.eagerParents() <= t.wanted && t.copies <= duplicatesMax[t.wanted] {
		return
	}
	if m.link.in == linkNone && m.peer.Role != protocol.RoleActive {
		// It takes this member for a child that it no longer is.
		t.links.disown(now, m)
		return
	}
	t.links.makeEager(m)
	t.links.prune(now, m)
}

// delivered notes that a member pushed something new.
func (t *tree) delivered(m *member, f *protocol.Frame) {
	l := t.links
	m.link.missed = 0
	if m.id != l.anchor {
		// It takes this member for a child, or feeds it: so be it.
		l.makeEager(m)
	}
	if l.anchor.IsZero() && m.link.in == linkEager && f.Flags&protocol.FrameTaint == 0 {
		l.anchor = m.id
	}
}

// anchorBeaten compares the anchor's copy, which came late, with the first one.
// [S] anchor: the designated parent is never pruned; it is replaced after
// another link wins three frames in a row. (Two members that each prune the
// link by which the other one gets its frames would cut both off.)
func (t *tree) anchorBeaten(now protocol.Instant, anchor *member, f *protocol.Frame) {
	first := t.overlapping(f.Range(), anchor.id)
	if first == nil {
		return // it was pulled, and not from the anchor
	}
	anchor.link.missed = 0
	m := t.members.get(first.from)
	if m == nil || m.link.in == linkNone {
		return
	}
	if t.nearer(now, anchor, first, f) {
		// The first copy came a dear way, for little. It is not needed, unless
		// the anchor's took a random hop, and says nothing (taint).
		m.link.wins = 0
		if f.Flags&protocol.FrameTaint == 0 && m.link.in == linkEager {
			t.notNeeded(now, m, &arrival{})
		}
		return
	}
	if now.Sub(first.at) < winMargin && first.hop >= f.Hop {
		m.link.wins = 0
		return
	}
	t.won(now, m)
}

// won notes that a link was better than the anchor for a frame; three in a row
// make it the anchor.
func (t *tree) won(now protocol.Instant, m *member) {
	if m.link.wins++; m.link.wins < anchorWins {
		return
	}
	m.link.wins = 0
	t.links.anchor = m.id
	if m.link.in != linkEager {
		t.links.graft(now, m)
	}
}

// nearer reports whether a copy that came late from this zone is as good as the
// first one, which came from another: it took no more hops, as zones count them,
// and is not late by much of what the way between the zones takes. Fewer hops
// also say that it did not come by way of this member: members that each take
// the other one for a parent would be cut off, both.
func (t *tree) nearer(now protocol.Instant, m *member, first *arrival, f *protocol.Frame) bool {
	if first == nil || !t.members.near(m) {
		return false
	}
	x := t.members.get(first.from)
	return x != nil && !t.members.near(x) && f.Hop <= first.hop && now.Sub(first.at) <= max(zonePatience, x.rtt/4)
}

// overlapping returns the newest frame that somebody else brought first and
// that shares an index with r, if it is remembered.
func (t *tree) overlapping(r protocol.Range, from protocol.MemberID) *arrival {
	for i := range arrivalsMax {
		a := &t.arrivals[(t.next-1-i+2*arrivalsMax)%arrivalsMax]
		if a.from != from && a.r.First <= r.Last && r.First <= a.r.Last {
			return a
		}
	}
	return nil
}

// reckonShares takes stock after each window: how much did not come by itself,
// and how much came twice.
func (t *tree) reckonShares(now protocol.Instant) {
	if t.fresh < shareWindow {
		return
	}
	total := float64(t.fresh + t.holes)
	t.share += (float64(t.holes)/total - t.share) / 2
	t.copies += (float64(t.duplicates)/total - t.copies) / 2
	large := 2*t.large > t.fresh
	t.fresh, t.duplicates, t.holes, t.large = 0, 0, 0, 0
	t.wanted = parentsWanted(t.wanted, t.share)
	if large {
		t.wanted = 1 // nothing is lost; what another parent brings is a large copy more
	}
	t.links.lossy = t.wanted > 1
	if t.links.eagerParents() < t.wanted && t.copies <= duplicatesMax[t.wanted] {
		t.links.graftOne(now)
	}
}

// parentsWanted returns how many parents are wanted for a share that did not
// come by itself. A parent is given up only at a quarter of the share that asked
// for it: it is because of it that the share is low.
func parentsWanted(now int, share float64) int {
	limit := func(share float64) int {
		switch {
		case share > thirdParent:
			return 3
		case share > secondParent:
			return 2
		}
		return 1
	}
	return min(max(now, limit(share)), limit(4*share))
}

// holed counts what the grace did not bring, up to an index: a hole grafts a
// link.
func (t *tree) holed(now protocol.Instant, upTo protocol.Index) {
	if !t.links.treed() {
		return
	}
	from := max(t.counted, t.intake.reached()) + 1
	t.counted = max(t.counted, upTo)
	if upTo < from {
		return
	}
	gaps := t.intake.unseen(protocol.Range{First: from, Last: upTo})
	if len(gaps) == 0 {
		return
	}
	t.holes += len(gaps)
	bringing := 0
	for _, m := range t.links.parents {
		if m.link.in != linkEager {
			continue
		}
		switch m.link.missed++; {
		case m.link.missed >= parentMisses:
			t.giveUp(now, m)
			continue
		case m.link.missed == 1 || t.streamed: // a stream may be late
			bringing++
		}
		// A GRAFT may have been lost.
		if now >= max(m.link.heard.Add(graftPatience), m.link.asked.Add(graftPatience)) {
			t.links.graft(now, m)
		}
	}
	t.lack = bringing <= t.wanted
}

// giveUp prunes a parent that brings nothing, be it the anchor.
func (t *tree) giveUp(now protocol.Instant, m *member) {
	if t.links.anchor == m.id {
		t.links.anchor = protocol.MemberID{}
	}
	m.link.denied = now.Add(linkRefresh)
	t.links.prune(now, m)
}

// graftFor grafts a link for the holes that were just counted, unless a pull
// has asked for one with it.
func (t *tree) graftFor(now protocol.Instant) {
	if t.lack {
		t.lack = false
		t.links.graftOne(now)
	}
}

// eagerToo reports whether a pull is to ask for the link to be eager as well.
func (t *tree) eagerToo(now protocol.Instant, m *member) bool {
	if !t.lack || m.link.in != linkPruned {
		return false
	}
	t.lack = false
	m.link.in, m.link.asked, m.link.missed = linkEager, now, 0
	return true
}
