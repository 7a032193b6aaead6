package memberlist

import (
	"math"
	"slices"
	"time"
)

// probe is one that is under way.
type probe struct {
	seq                    uint32
	of                     Node
	incarnation            uint32
	began                  time.Duration
	expected, nacks        int
	asked, reached, closed bool
}

// probe looks whether the next member lives.
func (l *List) probe() {
	began := l.host.Now()
	n := l.toProbe()
	if n == nil {
		l.host.After(l.timing.ProbeInterval, l.probe)
		return
	}
	l.seq++
	p := &probe{seq: l.seq, of: n.Node, incarnation: n.incarnation, began: began}
	l.probes[p.seq] = p
	m := message{kind: ping, seq: p.seq, about: n.Node, from: l.self.Name, reply: l.self.Address}
	if n.state == Alive {
		l.send(n.Address, m)
	} else { // so that it can refute at once
		l.host.Packet(n.Address, Packet{m, {kind: suspect, about: n.Node, incarnation: n.incarnation, from: l.self.Name}})
	}
	l.host.After(l.timing.ProbeTimeout, func() { l.askOthers(p, m) })
	l.host.After(l.timing.ProbeInterval*time.Duration(l.health+1), func() { l.silent(p) })
}

// toProbe returns whom to probe next, or nil.
func (l *List) toProbe() *node {
	for range len(l.nodes) + 1 {
		if l.next >= len(l.nodes) {
			l.reset()
			l.next = 0
		}
		if len(l.nodes) == 0 {
			return nil
		}
		n := l.nodes[l.next]
		l.next++
		if n.Name != l.self.Name && !n.gone() {
			return n
		}
	}
	return nil
}

// reset forgets who has been dead for long, and shuffles the others.
func (l *List) reset() {
	l.nodes = slices.DeleteFunc(l.nodes, func(n *node) bool {
		forget := n.gone() && l.host.Now()-n.changed > l.timing.DeadTime
		if forget {
			tell(l.events.Forgot, n.Node)
		}
		return forget
	})
	l.rand.Shuffle(len(l.nodes), func(i, k int) { l.nodes[i], l.nodes[k] = l.nodes[k], l.nodes[i] })
}

// askOthers has a member that does not answer probed by others, and over a stream.
func (l *List) askOthers(p *probe, m message) {
	if p.closed {
		return
	}
	p.asked = true
	for _, n := range l.draw(indirectChecks, func(n *node) bool { return n.Name != p.of.Name && n.state == Alive }) {
		p.expected++
		l.send(n.Address, message{kind: indirect, seq: p.seq, about: p.of, from: l.self.Name, reply: l.self.Address})
	}
	within := l.timing.ProbeInterval*time.Duration(l.health+1) - (l.host.Now() - p.began)
	l.host.Stream(p.of.Address, Packet{m}, within, func(reply Packet) { p.reached = reply != nil })
}

// silent ends a probe that nobody has answered.
func (l *List) silent(p *probe) {
	if p.closed {
		return
	}
	l.close(p)
	switch {
	case p.reached:
		l.aware(-1)
		return
	case p.expected > 0:
		l.aware(max(0, p.expected-p.nacks))
	default:
		l.aware(1)
	}
	l.isSuspect(message{about: p.of, incarnation: p.incarnation, from: l.self.Name})
}

// close ends a probe; the next one follows at its time, or now if that has passed.
func (l *List) close(p *probe) {
	p.closed = true
	delete(l.probes, p.seq)
	l.host.After(max(0, p.began+l.timing.ProbeInterval-l.host.Now()), l.probe)
}

// aware moves this member's idea of how well it does itself.
func (l *List) aware(by int) { l.health = min(max(0, l.health+by), awarenessMax) }

// acknowledged takes an answer to a probe, for this member or for one that has asked.
func (l *List) acknowledged(seq uint32) {
	if p := l.probes[seq]; p != nil {
		l.close(p)
		l.aware(-1)
		return
	}
	if m, ok := l.relays[seq]; ok {
		delete(l.relays, seq)
		l.send(m.reply, message{kind: ack, seq: m.seq})
	}
}

// probeFor probes a member for another one.
func (l *List) probeFor(m message) {
	l.seq++
	seq := l.seq
	l.relays[seq] = m
	l.send(m.about.Address, message{kind: ping, seq: seq, about: m.about, from: l.self.Name, reply: l.self.Address})
	l.host.After(l.timing.ProbeTimeout, func() {
		if _, waits := l.relays[seq]; waits {
			delete(l.relays, seq)
			l.send(m.reply, message{kind: nack, seq: m.seq})
		}
	})
}

// broadcast is news that is told a number of times.
type broadcast struct {
	message
	told int
}

// broadcast spreads news, instead of older news of the same member.
func (l *List) broadcast(m message) {
	l.news = slices.DeleteFunc(l.news, func(b *broadcast) bool { return b.about.Name == m.about.Name })
	l.news = append(l.news, &broadcast{message: m})
	if !l.gossiping {
		l.gossiping = true
		l.host.After(l.chance(l.timing.GossipInterval), l.gossip)
	}
}

// gossip tells some members the news, those included that have died lately.
func (l *List) gossip() {
	for _, n := range l.draw(gossipNodes, func(n *node) bool {
		return !n.gone() || n.state == Dead && l.host.Now()-n.changed <= l.timing.DeadTime
	}) {
		if p := l.take(nil); p != nil {
			l.host.Packet(n.Address, p)
		}
	}
	if l.gossiping = len(l.news) > 0; l.gossiping {
		l.host.After(l.timing.GossipInterval, l.gossip)
	}
}

// take appends to a packet what has been told least.
func (l *List) take(p Packet) Packet {
	if len(l.news) == 0 {
		return p
	}
	slices.SortStableFunc(l.news, func(a, b *broadcast) int { return a.told - b.told })
	for _, b := range l.news[:min(len(l.news), broadcastsMax)] {
		p = append(p, b.message)
		b.told++
	}
	limit := retransmitMult * int(math.Ceil(math.Log10(float64(len(l.nodes)+1))))
	l.news = slices.DeleteFunc(l.news, func(b *broadcast) bool { return b.told >= limit })
	return p
}

// send sends a message, and news with it.
func (l *List) send(to string, m message) { l.host.Packet(to, l.take(Packet{m})) }

// pushPull exchanges all that is known with somebody, now and then.
func (l *List) pushPull() {
	for _, n := range l.draw(1, func(n *node) bool { return n.state == Alive }) {
		l.exchange(n.Address, false, func(bool) {})
	}
	l.host.After(l.timing.PushPullInterval, l.pushPull)
}
