// Package memberlist stands for github.com/hashicorp/memberlist in virtual time: SWIM with
// Lifeguard, as that library does it. Members probe each other, ask others to probe, suspect,
// refute with a higher incarnation, spread what they find out, exchange all that they know,
// and forget the dead. It is deterministic: time, chance and the network are its Host's. What
// it leaves out is what nobody of ours uses: keys, messages of users, versions.
//
// Its tests run it and the library through the same scripts, and compare who is alive in whose
// view.
package memberlist

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Host is a process and its network.
type Host interface {
	// Now is the time, from any origin.
	Now() time.Duration
	// After calls do later, unless the process has ended by then.
	After(d time.Duration, do func())
	// Packet sends a datagram to whoever is at an address: it is for that one's Receive, or
	// lost.
	Packet(to string, p Packet)
	// Stream opens a stream to whoever is at an address, has that one's Answer, and brings it
	// back; the reply is nil if that did not come about within the time.
	Stream(to string, p Packet, within time.Duration, took func(reply Packet))
}

// Timing is the pace, as the fields of those names in the library's Config; DeadTime is its
// GossipToTheDeadTime.
type Timing struct {
	ProbeInterval, ProbeTimeout                     time.Duration
	SuspicionMult                                   int
	GossipInterval, PushPullInterval, StreamTimeout time.Duration
	DeadTime                                        time.Duration
}

// What the library's DefaultLANConfig has, and ours does not change.
const (
	indirectChecks   = 3
	retransmitMult   = 4
	suspicionMaxMult = 6
	awarenessMax     = 7
	gossipNodes      = 3
	// broadcastsMax is how many news go into a packet: it has 1,400 bytes.
	broadcastsMax = 6
)

// Node is a member as it announces itself.
type Node struct{ Name, Address, Meta string }

// State is what a member is taken for.
type State uint8

// The states, in the library's order.
const (
	Alive State = iota
	Suspect
	Dead
	Left
)

// Events hears what changes. Functions may be nil; none may call the List.
type Events struct {
	// Joined is a member that is alive, and was dead or not known; Updated one whose Meta has
	// changed, Gone one that is dead, or has left.
	Joined, Updated, Gone func(Node)
	// Conflict is a second member with the name of a first that lives.
	Conflict func(existing, other Node)
	// Departed are members that have left by their own will, as an exchange says that was
	// asked for by Join.
	Departed func(names []string)
	// HeldDead says that whoever was asked by such an exchange holds this member dead, or suspects it.
	HeldDead func()
	// Suspected is a member that this one finds to be silent, Refuted that this one has denied
	// that it is dead or suspect, Forgot that one which was dead is known no more.
	Suspected, Forgot func(Node)
	Refuted           func()
}

// List is one member's view.
type List struct {
	host   Host
	rand   *rand.Rand
	timing Timing
	events Events
	self   Node

	nodes       []*node // in the order of probing
	next        int     // of nodes to probe
	incarnation uint32
	seq         uint32
	health      int // 0 to awarenessMax: the library's awareness
	probes      map[uint32]*probe
	relays      map[uint32]message
	news        []*broadcast
	gossiping   bool // a round of gossip is to come
	left        bool
}

// node is what is known of a member.
type node struct {
	Node
	incarnation uint32
	state       State
	changed     time.Duration
	suspicion   *suspicion
}

func (n *node) gone() bool { return n.state == Dead || n.state == Left }

// Packet is what goes over the network.
type Packet []message

// kind is a kind of message.
type kind uint8

const (
	ping kind = iota
	indirect
	ack
	nack
	alive
	suspect
	dead
	state // of one node, in an exchange
	all   // is wanted, in an exchange that Join asked for
)

// message is one of the library's, with the fields of all kinds.
type message struct {
	kind        kind
	seq         uint32
	incarnation uint32
	about       Node   // whom it is for, or whom it is news of
	from        string // who says so
	reply       string // the address for the answer
	as          State
}

// New starts a member that knows nobody.
func New(host Host, self Node, t Timing, r *rand.Rand, e Events) *List {
	l := &List{host: host, rand: r, timing: t, events: e, self: self, probes: map[uint32]*probe{}, relays: map[uint32]message{}}
	l.incarnation = 1
	l.isAlive(message{about: self, incarnation: 1}, true)
	l.host.After(l.chance(t.ProbeInterval), l.probe)
	l.host.After(l.chance(t.PushPullInterval)+t.PushPullInterval, l.pushPull)
	return l
}

// chance draws a part of a time.
func (l *List) chance(d time.Duration) time.Duration {
	return time.Duration(l.rand.Int64N(max(1, int64(d))))
}

// Receive takes a datagram.
func (l *List) Receive(p Packet) {
	for _, m := range p {
		switch m.kind {
		case ping:
			if m.about.Name == l.self.Name {
				l.send(m.reply, message{kind: ack, seq: m.seq})
			}
		case indirect:
			l.probeFor(m)
		case ack:
			l.acknowledged(m.seq)
		case nack:
			if p := l.probes[m.seq]; p != nil {
				p.nacks++
			}
		case alive:
			l.isAlive(m, false)
		case suspect:
			l.isSuspect(m)
		case dead:
			l.isDead(m)
		}
	}
}

// Answer takes what came over a stream and returns what goes back; nil: nothing.
func (l *List) Answer(p Packet) Packet {
	if len(p) == 0 {
		return nil
	}
	if p[0].kind == ping {
		if p[0].about.Name != l.self.Name {
			return nil
		}
		return Packet{{kind: ack, seq: p[0].seq}}
	}
	mine := l.states(false)
	l.merge(p)
	return mine
}

// Join exchanges all that is known with whoever is at an address.
func (l *List) Join(address string, took func(ok bool)) {
	l.exchange(address, true, took)
}

func (l *List) exchange(address string, join bool, took func(ok bool)) {
	if address == l.self.Address {
		l.merge(l.states(join))
		took(true)
		return
	}
	l.host.Stream(address, l.states(join), l.timing.StreamTimeout, func(reply Packet) {
		if reply != nil {
			if join {
				reply = append(slices.Clone(reply), message{kind: all})
			}
			l.merge(reply)
		}
		took(reply != nil)
	})
}

// Update announces the member anew, with what it has to say now.
func (l *List) Update(meta string) {
	l.self.Meta = meta
	l.incarnation++
	if me := l.find(l.self.Name); me != nil {
		l.isAlive(message{about: l.self, incarnation: l.incarnation}, true)
	}
}

// Leave tells the others that the member goes by its own will.
func (l *List) Leave() {
	me := l.find(l.self.Name)
	if l.left || me == nil {
		return
	}
	l.left = true
	l.isDead(message{about: l.self, incarnation: me.incarnation, from: l.self.Name})
}

// Members returns the names of those that are taken to be alive, or suspect, sorted.
func (l *List) Members() (names []string) {
	for _, n := range l.nodes {
		if !n.gone() {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Known returns how many members are known, the dead included.
func (l *List) Known() int { return len(l.nodes) }

func (l *List) find(name string) *node {
	for _, n := range l.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// draw returns some nodes by chance, that fit.
func (l *List) draw(k int, fits func(*node) bool) (list []*node) {
	for _, i := range l.rand.Perm(len(l.nodes)) {
		if n := l.nodes[i]; len(list) < k && n.Name != l.self.Name && fits(n) {
			list = append(list, n)
		}
	}
	return list
}
