package replica

import (
	"container/heap"
	"maps"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// lightMax is how many commands a caller has under way at most that counts as light.
	lightMax = 8
	// turnsLast is how long a caller is what it was: heavy after it had more under way, and about
	// after its last command.
	turnsLast = 250 * time.Millisecond
	// windowMax and windowBytesMax are what those who have turns have in the log and not applied, while
	// somebody light is about, and turnsOpen how many times as much otherwise: half of what the log takes.
	windowMax      = 64
	windowBytesMax = 256 << 10
	turnsOpen      = 128
	// turnsMax and turnsBytesMax are what waits in all lines; beyond: ErrOverloaded.
	turnsMax      = 16_384
	turnsBytesMax = 64 << 20
	// turnMax is how many commands one turn has: answers to few callers at once cost less, for
	// all who are woken, than a few to each.
	turnMax = 64
	// turnCost is what a command counts beside its bytes.
	turnCost = 256
)

// caller is whose commands wait in one line: a session; or a member, where they have none.
type caller struct {
	session protocol.SessionID
	member  protocol.MemberID
}

// line has the commands of one caller that wait for their turn, in order.
type line struct {
	caller caller
	open   int              // commands that wait, or are in the log and not applied
	heavy  protocol.Instant // it is, until then
	queue  []command
	due    uint64 // the line with the lowest is the next
}

// turns are the lines at a leader. What is in the log goes in its order, so whoever has few
// commands under way waits for all that whoever has many has put there. While both are about, the
// latter put no more than a window there, and take turns by what each has had: start-time fair
// queueing. Who has few never waits in a line. While only one kind is about nobody does.
type turns struct {
	lines map[caller]*line
	heap  lineHeap // those with a queue
	had   uint64   // due of the last turn
	took  int      // commands of the turn that lasts
	spent uint64   // what they count

	count, bytes      int              // in all queues
	inLog, inLogBytes int              // of those who have turns, handed to the log and not applied
	light, sweep      protocol.Instant // until when somebody light is about; when to forget lines
}

// add takes a command, which goes at once, or waits.
func (t *turns) add(now protocol.Instant, from caller, c command) (l *line, goes bool, err error) {
	if l = t.lines[from]; l == nil {
		if t.lines == nil {
			t.lines = map[caller]*line{}
		}
		l = &line{caller: from}
		t.lines[from] = l
	}
	if l.open++; l.open > lightMax {
		l.heavy = now.Add(turnsLast)
	}
	if now >= l.heavy && len(l.queue) == 0 { // none goes before an older one of its session
		t.light = now.Add(turnsLast)
		return l, true, nil
	}
	if t.count >= turnsMax || t.bytes+len(c.encoded) > turnsBytesMax {
		t.drop(l)
		return nil, false, errTurns
	}
	if l.queue = append(l.queue, c); len(l.queue) == 1 {
		l.due = max(l.due, t.had)
		heap.Push(&t.heap, l)
	}
	t.count, t.bytes = t.count+1, t.bytes+len(c.encoded)
	return l, false, nil
}

var errTurns = protocol.ErrOverloaded.With("too much waits for its turn at the leader; try again later")

// may reports whether it is the turn of a command that waits. What light callers have in the log
// counts for nobody: many of them would leave the others no turn.
func (t *turns) may(now protocol.Instant) bool {
	times := turnsOpen
	if now < t.light {
		times = 1
	}
	return t.count > 0 && t.inLog < times*windowMax && t.inLogBytes < times*windowBytesMax
}

// next takes the command whose turn it is, if it is that of one, which goes to the log.
func (t *turns) next(now protocol.Instant) (l *line, c command, ok bool) {
	if !t.may(now) {
		t.forget(now)
		return nil, command{}, false
	}
	l, c = t.pop()
	t.inLog, t.inLogBytes = t.inLog+1, t.inLogBytes+len(c.encoded)
	return l, c, true
}

func (t *turns) pop() (*line, command) {
	l := t.heap[0]
	c := l.queue[0]
	l.queue[0], t.had = command{}, l.due
	t.count, t.bytes = t.count-1, t.bytes-len(c.encoded)
	t.took, t.spent = t.took+1, t.spent+uint64(turnCost+len(c.encoded))
	l.queue = l.queue[1:]
	if len(l.queue) > 0 && t.took < turnMax {
		return l, c
	}
	l.due += t.spent
	t.took, t.spent = 0, 0
	if len(l.queue) == 0 {
		l.queue = nil
		heap.Pop(&t.heap)
	} else {
		heap.Fix(&t.heap, 0)
	}
	return l, c
}

// all takes all that wait, in the order of their turns.
func (t *turns) all() (list []command) {
	for t.count > 0 {
		l, c := t.pop()
		t.drop(l)
		list = append(list, c)
	}
	return list
}

// leave says that a command is not under way any more.
func (t *turns) leave(p turn) {
	if p.bytes > 0 {
		t.inLog, t.inLogBytes = t.inLog-1, t.inLogBytes-p.bytes
	}
	if p.line != nil {
		t.drop(p.line)
	}
}

func (t *turns) drop(l *line) {
	if l.open--; l.open == 0 && l.heavy == 0 { // who was heavy is not light when it comes again
		delete(t.lines, l.caller)
	}
}

// forget forgets who was heavy.
func (t *turns) forget(now protocol.Instant) {
	if now >= t.sweep {
		t.sweep = now.Add(turnsLast)
		maps.DeleteFunc(t.lines, func(_ caller, l *line) bool { return l.open == 0 && now >= l.heavy })
	}
}

// holds reports whether a command waits.
func (t *turns) holds(o origin) bool {
	for _, l := range t.heap {
		for _, c := range l.queue {
			if c.from == o {
				return true
			}
		}
	}
	return false
}

type lineHeap []*line

func (h lineHeap) Len() int           { return len(h) }
func (h lineHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h lineHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *lineHeap) Push(x any)        { *h = append(*h, x.(*line)) }
func (h *lineHeap) Pop() any {
	n := len(*h) - 1
	l := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	return l
}
