package virtual

import (
	"math/rand/v2"
	"time"
)

// heldMax is how many messages wait in a sender's socket while a link is cut; what comes
// later breaks the stream.
const heldMax = 64

// Network carries messages between ends that are numbered from 0. It decides which arrive,
// and when, and hands those to Post, which puts them into a queue: it has no clock.
//
// A datagram may be lost, come twice, and be reordered. A stream, one for each direction of
// a pair, keeps its order and loses nothing while it lives: what is lost delays it, a cut
// makes it stand still or breaks it, and then what was on its way is for the receiver to
// judge (see Parcel). Random draws are the Weather's, and one for each heal: the same calls
// give the same fates.
type Network[T ~int64, M any] struct {
	Rand    *rand.Rand
	Weather Weather
	// Post takes what is to arrive at a time.
	Post func(at T, p Parcel[T, M])
	// Note, if not nil, hears of what happens to messages.
	Note func(Fate)
	// Side, if not nil, parts the ends: nothing gets from one side to another.
	Side []int
	// Loose streams have no order, and no link is kept for anything that is sent: for flocks
	// with too many pairs.
	Loose bool
	// Bytes is what each end has sent within its side, lost or not.
	Bytes []int

	links map[[2]int]*Link[T, M]
}

// Parcel is a message on its way. By is the link whose stream of that number carries it,
// nil for a datagram: when By.Stream is another one, that stream broke meanwhile.
type Parcel[T ~int64, M any] struct {
	From, To int
	Message  M
	By       *Link[T, M]
	Stream   uint64

	bytes int
}

// Link is one direction between two ends.
type Link[T ~int64, M any] struct {
	Cut bool // nothing passes; Heal sets it back
	// NoDatagrams loses all datagrams, NoStream has streams stand still, as firewalls do
	// that know one of the two only; HealStream sets the latter back.
	NoDatagrams, NoStream bool

	Clogged T             // messages arrive no earlier
	Slow    time.Duration // added to each way
	Stream  uint64        // the number of the stream that stands

	last  T // when the stream's last message arrives
	still T // until when the stream waits for something that is sent again
	held  []Parcel[T, M]
}

// ReachesByDatagram reports whether datagrams get through, now and then at least.
func (l *Link[T, M]) ReachesByDatagram() bool { return !l.Cut && !l.NoDatagrams }

// ReachesByStream reports whether streams get through.
func (l *Link[T, M]) ReachesByStream() bool { return !l.Cut && !l.NoStream }

// Fate is what may happen to a message.
type Fate uint8

const (
	// Lost is a datagram that does not arrive.
	Lost Fate = iota
	// Doubled is a datagram that arrives twice.
	Doubled
	// Broken is a stream that ends.
	Broken
)

// Weather draws what becomes of messages: first what happens to one, then how long it takes
// if it arrives, and again for a second copy.
type Weather interface {
	// Datagram reports whether a datagram is lost, or comes twice.
	Datagram(from, to int) (lost, twice bool)
	// Stream returns by how much a stream is late that has to send something again, and
	// whether it breaks before the message.
	Stream(from, to, bytes int) (late time.Duration, breaks bool)
	// Travel returns how long a message is on its way.
	Travel(from, to int) time.Duration
}

// Way is the weather in which all arrives: how long it takes.
type Way func(from, to int) time.Duration

// Datagram loses nothing.
func (w Way) Datagram(_, _ int) (lost, twice bool) { return false, false }

// Stream delays nothing.
func (w Way) Stream(_, _, _ int) (time.Duration, bool) { return 0, false }

// Travel returns the way.
func (w Way) Travel(from, to int) time.Duration { return w(from, to) }

// Rough is weather that harms all links alike.
type Rough struct {
	Way
	Rand *rand.Rand
	// Loss and Double are the shares of the datagrams that are lost, and come twice. Of a
	// stream's messages the same share is Resend late, and the stream breaks with Breaks. What
	// is sent again may be lost as well: it is sent a third time after twice as long, and so on.
	Loss, Double, Breaks float64
	Resend               time.Duration
}

// resendsMax is how often a stream doubles the time after which it sends something again.
const resendsMax = 9

// Datagram draws a datagram's fate.
func (r *Rough) Datagram(_, _ int) (lost, twice bool) {
	lost = r.Rand.Float64() < r.Loss
	return lost, r.Rand.Float64() < r.Double
}

// Stream draws what a stream suffers.
func (r *Rough) Stream(_, _, _ int) (late time.Duration, breaks bool) {
	drawn, wait := r.Rand.Float64(), r.Resend
	for lost := r.Loss; drawn < lost && wait <= r.Resend<<resendsMax; lost *= r.Loss {
		late += wait
		wait *= 2
	}
	return late, r.Rand.Float64() < r.Breaks
}

// Link returns the link from one end to another.
func (n *Network[T, M]) Link(from, to int) *Link[T, M] {
	key := [2]int{from, to}
	l := n.links[key]
	if l == nil {
		if n.links == nil {
			n.links = map[[2]int]*Link[T, M]{}
		}
		l = &Link[T, M]{}
		n.links[key] = l
	}
	return l
}

// Send takes a message on its way, as a datagram or by stream.
func (n *Network[T, M]) Send(now T, from, to int, message M, bytes int, datagram bool) {
	if n.Side != nil && n.Side[from] != n.Side[to] {
		return
	}
	for len(n.Bytes) <= from {
		n.Bytes = append(n.Bytes, 0)
	}
	n.Bytes[from] += bytes
	p := Parcel[T, M]{From: from, To: to, Message: message, bytes: bytes}
	if datagram {
		n.datagram(now, p)
	} else {
		n.stream(now, p)
	}
}

func (n *Network[T, M]) datagram(now T, p Parcel[T, M]) {
	lost, twice := n.Weather.Datagram(p.From, p.To)
	at := now + T(n.Travel(p.From, p.To))
	if l := n.links[[2]int{p.From, p.To}]; l != nil {
		lost, at = lost || !l.ReachesByDatagram(), max(at, l.Clogged)
	}
	if lost {
		n.note(Lost)
		return
	}
	n.Post(at, p)
	if twice {
		n.note(Doubled)
		n.Post(at+T(n.Travel(p.From, p.To)), p)
	}
}

func (n *Network[T, M]) stream(now T, p Parcel[T, M]) {
	late, breaks := n.Weather.Stream(p.From, p.To, p.bytes)
	if n.Loose {
		n.Post(now+T(n.Travel(p.From, p.To)+late), p)
		return
	}
	l := n.Link(p.From, p.To)
	switch {
	case !l.ReachesByStream() && len(l.held) == heldMax:
		l.held = nil
		n.Reset(l)
		return
	case !l.ReachesByStream():
		l.held = append(l.held, p)
		return
	case breaks:
		n.Reset(l)
	}
	at := now + T(n.Travel(p.From, p.To))
	switch {
	case at < l.still: // it goes with what the stream waits for, in the same packet
	case late > 0:
		at += T(late)
		l.still = at
	}
	l.last = max(at, l.last, l.Clogged)
	p.By, p.Stream = l, l.Stream
	n.Post(l.last, p)
}

// Travel draws how long a message is on its way.
func (n *Network[T, M]) Travel(from, to int) time.Duration {
	d := n.Weather.Travel(from, to)
	if l := n.links[[2]int{from, to}]; l != nil {
		d += l.Slow
	}
	return d
}

// Reset breaks a stream. What is on its way is lost, or arrives after the receiver has
// begun to read the stream that follows.
func (n *Network[T, M]) Reset(l *Link[T, M]) {
	l.Stream++
	l.last, l.still = 0, 0
	n.note(Broken)
}

// Heal ends a cut. What waited in the sender's socket is sent at last, unless the
// connection was given up meanwhile.
func (n *Network[T, M]) Heal(now T, from, to int) {
	l := n.Link(from, to)
	if !l.Cut {
		return
	}
	l.Cut = false
	n.resume(now, l)
}

// HealStream ends a NoStream, as Heal ends a cut.
func (n *Network[T, M]) HealStream(now T, from, to int) {
	l := n.Link(from, to)
	if !l.NoStream {
		return
	}
	l.NoStream = false
	n.resume(now, l)
}

// resume sends what waited, if streams get through now.
func (n *Network[T, M]) resume(now T, l *Link[T, M]) {
	if !l.ReachesByStream() {
		return
	}
	held := l.held
	l.held = nil
	if n.Rand.Float64() < 0.5 {
		n.Reset(l)
		return
	}
	for _, p := range held {
		n.stream(now, p)
	}
}

// Forget breaks the streams to an end that is gone, of a number of ends, and drops what
// waits for it and of it. A little of what was on its way may still arrive.
func (n *Network[T, M]) Forget(gone, ends int) {
	for i := range ends {
		to := n.Link(i, gone)
		to.held = nil
		n.Reset(to)
		n.Link(gone, i).held = nil
	}
}

func (n *Network[T, M]) note(f Fate) {
	if n.Note != nil {
		n.Note(f)
	}
}
