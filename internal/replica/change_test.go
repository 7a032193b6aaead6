package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// crew is a leader, and others who agree with everything that it says.
type crew struct {
	writes      bool // every checkpoint takes long
	t           *testing.T
	r           *Replica
	now         protocol.Instant
	silent      map[protocol.MemberID]bool
	answers     map[uint64]protocol.Result
	transferees []protocol.MemberID // who got TimeoutNow
	called      []protocol.MemberID // who got Follow
	events      []protocol.Event
	proofs      map[uint64]error           // what became of them
	stuck       bool                       // nothing is applied any more
	full        bool                       // the others store nothing
	has         map[protocol.MemberID]byte // what their states have at checkpoint entries; this one has 0
}

func newCrew(t *testing.T, confs map[protocol.Index]protocol.Configuration, silent ...byte) *crew {
	t.Helper()
	c := elected(t, confs, silent...)
	c.wait()
	return c
}

// elected is a crew whose leader has just committed the first entry of its term.
func elected(t *testing.T, confs map[protocol.Index]protocol.Configuration, silent ...byte) *crew {
	t.Helper()
	c := &crew{t: t, r: open(t, 1, found(1, 2, 2, confs)), silent: map[protocol.MemberID]bool{}, answers: map[uint64]protocol.Result{}, proofs: map[uint64]error{}}
	for _, s := range silent {
		c.silent[id(s)] = true
	}
	c.r.SetPeers(0, []protocol.Peer{
		{ID: id(8), Name: "eight", Address: "h:8", Role: protocol.RolePassive, Eligible: true}, {ID: id(9), Role: protocol.RolePassive},
	})
	for range 20 {
		c.pass(50 * time.Millisecond)
		if c.r.log.leads() && raft(c.r).Status().OwnTermCommitted {
			return c
		}
	}
	t.Fatal("does not lead")
	return nil
}

func (c *crew) pass(d time.Duration) {
	c.now = c.now.Add(d)
	c.r.Tick(c.now)
	c.settle()
}

// wait lets more than an election timeout pass: who is silent is known to be.
func (c *crew) wait() {
	for range 7 {
		c.pass(100 * time.Millisecond)
	}
}

func (c *crew) settle() {
	c.t.Helper()
	for range 200 {
		e := c.r.Effects()
		c.events = append(c.events, e.Events...)
		for _, a := range e.Answers {
			c.answers[a.Request] = a.Result
		}
		for _, a := range e.Reads {
			c.proofs[a.Request] = a.Err
		}
		if c.stuck {
			e.Apply = nil
		}
		if e.Persist != nil {
			c.r.Persisted(c.now, e.Persist.ID, nil)
		}
		for _, a := range e.Apply {
			done := appliedOf(&a, nil, func(request uint64, r protocol.Result) { c.answers[request] = r })
			c.r.Applied(c.now, done)
			if a.Take != nil && !c.writes {
				c.r.Kept(c.now, c.r.checkpoints.kept) // that it cannot be written is told like any other end of it
			}
		}
		for _, s := range e.Send {
			c.agree(s)
		}
		if e.Persist == nil && len(e.Apply) == 0 && len(e.Send) == 0 {
			return
		}
	}
	c.t.Fatal("the replica does not settle")
}

// appliedOf is what comes of a batch, given its results, or nil if all are good; answer
// hears what this member's clients are answered.
func appliedOf(a *Apply, results []protocol.Result, answer func(uint64, protocol.Result)) Applied {
	if results == nil {
		results = make([]protocol.Result, len(a.Entries))
	}
	a.Answer(results, answer)
	return Applied{Last: a.Entries[len(a.Entries)-1].Index, Results: results}
}

func (c *crew) agree(s Send) {
	if c.silent[s.To] {
		return
	}
	switch m := s.Message.(type) {
	case *protocol.Vote:
		c.r.Receive(c.now, s.To, &protocol.VoteAnswer{Term: m.Term, Pre: m.Pre, Granted: true})
	case *protocol.Append:
		if c.full {
			return
		}
		c.r.Receive(c.now, s.To, &protocol.AppendAnswer{Term: m.Term, Index: m.Last})
	case *protocol.Heartbeat:
		c.r.Receive(c.now, s.To, &protocol.HeartbeatAnswer{Term: m.Term, Round: m.Round, Room: true})
	case *protocol.TimeoutNow:
		c.transferees = append(c.transferees, s.To)
	case *protocol.DigestQuestion:
		if digest, has := c.has[s.To]; has {
			c.r.Receive(c.now, s.To, &protocol.DigestAnswer{Index: m.Index, Known: true, Digest: [16]byte{digest}})
		}
	case *protocol.Activate:
		c.called = append(c.called, s.To)
	}
}

func (c *crew) change(request uint64, change Change) protocol.Code {
	c.t.Helper()
	if latest, _ := c.r.Configurations().Latest(); change.Version == 0 {
		change.Version = latest.Index
	}
	c.r.Change(c.now, request, change)
	c.settle()
	result, answered := c.answers[request]
	if !answered {
		return "none"
	}
	return result.Code
}

func (c *crew) configuration() string {
	latest, _ := c.r.Configurations().Latest()
	return latest.Configuration.String()
}

func expect[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

var threeAndALearner = map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3}, 4)}

func ids(list ...byte) (out []protocol.MemberID) {
	for _, n := range list {
		out = append(out, id(n))
	}
	return out
}

func TestChangeRefusals(t *testing.T) {
	c := newCrew(t, threeAndALearner, 3)
	for i, test := range []struct {
		name   string
		change Change
		want   *protocol.Error
	}{
		{"another version", Change{Version: 99, Remove: ids(4)}, protocol.ErrStaleVersion},
		{"nobody knows it", Change{Promote: ids(7)}, protocol.ErrNotEligible},
		{"does not wish to be active", Change{Promote: ids(9)}, protocol.ErrNotEligible},
		{"a voter", Change{Promote: ids(2)}, protocol.ErrInvalid},
		{"twice", Change{Promote: ids(4), Remove: ids(4)}, protocol.ErrInvalid},
		{"is heard", Change{Remove: ids(3), Absent: ids(2)}, protocol.ErrNameTaken},
		{"no voter", Change{Demote: ids(4)}, protocol.ErrNotFound},
		{"no seat", Change{Remove: ids(8)}, protocol.ErrNotFound},
		{"3 is dead: 1 and 3 would be left", Change{Remove: ids(2)}, protocol.ErrWouldLoseQuorum},
		{"nobody would be left", Change{Remove: ids(1, 2, 3)}, protocol.ErrInvalid},
	} {
		expect(t, test.name, c.change(uint64(100+i), test.change), test.want.Code)
	}
	follower := open(t, 2, found(1, 2, 2, threeAndALearner))
	for _, want := range []*protocol.Error{protocol.ErrNoQuorum, protocol.ErrNotLeader} {
		follower.Change(0, 1, Change{Version: 1})
		follower.Transfer(0, 2, id(1))
		answers := follower.Effects().Answers
		expect(t, "answers", len(answers), 2)
		for _, a := range answers {
			expect(t, "at a follower", a.Result.Code, want.Code)
		}
		follower.Receive(1, id(1), &protocol.Heartbeat{Term: 2}) // it leads
	}
}

// A voter that died before this leader was elected may have been dead for long.
// The leader counts on nobody whom it has not heard: else it could take the seat
// of a member that lives, and would have to wait for the dead one.
func TestFreshLeaderDoesNotCountOnTheDead(t *testing.T) {
	c := elected(t, threeAndALearner, 3)
	expect(t, "1 and 3 would be left", c.change(1, Change{Remove: ids(2)}), protocol.ErrWouldLoseQuorum.Code)
	expect(t, "1 and 2 are left", c.change(2, Change{Remove: ids(3)}), protocol.OK)
}

// A dead voter is replaced by a learner in one step.
func TestReplacementIsOneChange(t *testing.T) {
	c := newCrew(t, threeAndALearner, 3)
	expect(t, "code", c.change(1, Change{Promote: ids(4), Remove: ids(3)}), protocol.OK)
	want := conf(3, []byte{1, 2, 4})
	expect(t, "configuration", c.configuration(), want.String())
	for _, seen := range c.r.Configurations().All() {
		if voters := len(seen.Configuration.Voters()); voters != 3 {
			t.Errorf("%d voters in %v, want 3 all the way", voters, seen.Configuration)
		}
	}
	expect(t, "promote a passive", c.change(2, Change{Promote: ids(8), Target: 5}), protocol.OK)
	latest, _ := c.r.Configurations().Latest()
	line, _ := latest.Configuration.Find(id(8))
	expect(t, "its line", line, protocol.ActiveMember{ID: id(8), Name: "eight", Address: "h:8", Suffrage: protocol.SuffrageLearner})
	expect(t, "target", latest.Configuration.Target, 5)
	expect(t, "version in the answer", c.answers[2].Index, latest.Index)
}

// A leader that is removed answers before it is gone: the change is committed,
// and only waits to be applied.
func TestRemovedLeaderAnswersWhoeverRemovedIt(t *testing.T) {
	c := newCrew(t, threeAndALearner)
	expect(t, "code", c.change(1, Change{Remove: ids(1)}), protocol.OK)
	expect(t, "role", c.r.Status(c.now).Role, protocol.RolePassive)
}

func TestTransferIsAnsweredWhenAnotherLeads(t *testing.T) {
	c := newCrew(t, threeAndALearner)
	c.r.Transfer(c.now, 1, id(4))
	c.settle()
	expect(t, "to a learner", c.answers[1].Code, protocol.ErrInvalid.Code)
	c.r.Transfer(c.now, 2, id(2))
	c.settle()
	if _, answered := c.answers[2]; answered || len(c.transferees) != 1 || c.transferees[0] != id(2) {
		t.Fatalf("answered: %t, transferees %v; want a transferee and no answer yet", answered, c.transferees)
	}
	c.r.Submit(c.now, Submission{Request: 3, Command: protocol.EncodeCommand(&protocol.Command{Resource: "r", Type: "t", Operation: "o"})})
	c.settle()
	expect(t, "a command meanwhile", c.answers[3].Code, protocol.ErrNotLeader.Code)
	c.wait()
	expect(t, "given up", c.answers[2].Code, protocol.ErrUnavailable.Code)
	expect(t, "leads on", c.r.log.leads(), true)
	c.r.Transfer(c.now, 4, protocol.MemberID{})
	c.settle()
	last := c.r.Status(c.now)
	c.r.Receive(c.now, id(2), &protocol.Vote{Term: last.Term + 1, Transfer: true, LastIndex: last.Last, LastTerm: last.Term})
	c.settle()
	if _, answered := c.answers[4]; answered || c.r.log.leads() {
		t.Errorf("answered: %t, leads: %t; want no answer before another one leads", answered, c.r.log.leads())
	}
	c.r.Receive(c.now, id(2), &protocol.Heartbeat{Term: last.Term + 1})
	c.settle()
	result, answered := c.answers[4]
	expect(t, "answered", answered, true)
	expect(t, "code", result.Code, protocol.OK)
}

// deposed is a crew whose leader was asked to hand over to one member, and has heard
// of another term, in which nobody leads so far.
func deposed(t *testing.T, to protocol.MemberID) (*crew, protocol.Term) {
	c := newCrew(t, threeAndALearner)
	c.r.Transfer(c.now, 1, to)
	c.settle()
	c.silent[id(2)], c.silent[id(3)] = true, true
	last := c.r.Status(c.now)
	c.r.Receive(c.now, id(3), &protocol.Vote{Term: last.Term + 1, Transfer: true, LastIndex: last.Last, LastTerm: last.Term})
	c.settle()
	return c, last.Term + 1
}

// The quorum is lost while the leadership is handed over: nobody leads, which is not
// what was asked for.
func TestTransferWithoutAnotherLeaderIsNoSuccess(t *testing.T) {
	c, _ := deposed(t, protocol.MemberID{})
	if result, answered := c.answers[1]; answered || c.r.log.leads() {
		t.Fatalf("answered: %v, leads: %t; want no answer yet", result, c.r.log.leads())
	}
	for range 30 {
		c.pass(100 * time.Millisecond)
	}
	expect(t, "code", c.answers[1].Code, protocol.ErrUnknownOutcome.Code)
}

// Another voter is elected than the one that was asked for.
func TestTransferToTheWrongTransfereeIsNoSuccess(t *testing.T) {
	c, term := deposed(t, id(2))
	c.r.Receive(c.now, id(3), &protocol.Heartbeat{Term: term})
	c.settle()
	expect(t, "code", c.answers[1].Code, protocol.ErrUnavailable.Code)
}

// A learner that has just been made one has not answered yet. That is no lack of a
// quorum, and passes.
func TestLearnerThatHasNotAnsweredIsNotCountedAsLost(t *testing.T) {
	c := newCrew(t, threeAndALearner, 3)
	c.silent[id(8)] = true
	expect(t, "8 becomes a learner", c.change(1, Change{Promote: ids(8)}), protocol.OK)
	expect(t, "8 has not answered", c.change(2, Change{Promote: ids(8)}), protocol.ErrNotLearner.Code)
	expect(t, "text", c.answers[2].Text, "eight is a learner, and does not answer the leader so far")
	c.silent[id(8)] = false
	c.wait()
	expect(t, "8 becomes a voter", c.change(3, Change{Promote: ids(8), Target: 4}), protocol.OK)
}

// The reason is one, not one of three.
func TestWhoIsNotEligibleHearsWhy(t *testing.T) {
	c := newCrew(t, threeAndALearner)
	c.change(1, Change{Promote: ids(7)})
	expect(t, "nobody hears it", c.answers[1].Text, id(7).Short()+" is not alive, as far as the leader hears: start it, or wait until `starling members` lists it as alive")
	c.change(2, Change{Promote: ids(9)})
	expect(t, "no wish", c.answers[2].Text, id(9).Short()+" does not wish to be active: start it again with --role active, or with --eligible")
}

// A voter that died for good is replaced by an eligible passive, in one joint
// change, and without anybody's help.
func TestDeadVoterIsReplaced(t *testing.T) {
	c := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3})}, 3)
	c.r.cfg.Policy, c.r.cfg.PolicyFailed = true, 5*time.Second
	c.r.SetPeers(c.now, []protocol.Peer{
		{ID: id(2), Role: protocol.RoleActive, Eligible: true},
		{ID: id(8), Name: "eight", Address: "h:8", Role: protocol.RolePassive, Eligible: true},
	})
	var seen []string
	for range 300 {
		c.r.Receive(c.now, id(8), &protocol.Have{LastIndex: c.r.log.commit, Applied: c.r.log.commit, Commit: c.r.log.commit})
		c.pass(50 * time.Millisecond)
		if got := c.configuration(); len(seen) == 0 || seen[len(seen)-1] != got {
			seen = append(seen, got)
		}
		if c.now < protocol.Instant(4*time.Second) && len(seen) > 1 {
			t.Fatalf("replaced after %v: %v", c.now, seen)
		}
	}
	latest, _ := c.r.Configurations().Latest()
	final := latest.Configuration
	if !final.IsVoter(id(8)) || final.Names(id(3)) || len(final.Voters()) != 3 || final.Joint() {
		t.Errorf("configurations %q, want 8 in the place of 3", seen)
	}
	for _, at := range c.r.Configurations().All() {
		if n := len(at.Configuration.Voters()); n != 3 {
			t.Errorf("%d voters on the way: %s", n, at.Configuration)
		}
	}
}
