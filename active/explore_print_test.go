package active

import "github.com/starlinghq/starling/protocol"

// A fingerprint is a number for a state, the same whichever way the members are
// named. There are six ways to name three members: each part of the state is
// hashed under all six once, when it is made, and a state's fingerprint is the
// least of the six sums of its parts. Sums, because neither members nor messages
// have an order.

// prints are the hashes of one part, by naming.
type prints [6]uint64

// namings are all ways to name members 0, 1 and 2. 3, nobody, keeps its name.
var namings = [6][4]uint64{{0, 1, 2, 3}, {0, 2, 1, 3}, {1, 0, 2, 3}, {1, 2, 0, 3}, {2, 0, 1, 3}, {2, 1, 0, 3}}

// hash mixes numbers, one after the other.
type hash uint64

func (h *hash) put(v uint64) {
	x := uint64(*h)*0x9e3779b97f4a7c15 + v + 0x632be59bd9b4e019
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 29
	*h = hash(x)
}

func (h *hash) flag(b bool) {
	if b {
		h.put(1)
	} else {
		h.put(2)
	}
}

func (h *hash) entries(list []protocol.Entry) {
	h.put(uint64(len(list)))
	for i := range list {
		h.put(uint64(list[i].Term)<<8 | uint64(dataOf(list[i])))
	}
}

func (h *hash) state(s protocol.HardState, names *[4]uint64) {
	h.put(uint64(s.Term)<<32 | uint64(s.Commit)<<8 | names[indexOf(s.Vote)])
}

func (h *hash) message(msg protocol.Message) {
	h.put(uint64(msg.Kind()))
	switch msg := msg.(type) {
	case *protocol.Vote:
		h.put(uint64(msg.Term))
		h.put(uint64(msg.LastIndex)<<32 | uint64(msg.LastTerm))
	case *protocol.VoteAnswer:
		h.put(uint64(msg.Term))
		h.flag(msg.Granted)
	case *protocol.Append:
		h.put(uint64(msg.Term)<<48 | uint64(msg.PrevIndex)<<32 | uint64(msg.PrevTerm)<<16 | uint64(msg.Commit))
		h.entries(msg.Entries)
	case *protocol.AppendAnswer:
		h.put(uint64(msg.Term)<<48 | uint64(msg.Index)<<32 | uint64(msg.HintIndex)<<16 | uint64(msg.HintTerm))
		h.flag(msg.Reject)
	case *protocol.InstallCheckpoint:
		h.put(uint64(msg.Term)<<32 | uint64(msg.Manifest[0]))
	case *protocol.Heartbeat:
		h.put(uint64(msg.Term)<<32 | uint64(msg.Commit))
	default:
		panic("the explorer does not know " + msg.Kind().String())
	}
}

func (l *letter) seal() {
	for k := range namings {
		var h hash
		h.put(namings[k][indexOf(l.From)]<<8 | namings[k][indexOf(l.To)])
		h.message(l.Message)
		l.print[k] = uint64(h)
	}
}

// seal fingerprints a host that will not change any more.
func (n *host) seal(i int) {
	for k := range namings {
		names := namings[k] // a copy: nobody changes the table
		var h hash
		m := n.m
		h.put(names[i]<<32 | uint64(m.state)<<16 | names[indexOf(m.leader)])
		h.state(m.hard, &names)
		h.entries(n.log)
		h.state(n.durable.state, &names)
		h.entries(n.durable.log)
		h.put(uint64(n.durable.begin)<<32 | uint64(n.offered)<<16 | uint64(n.installing)<<8 | uint64(m.committedElsewhere))
		h.put(uint64(m.unreadable))
		n.sealDisk(&h, &names)
		for v, b := range m.ballots {
			if b == ballotGranted || b == ballotRefused { // members have no order; silence decides nothing
				one := hash(names[v]<<8 | uint64(b))
				one.put(7)
				h += one
			}
		}
		if m.lead != nil {
			h.put(uint64(m.lead.noop))
			sum := uint64(0)
			for p := range m.lead.progress {
				sum += m.lead.progress[p].print(&names)
			}
			h.put(sum)
		}
		n.print[k] = uint64(h)
	}
}

func (n *host) sealDisk(h *hash, names *[4]uint64) {
	d := &n.m.disk
	h.put(uint64(d.written)<<32 | uint64(d.stable))
	h.flag(d.cut)
	h.state(d.durable, names)
	sealHeld(h, d.held, names)
	if f := d.flight; f != nil {
		h.state(f.state, names)
		h.put(uint64(f.last))
		h.flag(f.waited)
		sealHeld(h, f.held, names)
	}
	h.flag(d.waits)
	h.flag(d.ahead != nil)
	if a := n.ahead; a != nil { // the member's is the same, by number
		h.put(uint64(a.Term)<<8 | names[indexOf(a.Vote)])
	}
	h.state(n.voted, names)
	if w := n.write; w != nil {
		h.state(w.State, names)
		h.put(uint64(w.First)<<32 | uint64(w.After))
		h.flag(w.Truncate)
		h.entries(n.entries)
	}
}

func sealHeld(h *hash, list []held, names *[4]uint64) {
	sum := uint64(0)
	for i := range list {
		var one hash
		one.put(uint64(list[i].term)<<8 | names[indexOf(list[i].to)])
		one.message(list[i].msg)
		sum += uint64(one)
	}
	h.put(sum)
}

func (p *progress) print(names *[4]uint64) uint64 {
	var h hash
	h.put(names[indexOf(p.id)]<<8 | uint64(p.state))
	h.put(uint64(p.match)<<32 | uint64(p.next)<<16 | uint64(p.sentCommit))
	h.flag(p.probing)
	h.flag(p.run != 0)
	h.flag(p.putBack != 0)
	h.put(uint64(p.owed))
	for _, f := range p.flying.list {
		h.put(uint64(f.last))
	}
	return uint64(h)
}

// fingerprint returns the state's number.
func (w *world) fingerprint() uint64 {
	least := ^uint64(0)
	for k := range namings {
		names := namings[k] // a copy: nobody changes the table
		var h hash
		h.put(uint64(w.waits)<<32 | uint64(w.compactions)<<24 | uint64(w.proposals)<<16 | uint64(w.crashes)<<8 | uint64(w.duplicates))
		for _, d := range w.done {
			h.put(uint64(d.term)<<32 | uint64(d.at)<<16 | uint64(d.data))
		}
		for t, led := range w.leaders {
			if led > 0 {
				h.put(uint64(t)<<8 | names[led-1])
			}
		}
		sum := uint64(0)
		for _, n := range w.nodes {
			sum += n.print[k]
		}
		for _, l := range w.wire {
			one := hash(l.print[k])
			one.put(1)
			sum += uint64(one)
		}
		h.put(sum)
		least = min(least, uint64(h))
	}
	return least
}

// rehashed returns the fingerprint made anew from all parts: whether anything
// has changed them since.
func (w *world) rehashed() uint64 {
	n := *w
	for i, h := range w.nodes {
		c := *h
		c.seal(i)
		n.nodes[i] = &c
	}
	n.wire = nil
	for _, l := range w.wire {
		c := *l
		c.seal()
		n.wire = append(n.wire, &c)
	}
	return n.fingerprint()
}
