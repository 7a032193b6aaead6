package active

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// Disks without room. What is written there waits, votes do not.

// waits tells a node's member that what it writes waits, if it does, and makes the vote
// durable that it writes ahead of that.
func (c *cluster) waits(n *node) {
	if n.m == nil {
		return
	}
	if n.write != nil && n.full {
		n.m.SetWaiting(c.now, true)
	}
	if a := n.ahead; a != nil {
		n.landAhead()
		c.ahead++
		n.m.Persisted(c.now, a.ID)
	}
}

// landAhead makes the vote durable that is in flight, without telling the member.
func (n *node) landAhead() {
	a := n.ahead
	n.ahead = nil
	n.durable.state = votedAhead(n.name, n.durable.state, a)
	n.voted = n.voted.Noting(a.Term, a.Vote)
}

// votedAhead returns the hard state on a member's disk once a vote is there that was written
// ahead. What is there may say more by then: that the term is over, or the vote in it.
func votedAhead(name string, was protocol.HardState, a *protocol.Ahead) protocol.HardState {
	invariant.Check(a.Term != was.Term || a.Vote.IsZero() || was.Vote.IsZero() || was.Vote == a.Vote,
		"%s votes for %s in term %d, on its disk is %v", name, nameOf(a.Vote), a.Term, was)
	return was.Noting(a.Term, a.Vote)
}

// mayFollow checks that the hard state on a member's disk may become another one.
func mayFollow(name string, was, state protocol.HardState) {
	invariant.Check(state.Term > was.Term || state.Term == was.Term && (was.Vote.IsZero() || was.Vote == state.Vote),
		"%s writes %v, on its disk is %v", name, state, was)
}

// fill takes the room from disks.
func (c *cluster) fill(names ...string) {
	for _, name := range names {
		c.node(name).full = true
	}
}

// empty gives room to a disk again: what has waited is written.
func (c *cluster) empty(name string) {
	n := c.node(name)
	n.full = false
	c.persist(n)
	c.settle(n)
}

// fill lets a disk have no room, or some again. A vote that is under way then may come to the
// disk after what it was to pass.
func (r *randomRun) fill(n *node) {
	if n.down || !n.full && r.disks.IntN(6) > 0 || n.full && r.disks.IntN(2) > 0 {
		return
	}
	if n.full = !n.full; n.m != nil && !n.full && r.disks.IntN(2) == 0 {
		r.c.persist(n)
		r.c.settle(n)
	}
}

// withoutRoom is a cluster of three whose leader a is gone, while an append waits at the
// two others.
func withoutRoom(t *testing.T) *cluster {
	t.Helper()
	c := newCluster("a", "b", "c")
	c.campaign("a")
	c.stabilize()
	c.fill("b", "c")
	if _, err := c.propose("a", "x"); err != nil {
		t.Fatal(err)
	}
	c.stabilize()
	for _, name := range []string{"b", "c"} {
		if n := c.node(name); n.write == nil || len(n.durable.log) != 1 {
			t.Fatalf("%s: got a log to %d on the disk, want that entry 2 waits", name, len(n.durable.log))
		}
	}
	c.crash(c.node("a"))
	return c
}

// Two of three whose disks had no room elected nobody.
func TestVotersWithoutRoomElectALeader(t *testing.T) {
	c := withoutRoom(t)
	c.pass(5 * time.Second)
	l := c.leader()
	if l == nil {
		t.Fatal("nobody leads")
	}
	term, committed := l.m.hard.Term, len(c.check.done)
	c.pass(20 * time.Second)
	if c.leader() != l || l.m.hard.Term != term {
		t.Errorf("got %s, term %d, want %s to lead on in term %d: another one could not do better", c.leader().name, l.m.hard.Term, l.name, term)
	}
	if committed != 1 || len(c.check.done) != 1 {
		t.Errorf("%d entries are committed, then %d, want the first alone: nothing was stored", committed, len(c.check.done))
	}
	c.empty("b")
	c.empty("c")
	c.pass(3 * time.Second)
	if l := c.leader(); l == nil || len(c.check.done) < 3 {
		t.Errorf("with room again %d entries are committed, want what has waited", len(c.check.done))
	}
}

// [S] A vote that went ahead of what waits is on the disk before it leaves: whoever crashes
// then gives no second one.
func TestVoteAheadIsNotGivenTwiceAfterACrash(t *testing.T) {
	c := withoutRoom(t)
	c.now = c.now.Add(2 * time.Second)
	b := c.node("b")
	ask := func(from string) (granted bool) {
		c.wire = nil
		c.step(b, idOf(from), &protocol.Vote{Term: 7, LastIndex: 2, LastTerm: 1})
		for _, e := range c.wire {
			a, ok := e.Message.(*protocol.VoteAnswer)
			granted = granted || ok && a.Granted
		}
		return granted
	}
	if !ask("c") || b.durable.state.Term != 7 || b.durable.state.Vote != idOf("c") || len(b.durable.log) != 1 {
		t.Fatalf("on the disk is %v and a log to %d, want the vote and no entry", b.durable.state, len(b.durable.log))
	}
	c.crash(b)
	c.start(b, false)
	c.now = c.now.Add(2 * time.Second)
	if ask("a") {
		t.Error("a second vote in the term")
	}
}

// A vote ahead may wait for room itself, and the write that it passes does: while they are
// under way nobody is told of a slow disk.
func TestWaitingForRoomIsNoSlowDisk(t *testing.T) {
	c := withoutRoom(t)
	c.now = c.now.Add(2 * time.Second)
	m := c.node("b").m
	m.Step(c.now, idOf("c"), &protocol.Vote{Term: 7, LastIndex: 2, LastTerm: 1})
	if m.Ready().Ahead == nil {
		t.Fatal("no vote is under way")
	}
	c.now = c.now.Add(m.cfg.Election * 3 / 2)
	m.Step(c.now, idOf("c"), &protocol.Vote{Term: 8, Pre: true, LastIndex: 2, LastTerm: 1})
	list := m.Ready().Messages
	if len(list) == 0 {
		t.Fatal("got no answer to a pre-vote")
	}
	if a, ok := list[0].Message.(*protocol.VoteAnswer); !ok || !a.Granted || a.Write >= m.cfg.Election/2 {
		t.Errorf("got %+v, want a pre-vote of a disk that is fast", list[0].Message)
	}
}

// [S] The write that has waited says at least what was written ahead of it.
func TestTermDoesNotGoBackWhenTheWaitingWriteLands(t *testing.T) {
	c := withoutRoom(t)
	c.now = c.now.Add(2 * time.Second)
	b := c.node("b")
	c.step(b, idOf("c"), &protocol.Vote{Term: 7, LastIndex: 2, LastTerm: 1})
	b.full = false
	b.land() // and the machine dies before anybody is told
	if s := b.durable.state; s.Term != 7 || s.Vote != idOf("c") || len(b.durable.log) != 2 {
		t.Errorf("got %v and a log to %d, want term 7 with its vote, and the entry", s, len(b.durable.log))
	}
	b.m.SetWaiting(c.now, false) // or it does not
	b.m.Persisted(c.now, b.write.ID)
	if d := b.m.disk.durable; d.Term != 7 || d.Vote != idOf("c") {
		t.Errorf("the member takes %v for durable", d)
	}
}

// [S] A vote ahead releases votes, and no acknowledgement of what waits.
func TestVoteAheadAcknowledgesNoEntry(t *testing.T) {
	c := withoutRoom(t)
	c.now = c.now.Add(2 * time.Second)
	b := c.node("b")
	c.wire, c.solo = nil, true
	next := logOf(1, 1, 7)[2:]
	c.step(b, idOf("c"), &protocol.Append{Term: 7, PrevIndex: 2, PrevTerm: 1, Entries: next, Last: 3})
	if b.durable.state.Term != 7 {
		t.Errorf("the term on the disk is %d, want 7: it is noted ahead as well", b.durable.state.Term)
	}
	for _, e := range c.wire {
		if a, ok := e.Message.(*protocol.AppendAnswer); ok && !a.Reject {
			t.Errorf("acknowledged up to %d, on the disk is a log to %d", a.Index, len(b.durable.log))
		}
	}
	if b.m.disk.stable != 1 {
		t.Errorf("stable up to %d, want 1", b.m.disk.stable)
	}
}

// [S] A leader of a later term may cut off what waits: what was written in between, and in
// whatever order it comes to the disk, nothing is acknowledged that is not there.
func TestEntriesThatWaitAreCutOffByALaterLeader(t *testing.T) {
	for _, crash := range []bool{false, true} {
		c := withoutRoom(t)
		c.now = c.now.Add(2 * time.Second)
		b := c.node("b")
		c.step(b, idOf("c"), &protocol.Vote{Term: 7, LastIndex: 2, LastTerm: 1})
		log := logOf(1, 7)
		protocol.EncodeEntries(log)
		c.wire, c.solo = nil, true
		c.step(b, idOf("c"), &protocol.Append{Term: 7, PrevIndex: 1, PrevTerm: 1, Entries: log[1:], Last: 2})
		acknowledged := func() (last protocol.Index) {
			for _, e := range c.wire {
				if a, ok := e.Message.(*protocol.AppendAnswer); ok && !a.Reject {
					last = max(last, a.Index)
				}
			}
			return last
		}
		if got := acknowledged(); got > 1 {
			t.Fatalf("acknowledged up to %d while it waits", got)
		}
		if crash {
			c.crash(b)
			c.start(b, false)
			if b.m.hard.Term != 7 || b.m.hard.Vote != idOf("c") || len(b.log) != 1 {
				t.Errorf("it comes back with %v and a log to %d", b.m.hard, len(b.log))
			}
			continue
		}
		b.full = false
		for b.write != nil { // first what waited, then the cut
			c.persist(b)
			c.settle(b)
		}
		if got := termsOf(b.durable.log); len(got) != 2 || got[1] != 7 || acknowledged() != 2 {
			t.Errorf("on the disk are entries of the terms %v, acknowledged is %d, want 1 and 7, and 2", got, acknowledged())
		}
	}
}
