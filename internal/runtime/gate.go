package runtime

import (
	"container/list"
	"fmt"
	"sync"

	"github.com/starlinghq/starling/protocol"
)

// Bounds of the commands that clients of other processes have in the loop, and on
// the way to a leader elsewhere, at once. They are below those of whatever lies
// behind, so that nothing there has to refuse the command of one client because
// of another's: the loop's mailbox, a link's queue, a leader's uncommitted log.
const (
	gateCommandsMax = 4096
	gateBytesMax    = 3 << 20 // one is let in in any case
	// gateWaitingBytesMax is what may wait before the gate; each connection has an
	// equal share, and one command in any case. Beyond it: ErrOverloaded.
	gateWaitingBytesMax = 64 << 20
)

// gate lets the commands of connections in by turns: one of each that has any
// waiting. However much one client asks for at once, the next command of another
// waits for no more than one of each connection.
type gate struct {
	commandsMax, bytesMax, waitingBytesMax int

	mu       sync.Mutex
	commands int // let in and not answered
	bytes    int
	queues   map[uint64]*gateQueue // by connection, of those that have commands waiting
	turns    list.List             // of *gateQueue; the next is in front
}

// gateQueue is the commands of one connection that wait.
type gateQueue struct {
	stream  uint64
	waiting []*pass
	bytes   int
	at      *list.Element
}

// pass is one command at the gate.
type pass struct {
	stream  uint64
	bytes   int
	start   func() error // hands it to the loop; must not block
	refuse  func(error)  // answers it if that fails
	waiting bool
	in      bool
}

func newGate() *gate {
	return &gate{
		commandsMax: gateCommandsMax, bytesMax: gateBytesMax, waitingBytesMax: gateWaitingBytesMax,
		queues: map[uint64]*gateQueue{},
	}
}

// enter has a command wait for its turn, or refuses it.
func (g *gate) enter(p *pass) {
	g.mu.Lock()
	q := g.queues[p.stream]
	if q == nil {
		q = &gateQueue{stream: p.stream}
		q.at = g.turns.PushBack(q)
		g.queues[p.stream] = q
	}
	if share := g.waitingBytesMax / len(g.queues); q.bytes > 0 && q.bytes+p.bytes > share {
		g.mu.Unlock()
		p.refuse(protocol.ErrOverloaded.With(fmt.Sprintf(
			"%d bytes of commands of this connection wait already, its share of what may wait here is %d; wait for answers", q.bytes, share)))
		return
	}
	p.waiting = true
	q.waiting, q.bytes = append(q.waiting, p), q.bytes+p.bytes
	g.admit()
}

// leave takes a command back that waits, because nobody waits for it any more. One
// that was let in is done when it is answered.
func (g *gate) leave(p *pass) {
	g.mu.Lock()
	if !p.waiting {
		g.mu.Unlock()
		return
	}
	q := g.queues[p.stream]
	for i, one := range q.waiting {
		if one == p {
			g.take(q, i)
			break
		}
	}
	g.admit() // it may have been the one too large for the room there is
}

// done makes room for others.
func (g *gate) done(p *pass) {
	g.mu.Lock()
	if p.in {
		p.in = false
		g.commands--
		g.bytes -= p.bytes
	}
	g.admit()
}

// admit lets in what there is room for, and unlocks.
func (g *gate) admit() {
	type failure struct {
		pass *pass
		err  error
	}
	var failures []failure
	for g.turns.Len() > 0 {
		q := g.turns.Front().Value.(*gateQueue)
		p := q.waiting[0]
		if g.commands > 0 && (g.commands >= g.commandsMax || g.bytes+p.bytes > g.bytesMax) {
			break
		}
		g.turns.MoveToBack(q.at)
		g.take(q, 0)
		if err := p.start(); err != nil {
			failures = append(failures, failure{p, err})
			continue
		}
		p.in = true
		g.commands++
		g.bytes += p.bytes
	}
	g.mu.Unlock()
	for _, f := range failures {
		f.pass.refuse(f.err)
	}
}

// take takes a command out of its queue. The lock is held.
func (g *gate) take(q *gateQueue, i int) {
	p := q.waiting[i]
	p.waiting = false
	copy(q.waiting[i:], q.waiting[i+1:])
	q.waiting[len(q.waiting)-1] = nil
	q.waiting, q.bytes = q.waiting[:len(q.waiting)-1], q.bytes-p.bytes
	if len(q.waiting) == 0 {
		g.turns.Remove(q.at)
		delete(g.queues, q.stream)
	}
}
