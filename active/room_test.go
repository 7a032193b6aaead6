package active

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Leaders whose disks have no room. Who leads in place of one is elected once, with all of its
// log, or not at all: each election takes of the room for votes.

// takes reports whether the write in flight fits into what a full disk takes all the same.
func (n *node) takes() bool {
	const record = 100 // what it has around its entries
	need := record
	for i := range n.entries {
		need += len(n.entries[i].Raw)
	}
	if need > n.spare {
		return false
	}
	n.spare -= need
	return true
}

// crawl lets time pass with a network on which entries are slow: of those under way from one
// member to another the oldest arrives each time, and overtakes nothing, while all else
// overtakes them. Members are woken when they ask for it.
func (c *cluster) crawl(d time.Duration) {
	for end := c.now.Add(d); c.now < end; c.now = c.now.Add(time.Millisecond) {
		later := map[[2]protocol.MemberID]bool{}
		for i, n := 0, len(c.wire); n > 0; n-- {
			link := [2]protocol.MemberID{c.wire[i].From, c.wire[i].To}
			data := c.wire[i].Message.Kind().Lane() != protocol.LaneUrgent
			if data && later[link] {
				i++
				continue
			}
			later[link] = later[link] || data
			c.deliver(i)
		}
		for _, n := range c.nodes {
			if n.m != nil && n.m.Deadline() <= c.now {
				n.m.Tick(c.now)
				c.settle(n)
			}
		}
	}
}

// highest returns the highest term that a member is in.
func (c *cluster) highest() (term protocol.Term) {
	for _, n := range c.nodes {
		if n.m != nil {
			term = max(term, n.m.hard.Term)
		}
	}
	return term
}

// led returns who leads, empty if nobody does.
func (c *cluster) led() string {
	if l := c.leader(); l != nil {
		return l.name
	}
	return ""
}

// longAndRoomy is a cluster of three whose leader a, which has stored all, is gone. b has got
// all of it, and no room; c has room, and has got next to nothing.
func longAndRoomy(t *testing.T) *cluster {
	t.Helper()
	c := newCluster("a", "b", "c")
	c.campaign("a")
	c.stabilize()
	c.fill("b")
	c.partition([]string{"a", "b"}, []string{"c"})
	for range 20 {
		if _, err := c.propose("a", strings.Repeat("x", 60_000)); err != nil {
			t.Fatal(err)
		}
	}
	c.stabilize()
	a, b := c.node("a"), c.node("b")
	if len(a.durable.log) != 21 || len(b.durable.log) != 1 || len(b.log) != 21 || len(c.node("c").log) != 1 {
		t.Fatalf("logs to %d, %d of which %d are stored, and %d", len(a.durable.log), len(b.log), len(b.durable.log), len(c.node("c").log))
	}
	c.crash(a)
	c.heal()
	return c
}

// A leader that is elected for what waits on its disk stepped down for the first entry that
// another voter had stored beyond that, and told it to campaign, without the rest of the
// entries: it lost, and all began anew, two terms later.
func TestLeaderWithoutRoomLeadsOnWhileNoMajorityStores(t *testing.T) {
	c := longAndRoomy(t)
	before := c.highest()
	c.crawl(20 * time.Second)
	if c.led() != "b" || c.highest() != before+1 {
		t.Fatalf("%s leads in term %d, want b in term %d, the only one that is elected", c.led(), c.highest(), before+1)
	}
	if got, all := len(c.node("c").durable.log), len(c.node("b").log); got != all {
		t.Errorf("c has stored %d entries of %d", got, all)
	}
	c.start(c.node("a"), false) // now a majority stores what b cannot
	c.crawl(20 * time.Second)
	if led := c.led(); led == "b" || led == "" || c.highest() != before+2 || !c.leader().m.HasCommittedOwnTerm() {
		t.Errorf("%s leads in term %d, want a or c in term %d, and that an entry of that is committed", led, c.highest(), before+2)
	}
}

// Whoever is told to campaign by a leader whose disk waits has stored all of its log, whatever
// it says of its own room.
func TestTransfereeOfALeaderWithoutRoomHasStoredAll(t *testing.T) {
	h := newHub(t, 1, 4, 1, 1, 1, 1)
	h.lead()
	last := h.n.m.logTerms.LastIndex()
	h.n.m.disk.flight, h.n.m.disk.waits, h.n.m.disk.stable = &flight{}, true, 1
	says := func(name string, match protocol.Index, room bool) {
		h.says(name, &protocol.HeartbeatAnswer{Term: 2, Round: 1, Room: room})
		h.says(name, &protocol.AppendAnswer{Term: 2, Index: match})
	}
	named := func() (to string) {
		h.wire = nil
		h.n.m.Tick(h.now)
		h.settle(h.n)
		for _, e := range h.wire {
			if _, ok := e.Message.(*protocol.TimeoutNow); ok {
				to = nameOf(e.To)
			}
		}
		return to
	}
	says("b", last-1, true)
	equal(t, "told, when one voter has stored some of it", named(), "")
	says("c", last, false)
	equal(t, "told, when the other one has stored all of it", named(), "c")
}

// A leader that steps down while it hands over sends nobody else into the same election.
func TestTransfereeHasNoRivalWhenTheLeaderStepsDown(t *testing.T) {
	h := newHub(t, 1, 4, 1, 1, 1, 1)
	h.lead()
	for _, name := range []string{"b", "c"} {
		h.says(name, &protocol.AppendAnswer{Term: 2, Index: h.n.m.logTerms.LastIndex()})
	}
	if err := h.n.m.Transfer(h.now, idOf("c")); err != nil {
		t.Fatal(err)
	}
	h.n.m.SetUnfit(h.now, "it cannot go on")
	h.settle(h.n)
	told := 0
	for _, e := range h.wire {
		if _, ok := e.Message.(*protocol.TimeoutNow); ok {
			equal(t, "told to campaign", nameOf(e.To), "c")
			told++
		}
	}
	if told == 0 || h.n.m.state == StateLeader {
		t.Errorf("%d are told to campaign, it is a %s", told, h.n.m.state)
	}
}

// With entries always under way no voter has ever stored all of the log. So a leader whose
// disk waits takes no more of them for a while, if a voter says that it has room.
func TestLeaderWithoutRoomGivesWayUnderLoad(t *testing.T) {
	for _, room := range []bool{true, false} {
		c := newCluster("a", "b", "c")
		c.campaign("a")
		c.stabilize()
		c.fill("a")
		a := c.node("a").m
		for end := c.now.Add(10 * time.Second); c.now < end && c.led() == "a"; {
			for i := range a.lead.progress {
				a.lead.progress[i].room = room
			}
			_, _ = c.propose("a", "x") // refused while the lead is passed on
			for len(c.wire) > 6 {      // an append and its answer are under way to each follower
				c.deliver(0)
			}
			c.tick(10 * time.Millisecond)
		}
		if got := c.led() == "a"; got == room {
			t.Errorf("others have room: %t, the leader without leads on: %t; its disk has stored %d of %d, %d are committed", room, got, a.disk.stable, a.logTerms.LastIndex(), a.hard.Commit)
		}
		c.stabilize()
		if room && (c.highest() != 2 || c.led() == "a") {
			t.Errorf("%s leads in term %d, want another one in term 2", c.led(), c.highest())
		}
	}
}

// A voter that is to get the lead and is far behind hinders nothing for long: between two
// attempts proposals are taken, and what frees space among them.
func TestLeadIsPassedOnNowAndThen(t *testing.T) {
	c := newCluster("a", "b", "c")
	c.tune = func(cfg *Config) { cfg.AppendBytesMax = 100 }
	for _, name := range []string{"a", "b", "c"} {
		c.start(c.node(name), false)
	}
	c.campaign("a")
	c.stabilize()
	c.fill("a")
	a := c.node("a").m
	taken, refused := 0, 0
	for end := c.now.Add(passPause * a.cfg.Election / 2); c.now < end; {
		for i := range a.lead.progress {
			a.lead.progress[i].room = true
		}
		if _, err := c.propose("a", strings.Repeat("x", 60), strings.Repeat("x", 60)); err == nil {
			taken++
		} else {
			refused++
		}
		var slow []protocol.Envelope // an append takes its time, and more comes than goes
		for given := map[protocol.MemberID]bool{}; len(c.wire) > 0; {
			e := c.wire[0]
			if m, ok := e.Message.(*protocol.Append); ok && len(m.Entries) > 0 {
				if given[e.To] {
					slow, c.wire = append(slow, e), c.wire[1:]
					continue
				}
				given[e.To] = true
			}
			c.deliver(0)
		}
		c.wire = slow
		c.tick(10 * time.Millisecond)
		if a.State() != StateLeader {
			t.Fatal("it has stepped down for nobody")
		}
	}
	if refused == 0 || taken < 2*refused {
		t.Errorf("%d proposals were taken and %d refused, want an attempt, and most taken", taken, refused)
	}
}

// Full disks have different rests of room, and different parts of what a leader has sent. When
// it is gone another one is elected, and the lead goes on at most once for each member that
// a majority can do without: so often can a majority have stored what a leader could not.
// When there is room all is stored.
func TestElectionsWithoutRoomEnd(t *testing.T) {
	waited, handed := 0, 0
	for seed := uint64(1); seed <= 120; seed++ {
		r := rand.New(rand.NewPCG(seed, 0))
		names := []string{"a", "b", "c", "d", "e"}[:3+2*r.IntN(2)]
		c := newCluster(names...)
		c.tune = func(cfg *Config) { cfg.AppendBytesMax = 400 }
		for _, name := range names {
			c.start(c.node(name), false)
			c.fill(name)
			c.node(name).spare = 100 + r.IntN(3)*r.IntN(4000)
		}
		c.campaign("a")
		c.stabilize()
		away := names[1+r.IntN(len(names)-1)]
		c.partition([]string{away}, without(names, away))
		for range r.IntN(30) {
			if _, err := c.propose("a", strings.Repeat("x", r.IntN(200))); err != nil {
				t.Fatal(err)
			}
			for range min(r.IntN(20), len(c.wire)) {
				c.deliver(0)
			}
		}
		c.stabilize()
		c.crash(c.node("a"))
		c.heal()
		before := c.highest()
		for i := range 10 {
			if i == 3 && seed%2 == 0 { // with a leader of its own, and what it has stored
				c.start(c.node("a"), false)
			}
			c.crawl(time.Second)
			if l := c.leader(); l != nil {
				if i == 5 {
					l.spare = min(l.spare, 100)
				}
				// Refused while the lead is handed over.
				_, _ = c.propose(l.name, strings.Repeat("y", r.IntN(200)))
			}
		}
		c.crawl(2 * time.Second)
		l, term := c.leader(), c.highest()
		if l == nil {
			t.Fatalf("seed %d: nobody leads", seed)
		}
		c.crawl(10 * time.Second)
		if c.leader() != l || c.highest() != term {
			t.Errorf("seed %d: %s leads in term %d, then %s in term %d", seed, l.name, term, c.led(), c.highest())
		}
		if most := before + protocol.Term(1+len(names)/2); term > most {
			t.Errorf("seed %d: term %d, want %d at most", seed, term, most)
		}
		if l.m.disk.waits {
			waited++
		}
		if term > before+1 {
			handed++
		}
		if c.node("a").down {
			c.start(c.node("a"), false)
		}
		for _, name := range names {
			c.empty(name)
		}
		c.crawl(5 * time.Second)
		for _, n := range c.nodes {
			if len(n.durable.log) != len(c.check.done) {
				t.Errorf("seed %d: %s has stored %d entries, %d are committed", seed, n.name, len(n.durable.log), len(c.check.done))
			}
		}
	}
	if waited < 50 || handed < 4 {
		t.Errorf("leaders waited in %d runs, and handed over in %d: the test is not worth much", waited, handed)
	}
}

// without returns the names but one.
func without(names []string, name string) (left []string) {
	for _, n := range names {
		if n != name {
			left = append(left, n)
		}
	}
	return left
}
