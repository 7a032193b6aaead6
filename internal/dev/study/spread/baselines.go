package spread

import (
	"math"
	"slices"
	"sort"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// The baselines. Both are models: of an algorithm, not of somebody's code.

// wantBytes and overheadBytes are the size of a pull, and of what is in front of
// entries in an answer.
const wantBytes, overheadBytes = 40, 80

// puller is a member where every passive pulls straight from an active: it asks
// for what comes after its last entry, the active answers as soon as it has
// some, and the passive asks again. Everything goes by stream.
type puller struct {
	n         *net
	at        int
	lastIndex int
	source    int
	waiting   []want // of an active: who asks for what it has not got yet
}

type want struct{ from, after int }

// span is the answer: entries number from (0 is the first) up to to, exclusive.
type span struct{ from, to int }

func newPullers(n *net) {
	for i := range n.ids {
		// Members are dealt out to zones and to actives in turns: where there are
		// as many zones as actives, each has an active of its own zone.
		n.actors = append(n.actors, &puller{n: n, at: i, source: i % Actives})
	}
	for i := Actives; i < len(n.ids); i++ {
		n.actors[i].(*puller).ask()
	}
}

func (p *puller) ask() {
	p.n.tally.controlSent(p.at, wantBytes)
	p.n.send(p.at, p.source, want{p.at, p.lastIndex}, wantBytes, true)
}

func (p *puller) committed(lastIndex int) {
	p.lastIndex = max(p.lastIndex, lastIndex)
	waiting := p.waiting
	p.waiting = nil
	for _, w := range waiting {
		p.answer(w)
	}
}

func (p *puller) answer(w want) {
	if w.after >= p.lastIndex {
		p.waiting = append(p.waiting, w)
		return
	}
	end := w.after + p.n.fit(w.after, p.lastIndex, 256<<10)
	bytes := overheadBytes + protocol.RawSize(p.n.history[w.after:end])
	p.n.tally.payloadSent(p.at, w.from, protocol.Index(w.after+1), protocol.Index(end), true, bytes)
	p.n.send(p.at, w.from, span{w.after, end}, bytes, true)
}

func (p *puller) receive(_ int, message any) {
	switch m := message.(type) {
	case want:
		p.answer(m)
	case span:
		p.n.tally.received(p.at, protocol.Index(m.from+1), protocol.Index(m.to), true)
		if m.to > p.lastIndex {
			p.n.tally.holds(p.at, p.lastIndex, m.to)
			p.lastIndex = m.to
		}
		p.ask()
	}
}

func (p *puller) tick()                      {}
func (p *puller) deadline() protocol.Instant { return never }
func (p *puller) held() int                  { return p.lastIndex }

// The settings of memberlist for a local network, as documented.
const (
	gossipInterval = 200 * time.Millisecond
	gossipNodes    = 3
	retransmitMult = 4
	udpBytes       = 1400
	// compoundBytes is in front of a packet of several messages, messageBytes in
	// front of each.
	compoundBytes, messageBytes = 2, 3
)

// broadcaster is a member with memberlist's queue: what is new is sent to three
// random members each 200 ms, a packet of 1,400 B to each, the messages that
// were sent least often first, and of those the newest; a message leaves the
// queue when it was sent retransmitMult x log10(N+1) times. Whoever hears of a
// message for the first time queues it too.
type broadcaster struct {
	n      *net
	at     int
	known  []bool // by entry
	count  int    // of the prefix that is there
	next   protocol.Instant
	serial int
	// queue has the messages by how often they were sent, the oldest first.
	queue [][]queued
}

type queued struct{ entry, serial int }

// packet carries entries by their numbers.
type packet []int

func newBroadcasters(n *net) {
	limit := retransmitMult * int(math.Ceil(math.Log10(float64(len(n.ids)+1))))
	for i := range n.ids {
		b := &broadcaster{n: n, at: i, queue: make([][]queued, limit)}
		b.next = protocol.Instant(n.rng.Int64N(int64(gossipInterval)))
		n.actors = append(n.actors, b)
	}
}

// learn notes an entry and queues it if it is new.
func (b *broadcaster) learn(entry int) bool {
	for len(b.known) <= entry {
		b.known = append(b.known, false)
	}
	if b.known[entry] {
		return false
	}
	b.known[entry] = true
	for b.count < len(b.known) && b.known[b.count] {
		b.count++
	}
	b.serial++
	b.queue[0] = append(b.queue[0], queued{entry, b.serial})
	return true
}

// committed queues on all actives what they know by way of Raft.
func (b *broadcaster) committed(lastIndex int) {
	for i := b.count; i < lastIndex; i++ {
		b.learn(i)
	}
}

func (b *broadcaster) receive(_ int, message any) {
	for _, entry := range message.(packet) {
		at := protocol.Index(entry + 1)
		b.n.tally.received(b.at, at, at, false)
		if b.learn(entry) {
			b.n.tally.holds(b.at, entry, entry+1)
		}
	}
}

func (b *broadcaster) tick() {
	if b.n.now < b.next {
		return
	}
	b.next = b.next.Add(gossipInterval)
	var to []int
	for len(to) < min(gossipNodes, len(b.n.ids)-1) {
		if k := b.n.rng.IntN(len(b.n.ids)); k != b.at && !slices.Contains(to, k) {
			to = append(to, k)
		}
	}
	for _, k := range to {
		list, bytes := b.fill()
		if len(list) == 0 {
			return
		}
		for _, entry := range list {
			at := protocol.Index(entry + 1)
			b.n.tally.payloadSent(b.at, k, at, at, false, messageBytes+len(b.n.history[entry].Raw))
		}
		b.n.send(b.at, k, list, bytes, false)
	}
}

// fill takes what fits into one packet. A message that fits into none stays in
// the queue for ever, and nobody is told.
func (b *broadcaster) fill() (list packet, bytes int) {
	bytes = compoundBytes
	type again struct {
		sent int
		q    queued
	}
	var back []again
	for sent := range b.queue {
		bucket := b.queue[sent]
		for i := len(bucket) - 1; i >= 0; i-- {
			size := messageBytes + len(b.n.history[bucket[i].entry].Raw)
			if bytes+size > udpBytes {
				continue
			}
			bytes += size
			list = append(list, bucket[i].entry)
			back = append(back, again{sent + 1, bucket[i]})
			bucket = slices.Delete(bucket, i, i+1)
			if bytes+size > udpBytes { // about as large as the next one
				break
			}
		}
		b.queue[sent] = bucket
		if bytes+messageBytes+b.n.set.Bytes > udpBytes {
			break
		}
	}
	for _, a := range back {
		if a.sent >= len(b.queue) {
			continue // sent often enough
		}
		bucket := b.queue[a.sent]
		i := sort.Search(len(bucket), func(i int) bool { return bucket[i].serial > a.q.serial })
		b.queue[a.sent] = slices.Insert(bucket, i, a.q)
	}
	return list, bytes
}

func (b *broadcaster) deadline() protocol.Instant { return b.next }
func (b *broadcaster) held() int                  { return b.count }
