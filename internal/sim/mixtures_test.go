package sim

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
)

// mixture is a cluster of three actives and two passives whose directories were
// copied and which went on, all stopped.
type mixture struct {
	t       *testing.T
	s       *simulation
	c       *client
	old     []*copied
	which   int // bit i: member i gets its copy back
	newest  protocol.Index
	session protocol.SessionID // in the old history
	forked  bool               // that one has acknowledged a write
	answers map[string]int
}

// The key that tells the histories apart, and its last values in them.
const (
	witness      = 0
	valueNewest  = "the newest"
	valueForked  = "of the old history"
	mixtureSeeds = 3
)

// TestMixturesOfOldAndNewDirectories starts a cluster on each mixture of old and
// new directories. While a majority of the actives' is the newest, whoever has an
// old one is refused, nothing is lost, and the cluster goes on. Otherwise nobody
// who holds the newer history serves the old one.
func TestMixturesOfOldAndNewDirectories(t *testing.T) {
	served, mute := 0, 0
	for seed := uint64(1); seed <= mixtureSeeds; seed++ {
		for which := range 32 {
			x := newMixture(t, seed, which)
			if x.oldActives() < 2 {
				x.goesOn()
			} else if x.forks(); x.forked {
				served++
			} else {
				mute++
			}
			if t.Failed() {
				t.Fatalf("seed %d, mixture %05b (from the right: a1, a2, a3, p1, p2)", seed, which)
			}
		}
	}
	t.Logf("with most directories old, %d clusters served the old history, %d served nothing", served, mute)
	if served == 0 || mute == 0 {
		t.Error("one of the two never comes about: the test is not worth much")
	}
}

func newMixture(t *testing.T, seed uint64, which int) *mixture {
	t.Helper()
	s := calmCluster(t, seed, Options{Passives: 2})
	x := &mixture{t: t, s: s, c: s.clients[0], which: which, answers: map[string]int{}}
	if seed%3 == 0 {
		x.stopAll()
	}
	for _, m := range s.members { // one after another, as people do
		if m.up() && !s.until(s.schedule.now.Add(5*time.Second), func() bool { return !m.hands.writer.writing && m.log.half == 0 }) {
			t.Fatalf("%s is never at rest: %v", m.name, s.violation)
		}
		x.old = append(x.old, &copied{snapshot: m.disk.fs.Snapshot(directory), log: m.log.clone(), id: m.id})
	}
	if seed%3 == 0 {
		x.startAll()
	}
	s.run(t, 5*time.Second)
	x.write(valueNewest)
	s.run(t, 3*time.Second) // everybody has it, and has kept how far the others are
	x.newest = s.state.acknowledged
	x.stopAll()
	return x
}

func (x *mixture) stopAll() {
	for _, m := range x.s.members {
		m.stop()
		m.disk.crash(false)
	}
}

func (x *mixture) startAll() {
	for _, m := range x.s.members {
		x.s.restart(m)
	}
}

// write ends the load and makes the last write.
func (x *mixture) write(value string) {
	x.t.Helper()
	s, c := x.s, x.c
	s.quiet = true
	idle := func() bool {
		return !slices.ContainsFunc(s.clients, func(c *client) bool { return len(c.flying) > 0 })
	}
	done := false
	ok := s.until(s.schedule.now.Add(20*time.Second), idle)
	if c.session == 0 {
		c.open()
	}
	ok = ok && s.until(s.schedule.now.Add(20*time.Second), func() bool { return c.session != 0 })
	if ok {
		c.execute(&op{kind: opPut, object: witness, value: value}, func() { done = true })
	}
	if !ok || !s.until(s.schedule.now.Add(20*time.Second), func() bool { return done }) {
		x.t.Fatalf("no last write: %v", s.violation)
	}
}

func (x *mixture) isOld(m *member) bool { return x.which>>m.number&1 == 1 }

func (x *mixture) oldActives() (n int) {
	for _, m := range x.s.members[:x.s.options.Actives] {
		if x.isOld(m) {
			n++
		}
	}
	return n
}

// goesOn starts a cluster of which a minority of the actives has old directories,
// with all checkers and under load.
func (x *mixture) goesOn() {
	t, s := x.t, x.s
	t.Helper()
	for i, m := range s.members {
		switch {
		case x.isOld(m) && i < s.options.Actives:
			s.rollBack(m, x.old[i])
		case x.isOld(m):
			m.disk.fs.Rollback(x.old[i].snapshot)
			m.log = x.old[i].log.clone()
			s.restart(m)
		default:
			s.restart(m)
		}
	}
	s.quiet = false
	for _, c := range s.clients {
		for range s.plan.depth {
			c.think()
		}
		c.keepAlive()
		c.weakReads()
	}
	before := s.counts[countAcknowledged]
	s.run(t, 15*time.Second)
	if n := s.counts[countAcknowledged] - before; n < 10 {
		t.Errorf("got %d writes acknowledged after the start, want that the cluster goes on", n)
	}
	if found := int(s.counts[countRolledBackFound]); found != x.oldActives() {
		t.Errorf("got %d old directories refused, want %d", found, x.oldActives())
	}
	for _, m := range s.members {
		x.reads(m)
	}
	s.settle()
	wantRule(t, s.violation, "")
}

// reads lets a member serve a linearizable read, by what the checkers know.
func (x *mixture) reads(m *member) {
	s := x.s
	k := &call{op: &op{kind: opGet, object: witness, consistency: protocol.Linearizable}, client: x.c, floor: s.state.acknowledged}
	var got *protocol.Result
	for tries := 0; tries < 10 && (got == nil || got.Code != protocol.OK); tries++ {
		got = nil
		if m.up() {
			k.invoked = s.schedule.steps
			m.serving.ask(k.op, k.request(), func(r protocol.Result) { got, k.returned = &r, s.schedule.steps })
		}
		s.until(s.schedule.now.Add(time.Second), func() bool { return got != nil })
	}
	if got == nil {
		x.t.Errorf("%s does not answer", m.name)
		return
	}
	if _, err := k.op.decode(*got); err != nil {
		x.t.Errorf("%s answers %v", m.name, err)
		return
	}
	wantRule(x.t, s.state.readAnswered(k, *got), "")
}

// forks starts a cluster of which a majority of the actives has old directories,
// and asks everybody, again and again.
func (x *mixture) forks() {
	s := x.s
	s.fork()
	for i, m := range s.members {
		if x.isOld(m) {
			m.disk.fs.Rollback(x.old[i].snapshot)
		}
		s.restart(m)
	}
	for range 100 {
		for _, m := range s.members {
			if m.up() {
				x.linearizable(m)
				x.atHand(m)
			}
			if m.up() && x.isOld(m) && !x.forked {
				x.writeOld(m)
			}
		}
		s.run(x.t, 100*time.Millisecond)
	}
}

// linearizable asks a member. Whoever holds the newer history answers from it, and
// not at all when the old one goes on without it; whoever does not has seen what
// the old one has acknowledged.
func (x *mixture) linearizable(m *member) {
	forked, old := x.forked, x.isOld(m)
	k := &call{op: &op{kind: opGet, object: witness, consistency: protocol.Linearizable}, client: x.c}
	m.serving.ask(k.op, k.request(), func(r protocol.Result) {
		out, err := k.op.decode(r)
		if err != nil || r.Code != protocol.OK {
			return
		}
		x.answers[m.name]++
		switch {
		case old && out.value == valueNewest && !forked: // it has the newer history from others
		case old && forked && out.value != valueForked:
			x.t.Errorf("%s answers %q at %d, and the old history has acknowledged another value before", m.name, out.value, r.Index)
		case old:
		case forked || out.value != valueNewest || r.Index < x.newest:
			x.t.Errorf("%s holds the newer history, to %d, and answers %q at %d (the old one goes on: %t)", m.name, x.newest, out.value, r.Index, forked)
		}
	})
}

// atHand reads at the level session, for a client that has seen the newer history.
func (x *mixture) atHand(m *member) {
	q := (&op{kind: opGet, object: witness}).query()
	q.Consistency, q.Seen, q.NoForwarding = protocol.Session, x.newest, true
	if r, ok := m.serving.reads().NoForwarding(context.Background(), &q); ok && r.Code == protocol.OK && !x.isOld(m) {
		out, err := (&op{kind: opGet, object: witness}).decode(r)
		if err != nil || out.value != valueNewest {
			x.t.Errorf("%s answers a session that has seen %d with %q at %d: %v", m.name, x.newest, out.value, r.Index, err)
		}
	}
}

// writeOld writes to the old history, in a session of its own.
func (x *mixture) writeOld(m *member) {
	k := &call{op: &op{kind: opOpen, timeout: time.Minute}, client: x.c}
	then := func(r protocol.Result) {
		if id, err := sessionop.Opened(&r); err == nil && r.Code == protocol.OK {
			x.session = id
		}
	}
	if x.session != 0 {
		k = &call{op: &op{kind: opPut, object: witness, value: valueForked}, client: &client{s: &x.s.load}, session: x.session, seq: 1}
		then = func(r protocol.Result) { x.forked = x.forked || r.Code == protocol.OK }
	}
	m.serving.ask(k.op, k.request(), then)
}

// fork says that so many directories were put back that there may be two
// histories from now on: the checkers of the one history see no more.
func (s *checkers) fork() {
	s.forked, s.ledger.blind, s.state.blind = true, true, true
}
