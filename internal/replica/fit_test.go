package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// [S] A leader whose program lacks a type that is in use steps down and names a transferee
// that can lead; what it has in hand has an unknown outcome, and it never stands for
// election again, not even when it is told to. It votes and stores as ever.
func TestWhoCannotApplyLeadsNobody(t *testing.T) {
	c := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3})})
	for _, x := range []byte{2, 3} {
		c.r.Receive(c.now, id(x), &protocol.HeartbeatAnswer{Term: raft(c.r).Term(), Round: 1, Unfit: x == 2})
	}
	c.silent[id(2)] = true
	c.r.Submit(c.now, Submission{Request: 7, Command: ofType("new", 1)})
	c.r.CannotApply(c.now, protocol.ErrUnknownType.With("type new is not known here"))
	c.settle()
	if c.r.log.leads() {
		t.Fatal("leads on")
	}
	if len(c.transferees) != 1 || c.transferees[0] != id(3) {
		t.Errorf("transferees: %v, want 3: the other one has said that it cannot lead", c.transferees)
	}
	if got := c.answers[7].Code; got != protocol.ErrUnknownOutcome.Code {
		t.Errorf("what was in hand: got %q, want %q", got, protocol.ErrUnknownOutcome.Code)
	}
	term := raft(c.r).Term()
	c.r.Receive(c.now, id(2), &protocol.TimeoutNow{Term: term})
	for range 100 {
		c.pass(100 * time.Millisecond)
	}
	if got := raft(c.r).Term(); got != term {
		t.Errorf("stands for election: term %d after %d", got, term)
	}
	var said []protocol.Message
	hears := func(m protocol.Message) {
		c.r.Receive(c.now, id(3), m)
		for range 5 {
			e := c.r.Effects()
			for _, s := range e.Send {
				if s.To == id(3) {
					said = append(said, s.Message)
				}
			}
			if e.Persist != nil {
				c.r.Persisted(c.now, e.Persist.ID, nil)
			}
		}
	}
	last := c.r.LogTerms().LastIndex()
	lastTerm, _ := c.r.LogTerms().TermAt(last)
	hears(&protocol.Vote{Term: term + 1, LastIndex: last, LastTerm: lastTerm})
	hears(&protocol.Heartbeat{Term: term + 1, Round: 1})
	voted, told := false, false
	for _, m := range said {
		switch m := m.(type) {
		case *protocol.VoteAnswer:
			voted = voted || m.Granted
		case *protocol.HeartbeatAnswer:
			told = told || m.Unfit
		}
	}
	if !voted || !told {
		t.Errorf("votes: %t, tells the leader that it cannot lead: %t; want both", voted, told)
	}
}

// Nobody hands over to a voter that has said that it cannot lead.
func TestLeadershipIsNotHandedToWhoCannotApply(t *testing.T) {
	c := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3})})
	c.silent[id(2)] = true
	c.r.Receive(c.now, id(2), &protocol.HeartbeatAnswer{Term: raft(c.r).Term(), Round: 1, Unfit: true, Room: true})
	c.r.Transfer(c.now, 1, id(2))
	c.settle()
	if got := c.answers[1].Code; got != protocol.ErrNoTransferee.Code {
		t.Errorf("to the one that cannot: got %q, want %q", got, protocol.ErrNoTransferee.Code)
	}
	c.r.Transfer(c.now, 2, protocol.MemberID{})
	c.settle()
	if len(c.transferees) == 0 || c.transferees[0] != id(3) {
		t.Errorf("to anybody: transferees %v, want 3", c.transferees)
	}
}
