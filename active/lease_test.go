package active

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Rules of leases that are about one member. Counterexample 11 is played in
// the screenplays lease_*.

// leasedHub is a hub whose configuration has a lease, and which has run for a
// minute without hearing a leader.
func leasedHub(t *testing.T, lease time.Duration, terms ...int) *hub {
	t.Helper()
	h := newHub(t, 1, 1, terms...)
	c := h.n.m.current
	c.Configuration.Lease = lease
	h.n.m.configs = protocol.NewConfigurations(c)
	h.n.m.reconfigure()
	h.n.m.heard = h.now.Add(-time.Minute)
	return h
}

// A member that hears of a higher term forgets whom it follows, not what it has
// pledged.
func TestPledgeOutlivesTheTerm(t *testing.T) {
	h := leasedHub(t, 500*time.Millisecond, 1)
	h.tick(3 * time.Second)
	h.says("b", &protocol.Heartbeat{Term: 2, Round: 1})
	h.says("c", &protocol.VoteAnswer{Term: 9})
	equal(t, "leader", h.n.m.leader, protocol.MemberID{})
	vote := &protocol.Vote{Term: 10, LastIndex: 1, LastTerm: 1}
	equal(t, "answers within the lease", len(h.says("c", vote)), 0)
	h.tick(500 * time.Millisecond)
	h.sent()
	equal(t, "granted after it", one[*protocol.VoteAnswer](t, h.says("c", vote)).Granted, true)
}

// A follower whose own election timeout is shorter than the lease does not
// campaign before the lease is over.
func TestPledgedMemberDoesNotCampaign(t *testing.T) {
	h := leasedHub(t, 3*time.Second, 1)
	h.tick(5 * time.Second)
	h.says("b", &protocol.Heartbeat{Term: 2, Round: 1})
	h.tick(2900 * time.Millisecond)
	equal(t, "state within the lease", h.n.m.state, StateFollower)
	h.tick(2 * time.Second)
	equal(t, "state after it", h.n.m.state, StatePreCandidate)
}

func TestOnlyVoterNeedNotWait(t *testing.T) {
	c := newCluster()
	c.base.Configuration = configurationOf("a")
	c.base.Configuration.Lease = time.Second
	c.add("a", image{})
	c.tick(0)
	equal(t, "state", c.member("a").state, StateLeader)
}

// The lease runs from the sending of the round, and not all of it is used.
func TestLeaseRunsFromTheSending(t *testing.T) {
	h := leasedHub(t, 500*time.Millisecond, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	h.tick(100 * time.Millisecond) // round 2 goes out
	h.tick(90 * time.Millisecond)
	h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: 2})
	h.tick(350 * time.Millisecond)
	equal(t, "held after 440 ms", h.n.m.holdsLease(), true)
	h.says("c", &protocol.HeartbeatAnswer{Term: 2, Round: 2})
	h.tick(10 * time.Millisecond)
	equal(t, "held after 450 ms", h.n.m.holdsLease(), false)
}

// Whoever does not hold the configuration durably pledges nothing.
func TestLeaseCountsHoldersOfTheConfigurationOnly(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	for _, name := range []string{"b", "c"} {
		h.says(name, &protocol.AppendAnswer{Term: 2, Index: 2})
	}
	next := h.n.m.current.Configuration
	next.Lease = time.Second
	if _, err := h.change("a", next); err != nil {
		t.Fatal(err)
	}
	h.tick(100 * time.Millisecond)
	h.says("c", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round})
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 3})
	equal(t, "committed", h.n.m.hard.Commit, 3)
	equal(t, "held by the answer of one that lacks it", h.n.m.holdsLease(), false)
	h.tick(100 * time.Millisecond)
	h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round})
	equal(t, "held by the answer of one that has it", h.n.m.holdsLease(), true)
}

// Who answered under a short lease may not hold the configuration with a long
// one.
func TestLeaseEndsWithItsConfiguration(t *testing.T) {
	h := leasedHub(t, 300*time.Millisecond, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	h.tick(100 * time.Millisecond)
	h.says("c", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round})
	equal(t, "held", h.n.m.holdsLease(), true)
	next := h.n.m.current.Configuration
	next.Lease = 5 * time.Second
	if _, err := h.change("a", next); err != nil {
		t.Fatal(err)
	}
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 3})
	equal(t, "committed", h.n.m.hard.Commit, 3)
	equal(t, "held by an answer from before", h.n.m.holdsLease(), false)
}

// [S] A lease trusts clocks, and a reader that holds more than the leader has
// committed takes the answer for proof of another history: it gets one of a round.
func TestLeaseServesNobodyWhoHoldsMore(t *testing.T) {
	h := leasedHub(t, 500*time.Millisecond, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	h.tick(100 * time.Millisecond)
	h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round})
	equal(t, "held", h.n.m.holdsLease(), true)
	h.sent()
	equal(t, "index for one that holds as much", one[*protocol.ReadIndexAnswer](t, h.says("c", &protocol.ReadIndex{Origin: idOf("c"), Run: 5, Request: 1, Held: 2})).Index, 2)
	sent := h.says("c", &protocol.ReadIndex{Origin: idOf("c"), Run: 5, Request: 2, Held: 3})
	for _, m := range sent {
		if _, answered := m.(*protocol.ReadIndexAnswer); answered {
			t.Error("one that holds more is answered by the lease")
		}
	}
	a := one[*protocol.ReadIndexAnswer](t, h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round}))
	equal(t, "request answered after the round", a.Request, 2)
	equal(t, "its sum", a.Sum, sumOf(h.n.log[:2]))
}
