package active

import (
	"errors"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// How many entries are skipped by one rejection. The follower names the highest
// index at which its term is not above the leader's; the leader goes to the
// highest at which its own term is not above that. Nobody sends what must
// differ.
func TestRejectionSkipsWhatMustDiffer(t *testing.T) {
	for _, test := range []struct {
		name             string
		leader, follower []int
		hint             int // index and term that the rejection names
		hintTerm         int
		next             int // index and term that the next append follows
		nextTerm         int
	}{
		{"the leader skips a term that the follower never had", []int{1, 1, 4, 4, 4, 4}, []int{1, 1, 2, 2, 2, 2, 2}, 6, 2, 2, 1},
		{"they have a term in common, of different lengths", []int{1, 3, 3, 6, 6, 7}, []int{1, 3, 3, 3, 3, 3}, 6, 3, 3, 3},
		{"the follower skips terms that the leader never had", []int{2, 2, 2, 2}, []int{2, 3, 3, 4}, 1, 2, 1, 2},
		{"the same, and the leader's log is longer", []int{2, 2, 2, 2, 2, 2}, []int{2, 3, 3, 4}, 1, 2, 1, 2},
		{"the same, and the follower's log is longer", []int{2, 2, 2, 2}, []int{2, 3, 3, 4, 4, 4}, 1, 2, 1, 2},
		{"nothing conflicts", []int{1, 2, 2, 5, 6}, []int{1, 2, 2, 5}, 4, 5, 4, 5},
		{"a long tail on both sides", []int{3, 7, 7, 7, 7, 7, 7, 7}, []int{3, 5, 5, 5, 5}, 5, 5, 1, 3},
		{"nothing in common", []int{4, 4, 4}, []int{3, 3, 3}, 3, 3, 0, 0},
		{"the follower is empty", []int{1, 1, 2}, nil, 0, 0, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			last := test.leader[len(test.leader)-1]
			term := protocol.Term(max(last, 9))
			c := disks("a", "b", "c")
			c.disk("a", term, "", test.leader...)
			c.disk("b", term, "", test.follower...)
			c.disk("c", term, "")
			c.crash(c.node("b"))
			c.campaign("a")
			c.stabilize()
			c.start(c.node("b"), true)
			if got, want := c.leader().name, "a"; got != want {
				t.Fatalf("leader: got %s, want %s", got, want)
			}
			b := c.node("b")
			c.step(b, idOf("a"), &protocol.Append{
				Term: term + 1, PrevIndex: protocol.Index(len(test.leader)), PrevTerm: protocol.Term(last),
			})
			reject := one[*protocol.AppendAnswer](t, c.take("b", "a"))
			equal(t, "rejected", reject.Reject, true)
			equal(t, "hint", reject.HintIndex, protocol.Index(test.hint))
			equal(t, "term of the hint", reject.HintTerm, protocol.Term(test.hintTerm))

			// a has lost its first probe, and waits for an answer.
			p := c.member("a").lead.find(b.id)
			p.probe(protocol.Index(len(test.leader) + 1))
			p.probing = true
			c.step(c.node("a"), b.id, reject)
			next := one[*protocol.Append](t, c.take("a", "b"))
			equal(t, "next append follows", next.PrevIndex, protocol.Index(test.next))
			equal(t, "and its term", next.PrevTerm, protocol.Term(test.nextTerm))
			c.step(b, idOf("a"), next)
			if got := one[*protocol.AppendAnswer](t, c.take("b", "a")); got.Reject {
				t.Errorf("the second append is rejected, too: hint %d@%d", got.HintIndex, got.HintTerm)
			}
		})
	}
}

// take returns what is under way from one member to another, and takes it away.
func (c *cluster) take(from, to string) (out []protocol.Message) {
	for i := 0; i < len(c.wire); {
		if e := c.wire[i]; e.From == idOf(from) && e.To == idOf(to) {
			out = append(out, e.Message)
			c.wire = append(c.wire[:i], c.wire[i+1:]...)
		} else {
			i++
		}
	}
	return out
}

// Two appends arrive in the wrong order. The second is rejected, the first is
// taken; the rejection, which arrives last, is of something that is known to be
// there by then and must not set the leader back. What was rejected is sent
// again with the next heartbeat's answer.
func TestAppendsInTheWrongOrder(t *testing.T) {
	c := newCluster("a", "b")
	c.campaign("a")
	c.stabilize()
	c.pass(LAN.Heartbeat)
	for _, data := range []string{"x", "y"} {
		if _, err := c.propose("a", data); err != nil {
			t.Fatal(err)
		}
	}
	appends := c.take("a", "b")
	if got, want := len(appends), 2; got != want {
		t.Fatalf("appends under way: got %d, want %d", got, want)
	}
	b := c.node("b")
	c.step(b, idOf("a"), appends[1])
	rejection := one[*protocol.AppendAnswer](t, c.take("b", "a"))
	equal(t, "the second one rejected", rejection.Reject, true)
	c.step(b, idOf("a"), appends[0])
	acknowledgement := one[*protocol.AppendAnswer](t, c.take("b", "a"))
	equal(t, "the first one rejected", acknowledgement.Reject, false)

	c.step(c.node("a"), b.id, acknowledgement)
	p := c.member("a").lead.find(b.id)
	match, next := p.match, p.next
	c.step(c.node("a"), b.id, rejection)
	equal(t, "match after the late rejection", p.match, match)
	equal(t, "next after the late rejection", p.next, next)
	equal(t, "state after the late rejection", p.state, ProgressReplicate)
	c.pass(2 * LAN.Heartbeat)
	equal(t, "commit", b.commit(), 3)
}

// etcd-io/raft: while {a,b} becomes {a}, a command waits until b has
// acknowledged the change and the leader has applied it. Here a configuration
// is in force when it is appended: {a} is a majority of its own, and every
// majority of {a,b} contains a, so both are committed without b.
func TestSmallerQuorumIsInForceAtOnce(t *testing.T) {
	c := newCluster("a", "b")
	c.campaign("a")
	c.stabilize()
	c.partition([]string{"a"}, []string{"b"})
	if _, err := c.propose("a", "before"); err != nil {
		t.Fatal(err)
	}
	equal(t, "commit before the change", c.node("a").commit(), 1)
	i, err := c.change("a", c.member("a").current.Configuration.Without(idOf("b")))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "commit after the change", c.node("a").commit(), i)
	// b cannot have elected itself meanwhile, nor can it later.
	c.campaignInVain("b", nil)
}

// A new voter does not end the leadership by not having been heard yet: it has
// an election timeout to answer, like all others.
func TestNewVoterHasAnElectionTimeoutToAnswer(t *testing.T) {
	c := newCluster("a")
	c.add("b", image{})
	c.campaign("a")
	c.pass(2 * LAN.Election)
	learner := protocol.ActiveMember{ID: idOf("b"), Name: "b", Suffrage: protocol.SuffrageLearner}
	if _, err := c.change("a", c.member("a").current.Configuration.With(learner)); err != nil {
		t.Fatal(err)
	}
	c.pass(2 * LAN.Heartbeat)
	learner.Suffrage = protocol.SuffrageVoter
	if _, err := c.change("a", c.member("a").current.Configuration.With(learner)); err != nil {
		t.Fatal(err)
	}
	c.partition([]string{"a"}, []string{"b"})
	heard := c.member("a").lead.find(idOf("b")).heard
	c.tick(heard.Add(LAN.Election).Sub(c.now)-time.Millisecond, "a")
	equal(t, "state before the timeout", c.member("a").state, StateLeader)
	c.tick(time.Millisecond, "a")
	equal(t, "state after the timeout", c.member("a").state, StateFollower)
}

// A request to read is duplicated, and the answers to the round that served it
// are late. The former leader, which does not know that it is one, gets both
// after another leader committed more: it must serve neither the copy nor a
// read of its own with them.
func TestLateRoundAnswersServeNoLaterRead(t *testing.T) {
	c := newCluster("a", "b", "c")
	c.campaign("a")
	c.stabilize()
	c.tick(LAN.Heartbeat, "a")
	c.stabilize()
	b, a := c.node("b"), c.node("a")

	b.m.ReadIndex(c.now, protocol.ReadIndex{Origin: b.id, Run: b.m.cfg.Run, Request: 1})
	c.settle(b)
	request := one[*protocol.ReadIndex](t, c.take("b", "a"))
	c.step(a, b.id, request)
	for len(c.wire) > 0 && c.wire[0].From == a.id {
		c.deliver(0)
	}
	late := append(c.take("b", "a"), c.take("c", "a")...)
	if len(late) == 0 {
		t.Fatal("no answers to the round of the read")
	}

	c.partition([]string{"a"}, []string{"b", "c"})
	c.tick(LAN.Election, "b", "c")
	c.campaign("b")
	c.stabilize()
	if _, err := c.propose("b", "newer"); err != nil {
		t.Fatal(err)
	}
	c.stabilize()
	committed := c.node("b").commit()
	equal(t, "state of a", a.m.state, StateLeader)

	a.m.ReadIndex(c.now, protocol.ReadIndex{Origin: a.id, Run: a.m.cfg.Run, Request: 2})
	c.settle(a)
	copied := *request
	c.step(a, b.id, &copied)
	for _, answer := range late {
		c.step(a, b.id, answer)
	}
	for _, read := range a.reads {
		if read.Code == protocol.OK && read.Index < committed {
			t.Errorf("a serves its own read at %d, %d is committed", read.Index, committed)
		}
	}
	for _, m := range c.take("a", "b") {
		if answer, ok := m.(*protocol.ReadIndexAnswer); ok && answer.Code == protocol.OK && answer.Index < 1 {
			t.Errorf("the copied request is served at %d", answer.Index)
		}
	}
	c.heal()
	c.pass(LAN.Election)
	for _, read := range a.reads {
		if read.Code == protocol.OK && read.Index < committed {
			t.Errorf("a serves its own read at %d, %d is committed", read.Index, committed)
		}
	}
}

// A leadership that is being handed over, and what may happen to it. In
// etcd-io/raft a new request replaces the one under way, and one for the leader
// itself cancels it; here whoever asks second is told so.
func TestTransfersUnderWay(t *testing.T) {
	begin := func(t *testing.T) *cluster {
		c := newCluster("a", "b", "c")
		c.campaign("a")
		c.stabilize()
		c.pass(2 * LAN.Heartbeat)
		c.partition([]string{"a", "b"}, []string{"c"})
		if err := c.member("a").Transfer(c.now, idOf("c")); err != nil {
			t.Fatal(err)
		}
		c.settle(c.node("a"))
		return c
	}
	code := func(c *cluster, to string) error { return c.member("a").Transfer(c.now, idOf(to)) }

	t.Run("to another", func(t *testing.T) {
		c := begin(t)
		if err := code(c, "b"); !errors.Is(err, protocol.ErrChangeInFlight) {
			t.Errorf("got %v, want ErrChangeInFlight", err)
		}
	})
	t.Run("back to the leader", func(t *testing.T) {
		c := begin(t)
		if err := code(c, "a"); !errors.Is(err, protocol.ErrChangeInFlight) {
			t.Errorf("got %v, want ErrChangeInFlight", err)
		}
	})
	t.Run("again to the same does not extend it", func(t *testing.T) {
		c := begin(t)
		until := c.member("a").lead.transfer.until
		c.tick(LAN.Election/2, "a")
		if err := code(c, "c"); err != nil {
			t.Error(err)
		}
		equal(t, "end of the transfer", c.member("a").lead.transfer.until, until)
	})
	t.Run("a change of the configuration waits", func(t *testing.T) {
		c := begin(t)
		if _, err := c.change("a", c.member("a").current.Configuration.Without(idOf("c"))); !errors.Is(err, protocol.ErrNotLeader) {
			t.Errorf("got %v, want ErrNotLeader", err)
		}
	})
	t.Run("another is elected meanwhile", func(t *testing.T) {
		c := begin(t)
		c.step(c.node("a"), idOf("b"), &protocol.Vote{Term: 2, Transfer: true, LastIndex: 1, LastTerm: 1})
		equal(t, "state", c.member("a").state, StateFollower)
		equal(t, "vote", c.member("a").hard.Vote, idOf("b"))
		equal(t, "transferee", c.member("a").Status().Transferee, protocol.MemberID{})
	})
	t.Run("to one that is being removed, or is no voter", func(t *testing.T) {
		c := newCluster("a", "b", "c")
		c.campaign("a")
		c.stabilize()
		c.add("d", image{})
		next := c.member("a").current.Configuration.With(protocol.ActiveMember{ID: idOf("d"), Name: "d", Suffrage: protocol.SuffrageLearner}).Without(idOf("c"))
		if _, err := c.change("a", next); err != nil {
			t.Fatal(err)
		}
		for _, to := range []string{"a", "c", "d", "x"} {
			if err := code(c, to); !errors.Is(err, protocol.ErrInvalid) {
				t.Errorf("transfer to %s: got %v, want ErrInvalid", to, err)
			}
		}
	})
}

// TimeoutNow reaches one that is a learner, or that the configuration does not
// name: it does not campaign, and votes that it gets elect nobody.
func TestTimeoutNowMakesNoCandidateWithoutAVote(t *testing.T) {
	for _, seat := range []string{"learner", "none"} {
		t.Run(seat, func(t *testing.T) {
			c := newCluster()
			c.solo = true
			c.base.Configuration = configurationOf("b", "c", "d")
			entry := c.base.Configuration.With(protocol.ActiveMember{ID: idOf("a"), Name: "a", Suffrage: protocol.SuffrageLearner})
			log := logOf(1)
			log[0].Kind, log[0].Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(entry)
			protocol.EncodeEntries(log)
			h := &hub{t: t, cluster: c, n: c.add("a", image{state: protocol.HardState{Term: 1, Commit: 1}, log: log})}
			if seat == "none" { // appended, so that it is still active
				without := logOf(1, 1)
				without[1].Kind, without[1].Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(c.base.Configuration)
				protocol.EncodeEntries(without)
				h.says("b", appendOf(1, 1, 1, 1, without))
			}
			h.says("b", &protocol.Heartbeat{Term: 1, Round: 1})
			h.says("b", &protocol.TimeoutNow{Term: 1})
			h.says("b", &protocol.VoteAnswer{Term: 2, Granted: true})
			h.says("c", &protocol.VoteAnswer{Term: 2, Granted: true})
			if got := h.n.m.state; got != StateFollower {
				t.Errorf("state: got %v, want %v", got, StateFollower)
			}
		})
	}
}
