package active

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/virtual"
	"github.com/starlinghq/starling/protocol"
)

// voyage runs a cluster in virtual time: messages and writes take as long as a
// test says, members are woken when they ask for it, and nothing else happens.
// The cluster's checker looks on; beside it are kept, independently of it, what
// each member applied, what clients were told, and who spoke as a leader.
type voyage struct {
	*cluster
	rng *rand.Rand
	// delay returns how long a message travels; false loses it.
	delay func(protocol.Envelope) (time.Duration, bool)
	disk  func(*node) time.Duration

	queue   virtual.Queue[protocol.Instant, func()]
	written map[*node]protocol.WriteID // the write that is on its way to the disk
	runs    map[*node]int              // the run that written and applied belong to

	voices  map[protocol.Term]protocol.MemberID
	applied map[*node][][]byte // encoded entries, in the order of their application
	waiting []command
	told    []command // acknowledged to a client
	sent    int       // commands proposed
	refused int

	heads   int // heads of logs dropped
	leaders int // times that a member began to lead
	leading map[*node]protocol.Term
}

// command is a proposal and where it went.
type command struct {
	node  *node
	run   int
	term  protocol.Term
	index protocol.Index
	data  string
	at    protocol.Instant
}

// newVoyage makes a cluster of the given voters: messages take 0.2 to 2 ms, a
// write 0.1 to 3 ms.
func newVoyage(seed uint64, voters ...string) *voyage {
	v := &voyage{
		cluster: newCluster(), rng: rand.New(rand.NewPCG(seed, 10)),
		written: map[*node]protocol.WriteID{}, runs: map[*node]int{}, voices: map[protocol.Term]protocol.MemberID{},
		applied: map[*node][][]byte{}, leading: map[*node]protocol.Term{},
	}
	v.delay = func(protocol.Envelope) (time.Duration, bool) {
		return v.between(200*time.Microsecond, 2*time.Millisecond), true
	}
	v.disk = func(*node) time.Duration { return v.between(100*time.Microsecond, 3*time.Millisecond) }
	v.base.Configuration = configurationOf(voters...)
	draw := rand.New(rand.NewPCG(seed, 11))
	v.tune = func(cfg *Config) {
		cfg.Seed, cfg.NamedOnly = draw.Uint64(), seed%2 == 0
		if seed%3 != 0 {
			cfg.Secret = Secret{1, byte(cfg.Run), byte(cfg.Run >> 8)}
		}
	}
	for _, name := range voters {
		v.join(name)
	}
	return v
}

// join adds a node; one that no configuration names is passive.
func (v *voyage) join(name string) *node {
	n := v.add(name, image{})
	n.async = true
	v.watch(n)
	return n
}

func (v *voyage) between(low, high time.Duration) time.Duration {
	return low + time.Duration(v.rng.Int64N(int64(high-low)))
}

func (v *voyage) after(d time.Duration, do func()) {
	v.queue.Push(v.now.Add(d), do)
}

// every repeats something until it returns false.
func (v *voyage) every(d time.Duration, do func() bool) {
	v.after(d, func() {
		if do() {
			v.every(d, do)
		}
	})
}

// sail lets time pass.
func (v *voyage) sail(d time.Duration) {
	end := v.now.Add(d)
	for steps := 0; ; steps++ {
		invariant.Check(steps < 5_000_000, "time does not pass")
		at, sleeper := end, (*node)(nil)
		for _, n := range v.nodes {
			if n.m != nil && n.m.Deadline() < at {
				at, sleeper = n.m.Deadline(), n
			}
		}
		if first, ok := v.queue.First(); ok && first <= at && first <= end {
			due, do := v.queue.Pop()
			v.now = max(v.now, due)
			do()
			continue
		}
		if sleeper == nil {
			v.now = end
			return
		}
		v.now = max(v.now, at)
		sleeper.m.Tick(v.now)
		v.settled(sleeper)
	}
}

// settled serves a node after something happened to it.
func (v *voyage) settled(n *node) {
	v.settle(n)
	v.watch(n)
	v.post()
}

// post puts what was said under way.
func (v *voyage) post() {
	for _, e := range v.wire {
		v.hear(e)
		d, ok := v.delay(e)
		if !ok {
			continue
		}
		v.after(d, func() {
			v.wire = append(v.wire, e)
			v.deliver(len(v.wire) - 1)
			v.watch(v.byID(e.To))
			v.post()
		})
	}
	v.wire = v.wire[:0]
}

// hear holds what is said to one leader in a term.
func (v *voyage) hear(e protocol.Envelope) {
	term := protocol.Term(0)
	switch m := e.Message.(type) {
	case *protocol.Append:
		term = m.Term
	case *protocol.Heartbeat:
		term = m.Term
	case *protocol.TimeoutNow:
		term = m.Term
	default:
		return
	}
	speaker, ok := v.voices[term]
	invariant.Check(!ok || speaker == e.From, "%s and %s speak as leaders of term %d", nameOf(speaker), nameOf(e.From), term)
	v.voices[term] = e.From
}

// watch follows a node: its writes, what it applies, what its clients learn.
func (v *voyage) watch(n *node) {
	if v.runs[n] != n.runs {
		v.runs[n], v.written[n] = n.runs, 0
		v.applied[n] = nil // it applies its log anew
	}
	if n.write != nil && v.written[n] != n.write.ID {
		id, run := n.write.ID, n.runs
		v.written[n] = id
		v.after(v.disk(n), func() {
			if n.runs == run && n.m != nil && n.write != nil && n.write.ID == id {
				v.persist(n)
				v.settled(n)
			}
		})
	}
	if n.write == nil {
		v.written[n] = 0 // a new role numbers from the beginning
	}
	if n.down {
		return
	}
	for i := len(v.applied[n]); i < int(n.commit()); i++ {
		v.applied[n] = append(v.applied[n], n.log[i].Raw)
	}
	v.answer(n)
	term := protocol.Term(0)
	if n.m != nil && n.m.state == StateLeader {
		term = n.m.hard.Term
	}
	if term != 0 && v.leading[n] != term {
		v.leaders++
	}
	v.leading[n] = term
}

// answer tells clients of a node what became of their commands. What was
// proposed to a leader that lost its term is unknown, and stays so.
func (v *voyage) answer(n *node) {
	rest := v.waiting[:0]
	for _, w := range v.waiting {
		switch {
		case w.node != n:
			rest = append(rest, w)
		case w.run != n.runs || n.m == nil || n.m.hard.Term != w.term:
		case n.commit() >= w.index:
			v.told = append(v.told, w)
		case n.m.state == StateLeader:
			rest = append(rest, w)
		}
	}
	v.waiting = rest
}

// request proposes commands at whoever leads.
func (v *voyage) request(count int) {
	l := v.leader()
	if l == nil {
		v.refused++
		return
	}
	v.requestAt(l, count)
}

func (v *voyage) requestAt(l *node, count int) {
	data := make([]string, count)
	for i := range data {
		data[i] = fmt.Sprintf("command %d", v.sent+i+1)
	}
	first, err := v.propose(l.name, data...)
	if err != nil {
		v.refused++
		return
	}
	v.sent += count
	for i, d := range data {
		v.waiting = append(v.waiting, command{l, l.runs, l.m.hard.Term, first + protocol.Index(i), d, v.now})
	}
	v.settled(l)
}

// load keeps a client busy for as long as the returned flag is true.
func (v *voyage) load(period time.Duration, count int) *bool {
	on := true
	v.every(period, func() bool {
		if on {
			v.request(count)
		}
		return on
	})
	return &on
}

// flock brings committed entries to those who hear no leader, and to passives,
// from anybody who can be reached.
func (v *voyage) flock(period time.Duration) {
	v.every(period, func() bool {
		for _, n := range v.nodes {
			from := v.nodes[v.rng.IntN(len(v.nodes))]
			link := [2]protocol.MemberID{from.id, n.id}
			if n.down || from.down || from == n || v.cut[link] || from.commit() <= n.commit() || n.m != nil && !n.m.IsLeaderless(v.now) || !trusts(n, from) {
				continue
			}
			v.adopt(n, from, n.commit()+1, from.commit())
			v.settled(n)
		}
		return true
	})
}

// compaction makes each member drop the head of its log now and then, up to a
// few entries below its commit index, and take up the checkpoints that it is
// offered.
func (v *voyage) compaction() {
	v.every(150*time.Millisecond, func() bool {
		for _, n := range v.nodes {
			if at := n.commit(); !n.down && v.rng.IntN(3) == 0 && at > 10 && v.compact(n, at-protocol.Index(v.rng.IntN(10))) {
				v.heads++
				v.watch(n)
				v.post()
			}
		}
		return true
	})
	v.every(10*time.Millisecond, func() bool {
		for _, n := range v.nodes {
			if n.down || n.offered == nil || n.installing != nil {
				continue
			}
			if from := n.offered.from; v.cut[[2]protocol.MemberID{from, n.id}] {
				continue
			}
			v.fetch(n, n.offered)
			v.settled(n)
			if o := n.installing; o != nil {
				v.after(v.between(10*time.Millisecond, 400*time.Millisecond), func() { v.installWhenWritten(n, o) })
			}
		}
		return true
	})
}

// installWhenWritten installs what was fetched as soon as no write is under way.
func (v *voyage) installWhenWritten(n *node, o *offer) {
	switch {
	case n.down || n.installing != o:
	case n.write != nil:
		v.after(time.Millisecond, func() { v.installWhenWritten(n, o) })
	default:
		v.install(n)
		v.settled(n)
	}
}

// lead waits for a leader that has committed something of its term.
func (v *voyage) lead(limit time.Duration) *node {
	for end := v.now.Add(limit); v.now < end; v.sail(10 * time.Millisecond) {
		if l := v.leader(); l != nil && l.m.hasCommittedOwnTerm() {
			return l
		}
	}
	invariant.Check(false, "no leader within %v", limit)
	return nil
}

// stop crashes a node; it restarts after a while.
func (v *voyage) stop(n *node, pause time.Duration) {
	v.crash(n)
	v.watch(n)
	v.after(pause, func() {
		if n.down {
			v.start(n, true)
			v.settled(n)
		}
	})
}

// reconfigure proposes a change at the leader until it is taken, and waits
// until it is committed and not joint.
func (v *voyage) reconfigure(limit time.Duration, change func(l *node, c protocol.Configuration) protocol.Configuration) {
	end := v.now.Add(limit)
	for {
		invariant.Check(v.now < end, "the configuration was not changed within %v", limit)
		l := v.lead(limit)
		i, err := v.cluster.change(l.name, change(l, l.m.current.Configuration))
		v.settled(l)
		if err != nil {
			v.sail(20 * time.Millisecond)
			continue
		}
		for v.now < end {
			v.sail(10 * time.Millisecond)
			if l = v.leader(); l == nil {
				continue
			}
			if at, ok := l.m.configs.At(l.commit()); ok && at.Index >= i && !at.Configuration.Joint() {
				return
			}
		}
	}
}

// arrive ends a voyage: faults stop, everybody comes back, and all members of
// the configuration must hold the same log, applied the same, with everything
// that a client was told, once.
func (v *voyage) arrive() {
	v.heal()
	for _, n := range v.nodes {
		if n.down {
			v.start(n, true)
			v.settled(n)
		}
	}
	v.sail(4 * time.Second)
	l := v.lead(4 * time.Second)
	v.request(1)
	v.sail(2 * time.Second)
	invariant.Check(v.leader() == l, "the leadership moved from %s without a cause", l.name)
	invariant.Check(len(v.waiting) == 0, "%d commands wait without a fault", len(v.waiting))
	for _, line := range l.m.current.Configuration.Members {
		n := v.byID(line.ID)
		invariant.Check(n.commit() == l.commit() && len(n.log) == len(l.log), "%s has %d entries, %d committed; the leader %s has %d, %d",
			n.name, len(n.log), n.commit(), l.name, len(l.log), l.commit())
		for i := range l.log {
			invariant.Check(bytes.Equal(n.log[i].Raw, l.log[i].Raw), "%s holds %s, the leader %s", n.name, n.log[i], l.log[i])
		}
	}
	for _, n := range v.nodes {
		for i, raw := range v.applied[n] {
			invariant.Check(bytes.Equal(raw, l.log[i].Raw), "%s applied something else at %d", n.name, i+1)
		}
	}
	count := map[string]int{}
	for i := range l.log {
		count[string(l.log[i].Data)]++
	}
	for _, w := range v.told {
		e := &l.log[w.index-1]
		invariant.Check(e.Term == w.term && string(e.Data) == w.data, "%q was acknowledged at %d@%d, where %s is", w.data, w.index, w.term, *e)
		invariant.Check(count[w.data] == 1, "%q is in the log %d times", w.data, count[w.data])
	}
}
