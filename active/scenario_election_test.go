package active

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Situations of etcd-io/raft's own tests that its screenplays do not have,
// as far as the paper's rules (paper_test.go) and the screenplays of this
// package do not cover them either. docs/scenarios.md has the whole list.

// disks makes a cluster of voters whose disks hold something.
func disks(voters ...string) *cluster {
	c := newCluster()
	c.base.Configuration = configurationOf(voters...)
	return c
}

func (c *cluster) disk(name string, term protocol.Term, vote string, terms ...int) {
	c.add(name, image{state: protocol.HardState{Term: term, Vote: idOf(vote)}, log: logOf(terms...)})
}

// expire lets election timeouts pass for those named, without anything said.
func (c *cluster) expire(names ...string) {
	c.now = c.now.Add(LAN.Election)
	for _, name := range names {
		c.member(name).advance(c.now)
	}
}

// The winner need not have the newest entry of all, only one that is at least as
// new as those of its majority. c's entry of term 2 gives way to a's of term 1.
func TestElectionOverwritesANewerUncommittedEntry(t *testing.T) {
	c := disks(five...)
	c.disk("a", 1, "a", 1)
	c.disk("b", 1, "a", 1)
	c.disk("c", 2, "c", 2)
	c.disk("d", 2, "c")
	c.disk("e", 2, "c")

	// Those who voted in term 2 answer a that it has begun.
	c.campaign("a")
	c.stabilize()
	equal(t, "state after the first attempt", c.member("a").state, StateFollower)
	equal(t, "term after the first attempt", c.member("a").hard.Term, 2)

	c.campaign("a")
	c.stabilize()
	equal(t, "state after the second attempt", c.member("a").state, StateLeader)
	c.pass(LAN.Election / 2)
	for _, n := range c.nodes {
		if got, want := termsOf(n.log), []int{1, 3}; !slices.Equal(got, want) {
			t.Errorf("terms of %s: got %v, want %v", n.name, got, want)
		}
	}
}

// A member two terms behind and the former leader are all that is left. Each
// pre-vote of the one that is behind is refused with the term, so that its next
// one counts: they must not wait for each other for ever.
func TestMemberInAnOlderTermCanCompleteAnElection(t *testing.T) {
	for _, first := range []string{"a", "c"} {
		c := newCluster("a", "b", "c")
		c.partition([]string{"a", "b"}, []string{"c"})
		c.campaign("a")
		c.stabilize()
		c.expire("a", "b")
		c.tick(0, "a")
		c.campaign("b")
		c.stabilize()
		equal(t, "term of b", c.member("b").hard.Term, 2)
		equal(t, "term of c", c.member("c").hard.Term, 0)

		c.partition([]string{"b"}, []string{"a", "c"})
		second := map[string]string{"a": "c", "c": "a"}[first]
		for i := 0; c.member("a").state != StateLeader && c.member("c").state != StateLeader; i++ {
			if i == 4 {
				t.Fatalf("%s first: no leader after %d attempts", first, i)
			}
			c.expire("a", "c")
			c.campaign(first)
			c.stabilize()
			if first == "c" && i == 0 {
				equal(t, "term of c after it asked", c.member("c").hard.Term, 2)
			}
			c.expire("a", "c")
			c.campaign(second)
			c.stabilize()
		}
		// Only a has all that is committed.
		equal(t, "leader", c.leader().name, "a")
	}
}

// Two candidates with one vote each, the third member dead: whoever's timeout
// passes next wins, because the other one, too, hears nobody.
func TestSplitVoteIsSettledByTheNextTimeout(t *testing.T) {
	c := newCluster("a", "b", "c")
	c.campaign("a")
	c.stabilize()
	c.crash(c.node("a"))
	c.expire("b", "c")
	c.campaign("b")
	c.campaign("c") // before either has heard of the other
	c.stabilize()
	for _, name := range []string{"b", "c"} {
		equal(t, "term of "+name, c.member(name).hard.Term, 2)
		if c.member(name).state == StateLeader {
			t.Fatalf("%s leads: the vote was not split", name)
		}
	}
	c.campaign("c")
	c.stabilize()
	equal(t, "state of c", c.member("c").state, StateLeader)
	equal(t, "term of c", c.member("c").hard.Term, 3)
}

// A candidate with a higher term, cut off before it heard of its loss, is
// followed by nobody and follows nobody. The leader's next word to it ends the
// leader's term; then somebody is elected whom all can follow. It happens once:
// the pre-vote keeps the candidate from raising its term again.
func TestStuckCandidateIsFreedByOneElection(t *testing.T) {
	c := newCluster("a", "b", "c")
	c.campaign("a")
	c.stabilize()
	c.expire("a", "b", "c")
	c.campaign("c")
	c.deliver(1) // the pre-vote to b, who grants it
	for c.member("c").state != StateCandidate {
		c.deliver(len(c.wire) - 1)
	}
	c.partition([]string{"a", "b"}, []string{"c"})
	c.stabilize()
	for range 5 {
		c.tick(2*LAN.Election, "c")
		c.stabilize()
	}
	equal(t, "term of c after five attempts", c.member("c").hard.Term, 2)
	c.now = c.now.Add(LAN.Heartbeat)
	c.member("a").lead.heartbeatAt = c.now
	c.member("a").lead.progress[0].heard = c.now // b was in touch all the while
	c.heal()
	c.tick(0, "a")
	c.stabilize()
	equal(t, "state of a after it heard of term 2", c.member("a").state, StateFollower)
	c.pass(3 * LAN.Election)
	l := c.leader()
	if l == nil || l.m.hard.Term > 4 {
		t.Fatalf("got no leader by term 4")
	}
	for _, n := range c.nodes {
		equal(t, "leader of "+n.name, n.m.leader, l.id)
	}
}

// The own vote becomes durable when the election is already lost, to a leader
// of the same term. It must not be counted any more. (etcd-io/raft sends it as a
// message to itself; here it is a write that answers.)
func TestOwnVoteIsNotCountedAfterALostElection(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.async = true
	h.campaign("a")
	h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
	equal(t, "state", h.n.m.state, StateCandidate)
	h.says("c", &protocol.Heartbeat{Term: 2, Round: 1})
	h.persist(h.n)
	h.settle(h.n)
	equal(t, "state when the vote is durable", h.n.m.state, StateFollower)
	equal(t, "leader", h.n.m.leader, idOf("c"))

	// Nor when it has become a candidate of a later term.
	h = newHub(t, 1, 1, 1)
	h.n.async = true
	h.campaign("a")
	h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
	h.says("c", &protocol.Vote{Term: 3})
	equal(t, "state in a term of another", h.n.m.state, StateFollower)
	h.campaign("a")
	h.says("b", &protocol.VoteAnswer{Term: 4, Pre: true, Granted: true})
	h.says("b", &protocol.VoteAnswer{Term: 4, Granted: true})
	h.persist(h.n)
	h.settle(h.n)
	equal(t, "state when the vote of the term before is durable", h.n.m.state, StateCandidate)
	h.persist(h.n)
	h.settle(h.n)
	equal(t, "state when the vote of this term is durable", h.n.m.state, StateLeader)
}

// The leader's own entries become durable when it leads no more. They count for
// nothing then, also if it leads a later term. (Likewise a message to itself
// there.)
func TestOwnEntriesCountForTheirLeadershipOnly(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	equal(t, "commit", h.n.m.hard.Commit, 2)
	h.n.async = true
	if _, err := h.propose("a", "x"); err != nil {
		t.Fatal(err)
	}
	h.says("c", &protocol.Append{Term: 3, PrevIndex: 2, PrevTerm: 2, Entries: logOf(1, 2, 3)[2:]})
	for h.n.write != nil {
		h.persist(h.n)
		h.settle(h.n)
	}
	equal(t, "commit after the write of a leadership that ended", h.n.m.hard.Commit, 2)
	equal(t, "state", h.n.m.state, StateFollower)
}

// Whatever a member is, a request of a higher term is heeded if no leader is
// heard (a transfer's also if one is): the term rises, the vote is given, and it
// follows. A pre-vote changes nothing at all.
func TestVoteFromAnyState(t *testing.T) {
	become := map[string]func(*hub){
		"follower":      func(*hub) {},
		"pre-candidate": func(h *hub) { h.campaign("a") },
		"candidate": func(h *hub) {
			h.campaign("a")
			h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
		},
		"leader": (*hub).lead,
	}
	for _, state := range []string{"follower", "pre-candidate", "candidate", "leader"} {
		for _, pre := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s pre=%t", state, pre), func(t *testing.T) {
				h := newHub(t, 1, 1, 1)
				become[state](h)
				h.sent()
				term, was, vote := h.n.m.hard.Term, h.n.m.state, h.n.m.hard.Vote
				a := one[*protocol.VoteAnswer](t, h.says("c", &protocol.Vote{Term: term + 5, Pre: pre, Transfer: true, LastIndex: 9, LastTerm: term}))
				equal(t, "granted", a.Granted, true)
				equal(t, "term of the answer", a.Term, term+5)
				if pre {
					equal(t, "term", h.n.m.hard.Term, term)
					equal(t, "state", h.n.m.state, was)
					equal(t, "vote", h.n.m.hard.Vote, vote)
					return
				}
				equal(t, "term", h.n.m.hard.Term, term+5)
				equal(t, "state", h.n.m.state, StateFollower)
				equal(t, "vote", h.n.m.hard.Vote, idOf("c"))
			})
		}
	}
}

// A cluster of one comes back after a restart as fast as its disk: nobody else
// can lead, so there is nothing to wait for. Its owner wakes it when it asks to
// be woken, which is before its first write is done.
func TestOnlyVoterLeadsAsSoonAsItsDiskAnswersAfterARestart(t *testing.T) {
	c := newCluster("a")
	c.pass(2 * LAN.Election)
	equal(t, "state", c.member("a").state, StateLeader)
	n := c.node("a")
	c.crash(n)
	n.async = true
	c.start(n, true)
	began := c.now
	for n.m.state != StateLeader && c.now < began.Add(4*LAN.Election) {
		c.now = max(c.now, min(n.m.Deadline(), c.now.Add(10*time.Millisecond)))
		n.m.Tick(c.now)
		c.settle(n)
		c.now = c.now.Add(time.Millisecond) // what a write takes
		c.persist(n)
		c.settle(n)
	}
	if got := c.now.Sub(began); got >= LAN.Heartbeat {
		t.Errorf("led %v after the start, want as soon as its writes were done", got)
	}
}
