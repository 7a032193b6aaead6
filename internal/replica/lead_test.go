package replica

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

var threeVoters = map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3})}

// asked lets the policy be asked, and returns its last word.
func (c *crew) asked() string {
	c.t.Helper()
	c.r.cfg.Policy = true
	c.pass(200 * time.Millisecond)
	report, err := c.r.Autopilot()
	if err != nil {
		c.t.Fatal(err)
	}
	return report.Reason
}

// What the policy goes by is changed as seats are: for a version, once, with
// limits. And it goes by that at once.
func TestPolicyIsToldWhatToGoBy(t *testing.T) {
	c := newCrew(t, threeVoters)
	if got := c.asked(); got != "3 voters of 3 wanted" {
		t.Errorf("got %q", got)
	}
	expect(t, "another version", c.change(1, Change{Version: 99, Autopilot: &protocol.Autopilot{}}), protocol.ErrStaleVersion.Code)
	expect(t, "out of its limits", c.change(2, Change{Autopilot: &protocol.Autopilot{FailedAfter: time.Millisecond}}), protocol.ErrInvalid.Code)
	set := protocol.Autopilot{Off: true, Stable: time.Minute, FailedAfter: time.Hour, Floor: 2}
	expect(t, "set", c.change(3, Change{Target: 4, Autopilot: &set}), protocol.OK)
	report, err := c.r.Autopilot()
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "settings", report.Configuration.Configuration.Autopilot, set)
	expect(t, "target", report.Configuration.Configuration.Target, 4)
	expect(t, "version", report.Configuration.Index, c.answers[3].Index)
	if got := c.asked(); !strings.Contains(got, "switched off") {
		t.Errorf("got %q", got)
	}
	expect(t, "something else is changed", c.change(4, Change{Target: 3}), protocol.OK)
	latest, _ := c.r.Configurations().Latest()
	expect(t, "settings stay", latest.Configuration.Autopilot, set)
	follower := open(t, 2, found(1, 2, 2, threeVoters))
	if _, err := follower.Autopilot(); !errors.Is(err, protocol.ErrNoQuorum) {
		t.Errorf("without a leader: got %v, want %v", err, protocol.ErrNoQuorum)
	}
	follower.Receive(1, id(1), &protocol.Heartbeat{Term: 2})
	if _, err := follower.Autopilot(); !errors.Is(err, protocol.ErrNotLeader) {
		t.Errorf("at a follower: got %v, want %v", err, protocol.ErrNotLeader)
	}
}

// The policy hears since when its leader has seen the configuration, from the first look
// in a term on: who has just lost a seat is given the time to become passive.
func TestPolicyHearsHowOldTheConfigurationIs(t *testing.T) {
	c := newCrew(t, threeVoters)
	seen := func() protocol.Instant {
		latest, _ := c.r.Configurations().Latest()
		return c.r.policy.policyInput(c.now, latest, raft(c.r).Status()).Changed
	}
	c.asked()
	first := seen()
	c.pass(200 * time.Millisecond)
	expect(t, "since when, a moment later", seen(), first)
	expect(t, "a change", c.change(1, Change{Target: 4}), protocol.OK)
	expect(t, "since when, after a change", seen() > first, true)
	c.pass(200 * time.Millisecond)
	c.r.policy.begin(raft(c.r).Term() + 1)
	expect(t, "since when, in another term", seen(), c.now)
}

// A leader that wishes to be active no more hands over when somebody can have
// its seat, not before, and not again and again.
func TestUnwillingLeaderHandsOverOnce(t *testing.T) {
	c := newCrew(t, threeVoters)
	c.r.cfg.Policy, c.r.cfg.Unwilling = true, true
	peers := []protocol.Peer{{ID: id(2), Role: protocol.RoleActive, Eligible: true}, {ID: id(3), Role: protocol.RoleActive, Eligible: true}}
	c.r.SetPeers(c.now, peers)
	for range 30 {
		c.pass(100 * time.Millisecond)
	}
	if got := c.asked(); !strings.Contains(got, "does not wish to be active any more: no passive") || len(c.transferees) > 0 {
		t.Fatalf("got %q, transferees %v; want to stay while nobody can have the seat", got, c.transferees)
	}
	c.r.SetPeers(c.now, append(peers, protocol.Peer{ID: id(8), Name: "eight", Address: "h:8", Role: protocol.RolePassive, Eligible: true}))
	for range 40 { // the transferee does not make anything of it
		c.r.Receive(c.now, id(8), &protocol.Have{LastIndex: c.r.log.commit, Applied: c.r.log.commit, Commit: c.r.log.commit})
		c.pass(100 * time.Millisecond)
	}
	if len(c.transferees) == 0 || !c.r.log.leads() {
		t.Fatalf("transferees %v, leads %t; want a transferee that does not take over", c.transferees, c.r.log.leads())
	}
	tries := 0
	for _, e := range c.events {
		if e.Kind == protocol.EventPolicy && strings.Contains(e.Text, "is to lead in the place of") {
			tries++
		}
	}
	expect(t, "tries in four seconds", tries, 1)
	latest, _ := c.r.Configurations().Latest()
	expect(t, "keeps its seat while it leads", latest.Configuration.IsVoter(id(1)), true)
}

// Whatever the policy does is told, once, with whom it is about and why: here it
// fills the seats of a young cluster, then takes them away again.
func TestEveryDecisionIsAnEventThatSaysWhy(t *testing.T) {
	c := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1})})
	live := func(role protocol.Role) {
		c.r.SetPeers(c.now, []protocol.Peer{
			{ID: id(8), Name: "eight", Address: "h:8", Role: role, Eligible: true}, {ID: id(9), Name: "nine", Address: "h:9", Role: role, Eligible: true},
		})
	}
	events := func() (list []protocol.Event) {
		for _, e := range c.events {
			if e.Kind == protocol.EventPolicy {
				list = append(list, e)
			}
		}
		c.events = nil
		return list
	}
	told := func(what string, want ...string) {
		t.Helper()
		list := events()
		if len(list) != len(want) {
			t.Fatalf("%s: got %v, want %d events", what, list, len(want))
		}
		for i, e := range list {
			if !strings.Contains(e.Text, want[i]) || e.Member.IsZero() || e.Index == 0 {
				t.Errorf("%s: got %v, want one that says %q", what, e, want[i])
			}
		}
	}
	events()
	live(protocol.RolePassive)
	for range 60 { // until both are stable
		c.pass(50 * time.Millisecond)
	}
	c.r.cfg.Policy = true
	for range 60 {
		for _, from := range ids(8, 9) {
			c.r.Receive(c.now, from, &protocol.Have{LastIndex: c.r.log.commit, Applied: c.r.log.commit, Commit: c.r.log.commit})
		}
		c.pass(50 * time.Millisecond)
	}
	told("grows", "eight becomes a learner: 1 voters of 3 wanted", "nine becomes a learner: 1 voters of 3 wanted",
		"eight becomes a voter: 1 voters of 3 wanted")
	if got := c.configuration(); strings.Count(got, " ") != 2 || strings.Contains(got, "learner") {
		t.Fatalf("got %s, want three voters", got)
	}
	live(protocol.RoleActive)
	expect(t, "fewer", c.change(1, Change{Target: 1}), protocol.OK)
	for range 60 {
		c.pass(50 * time.Millisecond)
	}
	told("shrinks", "nine gives up its seat: 3 voters, 1 wanted; eight gives up its seat: 3 voters, 1 wanted")
	for range 60 {
		c.pass(50 * time.Millisecond)
	}
	told("nothing to do")
}

// The last word is about the configuration that is told with it, or is not told: right
// after a change what was said before would contradict it. The policy is asked at once.
func TestLastWordIsAboutWhatStandsBesideIt(t *testing.T) {
	c := newCrew(t, threeVoters)
	c.r.cfg.Policy = true
	c.wait()
	word := func() string {
		t.Helper()
		report, err := c.r.Autopilot()
		if err != nil {
			t.Fatal(err)
		}
		return report.Reason
	}
	expect(t, "before", word(), "3 voters of 3 wanted")
	c.stuck = true // nothing else has the policy asked
	expect(t, "a change", c.change(1, Change{Target: 5}), protocol.OK)
	if got := word(); strings.Contains(got, "of 3 wanted") || !strings.Contains(got, "has not looked at version") {
		t.Errorf("right after a change: got %q, want nothing of before", got)
	}
	if c.r.Deadline() > c.now {
		t.Errorf("the policy is to be asked at %v, want at once, at %v", c.r.Deadline(), c.now)
	}
	c.pass(0)
	if got := word(); !strings.Contains(got, "3 voters of 5 wanted") {
		t.Errorf("then: got %q, want 5", got)
	}
}
