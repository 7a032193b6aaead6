package active

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// A leader that loses its vote, by removal or by demotion, hands over to the
// voter that holds most.
func TestLeaderWithoutAVoteNamesAnHeir(t *testing.T) {
	for variant := range 4 {
		demoted := variant%2 == 1
		c := newCluster()
		c.base.Configuration = configurationOf("a", "b", "c")
		c.tune = func(cfg *Config) { cfg.NamedOnly = variant >= 2 }
		for _, name := range []string{"a", "b", "c"} {
			c.add(name, image{})
		}
		c.campaign("a")
		c.stabilize()
		now := c.base.Configuration
		next := now.Without(idOf("a"))
		if demoted {
			next = now.With(protocol.ActiveMember{ID: idOf("a"), Name: "a", Seat: protocol.SeatLearner})
		}
		c.cut[[2]protocol.MemberID{idOf("a"), idOf("b")}] = true
		if _, err := c.propose("a", "x"); err != nil {
			t.Fatal(err)
		}
		c.stabilize()
		c.heal()
		if _, err := c.change("a", next); err != nil {
			t.Fatal(err)
		}
		c.stabilize()
		c.pass(150 * time.Millisecond) // b is brought what it lacks; no election timeout passes
		l := c.leader()
		if l == nil || l.name == "a" || l.m.hard.Term != 2 {
			t.Fatalf("demoted %t: got leader %v, want another one, in term 2", demoted, l)
		}
		if m := c.member("a"); demoted {
			equal(t, "state of the demoted", m.State(), StateLearner)
		}
	}
}

// A leader that finds that it must install a checkpoint hands over.
func TestLeaderThatInstallsNamesAnHeir(t *testing.T) {
	c := newCluster("a", "b", "c")
	c.campaign("a")
	c.stabilize()
	c.member("a").SetInstalling(c.now, true)
	c.settle(c.node("a"))
	c.stabilize()
	l := c.leader()
	if l == nil || l.name == "a" {
		t.Fatalf("got leader %v, want another one", l)
	}
}

// Whoever is in catch-up has nothing to lead with, however much it holds.
func TestHeirIsNobodyWhoNeedsACheckpoint(t *testing.T) {
	h := newHub(t, 1, 3, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	h.says("c", &protocol.AppendAnswer{Term: 2, Index: 1})
	equal(t, "heir", h.n.m.heir().id, idOf("b"))
	h.n.m.lead.find(idOf("b")).state = ProgressCatchUp
	equal(t, "heir", h.n.m.heir().id, idOf("c"))
}
