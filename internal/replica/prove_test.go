package replica

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// prove asks the leader of a crew to prove that it leads.
func (c *crew) prove(request uint64) (err error, answered bool) {
	c.t.Helper()
	c.r.Prove(c.now, request)
	c.settle()
	err, answered = c.proofs[request]
	return err, answered
}

// named are three voters with names.
func named() map[protocol.Index]protocol.Configuration {
	c := conf(3, []byte{1, 2, 3})
	for i, name := range []string{"one", "two", "three"} {
		c.Members[i].Name = name
	}
	return map[protocol.Index]protocol.Configuration{1: c}
}

// Where no command returns any more, seats can be asked for and changed: both are in the
// log, and the state is not waited for.
func TestSeatsDoNotWaitForTheState(t *testing.T) {
	c := newCrew(t, threeAndALearner)
	c.stuck = true
	c.r.Submit(c.now, Submission{Request: 1, Command: protocol.EncodeCommand(&protocol.Command{Resource: "r", Type: "t", Operation: "o"})})
	c.settle()
	if _, answered := c.answers[1]; answered {
		t.Fatal("the command is answered, want one that does not return")
	}
	if err, answered := c.prove(2); err != nil || !answered {
		t.Errorf("proof: %v, answered: %t", err, answered)
	}
	expect(t, "a change", c.change(3, Change{Remove: ids(4), Target: 2}), protocol.OK)
	report, err := c.r.Autopilot()
	expect(t, "what stands", report.Configuration.Index, c.answers[3].Index)
	expect(t, "error", err, nil)
	expect(t, "removed", c.change(4, Change{Remove: ids(1)}), protocol.OK)
}

// A leader whom no majority answers proves nothing, and says in the end who is not heard.
func TestProofWithoutAQuorumNamesWhoIsNotHeard(t *testing.T) {
	c := newCrew(t, named())
	c.r.SetPeers(c.now, []protocol.Peer{{ID: id(2), Role: protocol.RoleActive}})
	c.silent[id(2)], c.silent[id(3)] = true, true
	if err, answered := c.prove(1); answered {
		t.Fatalf("answered although nobody agrees: %v", err)
	}
	c.wait()
	got := c.proofs[1]
	if !errors.Is(got, protocol.ErrNoLeader) || !strings.Contains(got.Error(), "of the 3 voters three is not heard") {
		t.Errorf("got %v, want that three is not heard", got)
	}
	c.r.SetPeers(c.now, nil)
	for request, ask := range map[uint64]func(){
		2: func() { c.r.Change(c.now, 2, Change{Remove: ids(3)}) },
		3: func() { c.r.Transfer(c.now, 3, id(2)) },
		4: func() {
			c.r.Submit(c.now, Submission{Request: 4, Command: protocol.EncodeCommand(&protocol.Command{Resource: "r", Type: "t", Operation: "o"})})
		},
	} {
		ask()
		c.settle()
		want := protocol.ErrNoQuorum.Code // operators do not wait for an election
		if request == 4 {
			want = protocol.ErrNoLeader.Code
		}
		if got := c.answers[request]; got.Code != want || !strings.Contains(got.Text, "a majority of the voters cannot be reached: of the 3 voters three and two are not heard, one is") {
			t.Errorf("request %d: got %s, %q, want %s, and who is not heard", request, got.Code, got.Text, want)
		}
	}
}

// Voters whose processes stand still are alive for the membership for some seconds more. They
// leave pre-votes unanswered: two elections later operators hear that a quorum is missing.
func TestSilentVotersAreKnownByTheirVotes(t *testing.T) {
	c := newCrew(t, named())
	c.r.SetPeers(c.now, []protocol.Peer{{ID: id(2), Name: "two", Role: protocol.RoleActive}, {ID: id(3), Name: "three", Role: protocol.RoleActive}})
	ask := func(request uint64) protocol.Result {
		c.r.Transfer(c.now, request, id(2))
		c.settle()
		return c.answers[request]
	}
	c.silent[id(2)], c.silent[id(3)] = true, true
	for c.r.log.leads() {
		c.pass(100 * time.Millisecond)
	}
	expect(t, "after the step down", ask(1).Code, protocol.ErrNoLeader.Code)
	for range 2 * 2 * 5 { // an election timeout is 500 ms, to 1 s
		c.pass(100 * time.Millisecond)
	}
	if got := ask(2); got.Code != protocol.ErrNoQuorum.Code || !strings.Contains(got.Text, "of the 3 voters three and two are not heard, one is") {
		t.Errorf("got %s, %q, want %s, and who is not heard", got.Code, got.Text, protocol.ErrNoQuorum.Code)
	}
	c.silent[id(3)] = false
	for range 2 * 2 * 5 {
		c.pass(100 * time.Millisecond)
	}
	expect(t, "when one answers again", c.r.log.leads(), true)
}

// A change whose leader is deposed before it is committed has no known outcome.
func TestChangeOfALostLeaderIsNotKnown(t *testing.T) {
	c := newCrew(t, threeAndALearner)
	c.silent[id(2)], c.silent[id(3)] = true, true
	expect(t, "so far", c.change(1, Change{Remove: ids(4)}), "none")
	c.wait()
	expect(t, "then", c.answers[1].Code, protocol.ErrUnknownOutcome.Code)
}

// A leader that is heard, and whose entries nobody stores, cannot prove that it leads. It
// says so, and keeps nobody waiting for ever.
func TestLeaderThatCommitsNothingProvesNothing(t *testing.T) {
	c := &crew{t: t, r: open(t, 1, found(1, 2, 2, named())), silent: map[protocol.MemberID]bool{}, answers: map[uint64]protocol.Result{}, proofs: map[uint64]error{}, full: true}
	for range 40 {
		if c.pass(50 * time.Millisecond); c.r.log.leads() {
			break
		}
	}
	if err, answered := c.prove(1); answered {
		t.Fatalf("answered by a leader that has committed nothing: %v", err)
	}
	for range 40 {
		c.pass(100 * time.Millisecond)
	}
	expect(t, "leads", c.r.log.leads(), true)
	if got := c.proofs[1]; !errors.Is(got, protocol.ErrUnavailable) {
		t.Errorf("got %v, want %v", got, protocol.ErrUnavailable)
	}
}

// A passive that has heard of a leader which is gone does not send anybody there.
func TestPassiveWithoutALeaderSaysSo(t *testing.T) {
	r := open(t, 9, found(1, 2, 2, named()))
	r.SetPeers(0, []protocol.Peer{{ID: id(1), Name: "one", Role: protocol.RoleActive}})
	r.Receive(1, id(1), &protocol.Append{Term: 2, PrevIndex: 1, PrevTerm: 1, Last: 1})
	r.Change(1, 1, Change{Version: 1})
	r.SetPeers(2, []protocol.Peer{{ID: id(2), Name: "two", Role: protocol.RoleActive}})
	r.Change(2, 2, Change{Version: 1})
	answers := r.Effects().Answers
	expect(t, "answers", len(answers), 2)
	expect(t, "while it is heard", answers[0].Result.Text, "this member does not lead, one does")
	expect(t, "then", answers[1].Result.Code, protocol.ErrNoQuorum.Code)
	for _, want := range []string{"one, which led last, is not heard", "of the 3 voters one and three are not heard, two is"} {
		if !strings.Contains(answers[1].Result.Text, want) {
			t.Errorf("got %q, want %q", answers[1].Result.Text, want)
		}
	}
}
