package active

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// A leader that loses its vote, by removal or by demotion, hands over to the
// voter that holds most.
func TestLeaderWithoutAVoteNamesATransferee(t *testing.T) {
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
			next = now.With(protocol.ActiveMember{ID: idOf("a"), Name: "a", Suffrage: protocol.SuffrageLearner})
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
func TestLeaderThatInstallsNamesATransferee(t *testing.T) {
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
func TestTransfereeIsNobodyWhoNeedsACheckpoint(t *testing.T) {
	h := newHub(t, 1, 3, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	h.says("c", &protocol.AppendAnswer{Term: 2, Index: 1})
	equal(t, "transferee", h.n.m.bestTransferee(h.n.m.hard.Commit).id, idOf("b"))
	h.n.m.lead.find(idOf("b")).state = ProgressCatchUp
	equal(t, "transferee", h.n.m.bestTransferee(h.n.m.hard.Commit).id, idOf("c"))
}

// One rule says who is the transferee, whatever the leader leaves for: a voter that could
// answer and has room, among those that hold what is committed, goes before one that
// holds more, and one without room before nobody.
func TestOneRuleForTransferees(t *testing.T) {
	type voter struct {
		match       protocol.Index
		room, unfit bool
	}
	leaves := map[string]func(h *hub){
		"a transfer to anybody": func(h *hub) {
			if err := h.n.m.Transfer(h.now, protocol.MemberID{}); err != nil && h.n.m.bestTransferee(h.n.m.hard.Commit) != nil {
				t.Fatal(err)
			}
		},
		"an unfit leader":   func(h *hub) { h.n.m.SetUnfit(h.now, "its state has diverged") },
		"an installation":   func(h *hub) { h.n.m.SetInstalling(h.now, true) },
		"the lost own vote": func(h *hub) { h.n.m.resign() },
		"a hung disk":       func(h *hub) { h.n.m.disk.flight = &flight{}; h.n.m.diskStalled() },
	}
	for _, c := range []struct {
		name string
		b, c voter
		want string
		late string // of a transfer, which waits until the transferee has all; empty: the same
	}{
		{"the other one has room", voter{match: 3}, voter{match: 3, room: true}, "c", ""},
		{"both have room", voter{match: 2, room: true}, voter{match: 3, room: true}, "c", ""},
		{"the longer log has no room", voter{match: 2, room: true}, voter{match: 3}, "b", ""},
		{"the one with room lacks what is committed", voter{match: 1, room: true}, voter{match: 2}, "c", "b"},
		{"nobody has room", voter{match: 2}, voter{match: 3}, "c", ""},
		{"the one with room stands at a command", voter{match: 2, room: true, unfit: true}, voter{match: 2}, "c", ""},
		{"nobody could answer", voter{match: 2, unfit: true}, voter{match: 2, room: true, unfit: true}, "", ""},
	} {
		for leave, act := range leaves {
			h := newHub(t, 1, 2, 1, 1) // 2 is committed
			h.lead()
			h.propose("a", "x")
			for name, v := range map[string]voter{"b": c.b, "c": c.c} {
				h.says(name, &protocol.HeartbeatAnswer{Term: 2, Round: 1, Room: v.room, Unfit: v.unfit})
				p := h.n.m.lead.find(idOf(name))
				p.state, p.match = ProgressReplicate, v.match
			}
			h.wire = nil
			act(h)
			got := ""
			if p := h.n.m.lead; p != nil && p.transfer != nil { // it may have to catch up first
				got = nameOf(p.transfer.to)
			}
			h.settle(h.n)
			for _, e := range h.wire {
				if _, ok := e.Message.(*protocol.TimeoutNow); ok {
					got = nameOf(e.To)
				}
			}
			want := c.want
			if c.late != "" && leave == "a transfer to anybody" {
				want = c.late
			}
			if got != want {
				t.Errorf("%s, %s: the transferee is %q, want %q", c.name, leave, got, want)
			}
		}
	}
}
