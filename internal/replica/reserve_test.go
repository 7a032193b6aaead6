package replica

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// standby returns a reserve that sees a leader, an active and a passive, and
// where it looks at the time.
func standby(t *testing.T, rec storage.Opened) *Replica {
	t.Helper()
	r, err := New(0, Config{ID: id(4), Run: 1, Seed: 1, Reserve: true}, rec, OpenedState{})
	if err != nil {
		t.Fatal(err)
	}
	r.SetPeers(0, []protocol.Peer{
		{ID: id(1), Name: "one", Role: protocol.RoleActive}, {ID: id(2), Role: protocol.RoleActive}, {ID: id(3), Role: protocol.RolePassive},
	})
	return r
}

// says lets seconds pass, and returns to whom the member says anything.
func says(r *Replica, from protocol.Instant) (to []protocol.MemberID, answers []Answer) {
	for k := range 40 {
		r.Tick(from.Add(time.Duration(k) * 100 * time.Millisecond))
		e := r.Effects()
		answers = append(answers, e.Answers...)
		for _, s := range e.Send {
			to = append(to, s.To)
		}
	}
	return to, answers
}

// A reserve costs the others nothing: it says nothing, takes nothing, and
// answers nothing, until a leader asks it to follow, or sends it the log because
// it has a seat. From then on it is a passive.
func TestReserveHoldsNothingUntilItIsAsked(t *testing.T) {
	const later = protocol.Instant(10 * time.Second)
	have := &protocol.Have{LastIndex: 9, Applied: 9, Commit: 9, Term: 2, Leader: id(1), Nonce: 7}
	for name, call := range map[string]protocol.Message{
		"asked": &protocol.Activate{}, "an append": &protocol.Append{Term: 2}, "a checkpoint": &protocol.InstallCheckpoint{Term: 2},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			r := standby(t, storage.Opened{})
			r.Receive(0, id(3), have)
			r.Receive(0, id(1), &protocol.Vote{Term: 2})
			r.Receive(0, id(3), &protocol.Want{Ranges: []protocol.Range{{First: 1, Last: 2}}, Bytes: 1000})
			r.Submit(0, Submission{Request: 5, Command: []byte("x")})
			to, answers := says(r, 0)
			if len(to) > 0 || r.Status(later).Role != protocol.RoleReserve || !r.Status(later).Leader.IsZero() {
				t.Fatalf("a reserve speaks to %v, and is %v", to, r.Status(later).Role)
			}
			if len(answers) != 1 || answers[0].Result.Code != protocol.ErrNoLeader.Code || !strings.Contains(answers[0].Result.Text, "reserve") {
				t.Errorf("got %+v, want no leader, because it is a reserve", answers)
			}
			r.Receive(later, id(1), call)
			e := r.Effects()
			i := slices.IndexFunc(e.Events, func(e protocol.Event) bool { return e.Kind == protocol.EventBecamePassive })
			if i < 0 || !strings.Contains(e.Events[i].Text, "it was a reserve, and one ") {
				t.Errorf("got events %v, want why it follows", e.Events)
			}
			s := r.Status(later)
			expect(t, "role", s.Role, protocol.RolePassive)
			r.Receive(later, id(3), have)
			expect(t, "leader", r.Status(later).Leader, id(1))
			if to, _ := says(r, later); !slices.Contains(to, id(3)) {
				t.Errorf("speaks to %v, want also the passive that has what it lacks", to)
			}
		})
	}
}

// Once it has been asked, a reserve is a passive for good: its log says so.
func TestReserveThatHasFollowedIsAPassiveAfterARestart(t *testing.T) {
	confs := map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})}
	expect(t, "with a log", standby(t, found(2, 5, 5, confs)).Status(0).Role, protocol.RolePassive)
	confs[3] = conf(1, []byte{1, 4})
	expect(t, "with a seat", standby(t, found(2, 5, 5, confs)).Status(0).Role, protocol.RoleActive)
}

// Nobody sends a reserve anything, nor asks it: what would come of it is work
// for nothing, and a copy of each frame.
func TestNobodySpeaksToAReserve(t *testing.T) {
	r := open(t, 3, found(2, 5, 5, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})}))
	r.SetPeers(0, []protocol.Peer{{ID: id(1), Role: protocol.RoleActive}, {ID: id(4), Role: protocol.RoleReserve}})
	if to, _ := says(r, 0); slices.Contains(to, id(4)) || !slices.Contains(to, id(1)) {
		t.Errorf("speaks to %v, want the active only", to)
	}
	expect(t, "members", len(r.Peers()), 2)
	r.SetPeers(0, []protocol.Peer{{ID: id(1), Role: protocol.RoleActive}, {ID: id(4), Role: protocol.RolePassive}})
	if to, _ := says(r, protocol.Instant(10*time.Second)); !slices.Contains(to, id(4)) {
		t.Errorf("speaks to %v, want also the one that was a reserve", to)
	}
}

// policyEvents returns what the policy said of calls.
func (c *crew) calls() (texts []string) {
	for _, e := range c.events {
		if e.Kind == protocol.EventPolicy && strings.Contains(e.Text, "a reserve") {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// A voter has died for good and no passive can have its seat. A reserve is asked
// to follow, again and again until it does, with one event that says why; then it
// gets the seat as any other passive does.
func TestDeadVoterIsReplacedByAReserve(t *testing.T) {
	c := newCrew(t, threeVoters, 3)
	c.r.cfg.Policy, c.r.cfg.PolicyFailed = true, 5*time.Second
	r8 := protocol.Peer{ID: id(8), Name: "eight", Address: "h:8", Role: protocol.RoleReserve, Eligible: true}
	set := func() {
		c.r.SetPeers(c.now, []protocol.Peer{{ID: id(2), Role: protocol.RoleActive, Eligible: true}, r8})
	}
	set()
	for c.now < protocol.Instant(5*time.Second) {
		c.pass(50 * time.Millisecond)
	}
	if len(c.called) > 0 {
		t.Fatalf("called after %v", c.now)
	}
	for range 50 {
		c.pass(50 * time.Millisecond)
	}
	if calls := c.calls(); len(c.called) < 2 || len(calls) != 1 ||
		!strings.Contains(calls[0], "has not answered for 5s, and no passive can take its seat") {
		t.Fatalf("called %d times, said %q; want many calls and one event", len(c.called), calls)
	}
	r8.Role = protocol.RolePassive
	set()
	c.called = nil
	for range 200 {
		c.r.Receive(c.now, id(8), &protocol.Have{LastIndex: c.r.log.commit, Applied: c.r.log.commit, Commit: c.r.log.commit})
		c.pass(50 * time.Millisecond)
	}
	latest, _ := c.r.Configurations().Latest()
	if final := latest.Configuration; !final.IsVoter(id(8)) || final.Names(id(3)) || len(final.Voters()) != 3 || final.Joint() {
		t.Errorf("got %s, want 8 in the place of 3", final)
	}
	if len(c.called) > 0 {
		t.Errorf("called %d times although it follows", len(c.called))
	}
}

// While too few passives are alive for long, reserves are asked to follow, one
// after the other. A leader that has just been elected looks for itself first.
func TestReservesTakeThePlaceOfPassives(t *testing.T) {
	c := newCrew(t, threeVoters)
	c.r.cfg.Policy = true
	expect(t, "set", c.change(1, Change{Autopilot: &protocol.Autopilot{FailedAfter: 5 * time.Second, Passives: 2}}), protocol.OK)
	peers := []protocol.Peer{
		{ID: id(2), Role: protocol.RoleActive, Eligible: true}, {ID: id(3), Role: protocol.RoleActive, Eligible: true},
		{ID: id(6), Role: protocol.RolePassive}, {ID: id(7), Role: protocol.RoleReserve}, {ID: id(8), Role: protocol.RoleReserve},
	}
	c.r.SetPeers(c.now, peers)
	for range 80 { // 4 s
		c.pass(50 * time.Millisecond)
	}
	c.r.policy.term-- // as after an election
	for range 80 {
		c.pass(50 * time.Millisecond)
	}
	if len(c.called) > 0 {
		t.Fatalf("called %d times by a leader of 4 s", len(c.called))
	}
	for range 40 {
		c.pass(50 * time.Millisecond)
	}
	if calls := c.calls(); len(calls) != 1 || !strings.Contains(calls[0], "1 passives of 2 wanted for 5s") {
		t.Fatalf("got %q", calls)
	}
	first := c.called[0]
	for range 120 { // it does not listen
		c.pass(50 * time.Millisecond)
	}
	second := c.called[len(c.called)-1]
	if len(c.calls()) != 2 || second == first {
		t.Fatalf("got %q, called %s and %s", c.calls(), first.Short(), second.Short())
	}
	peers = slices.DeleteFunc(peers, func(p protocol.Peer) bool { return p.ID == second })
	c.r.SetPeers(c.now, append(peers, protocol.Peer{ID: second, Role: protocol.RolePassive}))
	c.called = nil
	for range 200 {
		c.pass(50 * time.Millisecond)
	}
	if len(c.called) > 0 {
		t.Errorf("called %d times although two passives are there", len(c.called))
	}
}
