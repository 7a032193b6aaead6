package sim

import (
	"slices"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/internal/virtual"
	"github.com/starlinghq/starling/protocol"
)

// retransmit is how long a stream stands still for a lost segment.
const retransmit = 200 * time.Millisecond

// network carries messages between members. Every message is encoded and
// decoded again, each copy from bytes of its own, so that no two members ever
// share memory. What is left of a broken stream mostly does not arrive.
type network struct {
	virtual.Network[Time, letter]
	s     *checkers
	rough *virtual.Rough // holds for all links
	meets map[*link]*meeting
	// closing is what has no datagrams for good.
	closing closing
	// newer, if not nil, is for a test: what a member sends instead of an encoded
	// message, as one of a later version would.
	newer func(from *member, msg protocol.Message, bytes []byte) [][]byte

	delay  time.Duration // smallest one-way delay
	jitter time.Duration // mean of what is added
}

type link = virtual.Link[Time, letter]

// letter is an encoded message between two members.
type letter struct {
	from, to *member
	bytes    []byte
}

// meeting is what the two ends of a link know of each other.
type meeting struct {
	// spoken is the stream and the sender's run that greeting belongs to; met
	// the stream and the receiver's run that have judged it.
	spoken, met speaker
	greeting    greeting
	entered     protocol.RunID // the sender's run that met let in
}

func newNetwork(s *checkers) *network {
	p := s.plan
	n := &network{s: s, delay: p.delay, jitter: p.jitter, meets: map[*link]*meeting{}, closing: closing{at: -1}}
	r := s.random.network
	n.rough = &virtual.Rough{Rand: r, Loss: p.loss, Double: p.double, Breaks: p.breaks, Resend: retransmit}
	n.rough.Way = func(int, int) time.Duration { return n.delay + around(r, n.jitter) }
	n.Rand, n.Weather, n.Post = r, n.rough, n.arrive
	n.Note = func(f virtual.Fate) {
		s.counts.add([...]tally{virtual.Lost: countLost, virtual.Doubled: countDuplicates, virtual.Broken: countBroken}[f], 1)
	}
	return n
}

// link returns the link from one member to another.
func (n *network) link(from, to *member) *link { return n.Link(from.number, to.number) }

// meeting returns what the ends of a link know of each other.
func (n *network) meeting(l *link) *meeting {
	m := n.meets[l]
	if m == nil {
		m = &meeting{}
		n.meets[l] = m
	}
	return m
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
	if !datagram && msg.Kind().NeverByStream() {
		return
	}
	n.s.trace.note(tagSend, from.number, uint64(to.number), xxh3.Hash(bytes))
	n.s.counts.add(countMessages, 1)
	n.Send(n.s.schedule.now, from.number, to.number, letter{from, to, bytes}, len(bytes), datagram)
}

// reaches reports whether what is sent now from one member to another may arrive, as a
// datagram or over a stream.
func (n *network) reaches(from, to int, datagram bool) bool {
	if l := n.Link(from, to); datagram {
		return l.ReachesByDatagram()
	} else {
		return l.ReachesByStream()
	}
}

// heal ends a cut.
func (n *network) heal(from, to *member) { n.Heal(n.s.schedule.now, from.number, to.number) }

// arrive delivers a message. One of a broken stream is mostly lost; a little arrives even
// at the member's next run: the rules that number runs are there for that.
func (n *network) arrive(at Time, p virtual.Parcel[Time, letter]) {
	from, to, bytes, l, stream := p.Message.from, p.Message.to, p.Message.bytes, p.By, p.Stream
	sender, receiver := from.id, to.id
	var g greeting
	if l != nil {
		g = n.meeting(l).greet(from, stream)
	} else {
		bytes = slices.Clone(bytes) // there may be two of it
	}
	n.s.schedule.at(at, func() {
		if l != nil && l.Stream != stream && !chance(n.Rand, 0.2) {
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
	n.s.trace.note(tagDeliver, to.number, uint64(from.number), uint64(len(bytes)))
	if n.s.trace.messages() {
		n.s.trace.arrow(from, to, describe(msg))
	}
	if _, ok := msg.(*protocol.Watermark); ok {
		return // on a stream that the other end has dialled: it may be anybody's
	}
	to.eyes.news(sender)
	if to.greeter.barred && !msg.Kind().OfFlock() {
		return
	}
	if to.repairing != nil {
		to.repairing.receive(sender, msg)
		return
	}
	switch msg := msg.(type) {
	case *protocol.AppendAnswer, *protocol.HeartbeatAnswer:
		n.s.answers(sender, to.id)
		to.receive(sender, msg)
	case *protocol.RepairWant:
		to.answerRepair(sender, msg)
	default:
		to.receive(sender, msg)
	}
}
