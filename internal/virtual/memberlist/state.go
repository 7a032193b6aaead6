package memberlist

import (
	"math"
	"time"
)

// isAlive takes the news that a member lives; own says that it is this one's own.
func (l *List) isAlive(m message, own bool) {
	n, local := l.find(m.about.Name), m.about.Name == l.self.Name
	if l.left && local {
		return
	}
	moves := false
	switch {
	case n == nil:
		n = &node{Node: m.about, state: Dead}
		l.nodes = append(l.nodes, n)
		i, last := l.rand.IntN(max(1, len(l.nodes)-1)), len(l.nodes)-1
		l.nodes[i], l.nodes[last] = l.nodes[last], l.nodes[i]
	case n.Address != m.about.Address:
		if moves = n.state == Left || n.state == Dead && l.host.Now() > n.changed; !moves {
			if l.events.Conflict != nil {
				l.events.Conflict(n.Node, m.about)
			}
			return
		}
	}
	if m.incarnation < n.incarnation && (local || !moves) || m.incarnation == n.incarnation && !local && !moves {
		return
	}
	n.suspicion = nil
	if local && !own {
		if m.incarnation != n.incarnation || m.about.Meta != n.Meta {
			l.refute(n, m.incarnation)
		}
		return
	}
	was := *n
	l.broadcast(message{kind: alive, about: m.about, incarnation: m.incarnation})
	n.Node, n.incarnation = m.about, m.incarnation
	if n.state != Alive {
		n.state, n.changed = Alive, l.host.Now()
	}
	switch {
	case was.gone():
		tell(l.events.Joined, n.Node)
	case was.Meta != n.Meta:
		tell(l.events.Updated, n.Node)
	}
}

func tell(hear func(Node), n Node) {
	if hear != nil {
		hear(n)
	}
}

// refute denies what is said of this member.
func (l *List) refute(me *node, accused uint32) {
	l.incarnation = max(l.incarnation, accused) + 1
	me.incarnation = l.incarnation
	l.aware(1)
	l.broadcast(message{kind: alive, about: me.Node, incarnation: me.incarnation})
	if l.events.Refuted != nil {
		l.events.Refuted()
	}
}

// isSuspect takes the news that a member is silent.
func (l *List) isSuspect(m message) {
	n := l.find(m.about.Name)
	if n == nil || m.incarnation < n.incarnation {
		return
	}
	if n.suspicion != nil {
		if l.confirm(n, m.from) {
			l.broadcast(message{kind: suspect, about: n.Node, incarnation: m.incarnation, from: m.from})
		}
		return
	}
	if n.state != Alive {
		return
	}
	if n.Name == l.self.Name {
		l.refute(n, m.incarnation)
		return
	}
	l.broadcast(message{kind: suspect, about: n.Node, incarnation: m.incarnation, from: m.from})
	n.incarnation, n.state, n.changed = m.incarnation, Suspect, l.host.Now()
	tell(l.events.Suspected, n.Node)
	l.suspect(n, m.from)
}

// suspicion is how long a suspect may still defend itself: the less, the more others
// suspect it too.
type suspicion struct {
	need, have int
	least      time.Duration
	since      time.Duration
	by         []string
	timers     int // that were set; the last one counts
}

func (l *List) suspect(n *node, from string) {
	need := l.timing.SuspicionMult - 2
	if len(l.nodes)-2 < need {
		need = 0
	}
	scale := max(1, math.Log10(max(1, float64(len(l.nodes)))))
	least := time.Duration(l.timing.SuspicionMult) * time.Duration(scale*1000) * l.timing.ProbeInterval / 1000
	n.suspicion = &suspicion{need: max(0, need), least: least, since: l.host.Now(), by: []string{from}}
	wait := suspicionMaxMult * least
	if need < 1 {
		wait = least
	}
	l.expire(n, wait)
}

// confirm takes the word of another one who suspects a member, and reports whether that is
// news.
func (l *List) confirm(n *node, from string) bool {
	s := n.suspicion
	if s.have >= s.need {
		return false
	}
	for _, by := range s.by {
		if by == from {
			return false
		}
	}
	s.by = append(s.by, from)
	s.have++
	most := suspicionMaxMult * s.least
	share := math.Log(float64(s.have)+1) / math.Log(float64(s.need)+1)
	total := max(s.least, most-time.Duration(share*float64(most-s.least)))
	l.expire(n, total-(l.host.Now()-s.since))
	return true
}

// expire lets a suspect die after a while.
func (l *List) expire(n *node, wait time.Duration) {
	s := n.suspicion
	s.timers++
	timer := s.timers
	l.host.After(max(0, wait), func() {
		if n.suspicion == s && s.timers == timer && n.state == Suspect && l.find(n.Name) == n {
			l.isDead(message{about: n.Node, incarnation: n.incarnation, from: l.self.Name})
		}
	})
}

// isDead takes the news that a member is dead, or, if it says so itself, has left.
func (l *List) isDead(m message) {
	n := l.find(m.about.Name)
	if n == nil || m.incarnation < n.incarnation {
		return
	}
	n.suspicion = nil
	if n.gone() {
		return
	}
	if n.Name == l.self.Name && !l.left {
		l.refute(n, m.incarnation)
		return
	}
	l.broadcast(message{kind: dead, about: n.Node, incarnation: m.incarnation, from: m.from})
	n.incarnation, n.state, n.changed = m.incarnation, Dead, l.host.Now()
	if m.about.Name == m.from {
		n.state = Left
	}
	tell(l.events.Gone, n.Node)
}

// states returns all that is known, for an exchange.
func (l *List) states(join bool) Packet {
	p := make(Packet, 0, len(l.nodes)+1)
	for _, n := range l.nodes {
		p = append(p, message{kind: state, about: n.Node, incarnation: n.incarnation, as: n.state})
	}
	if join {
		p = append(p, message{kind: all})
	}
	return p
}

// merge takes what another member knows. Whom that holds dead is suspected only.
func (l *List) merge(p Packet) {
	if len(p) > 0 && p[len(p)-1].kind == all {
		l.tellJoined(p)
	}
	for _, m := range p {
		if m.kind != state {
			continue
		}
		switch m.as {
		case Alive:
			l.isAlive(m, false)
		case Left:
			m.from = m.about.Name
			l.isDead(m)
		default:
			m.from = l.self.Name
			l.isSuspect(m)
		}
	}
}

// tellJoined says what an exchange that was asked for by Join has of the departed, and of this
// member.
func (l *List) tellJoined(p Packet) {
	var names []string
	for _, m := range p {
		if m.kind != state {
			continue
		}
		if m.as == Left {
			names = append(names, m.about.Name)
		}
		if m.about.Name == l.self.Name && m.as != Alive && l.events.HeldDead != nil {
			l.events.HeldDead()
		}
	}
	if names != nil && l.events.Departed != nil {
		l.events.Departed(names)
	}
}
