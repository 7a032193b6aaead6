package spread

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/virtual"
	"github.com/starlinghq/starling/protocol"
)

// never is a deadline that is not set.
const never = protocol.Instant(math.MaxInt64)

// The network.
const (
	// recovery is how long a stream takes to notice that a packet at its end
	// was lost, beside two delays: TCP's tail loss probe.
	recovery = 10 * time.Millisecond
	// packetBytes is what a packet of a stream carries.
	packetBytes = 1400
)

// actor is a member: a core, or a model. The first Actives are the actives, and
// the first of all leads.
type actor interface {
	// committed tells an active how much of the history it knows of.
	committed(lastIndex int)
	receive(from int, message any)
	tick()
	deadline() protocol.Instant
	// held returns the length of the prefix of the history that is there.
	held() int
}

// net is a flock: members, the network between them, and a modelled source of
// committed entries in place of Raft. All clocks are right.
type net struct {
	set     *Setting
	rng     *rand.Rand
	now     protocol.Instant
	events  virtual.Queue[protocol.Instant, event]
	network virtual.Network[protocol.Instant, any]
	actors  []actor
	ids     []protocol.MemberID
	byID    map[protocol.MemberID]int32
	ill     []bool             // dead or slow: not in the figures
	dead    []bool             // since the warm-up ended
	slow    []time.Duration    // for each message, since then
	free    []protocol.Instant // when the member has sent what it had to send
	waking  []protocol.Instant

	history []protocol.Entry
	acked   []protocol.Instant // when each entry was committed
	tally   tally
	scratch []byte
}

func newNet(set *Setting, norepair bool) *net {
	total := Actives + set.Members
	n := &net{
		set: set, rng: rand.New(rand.NewPCG(set.Seed, 0x5eed)),
		byID: make(map[protocol.MemberID]int32, total), ids: make([]protocol.MemberID, total),
		ill: make([]bool, total), dead: make([]bool, total), slow: make([]time.Duration, total),
		free: make([]protocol.Instant, total), waking: make([]protocol.Instant, total),
	}
	n.network.Weather, n.network.Side, n.network.Loose = &weather{net: n}, make([]int, total), true
	n.network.Post = func(at protocol.Instant, p virtual.Parcel[protocol.Instant, any]) {
		n.events.Push(at, event{to: int32(p.To), from: int32(p.From), message: p.Message})
	}
	for i := range total {
		n.ids[i] = idOf(i)
		n.byID[n.ids[i]] = int32(i)
		n.waking[i] = never
	}
	// Who falls ill is decided now, so that it is the same in all modes.
	order := n.rng.Perm(set.Members)
	for _, k := range order[:int(math.Round((set.Dead+set.Slow)*float64(set.Members)))] {
		n.ill[Actives+k] = true
	}
	n.tally.of(n)
	switch set.Mode {
	case Pull:
		newPullers(n)
	case Broadcast:
		newBroadcasters(n)
	default:
		newCores(n, norepair)
	}
	for i := range n.actors {
		n.wake(i)
	}
	return n
}

// fall makes those ill who are to be.
func (n *net) fall() {
	dead := int(math.Round(n.set.Dead * float64(n.set.Members)))
	for i, ill := range n.ill {
		switch {
		case !ill:
		case dead > 0:
			n.dead[i] = true
			dead--
		default:
			n.slow[i] = SlowBy
		}
	}
}

// idOf returns ids that are not in the order of the members.
func idOf(i int) protocol.MemberID {
	var id protocol.MemberID
	x := uint64(i+1) * 0x9e3779b97f4a7c15
	for k := range 8 {
		id[k] = byte(x >> (56 - 8*k))
	}
	return id
}

func (n *net) zone(i int) int { return i % n.set.Zones }

// send puts a message on its way, in a datagram or by stream: that loses nothing
// and takes longer instead.
func (n *net) send(from, to int, message any, bytes int, stream bool) {
	n.free[from] = max(n.free[from], n.now).Add(SendCost)
	n.network.Send(n.free[from], from, to, message, bytes, !stream)
}

// weather draws the way of a message first: how late a stream is that lost a packet
// depends on it.
type weather struct {
	*net
	way time.Duration
}

func (w *weather) draw(from, to int) {
	w.way = w.set.Delay + time.Duration(w.rng.ExpFloat64()*float64(w.set.Delay)/5) + w.slow[from] + w.slow[to]
	if w.zone(from) != w.zone(to) {
		w.way += w.set.ZoneDelay
	}
}

func (w *weather) loses() bool { return w.set.Loss > 0 && w.rng.Float64() < w.set.Loss }

// Datagram implements virtual.Weather.
func (w *weather) Datagram(from, to int) (lost, twice bool) {
	w.draw(from, to)
	return w.loses(), false
}

// Stream implements virtual.Weather.
func (w *weather) Stream(from, to, bytes int) (late time.Duration, breaks bool) {
	w.draw(from, to)
	again := recovery + 2*w.way
	for range (bytes + packetBytes - 1) / packetBytes {
		for w.loses() {
			late = max(late, again-w.way)
			again += recovery
		}
	}
	return late, false
}

// Travel implements virtual.Weather.
func (w *weather) Travel(_, _ int) time.Duration { return w.way }

// event is something that happens to a member: a message arrives, or, without
// one, its deadline passes. A function happens to nobody.
type event struct {
	to, from int32
	message  any
}

// run lets everything happen that is due up to an instant.
func (n *net) run(until protocol.Instant) {
	for at, ok := n.events.First(); ok && at <= until; at, ok = n.events.First() {
		_, e := n.events.Pop()
		n.now = at
		to := int(e.to)
		switch f := e.message.(type) {
		case func():
			f()
			continue
		case nil:
			if n.waking[to] != at {
				continue // a deadline that was moved
			}
			n.waking[to] = never
			if n.dead[to] {
				continue
			}
			n.actors[to].tick()
		default:
			if n.dead[to] {
				continue
			}
			n.actors[to].receive(int(e.from), e.message)
		}
		n.wake(to)
	}
	n.now = until
}

func (n *net) after(d time.Duration, do func()) {
	n.events.Push(n.now.Add(d), event{message: do})
}

// wake sees to it that a member's deadline is an event.
func (n *net) wake(i int) {
	at := n.actors[i].deadline()
	if at == never {
		return
	}
	if at = max(at, n.now); n.waking[i] <= at {
		return // it is woken before, and looks again
	}
	n.waking[i] = at
	n.events.Push(at, event{to: int32(i)})
}

// write commits one entry: the leader has it at once, the other actives hear of
// it a little later.
func (n *net) write() {
	k := len(n.history)
	n.history = append(n.history, protocol.Entry{
		Index: protocol.Index(k + 1), Term: 1, Kind: protocol.EntryCommand, Data: make([]byte, n.set.Bytes),
	})
	fresh := n.history[k:]
	protocol.EncodeEntries(fresh)
	protocol.SumEntries(n.sum(k), fresh)
	n.acked = append(n.acked, n.now)
	n.tally.written()
	n.commit(0, k+1)
	for i := 1; i < Actives; i++ {
		late := n.set.Delay + time.Duration(n.rng.Int64N(int64(time.Millisecond)))
		if n.zone(i) != n.zone(0) {
			late += n.set.ZoneDelay
		}
		n.after(late, func() { n.commit(i, k+1) })
	}
}

func (n *net) commit(i, lastIndex int) {
	n.actors[i].committed(lastIndex)
	n.wake(i)
}

// sum returns the log sum after k entries.
func (n *net) sum(k int) protocol.LogSum {
	if k == 0 {
		return protocol.LogSum{}
	}
	return n.history[k-1].Sum
}

// fit returns how many of the entries from k on, at least one, fit into bytes.
func (n *net) fit(k, end, bytes int) int {
	count := 0
	for k+count < end {
		if bytes -= len(n.history[k+count].Raw); bytes < 0 && count > 0 {
			break
		}
		count++
	}
	return count
}

// check stops a run that does not follow the rules: a figure of it would mean
// nothing.
func check(ok bool, format string, args ...any) {
	invariant.Check(ok, "%s", fmt.Sprintf(format, args...))
}
