package gossip

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// A passive has this many links, growing with the flock.
	linksMin, linksMax = 4, 8
	// feedsEach is how many passives each active feeds. As many as all actives
	// can feed need no tree.
	feedsEach = 3
	// zoneLeave is one in how many links leaves the zone. The way to another
	// zone counts as zoneHops more hops than it is, so that a member that has a
	// way within its zone takes that. The hop limit leaves room for zoneWays.
	zoneLeave          = 7
	zoneHops, zoneWays = 4, 4
	// linkRefresh is how often a member repeats what it wants of its links; a
	// child that has not done so for linkExpiry is forgotten.
	linkRefresh, linkExpiry = 5 * time.Second, 16 * time.Second
	// childrenMax and eagerChildrenMax bound what one member is asked to pass
	// on, as a multiple of the number of links. Beyond it: BUSY.
	childrenMax, eagerChildrenMax = 4, 2
)

// linkState is what goes over a link in one direction.
type linkState uint8

const (
	linkNone   linkState = iota
	linkPruned           // a copy now and then
	linkEager            // every frame
)

// link is a member as a neighbour. Links have a direction: the child chooses
// its parents, and says what it wants of them.
type link struct {
	in     linkState // what it is to send to this member
	out    linkState // what this member is to send to it
	outAt  protocol.Instant
	asked  protocol.Instant // when a PRUNE or GRAFT was last sent to it
	heard  protocol.Instant // when it last pushed a frame, as a parent does
	wins   int              // frames in a row that came by it before they came by the anchor
	missed int              // holes in a row that it left, as an eager parent
	denied protocol.Instant // it said BUSY to a GRAFT, or left holes: not before then again
}

// links are a member's neighbours in the hybrid mode.
//
// Invariants: parents are the live members with in other than none, children
// those with out other than none; each once. An active has feeds for children,
// and no parents.
type links struct {
	base
	intake   arrivals
	announce announcer

	neighbors
}

// neighbors is the state of links.
type neighbors struct {
	parents   []*member
	children  []*member
	anchor    protocol.MemberID // the parent that is never pruned
	lossy     bool              // holes are common: pruned children hear what there is
	untold    []*member         // they are to hear what there is
	refreshAt protocol.Instant
	leader    protocol.MemberID // as the feeds were last told
}

// degree is how many links a member of a flock of n passives has.
func degree(n int) int {
	return min(max(int(math.Floor(1.5*math.Log10(float64(max(n, 1)))+3)), linksMin), linksMax)
}

// treeHops is how often a frame may be passed on among n passives.
func treeHops(n int) int {
	hops := math.Ceil(math.Log(float64(max(n, 1))) / math.Log(float64(degree(n)-1)))
	return 2*int(hops) + 6
}

// treeDepth is how many hops the last of n passives is away if the actives feed
// feedsEach and each member all but one of its links.
func treeDepth(n, actives int) int {
	roots := float64(feedsEach * max(actives, 1))
	if float64(n) <= roots {
		return 1
	}
	return 1 + int(math.Ceil(math.Log(float64(n)/roots)/math.Log(float64(degree(n)-1))))
}

// relink makes the links fit who lives, and in which role.
func (l *links) relink(now protocol.Instant) {
	if l.cfg.Mode != Hybrid || !l.self.started {
		return
	}
	gone := func(m *member) bool { return l.members.get(m.id) != m }
	l.children = slices.DeleteFunc(l.children, func(m *member) bool {
		if m.peer.Role == protocol.RoleActive {
			m.link.out = linkNone
		}
		return gone(m) || m.link.out == linkNone
	})
	l.parents = slices.DeleteFunc(l.parents, gone)
	if l.members.get(l.anchor) == nil {
		l.anchor = protocol.MemberID{}
	}
	if l.self.Role == protocol.RoleActive {
		l.dropParents(now)
		l.feedPassives()
		return
	}
	if l.members.direct() {
		l.dropParents(now)
		return
	}
	l.chooseParents(now)
}

// unlink begins without links, in a new role.
func (l *links) unlink(now protocol.Instant) {
	for _, m := range slices.Concat(l.parents, l.children) {
		m.link = newLink()
	}
	l.neighbors = neighbors{refreshAt: never}
	if l.cfg.Mode == Hybrid {
		l.refreshAt = now.Add(linkRefresh/2 + time.Duration(l.rng.Int64N(int64(linkRefresh))))
	}
	l.relink(now)
}

func newLink() link {
	return link{outAt: longAgo, asked: longAgo, heard: longAgo, denied: longAgo}
}

func (l *links) dropParents(now protocol.Instant) {
	for _, m := range l.parents {
		l.sever(now, m)
	}
	l.parents, l.anchor = nil, protocol.MemberID{}
}

// sever tells a parent that nothing is wanted of it, as far as it is known: the
// rest is forgotten by time.
func (l *links) sever(now protocol.Instant, m *member) {
	if m.link.in == linkEager {
		l.prune(now, m)
	}
	m.link.in = linkNone
}

// feedPassives chooses whom this active feeds. All actives deal the same cards
// in the same order, so that no passive gets two: first one passive of each
// zone, then another one of each, to an active of its zone if one has a free
// place.
func (l *links) feedPassives() {
	var feeds []*member
	for _, x := range l.deal() {
		if x.active == l.cfg.ID {
			feeds = append(feeds, x.passive)
		}
	}
	for _, m := range l.children {
		if !slices.Contains(feeds, m) {
			m.link.out = linkNone
		}
	}
	afresh := l.leader != l.self.Leader
	l.leader = l.self.Leader
	for _, m := range feeds {
		if m.link.out == linkNone || afresh {
			m.link.out = linkEager
		}
	}
	l.children = feeds
}

// card is a passive that an active feeds.
type card struct {
	active  protocol.MemberID
	passive *member
}

func (l *links) deal() []card {
	passives := slices.Clone(l.members.passives)
	type place struct {
		id   protocol.MemberID
		zone string
		free int
	}
	places := []place{{l.cfg.ID, l.cfg.Zone, feedsEach}}
	for _, m := range l.members.actives {
		places = append(places, place{m.id, m.peer.Zone, feedsEach})
	}
	slices.SortFunc(places, func(a, b place) int { return a.id.Compare(b.id) })
	// In an order that has nothing to do with names, but is the same everywhere.
	rank := make(map[*member]int, len(passives))
	perZone := make(map[string]int)
	slices.SortFunc(passives, func(a, b *member) int { return cmp.Compare(shuffled(a.id), shuffled(b.id)) })
	for _, m := range passives {
		rank[m] = perZone[m.peer.Zone]
		perZone[m.peer.Zone]++
	}
	slices.SortStableFunc(passives, func(a, b *member) int { return cmp.Compare(rank[a], rank[b]) })

	var out []card
	for _, m := range passives[:min(len(passives), feedsEach*len(places))] {
		best := -1
		for i, p := range places {
			switch {
			case p.free == 0:
			case best < 0, places[best].zone != m.peer.Zone && p.zone == m.peer.Zone,
				(places[best].zone == m.peer.Zone) == (p.zone == m.peer.Zone) && p.free > places[best].free:
				best = i
			}
		}
		places[best].free--
		out = append(out, card{places[best].id, m})
	}
	return out
}

// shuffled maps an id to a number that says nothing about its order.
func shuffled(id protocol.MemberID) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range id {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return (h ^ h>>32) * 0x9e3779b97f4a7c15
}

// chooseParents draws as many parents as are missing. They are eager at first;
// once there is an anchor, new ones begin pruned.
func (l *links) chooseParents(now protocol.Instant) {
	n, _ := l.members.flock()
	want := degree(n)
	for _, m := range l.parents {
		if m.peer.Role != protocol.RoleActive {
			want--
		}
	}
	if want <= 0 {
		return
	}
	var near, far []*member
	for _, m := range l.members.passives {
		switch {
		case m.link.in != linkNone || now < m.link.denied:
		case m.peer.Zone == l.cfg.Zone:
			near = append(near, m)
		default:
			far = append(far, m)
		}
	}
	for ; want > 0 && len(near)+len(far) > 0; want-- {
		from := &near
		if len(near) == 0 || len(far) > 0 && l.rng.IntN(zoneLeave) == 0 {
			from = &far
		}
		i := l.rng.IntN(len(*from))
		m := (*from)[i]
		(*from)[i] = (*from)[len(*from)-1]
		*from = (*from)[:len(*from)-1]
		l.parents = append(l.parents, m)
		if l.anchor.IsZero() {
			l.graft(now, m)
		} else {
			l.prune(now, m)
		}
	}
}

// graft asks a parent for every frame, prune for a copy now and then.
func (l *links) graft(now protocol.Instant, m *member) {
	if m.link.in != linkEager {
		m.link.missed = 0
	}
	m.link.in, m.link.asked = linkEager, now
	l.outbox.send(m.id, &protocol.Graft{From: l.intake.reached() + 1})
}

func (l *links) prune(now protocol.Instant, m *member) {
	m.link.in, m.link.asked = linkPruned, now
	l.outbox.send(m.id, &protocol.Prune{Index: l.intake.reached()})
}

// disown says that this member is no child of one that feeds it.
func (l *links) disown(now protocol.Instant, m *member) {
	m.link.asked = now
	l.outbox.send(m.id, &protocol.Prune{Index: l.intake.reached()})
}

// refresh repeats what this member wants of its parents, for messages are
// lost, and forgets children that did not.
func (l *links) refresh(now protocol.Instant) {
	l.refreshAt = now.Add(linkRefresh)
	if l.self.Role != protocol.RoleActive {
		l.children = slices.DeleteFunc(l.children, func(m *member) bool {
			old := now >= m.link.outAt.Add(linkExpiry)
			if old {
				m.link.out = linkNone
			}
			return old
		})
	}
	l.relink(now)
	for _, m := range l.parents {
		if m.link.in == linkEager {
			l.graft(now, m)
		} else {
			l.prune(now, m)
		}
	}
}

// onGraft makes the sender an eager child. An active feeds whom it has chosen.
func (l *links) onGraft(now protocol.Instant, from protocol.MemberID) {
	m := l.members.get(from)
	if m == nil || l.cfg.Mode != Hybrid {
		return
	}
	if l.self.Role == protocol.RoleActive {
		if m.link.out != linkNone {
			m.link.out, m.link.outAt = linkEager, now
		}
		return
	}
	n, _ := l.members.flock()
	eager := 0
	for _, x := range l.children {
		if x.link.out == linkEager && x != m {
			eager++
		}
	}
	if eager >= eagerChildrenMax*degree(n) || !l.addChild(m) {
		l.members.refuse(now, from)
		return
	}
	m.link.out, m.link.outAt = linkEager, now
}

// onPrune makes the sender a child that gets a copy now and then.
func (l *links) onPrune(now protocol.Instant, from protocol.MemberID) {
	m := l.members.get(from)
	if m == nil || l.cfg.Mode != Hybrid || l.self.Role == protocol.RoleActive && m.link.out == linkNone || !l.addChild(m) {
		return
	}
	m.link.out, m.link.outAt = linkPruned, now
}

// addChild reports whether a member is a child, or may become one.
func (l *links) addChild(m *member) bool {
	if m.link.out != linkNone {
		return true
	}
	n, _ := l.members.flock()
	if len(l.children) >= childrenMax*degree(n) || m.peer.Role == protocol.RoleActive {
		return false
	}
	m.link.out = linkPruned
	l.children = append(l.children, m)
	return true
}

// graftRefused looks for another parent in place of one that has children
// enough.
func (l *links) graftRefused(now protocol.Instant, m *member, pause time.Duration) {
	if m.link.in != linkEager || now >= m.link.asked.Add(rttMax) || m.id == l.anchor {
		return
	}
	m.link.in, m.link.denied = linkNone, now.Add(max(pause, linkRefresh))
	l.parents = slices.DeleteFunc(l.parents, func(x *member) bool { return x == m })
	l.relink(now)
}

// dropParent ends the link to a parent, and looks for another one.
func (l *links) dropParent(now protocol.Instant, m *member) {
	if m.link.in == linkNone {
		return
	}
	l.sever(now, m)
	m.link.denied = now.Add(avoidFor)
	l.parents = slices.DeleteFunc(l.parents, func(x *member) bool { return x == m })
	if l.anchor == m.id {
		l.anchor = protocol.MemberID{}
	}
	l.relink(now)
}
