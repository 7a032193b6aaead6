package replica

import (
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// rulingAt is an entry by which an operator makes a state everybody's.
func rulingAt(at, i protocol.Index, digest byte) []protocol.Entry {
	e := confirmationAt(at, i, digest)
	e[0].Kind, e[0].Raw = protocol.EntryRuling, nil
	protocol.EncodeEntries(e)
	return e
}

// ruled lets a member apply a ruling.
func (p *patient) ruled(at, i protocol.Index, digest byte) {
	p.t.Helper()
	p.r.Receive(p.now, id(1), &protocol.Append{Term: 2, PrevIndex: at - 1, PrevTerm: 2, Commit: at, Last: at, Entries: rulingAt(at, i, digest)})
	p.serve()
}

// [S] Counterexample: a member that does not know any more what it had where an operator has decided takes itself for one that
// had that, and goes on to serve something else.
func TestWhoDiffersFromARulingOrDoesNotKnowGivesItsStateUp(t *testing.T) {
	for _, self := range []byte{2, 9} {
		for _, test := range []struct {
			name   string
			digest byte
			forget bool
			gives  bool
		}{
			{"it is its own", 1, false, false},
			{"it has another one", 7, false, true},
			{"it does not know", 1, true, true},
		} {
			p := patientOf(t, self, marked([]byte{1, 2, 3}, 1, 1), always(1))
			if test.forget {
				p.r.audit.own = nil
			}
			p.ruled(21, 15, test.digest)
			p.wants(test.name, test.gives)
			if serves := p.gate != 0; serves == test.gives {
				t.Errorf("%d: %s, and it serves: %t", self, test.name, serves)
			}
			if !strings.Contains(p.events, "an operator has made the state") {
				t.Errorf("%d: %s, and nothing is said of the operator: %s", self, test.name, p.events)
			}
		}
	}
}

// Counterexample: a ruling is applied in one batch with what follows it, and nobody looks at it.
func TestARulingAmongOtherEntriesIsSeen(t *testing.T) {
	p := patientOf(t, 2, marked([]byte{1, 2, 3}, 1, 1), always(1))
	list := append(rulingAt(21, 15, 7), protocol.Entry{Index: 22, Term: 2, Kind: protocol.EntryNoop})
	list[0].Raw = nil
	protocol.EncodeEntries(list)
	p.r.Receive(p.now, id(1), &protocol.Append{Term: 2, PrevIndex: 20, PrevTerm: 2, Commit: 22, Last: 22, Entries: list})
	p.serve()
	p.wants("an operator has said that another state counts", true)
}

// After a ruling the checkpoint of that state is one that others may have, and that who gave its own up fetches.
func TestWhatAnOperatorHasMadeEverybodysIsGivenAndFetched(t *testing.T) {
	rec := marked([]byte{1, 2, 3}, 1, 1)
	p := patientOf(t, 1, rec, always(1))
	p.ruled(21, 15, 1)
	if list := p.r.checkpoints.giveable(); len(list) != 1 || list[0].Index != 15 {
		t.Errorf("%d checkpoints are given, want the one at 15", len(list))
	}
	p = patientOf(t, 2, rec, always(1))
	p.ruled(21, 15, 7)
	p.state = always(7)
	p.offer(rec, 15, 7)
	if len(p.replaced) != 1 || p.replaced[0] != 15 {
		t.Errorf("it has installed %v, want 15: %s", p.replaced, p.events)
	}
	p.wants("its state is the one that counts", false)
}

// [S] Counterexample: an operator has decided while one voter was gone. It comes back, and with another one says that both had
// something else there, or at an entry before. The state that counts is given up, with its checkpoint, by the only one that has it.
func TestALateWordUndoesNoRuling(t *testing.T) {
	for _, i := range []protocol.Index{10, 15} {
		p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
		p.ruled(21, 15, 1)
		p.asks(2, i, 7)
		p.asks(3, i, 7)
		p.wants("it has what the log confirms", false)
		if list := p.r.checkpoints.giveable(); len(list) != 1 || list[0].Index != 15 || p.gate == 0 {
			t.Errorf("what is said of %d: %d checkpoints are given, and it serves: %t", i, len(list), p.gate != 0)
		}
	}
}

// [S] Counterexample: a leader has proposed a ruling of its state, and leads no more before that is committed. A word that comes late
// makes a majority for something else: the only one that has the state gives it up, and then the ruling is committed.
func TestALateWordUndoesNoRulingThatIsOnItsWay(t *testing.T) {
	for name, deposed := range map[string]bool{"it leads on": false, "it leads no more": true} {
		c, i := disputing(t)
		c.full = true
		if got := c.impose(1, 1); got != "none" || len(c.rulings()) != 1 {
			t.Fatalf("%s: got %q, rulings %v", name, got, c.rulings())
		}
		if deposed {
			c.r.Receive(c.now, id(2), &protocol.Heartbeat{Term: raft(c.r).Term() + 1})
			c.settle()
		}
		for _, from := range []byte{2, 3} {
			c.r.Receive(c.now, id(from), &protocol.DigestQuestion{Index: i, Known: true, Digest: [16]byte{7}})
		}
		c.settle()
		if s := SituationOf(c.r); s.Quarantine != "" || c.r.log.leads() == deposed {
			t.Errorf("%s (it leads: %t): quarantine %q", name, c.r.log.leads(), s.Quarantine)
		}
	}
}

// Where checkpoints take longer to write than an operator waits, none is asked for while one is being written: it would be
// passed over, and that of the newest checkpoint entry would never be there.
func TestNoCheckpointIsWantedWhileOneIsWritten(t *testing.T) {
	c, i := disputing(t)
	c.r.Kept(c.now, nil)
	c.r.checkpoints.busy = true
	for request := range uint64(20) {
		c.impose(request+1, 1)
		c.passes(5 * time.Second)
	}
	if got := c.r.checkpoints.entryAt; got != i {
		t.Errorf("the newest checkpoint entry is at %d, want %d, of which a checkpoint is being written", got, i)
	}
}

// disputing is a leader whose two others have other states, and the newest checkpoint entry.
func disputing(t *testing.T) (*crew, protocol.Index) {
	t.Helper()
	c := newCrew(t, threeVoters)
	c.r.cfg.CheckpointEvery = -1
	c.has = map[protocol.MemberID]byte{id(2): 7, id(3): 8}
	i := c.checkpointEntry()
	c.r.Kept(c.now, []storage.Manifest{{Index: i, Term: raft(c.r).Term()}})
	for range 5 {
		c.pass(100 * time.Millisecond)
	}
	return c, i
}

// impose asks the leader to make a member's state everybody's, and returns what it says.
func (c *crew) impose(request uint64, who byte) protocol.Code {
	c.t.Helper()
	Impose(c.r, c.now, request, id(who))
	c.settle()
	result, answered := c.answers[request]
	if !answered {
		return "none"
	}
	return result.Code
}

// rulings returns those that are in the leader's log.
func (c *crew) rulings() (list []protocol.Confirmation) {
	c.t.Helper()
	for _, e := range c.r.log.tail.slice(c.r.log.logTerms().FirstIndex(), c.r.log.logTerms().LastIndex()) {
		if m, err := protocol.DecodeConfirmation(e.Data); e.Kind == protocol.EntryRuling && err == nil {
			list = append(list, m)
		}
	}
	return list
}

// What an operator says of three states ends the dispute at the leader, by an entry of the log.
func TestAnOperatorEndsADispute(t *testing.T) {
	c, i := disputing(t)
	if c.r.audit.dispute() == "" || len(c.confirmations()) != 0 {
		t.Fatalf("in dispute: %q, confirmed %v", c.r.audit.dispute(), c.confirmations())
	}
	if got := c.impose(1, 1); got != protocol.OK {
		t.Fatalf("got %q: %s", got, c.answers[1].Text)
	}
	if got := c.rulings(); len(got) != 1 || got[0].Index != i || c.r.audit.dispute() != "" {
		t.Errorf("the rulings are %v, want %d; in dispute is %q", got, i, c.r.audit.dispute())
	}
	if list := c.r.checkpoints.giveable(); len(list) != 1 {
		t.Errorf("%d checkpoints are given, want that of the ruling", len(list))
	}
	c.passes(time.Second)
	if got := c.impose(2, 1); got != protocol.ErrInvalid.Code {
		t.Errorf("nothing is in dispute: got %q", got)
	}
}

// [S] An operator's word is for where nobody else's counts, and for a state that the others can come to.
func TestWhatAnOperatorMayNotImpose(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*crew, protocol.Index)
		who    byte
		want   protocol.Code
	}{
		"the state of one that does not lead": {func(*crew, protocol.Index) {}, 2, protocol.ErrInvalid.Code},
		"a state that is not confirmed": {func(c *crew, i protocol.Index) {
			c.r.audit.awaits(&storage.Manifest{Index: i})
		}, 1, protocol.ErrInvalid.Code},
		"a majority has one": {func(c *crew, i protocol.Index) {
			c.r.audit.polled = keepDigest(c.r.audit.polled, digestAt{i, [16]byte{7}})
		}, 1, protocol.ErrUnavailable.Code},
		"a checkpoint entry is on its way": {func(c *crew, i protocol.Index) {
			c.r.checkpoints.proposed = i + 100
		}, 1, protocol.ErrUnavailable.Code},
		"there is no checkpoint to begin from": {func(c *crew, _ protocol.Index) {
			c.r.Kept(c.now, nil)
		}, 1, protocol.ErrUnavailable.Code},
	} {
		c, i := disputing(t)
		test.change(c, i)
		if got := c.impose(1, test.who); got != test.want || len(c.rulings()) != 0 {
			t.Errorf("%s: got %q, want %q; rulings %v", name, got, test.want, c.rulings())
		}
	}
}

// Where no checkpoint was taken at the newest checkpoint entry, one is taken for an operator who waits.
func TestACheckpointIsTakenForAnOperatorWhoWaits(t *testing.T) {
	c, i := disputing(t)
	c.r.Kept(c.now, nil)
	c.passes(11 * time.Second)
	if got := c.impose(1, 1); got != protocol.ErrUnavailable.Code {
		t.Errorf("got %q", got)
	}
	c.passes(time.Second)
	if got := c.r.checkpoints.entryAt; got <= i {
		t.Errorf("the newest checkpoint entry is at %d, want one above %d", got, i)
	}
}

// One of three is gone, and the two that are left differ: each minute there is a newer checkpoint entry, before it is given up to
// ask about the last.
func TestAnOperatorDecidesWhereOneDoesNotAnswer(t *testing.T) {
	c := newCrew(t, threeVoters)
	c.r.cfg.CheckpointEvery = -1
	c.has = map[protocol.MemberID]byte{id(2): 7}
	i := c.checkpointEntry()
	c.passes(time.Second)
	for try := 0; c.r.checkpoints.entryAt <= i && try < 100; try++ {
		c.passes(time.Second)
	}
	i = c.r.checkpoints.entryAt
	c.r.Kept(c.now, []storage.Manifest{{Index: i, Term: raft(c.r).Term()}})
	c.passes(time.Second)
	if got := c.impose(1, 1); got != protocol.ErrUnavailable.Code {
		t.Errorf("before the others had time to answer: got %q", got)
	}
	c.passes(rulingPatience)
	if got := c.impose(2, 1); got != protocol.OK || len(c.rulings()) != 1 || c.rulings()[0].Index != i {
		t.Errorf("got %q (%s), ruled is %v, want %d", got, c.answers[2].Text, c.rulings(), i)
	}
}
