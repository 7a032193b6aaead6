package active

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "run this seed only, and print what happens")
	seedsFlag = flag.Int("seeds", 300, "how many seeds to run")
)

// TestRandomClusters runs clusters of cores through loss, duplication,
// reordering, cuts, crashes and changes of the configuration, all drawn from
// one seed, under the checker; then the faults stop, and a leader, agreement and
// progress are demanded.
func TestRandomClusters(t *testing.T) {
	if *seedFlag != 0 {
		r := newRun(*seedFlag)
		r.c.loud = true
		r.c.trace = func(format string, args ...any) { t.Logf(format, args...) }
		if err := r.all(); err != nil {
			t.Fatal(err)
		}
		return
	}
	var elections, truncations, commits, reads, changes, joint, crashes, transfers, adopted, replaced, heads, offers, resets, unread, ahead int
	for seed := uint64(1); seed <= uint64(*seedsFlag); seed++ {
		r := newRun(seed)
		if err := r.all(); err != nil {
			t.Fatalf("seed %d: %v\nreplay: go test ./active -run TestRandomClusters -seed %d -v", seed, err, seed)
		}
		k := r.c.check.counts
		elections, truncations, commits = elections+k.elections, truncations+k.truncations, commits+k.commits
		reads, changes, crashes = reads+r.served, changes+k.changes, crashes+r.crashes
		joint, transfers = joint+k.joint, transfers+r.transfers
		adopted, replaced = adopted+r.adopted, replaced+r.replaced
		heads, offers, resets, unread, ahead = heads+r.heads, offers+r.offers, resets+r.resets, unread+r.unread, ahead+r.c.ahead
	}
	t.Logf("%d seeds: %d elections, %d truncations, %d commits, %d reads, %d changes (%d joint), %d crashes, %d transfers, %d runs caught-up, %d in place of others, %d heads dropped, %d offers taken up, %d logs begun anew, %d times it was found what can be read, %d votes ahead of writes",
		*seedsFlag, elections, truncations, commits, reads, changes, joint, crashes, transfers, adopted, replaced, heads, offers, resets, unread, ahead)
	for _, rare := range []struct {
		name string
		got  int
		want int // per 300 seeds
	}{
		{"elections", elections, 500}, {"truncations", truncations, 75}, {"commits", commits, 10000},
		{"reads", reads, 1500}, {"changes", changes, 200}, {"joint configurations", joint, 50}, {"crashes", crashes, 600}, {"transfers", transfers, 150}, {"caught-up runs", adopted, 100},
		{"heads dropped", heads, 600}, {"offers taken up", offers, 150}, {"logs begun anew", resets, 80}, {"times it was found what can be read", unread, 600}, {"votes ahead of writes", ahead, 200},
	} {
		if rare.got*300 < rare.want**seedsFlag {
			t.Errorf("%d %s in %d seeds, want at least %d in 300: the test does not get there", rare.got, rare.name, *seedsFlag, rare.want)
		}
	}
}

type randomRun struct {
	c       *cluster
	rng     *rand.Rand
	disks   *rand.Rand // that cannot be read
	next    int        // command number
	asked   map[uint64]asked
	request uint64
	served  int
	crashes int

	transfers, adopted, replaced int
	heads, offers, resets        int
	unread                       int
	loss                         float64
	names                        []string
}

// asked is a read under way: what was committed when it began.
type asked struct {
	committed int
	origin    string
	run       protocol.RunID
}

func newRun(seed uint64) *randomRun {
	rng := rand.New(rand.NewPCG(seed, 1))
	names := []string{"a", "b", "c", "d", "e"}
	voters := 1 + 2*rng.IntN(3)
	r := &randomRun{c: newCluster(), rng: rng, disks: rand.New(rand.NewPCG(seed, 2)), asked: map[uint64]asked{}, names: names, loss: 0.1 * rng.Float64()}
	r.c.base.Configuration = configurationOf(names[:voters]...)
	if rng.IntN(3) == 0 {
		r.c.base.Configuration.Lease = time.Duration(1+rng.IntN(600)) * time.Millisecond
	}
	r.c.tune = func(cfg *Config) {
		cfg.InflightMax = 1 + rng.IntN(4)
		cfg.AppendBytesMax = 1 + rng.IntN(200)
		cfg.InflightBytesMax = 1 + rng.IntN(400)
		cfg.UncommittedMax = 64
		cfg.NamedOnly = seed%2 == 0
		if seed%3 != 0 {
			cfg.Secret = Secret{1, byte(cfg.Run), byte(cfg.Run >> 8)}
		}
	}
	for _, name := range names {
		r.c.add(name, image{}).async = rng.IntN(2) == 0
	}
	return r
}

func (r *randomRun) all() (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case invariant.Violation:
			err = v
		default:
			panic(v)
		}
	}()
	for range 1500 {
		r.act()
		r.collectReads()
	}
	r.recover()
	return nil
}

// act does one thing.
func (r *randomRun) act() {
	c, rng := r.c, r.rng
	n := c.nodes[rng.IntN(len(c.nodes))]
	if rng.IntN(50) == 0 {
		r.checkpoints(n)
		return
	}
	switch p := rng.IntN(1000); {
	case p < 540:
		r.deliverSome()
	case p < 555:
		r.flock(n)
	case p < 690:
		c.tick(time.Duration(rng.IntN(40)) * time.Millisecond)
	case p < 695:
		c.tick(time.Duration(rng.IntN(1500)) * time.Millisecond)
	case p < 840:
		if n.m != nil {
			c.persist(n)
			c.settle(n)
		}
	case p < 885:
		r.propose(n)
	case p < 930:
		r.read(n)
	case p < 935:
		r.crash(n)
	case p < 945:
		n.async = !n.async
	case p < 953:
		r.partition()
	case p < 961:
		r.transfer()
	default:
		r.change()
	}
}

func (r *randomRun) deliverSome() {
	c, rng := r.c, r.rng
	if len(c.wire) == 0 {
		return
	}
	i := 0
	if rng.IntN(4) == 0 {
		i = rng.IntN(min(len(c.wire), 20))
	}
	if c.wire[i].Message.Kind().NeverByStream() {
		defer r.deliverSome() // datagrams are no reason for streams to carry less
	}
	switch {
	case rng.Float64() < r.loss:
		c.wire = slices.Delete(c.wire, i, i+1)
	case rng.IntN(20) == 0 && len(c.wire) < 1000:
		c.wire = append(c.wire, copyOf(c.wire[i]))
		c.deliver(i)
	default:
		c.deliver(i)
	}
}

// copyOf copies what a receiver may keep.
func copyOf(e protocol.Envelope) protocol.Envelope {
	if a, ok := e.Message.(*protocol.Append); ok {
		b := *a
		b.Entries = slices.Clone(a.Entries)
		e.Message = &b
	}
	return e
}

func (r *randomRun) propose(n *node) {
	if l := r.c.leader(); l != nil && r.rng.IntN(4) > 0 {
		n = l
	}
	if n.m == nil {
		return
	}
	words := make([]string, 1+r.rng.IntN(5))
	for i := range words {
		r.next++
		words[i] = fmt.Sprintf("command %d%s", r.next, strings.Repeat(".", r.rng.IntN(60)))
	}
	_, err := r.c.propose(n.name, words...)
	takes := n.m.state == StateLeader && n.m.lead.transfer == nil
	invariant.Check((err == nil) == takes || err == protocol.ErrOverloaded, "propose at a %s: %v", n.m.state, err)
}

func (r *randomRun) read(n *node) {
	if n.m == nil {
		return
	}
	for _, other := range r.c.nodes { // one that was deposed may not know
		if other.m != nil && other.m.state == StateLeader && r.rng.IntN(3) == 0 {
			n = other
		}
	}
	r.request++
	run := n.m.cfg.Run
	r.asked[r.request] = asked{len(r.c.check.done), n.name, run}
	n.m.ReadIndex(r.c.now, protocol.ReadIndex{Origin: n.id, Run: run, Request: r.request})
	r.c.settle(n)
}

// collectReads holds each answer to what was committed when its read began.
func (r *randomRun) collectReads() {
	for _, n := range r.c.nodes {
		for _, read := range n.reads {
			q, ok := r.asked[read.Request]
			invariant.Check(ok && q.origin == n.name && read.Run == q.run, "%s got an answer to read %d of run %d, which it did not ask", n.name, read.Request, read.Run)
			if read.Code == protocol.OK {
				r.served++
				invariant.Check(int(read.Index) >= q.committed, "stale read: index %d, %d was committed before", read.Index, q.committed)
			}
		}
		n.reads = n.reads[:0]
	}
}

func (r *randomRun) crash(n *node) {
	if n.down {
		r.c.start(n, r.rng.IntN(2) == 0)
		return
	}
	if n.write != nil && !n.full && r.rng.IntN(2) == 0 {
		n.land() // it was durable, only nobody was told
	}
	r.crashes++
	r.c.crash(n)
	if r.rng.IntN(2) == 0 {
		r.c.start(n, r.rng.IntN(2) == 0)
	}
}

func (r *randomRun) partition() {
	r.c.heal()
	switch r.rng.IntN(3) {
	case 0:
		for _, a := range r.c.nodes {
			for _, b := range r.c.nodes {
				if a != b && r.rng.IntN(4) == 0 {
					r.c.cut[[2]protocol.MemberID{a.id, b.id}] = true // one way
				}
			}
		}
	case 1:
		cut := r.rng.IntN(len(r.names))
		r.c.partition(r.names[:cut], r.names[cut:])
	}
}

// flock brings committed entries of anybody to a node that is leaderless, and now
// and then to one that is not.
func (r *randomRun) flock(n *node) {
	from := r.c.nodes[r.rng.IntN(len(r.c.nodes))]
	if n.down || from == n || from.down || from.commit() == 0 || !trusts(n, from) {
		return
	}
	leaderless := n.m != nil && n.m.IsLeaderless(r.c.now)
	if !leaderless && r.rng.IntN(4) > 0 {
		return
	}
	last := 1 + protocol.Index(r.rng.IntN(int(from.commit())))
	first := last - protocol.Index(r.rng.IntN(int(last)))
	if r.rng.IntN(2) == 0 {
		first, last = min(n.commit()+1, from.commit()), from.commit()
	}
	if first = max(first, from.begin+1); first > last {
		return // nobody has entries from below the beginning of its log
	}
	before := len(n.log)
	if r.c.adopt(n, from, first, last) == CaughtUp && n.m != nil && len(n.log) <= before {
		r.replaced++
	} else if n.m != nil {
		r.adopted++
	}
}

// checkpoints drops a log's head, or takes the next step of an install: the
// leader's offer is taken up, or the checkpoint of anybody, as when the own one
// is damaged; it is put in place, or given up.
func (r *randomRun) checkpoints(n *node) {
	c, rng := r.c, r.rng
	r.unreadable(n)
	r.fill(n)
	if rng.IntN(2) == 0 {
		if at := n.commit(); !n.down && at > 0 && c.compact(n, at-protocol.Index(rng.IntN(int(at+1)/2))) {
			r.heads++
		}
		return
	}
	for _, other := range c.nodes {
		if other.offered != nil || other.installing != nil {
			n = other
		}
	}
	switch {
	case n.down:
	case n.installing != nil && rng.IntN(5) == 0:
		c.giveUp(n)
	case n.installing != nil:
		began := n.begin
		c.install(n)
		if n.begin > began {
			r.resets++
		}
	case n.offered != nil:
		c.fetch(n, n.offered)
		r.offers++
	case rng.IntN(8) == 0:
		from := c.nodes[rng.IntN(len(c.nodes))]
		if at := from.commit(); at > 0 {
			c.fetch(n, &offer{from: from.id, index: 1 + protocol.Index(rng.IntN(int(at)))})
		}
	}
}

// unreadable lets a node find that it cannot read its log up to somewhere, or that it
// can again.
func (r *randomRun) unreadable(n *node) {
	if n.m == nil || r.disks.IntN(4) > 0 {
		return
	}
	// Half of the time it is all.
	n.m.SetUnreadable(r.c.now, protocol.Index(max(0, r.disks.IntN(2*int(n.commit())+1)-int(n.commit()))))
	r.c.settle(n)
	r.unread++
}

// trusts reports whether a node takes what another says is committed.
func trusts(n, from *node) bool {
	return n.m == nil || !n.m.cfg.NamedOnly || n.m.names(from.id) || n.m.Lost(n.m.now)
}

// fetchAll lets those that are leaderless fetch what is committed from whom they
// trust: entries, or a checkpoint if those are gone.
func (r *randomRun) fetchAll() {
	for _, n := range r.c.nodes {
		for _, from := range r.c.nodes {
			if n.m == nil || from == n || !n.m.IsLeaderless(r.c.now) || !trusts(n, from) || from.commit() <= n.commit() {
				continue
			}
			if n.commit() < from.begin {
				r.c.fetch(n, &offer{from: from.id, index: from.begin})
				r.c.install(n)
			}
			r.c.adopt(n, from, max(n.commit(), from.begin)+1, from.commit())
		}
	}
}

// catchUpAll lets every member take up what it is offered.
func (r *randomRun) catchUpAll(d time.Duration) {
	for end := r.c.now.Add(d); r.c.now < end; {
		r.c.pass(500 * time.Millisecond)
		for _, n := range r.c.nodes {
			if n.offered != nil {
				r.c.fetch(n, n.offered)
				r.c.install(n)
			}
		}
		r.fetchAll()
	}
}

// transfer hands the leadership over, to anybody.
func (r *randomRun) transfer() {
	l := r.c.leader()
	if l == nil {
		return
	}
	if err := l.m.Transfer(r.c.now, r.c.nodes[r.rng.IntN(len(r.c.nodes))].id); err == nil {
		r.transfers++
	}
	r.c.settle(l)
}

// change moves a few seats at once.
func (r *randomRun) change() {
	l := r.c.leader()
	if l == nil {
		return
	}
	next := l.m.current.Configuration.Final()
	moves := 1 + r.rng.IntN(3)
	if r.rng.IntN(4) > 0 { // a replacement, or growth by several
		for _, line := range next.Members {
			if line.Suffrage == protocol.SuffrageLearner && l.m.caughtUp(line.ID) {
				line.Suffrage = protocol.SuffrageVoter
				next, moves = next.With(line), r.rng.IntN(2)
			}
		}
	}
	if r.rng.IntN(8) == 0 {
		next.Lease = time.Duration(r.rng.IntN(3)) * 300 * time.Millisecond
	}
	for range moves {
		next = r.move(next, r.names[r.rng.IntN(len(r.names))])
	}
	_, _ = r.c.change(l.name, next)
}

func (r *randomRun) move(c protocol.Configuration, name string) protocol.Configuration {
	line, named := c.Find(idOf(name))
	switch {
	case !named:
		line = protocol.ActiveMember{ID: idOf(name), Name: name, Suffrage: protocol.SuffrageLearner}
	case line.Suffrage == protocol.SuffrageLearner && r.rng.IntN(4) > 0:
		line.Suffrage = protocol.SuffrageVoter
	case line.Suffrage == protocol.SuffrageVoter && r.rng.IntN(3) == 0:
		line.Suffrage = protocol.SuffrageLearner
	default:
		return c.Without(line.ID)
	}
	return c.With(line)
}

// recover stops the faults and demands that the cluster works.
func (r *randomRun) recover() {
	c := r.c
	c.heal()
	for _, n := range c.nodes {
		n.async, n.full = false, false
		if n.down {
			c.start(n, true)
		} else if n.m != nil {
			c.persist(n)
			c.settle(n)
		}
		if n.installing != nil {
			c.giveUp(n)
		}
	}
	r.catchUpAll(8 * time.Second)
	l := c.leader()
	invariant.Check(l != nil, "no leader after the faults stopped")
	invariant.Check(!l.m.current.Configuration.Joint(), "a change is left half done: %v", l.m.current.Configuration)
	r.allFindOut(l)
	r.allFindOut(l)
	before := len(c.check.done)
	i, err := c.propose(l.name, "the end")
	invariant.Check(err == nil, "proposal after the faults stopped: %v", err)
	r.catchUpAll(2 * time.Second)
	r.collectReads()
	invariant.Check(len(c.check.done) > before && len(c.check.done) >= int(i), "nothing is committed after the faults stopped")
	for _, line := range l.m.current.Configuration.Members {
		n := c.byID(line.ID)
		invariant.Check(n.commit() == l.commit(), "%s has committed %d, its leader %d", n.name, n.commit(), l.commit())
	}
	r.read(l)
	c.pass(time.Second)
	served := r.served
	r.collectReads()
	invariant.Check(r.served > served, "no read after the faults stopped")
}

// allFindOut lets the flock tell those who are leaderless what was committed: then
// everybody has the role that the leader's configuration gives, also who was
// removed while away.
func (r *randomRun) allFindOut(l *node) {
	for _, n := range r.c.nodes {
		if n.m != nil && n.m.IsLeaderless(r.c.now) && trusts(n, l) {
			if n.commit() < l.begin {
				r.c.fetch(n, &offer{from: l.id, index: l.begin})
				r.c.install(n)
			}
			r.c.adopt(n, l, l.begin+1, l.commit())
		}
		named := l.m.current.Configuration.Names(n.id)
		invariant.Check(named == (n.m != nil), "%s is active: %t, named by the leader's configuration: %t", n.name, n.m != nil, named)
	}
}
