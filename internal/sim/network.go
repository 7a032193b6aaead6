package sim

import (
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
)

const (
	// retransmit is how long a stream stands still for a lost segment.
	retransmit = 200 * time.Millisecond
	// heldMax is how many messages wait in a sender's socket while a link is
	// cut or clogged; what comes later breaks the stream.
	heldMax = 64
)

// network carries messages between members. Every message is encoded and
// decoded again, each copy from bytes of its own, so that no two members ever
// share memory.
//
// Datagrams are lost, doubled and overtaken. A stream keeps its order and
// loses nothing while it lives; a loss delays it, a cut makes it stand still
// or breaks it, and then what was on its way is lost, or arrives late, after
// messages of the stream that follows.
type network struct {
	s     *simulation
	links [][]*link
	// weather holds for all links.
	loss, double float64
	breaks       float64 // of a stream, per message
	// newer, if not nil, is for a test: what a member sends instead of an encoded
	// message, as one of a later version would.
	newer func(from *member, msg protocol.Message, bytes []byte) [][]byte

	delay  time.Duration // smallest one-way delay
	jitter time.Duration // mean of what is added
}

// link is one direction between two members.
type link struct {
	cut     bool
	clogged Time          // messages leave no earlier
	slow    time.Duration // added to each delay
	// stream is the connection: its number, when its last message arrives,
	// and what waits for the link.
	stream uint64
	last   Time
	// spoken is the stream and the sender's run that greeting belongs to; met
	// the stream and the receiver's run that have judged it.
	spoken, met speaker
	greeting    greeting
	entered     protocol.RunID // the sender's run that met let in
	held        [][]byte
}

// grow makes room for one more member.
func (n *network) grow() {
	for i := range n.links {
		n.links[i] = append(n.links[i], &link{})
	}
	var row []*link
	for range len(n.links) + 1 {
		row = append(row, &link{})
	}
	n.links = append(n.links, row)
}

// send takes a message to the network.
func (n *network) send(from, to *member, msg protocol.Message, datagram bool) {
	bytes := protocol.AppendMessage(make([]byte, 0, protocol.MessageSize(msg)), msg)
	if n.newer == nil {
		n.carry(from, to, msg, bytes, datagram)
		return
	}
	for _, bytes := range n.newer(from, msg, bytes) {
		n.carry(from, to, msg, bytes, datagram)
	}
}

// carry takes an encoded message on its way.
func (n *network) carry(from, to *member, msg protocol.Message, bytes []byte, datagram bool) {
	datagram = datagram && msg.Kind().Datagram() && len(bytes) <= protocol.DatagramBytesMax
	n.s.trace.note(markSend, from.number, uint64(to.number), xxh3.Hash(bytes))
	n.s.counts.add(countMessages, 1)
	l := n.links[from.number][to.number]
	if datagram {
		n.datagram(l, from, to, bytes)
		return
	}
	n.stream(l, from, to, bytes)
}

func (n *network) datagram(l *link, from, to *member, bytes []byte) {
	r := n.s.random.network
	lost, twice := chance(r, n.loss), chance(r, n.double)
	at := n.s.schedule.now.Add(n.travel(l))
	if l.cut || lost {
		n.s.counts.add(countLost, 1)
		return
	}
	at = max(at, l.clogged)
	n.arrive(at, from, to, bytes, nil, 0, greeting{})
	if twice {
		n.s.counts.add(countDuplicates, 1)
		n.arrive(at.Add(n.travel(l)), from, to, slices.Clone(bytes), nil, 0, greeting{})
	}
}

func (n *network) stream(l *link, from, to *member, bytes []byte) {
	r := n.s.random.network
	lost, breaks := chance(r, n.loss), chance(r, n.breaks)
	if l.cut {
		if len(l.held) == heldMax {
			l.held = nil
			n.reset(l)
			return
		}
		l.held = append(l.held, bytes)
		return
	}
	if breaks {
		n.reset(l)
	}
	delay := n.travel(l)
	if lost {
		delay += retransmit
	}
	at := max(n.s.schedule.now.Add(delay), l.last, l.clogged)
	l.last = at
	n.arrive(at, from, to, bytes, l, l.stream, l.greet(from))
}

// reset breaks a stream. What is on its way is lost, or arrives after the
// receiver has begun to read the stream that follows.
func (n *network) reset(l *link) {
	l.stream++
	l.last = 0
	n.s.counts.add(countBroken, 1)
}

// heal ends a cut. What waited in the sender's socket is sent at last, unless
// the connection was given up meanwhile.
func (n *network) heal(from, to *member) {
	l := n.links[from.number][to.number]
	if !l.cut {
		return
	}
	l.cut = false
	held := l.held
	l.held = nil
	if chance(n.s.random.network, 0.5) {
		n.reset(l)
		return
	}
	for _, bytes := range held {
		n.stream(l, from, to, bytes)
	}
}

// forget breaks all streams of a member that is gone. A little of what was on
// its way still arrives, even at the member's next run: the rules that number
// runs are there for that.
func (n *network) forget(m *member) {
	for i := range n.links {
		n.links[i][m.number].held = nil
		n.reset(n.links[i][m.number])
		n.links[m.number][i].held = nil
	}
}

func (n *network) travel(l *link) time.Duration {
	return n.delay + l.slow + around(n.s.random.network, n.jitter)
}

// arrive delivers a message. One of a broken stream is mostly lost.
func (n *network) arrive(at Time, from, to *member, bytes []byte, l *link, stream uint64, g greeting) {
	sender, receiver := from.id, to.id
	n.s.schedule.at(at, func() {
		if l != nil && l.stream != stream && !chance(n.s.random.network, 0.2) {
			n.s.counts.add(countLost, 1)
			return
		}
		to.whenAwake(func() {
			if to.runs() && to.id == receiver && (l == nil || n.welcomes(l, stream, &g, from, to)) {
				n.deliver(from, to, sender, bytes)
			}
		})
	})
}

func (n *network) deliver(from, to *member, sender protocol.MemberID, bytes []byte) {
	msg, err := protocol.DecodeMessage(bytes)
	if err != nil {
		n.s.fail(violated(RulePanic, "%s cannot read what %s sent: %v", to.name, from.name, err))
		return
	}
	n.s.trace.note(markDeliver, to.number, uint64(from.number), uint64(len(bytes)))
	if n.s.trace.messages() {
		n.s.trace.arrow(from, to, describe(msg))
	}
	if _, ok := msg.(*protocol.Standing); ok {
		return // on a stream that the other end has dialled: it may be anybody's
	}
	if to.barred && !msg.Kind().OfFlock() {
		return
	}
	if to.mending != nil {
		to.mendReceive(sender, msg)
		return
	}
	switch msg := msg.(type) {
	case *protocol.AppendAnswer, *protocol.HeartbeatAnswer:
		n.s.answers(sender, to.id)
		to.receive(sender, msg)
	case *protocol.RepairWant:
		to.repairs(sender, msg)
	default:
		to.receive(sender, msg)
	}
}
