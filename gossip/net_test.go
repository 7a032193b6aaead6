package gossip

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/virtual"
	"github.com/starlinghq/starling/protocol"
)

// network is a flock in virtual time: cores with their own clocks, a lossy
// network between them, and a modelled source of committed entries in place of
// Raft. Its own time is the true one.
type network struct {
	careless bool // what others fetch is given up all the same
	t        testing.TB
	opt      options
	rng      *rand.Rand
	now      time.Duration
	todo     virtual.Queue[time.Duration, func()]

	net virtual.Network[time.Duration, []byte]

	nodes   []*node // actives first; nodes[leader] leads
	byID    map[protocol.MemberID]int
	leader  int
	history []protocol.Entry
	acked   []time.Duration // when the entry at index i+1 was acknowledged

	frames int // pushed copies received
	trace  *fnvTrace
	reads  int
}

type options struct {
	seed              uint64
	actives, passives int
	loss, duplicate   float64
	delay, jitter     time.Duration
	drift             float64       // clocks run at 1 +- drift
	pauses            time.Duration // mean time between pauses of a node, 0: none
	memory            int           // entries a node keeps in memory, 0: all
	config            Config
	confirmLate       bool // a mistake: rounds stamped when they are confirmed
	stopAt            time.Duration
	zones             int // members are dealt out to them
	chunks            int // of a checkpoint
	prepare           func(*network)
}

type node struct {
	n       *network
	at      int
	id      protocol.MemberID
	core    *Core
	active  bool
	log     []protocol.Entry // committed and held, from index 1
	commit  protocol.Index
	told    Progress
	offset  int64
	rate    float64
	paused  time.Duration // until
	waking  time.Duration
	refused int
	wrong   *Divergence
	events  []protocol.Event
	swarm   swarmNode
	// twist makes a member hostile: what it sends instead. It may hear all that
	// it is told.
	twist func(protocol.Envelope) []protocol.Message
	hears func(protocol.Message)
}

func (d *node) Entries(first, last protocol.Index, bytes int) []protocol.Entry {
	if int(last) > len(d.log) {
		d.n.t.Fatalf("seed %d: entries %d..%d asked of a log that ends at %d", d.n.opt.seed, first, last, len(d.log))
	}
	if m := d.n.opt.memory; m > 0 && int(first) <= len(d.log)-m || first <= d.swarm.base {
		return nil
	}
	return d.slice(first, last, bytes)
}

func (d *node) slice(first, last protocol.Index, bytes int) []protocol.Entry {
	e := d.log[first-1 : last : last]
	return e[:cut(e, bytes)]
}

func (d *node) SumBefore(i protocol.Index) (protocol.LogSum, bool) {
	if m := d.n.opt.memory; m > 0 && int(i) <= len(d.log)-m || i <= d.swarm.base {
		return protocol.LogSum{}, false
	}
	return d.sum(i - 1), true
}

func (d *node) sum(i protocol.Index) protocol.LogSum {
	if i == 0 {
		return protocol.LogSum{}
	}
	return d.log[i-1].Sum
}

// local returns the node's own clock at a true time, and instant the reverse.
func (d *node) local(at time.Duration) protocol.Instant {
	return protocol.Instant(d.offset + int64(float64(at)*d.rate))
}

func (d *node) instant(at protocol.Instant) time.Duration {
	return time.Duration(float64(int64(at)-d.offset)/d.rate) + 1
}

type fnvTrace struct{ sum uint64 }

func (f *fnvTrace) add(at time.Duration, from, to int, msg []byte) {
	h := fnv.New64a()
	var b [32]byte
	binary.LittleEndian.PutUint64(b[0:], f.sum)
	binary.LittleEndian.PutUint64(b[8:], uint64(at))
	binary.LittleEndian.PutUint64(b[16:], uint64(from))
	binary.LittleEndian.PutUint64(b[24:], uint64(to))
	h.Write(b[:])
	h.Write(msg)
	f.sum = h.Sum64()
}

func memberID(i int) protocol.MemberID {
	var id protocol.MemberID
	binary.BigEndian.PutUint64(id[:], uint64(i+1)*0x9e3779b97f4a7c15)
	return id
}

func newNetwork(t testing.TB, opt options) *network {
	n := &network{
		t: t, opt: opt, rng: rand.New(rand.NewPCG(opt.seed, 77)),
		trace: &fnvTrace{}, byID: make(map[protocol.MemberID]int),
	}
	total := opt.actives + opt.passives
	n.net.Side, n.net.Bytes = make([]int, total), make([]int, total)
	rough := &virtual.Rough{Rand: n.rng, Loss: opt.loss, Double: opt.duplicate, Resend: 10 * time.Millisecond}
	rough.Way = func(_, _ int) time.Duration {
		return opt.delay + time.Duration(n.rng.ExpFloat64()*float64(opt.jitter))
	}
	n.net.Rand, n.net.Weather = n.rng, rough
	n.net.Post = func(at time.Duration, p virtual.Parcel[time.Duration, []byte]) {
		from, to := n.nodes[p.From], n.nodes[p.To]
		n.after(at-n.now, func() { n.awake(to, func() { n.deliver(from, to, p.Message) }) })
	}
	var peers []protocol.Peer
	for i := range total {
		role := protocol.RolePassive
		if i < opt.actives {
			role = protocol.RoleActive
		}
		peer := protocol.Peer{ID: memberID(i), Role: role}
		if opt.zones > 1 {
			peer.Zone = fmt.Sprint("zone", i%opt.zones)
		}
		peers = append(peers, peer)
	}
	for i := range total {
		n.byID[memberID(i)] = i
		d := &node{n: n, at: i, id: memberID(i), active: i < opt.actives, waking: -1}
		d.offset = n.rng.Int64N(int64(time.Hour)) - int64(time.Hour)/2
		d.rate = 1 + opt.drift*(2*n.rng.Float64()-1)
		cfg := opt.config
		cfg.Zone = peers[i].Zone
		cfg.ID, cfg.Seed, cfg.Run = d.id, opt.seed*1000+uint64(i), protocol.RunID(n.rng.Uint64())
		d.core = New(d.local(0), cfg, d)
		d.core.SetPeers(d.local(0), peers)
		n.nodes = append(n.nodes, d)
	}
	for _, d := range n.nodes {
		d.turn()
	}
	if opt.prepare != nil {
		opt.prepare(n)
	}
	n.heartbeat()
	if opt.pauses > 0 {
		n.pause()
	}
	return n
}

func (n *network) after(d time.Duration, do func()) {
	n.todo.Push(n.now+d, do)
}

func (n *network) run(until time.Duration) {
	for at, ok := n.todo.First(); ok && at <= until; at, ok = n.todo.First() {
		_, do := n.todo.Pop()
		n.now = at
		do()
	}
	n.now = until
}

// awake does something at a node when it is not paused.
func (n *network) awake(d *node, do func()) {
	if n.now < d.paused {
		n.after(d.paused-n.now, func() { n.awake(d, do) })
		return
	}
	do()
}

// turn serves a node until it has nothing more to say.
func (d *node) turn() {
	now := d.local(d.n.now)
	for {
		p := Progress{
			First: d.swarm.base + 1, Lost: d.swarm.lost, LastIndex: protocol.Index(len(d.log)), Applied: protocol.Index(len(d.log)), Commit: max(d.commit, protocol.Index(len(d.log))),
			Term: 1, Leader: d.n.nodes[d.n.leader].id, Role: protocol.RolePassive, Source: !d.swarm.lost,
		}
		if d.swarm.lost {
			p.Applied = 0
		}
		if d.active {
			p.Role = protocol.RoleActive
		}
		if d.swarm.finished > 0 && len(d.log) < len(d.n.history) {
			p.Needs = p.LastIndex + 1 // as a replica says that is far behind
		}
		if p != d.told {
			d.told = p
			d.core.Progress(now, p)
		}
		if !d.core.HasReady() {
			break
		}
		rd := d.core.Ready()
		for _, e := range rd.Messages {
			d.n.transmit(d, e, false)
		}
		for _, e := range rd.Streamed {
			d.n.transmit(d, e, true)
		}
		for _, r := range rd.Reads {
			d.n.after(time.Millisecond, func() { d.read(r) })
		}
		for _, r := range rd.Runs {
			d.take(now, r)
		}
		d.serveSwarm(now, rd)
		if rd.Diverged != nil {
			d.wrong = rd.Diverged
		}
		d.events = append(d.events, rd.Events...)
	}
	d.wake()
}

func (d *node) read(r RangeRead) {
	if r.Range.First <= d.swarm.base {
		return // given up meanwhile
	}
	entries := d.slice(r.Range.First, r.Range.Last, r.Bytes)
	d.core.Answer(d.local(d.n.now), r.To, entries)
	d.turn()
}

// take is a passive role in a few lines.
func (d *node) take(now protocol.Instant, r Run) {
	first, last := r.Entries[0].Index, r.Entries[len(r.Entries)-1].Index
	lastIndex := protocol.Index(len(d.log))
	if first > lastIndex+1 || last <= lastIndex {
		return
	}
	entries := slices.Clone(r.Entries)
	protocol.SumEntries(r.Before, entries)
	joint := r.Before
	if k := lastIndex + 1 - first; k > 0 {
		joint = entries[k-1].Sum
	}
	if joint != d.sum(lastIndex) {
		d.refused++
		d.core.Refused(now, r)
		return
	}
	d.log = append(d.log, entries[lastIndex+1-first:]...)
}

func (d *node) wake() {
	at := max(d.instant(d.core.Deadline()), d.n.now)
	if d.waking >= d.n.now && d.waking <= at {
		return
	}
	d.waking = at
	d.n.after(at-d.n.now, func() {
		if d.waking != at {
			return
		}
		d.waking = -1
		d.n.awake(d, func() {
			d.core.Tick(d.local(d.n.now))
			d.turn()
		})
	})
}

func (n *network) transmit(from *node, e protocol.Envelope, stream bool) {
	if from.twist == nil {
		n.carry(from, e, stream)
		return
	}
	for _, m := range from.twist(e) {
		n.carry(from, protocol.Envelope{From: e.From, To: e.To, Message: m}, stream)
	}
}

func (n *network) carry(from *node, e protocol.Envelope, stream bool) {
	to, known := n.byID[e.To]
	if !known {
		n.t.Fatalf("seed %d: a message to a stranger", n.opt.seed)
	}
	if from.swarm.dead || n.nodes[to].swarm.dead {
		return
	}
	wire := protocol.AppendMessage(nil, e.Message)
	n.trace.add(n.now, from.at, to, wire)
	n.net.Send(n.now, from.at, to, wire, len(wire), !stream && e.Message.Kind().Datagram() && len(wire) <= protocol.DatagramBytesMax)
}

func (n *network) deliver(from, to *node, wire []byte) {
	msg, err := protocol.DecodeMessage(wire)
	if err != nil {
		n.t.Fatalf("seed %d: %v", n.opt.seed, err)
	}
	if f, ok := msg.(*protocol.Frame); ok && f.Flags&protocol.FramePulled == 0 {
		n.frames++
	}
	if to.hears != nil {
		to.hears(msg)
	}
	to.core.Step(to.local(n.now), from.id, msg)
	to.turn()
}

// write commits entries of the given size: the leader acknowledges at once,
// the other actives hear of it a little later.
func (n *network) write(count, bytes int) {
	first := len(n.history)
	for i := range count {
		n.history = append(n.history, protocol.Entry{
			Index: protocol.Index(first + i + 1), Term: 1, Kind: protocol.EntryCommand, Data: make([]byte, bytes),
		})
		n.acked = append(n.acked, n.now)
	}
	fresh := n.history[first:]
	protocol.EncodeEntries(fresh)
	var before protocol.LogSum
	if first > 0 {
		before = n.history[first-1].Sum
	}
	protocol.SumEntries(before, fresh)
	lastIndex := len(n.history)
	for i, d := range n.nodes[:n.opt.actives] {
		commit := func() {
			if len(d.log) < lastIndex {
				d.log = n.history[:lastIndex:lastIndex]
			}
			d.turn()
		}
		if i == n.leader {
			commit()
		} else {
			late := n.opt.delay + time.Duration(n.rng.Int64N(int64(time.Millisecond)))
			n.after(late, func() { n.awake(d, commit) })
		}
	}
}

// heartbeat is the leader's round: it claims its commit index for the moment
// of sending, once a follower has answered.
func (n *network) heartbeat() {
	d := n.nodes[n.leader]
	commit, at := protocol.Index(len(d.log)), n.now
	round := 2*n.opt.delay + time.Duration(n.rng.ExpFloat64()*float64(n.opt.jitter+1))
	if commit > 0 && n.now >= d.paused {
		n.after(round, func() {
			n.awake(d, func() {
				if n.opt.confirmLate {
					at = n.now
				}
				d.core.Confirmed(protocol.Fresh{Index: commit, Sum: d.sum(commit), At: d.local(at)})
				d.turn()
			})
		})
	}
	n.after(100*time.Millisecond, n.heartbeat)
}

// pause stops a random node for a while, now and then.
func (n *network) pause() {
	n.after(time.Duration(n.rng.ExpFloat64()*float64(n.opt.pauses)/float64(len(n.nodes))), func() {
		if n.opt.stopAt == 0 || n.now < n.opt.stopAt {
			d := n.nodes[n.rng.IntN(len(n.nodes))]
			d.paused = max(d.paused, n.now+time.Duration(n.rng.ExpFloat64()*float64(300*time.Millisecond)))
		}
		n.pause()
	})
}

// readAge reads the age at a node and compares it with the true one: the time
// since the first write that is missing there was acknowledged.
func (n *network) readAge(d *node) {
	age, ok := d.core.Age(d.local(n.now), protocol.Index(len(d.log)))
	if !ok {
		return
	}
	n.reads++
	if len(d.log) < len(n.history) {
		if old := n.now - n.acked[len(d.log)]; age < old {
			n.t.Fatalf("seed %d at %v: node %d reports age %v, true age %v", n.opt.seed, n.now, d.at, age, old)
		}
	}
}

// levels lets time pass until all hold all, ten seconds at most.
func (n *network) levels(t *testing.T) {
	t.Helper()
	for end := n.now + 10*time.Second; n.equal() != nil && n.now < end; {
		n.run(n.now + 5*time.Millisecond)
	}
	if err := n.equal(); err != nil {
		t.Fatal(err)
	}
}

func (n *network) equal() error {
	for _, d := range n.nodes {
		if len(d.log) != len(n.history) {
			return fmt.Errorf("seed %d at %v: node %d holds %d of %d entries", n.opt.seed, n.now, d.at, len(d.log), len(n.history))
		}
		if i := protocol.Index(len(d.log)); d.sum(i) != n.history[i-1].Sum {
			return fmt.Errorf("seed %d: node %d holds other entries", n.opt.seed, d.at)
		}
		if d.refused > 0 || d.wrong != nil {
			return fmt.Errorf("seed %d: node %d refused %d runs, diverged: %v", n.opt.seed, d.at, d.refused, d.wrong)
		}
	}
	return nil
}

// Every passive gets every entry, whatever the network does.
func TestEveryPassiveGetsAll(t *testing.T) {
	cases := []struct {
		name     string
		passives int
		opt      options
		every    time.Duration
		count    int
		bytes    int
	}{
		{"healthy", 20, options{}, 10 * time.Millisecond, 1, 200},
		{"flood", 20, options{loss: 0.05, duplicate: 0.1, jitter: time.Millisecond, config: Config{Mode: Flood}}, 10 * time.Millisecond, 1, 200},
		{"two passives", 2, options{loss: 0.05}, 10 * time.Millisecond, 1, 200},
		{"loss", 50, options{loss: 0.2, duplicate: 0.1}, 10 * time.Millisecond, 1, 200},
		{"reordered", 50, options{loss: 0.05, duplicate: 0.1, jitter: 20 * time.Millisecond}, 5 * time.Millisecond, 1, 200},
		{"bulk", 8, options{loss: 0.05}, 5 * time.Millisecond, 40, 256},
		{"large entries", 6, options{loss: 0.05}, 100 * time.Millisecond, 1, 300_000},
		{"from the disk", 10, options{loss: 0.4, memory: 3}, 10 * time.Millisecond, 2, 300},
		{"two hundred", 200, options{loss: 0.05, duplicate: 0.05, jitter: time.Millisecond}, 20 * time.Millisecond, 1, 200},
		{"pauses", 30, options{loss: 0.1, jitter: time.Millisecond, drift: 1e-3, pauses: 2 * time.Second, stopAt: time.Second}, 10 * time.Millisecond, 1, 200},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(2) {
				opt := c.opt
				opt.seed, opt.actives, opt.passives = seed, 3, c.passives
				opt.delay = 500 * time.Microsecond
				n := newNetwork(t, opt)
				for n.now < time.Second {
					n.write(c.count, c.bytes)
					n.run(n.now + c.every)
				}
				n.run(n.now + 3*time.Second)
				if err := n.equal(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A passive that comes late fetches the whole log, from passives, in bulk.
func TestLateComerCatchesUp(t *testing.T) {
	for _, memory := range []int{0, 100} {
		opt := options{seed: 5, actives: 3, passives: 10, delay: 500 * time.Microsecond, memory: memory}
		n := newNetwork(t, opt)
		late := n.nodes[12]
		late.paused = time.Hour
		for range 100 {
			n.write(100, 500)
			n.run(n.now + 20*time.Millisecond)
		}
		n.run(n.now + time.Second)
		late.log = nil
		late.paused = n.now
		clear(n.net.Bytes)
		begin := n.now
		n.levels(t)
		total, actives := 0, 0
		for i, b := range n.net.Bytes {
			total += b
			if i < 3 {
				actives += b
			}
		}
		t.Logf("seed %d, memory %d: %d entries, %d KB in %v, %d KB of it from actives", opt.seed, memory, len(n.history), total>>10, n.now-begin, actives>>10)
		if actives*20 > total {
			t.Errorf("got %d of %d bytes from actives, want at most 5 %%", actives, total)
		}
	}
}

// restart gives a node a new core, as after a crash: it knows its log, and
// nothing else.
func (d *node) restart() {
	var peers []protocol.Peer
	for _, m := range d.core.members.all {
		peers = append(peers, m.peer)
	}
	now := d.local(d.n.now)
	cfg := d.core.cfg
	cfg.Run = protocol.RunID(d.n.rng.Uint64())
	d.core = New(now, cfg, d)
	d.core.SetPeers(now, peers)
	d.told = Progress{}
	d.turn()
}
