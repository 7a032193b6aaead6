package replica

import (
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// upgrading is a leader that knows level 2, of two other voters, a learner and two members
// without a seat, at level 1.
func upgrading(t *testing.T) *crew {
	t.Helper()
	c := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3}, 4)})
	c.r.cfg.Level, c.r.cfg.PolicyFailed = 2, 300*time.Millisecond
	c.passives(2, 2)
	return c
}

// passives sets which levels the two members without a seat know.
func (c *crew) passives(eight, nine protocol.FormatLevel) {
	c.r.SetPeers(c.now, []protocol.Peer{
		{ID: id(8), Name: "eight", Address: "h:8", Role: protocol.RolePassive, Eligible: true, Level: eight}, {ID: id(9), Role: protocol.RolePassive, Level: nine},
	})
}

// knows has a run of a member say which level it knows.
func (c *crew) knows(member byte, run protocol.RunID, level protocol.FormatLevel) {
	c.r.Receive(c.now, id(member), &protocol.Formats{Run: run, Level: level})
}

// level is the one in force for what is proposed next, after a while.
func (c *crew) level() int {
	c.pass(200 * time.Millisecond)
	c.pass(200 * time.Millisecond)
	latest, _ := c.r.Configurations().Latest()
	return latest.Configuration.Level.Number()
}

// [S] Counterexample: a majority knows the next level, a voter or a learner does not. It
// would be out at once, and with the next fault the quorum.
func TestTheLevelIsNotRaisedWithoutTheWordOfEachActive(t *testing.T) {
	for _, silent := range []byte{2, 3, 4} {
		c := upgrading(t)
		for _, m := range []byte{2, 3, 4} {
			if m != silent {
				c.knows(m, 7, 2)
			}
		}
		expect(t, "while one is silent", c.level(), 1)
		if word := c.r.Status(c.now).LevelReason; !strings.Contains(word, "waits for "+id(silent).Short()) {
			t.Errorf("got %q, want whom it waits for", word)
		}
		c.knows(silent, 7, 1)
		expect(t, "when it says that it does not know it", c.level(), 1)
		c.knows(silent, 7, 2)
		expect(t, "when all have said it", c.level(), 2)
		expect(t, "and never by two", c.level(), 2)
	}
}

// [S] Counterexample: a voter says that it knows the next level, and is put back to the
// release before. What it said then is of a program that is not there any more.
func TestTheWordOfAnEarlierRunDoesNotRaiseTheLevel(t *testing.T) {
	c := upgrading(t)
	c.r.LetIn(c.now, id(3), 7)
	c.knows(2, 7, 2)
	c.knows(3, 7, 2)
	c.r.LetIn(c.now, id(3), 8) // put back
	c.knows(4, 7, 2)
	expect(t, "before the new run has said anything", c.level(), 1)
	c.knows(3, 7, 2) // late
	expect(t, "after a late word of the earlier run", c.level(), 1)
	c.knows(3, 8, 2)
	expect(t, "after that of the new one", c.level(), 2)
}

// A passive that is forgotten in a corner would hold a cluster back for ever; one that is
// only next in turn would be left behind at once.
func TestAForgottenPassiveHoldsTheLevelBackForADayOnly(t *testing.T) {
	c := upgrading(t)
	c.passives(2, 1)
	for _, m := range []byte{2, 3, 4} {
		c.knows(m, 7, 2)
	}
	expect(t, "while a passive is older", c.level(), 1)
	end := c.now.Add(passivesWait)
	for c.now < end.Add(-time.Hour) {
		c.pass(400 * time.Millisecond)
	}
	expect(t, "for most of a day", c.level(), 1)
	for c.now < end {
		c.pass(400 * time.Millisecond)
	}
	expect(t, "after a day", c.level(), 2)

	c = upgrading(t)
	c.passives(2, 1)
	for _, m := range []byte{2, 3, 4} {
		c.knows(m, 7, 2)
	}
	expect(t, "while a passive is older", c.level(), 1)
	c.passives(2, 2)
	expect(t, "when it has been upgraded", c.level(), 2)
}

// A passive that is not heard just now, because it is started anew or a datagram was lost,
// would be left behind.
func TestAPassiveThatIsNotHeardForAMomentIsWaitedFor(t *testing.T) {
	c := upgrading(t)
	c.r.cfg.PolicyFailed = time.Minute
	c.passives(2, 1)
	for _, m := range []byte{2, 3, 4} {
		c.knows(m, 7, 2)
	}
	expect(t, "while it is older", c.level(), 1)
	c.r.SetPeers(c.now, nil)
	expect(t, "when it is not heard", c.level(), 1)
	for range 140 {
		c.pass(400 * time.Millisecond)
	}
	expect(t, "for most of a minute", c.level(), 1)
	for range 20 {
		c.pass(400 * time.Millisecond)
	}
	expect(t, "when it has gone", c.level(), 2)
}

// The step cannot be taken back: it has to wait as long as people say.
func TestTheLevelIsHeldByHand(t *testing.T) {
	c := upgrading(t)
	expect(t, "held", c.change(1, Change{Autopilot: &protocol.Autopilot{HoldLevel: true}}), protocol.OK)
	for _, m := range []byte{2, 3, 4} {
		c.knows(m, 7, 2)
	}
	expect(t, "while it is held", c.level(), 1)
	expect(t, "let go", c.change(2, Change{Autopilot: &protocol.Autopilot{}}), protocol.OK)
	expect(t, "after that", c.level(), 2)
}

// [S] A member that could not apply the log, nor lead, would take a seat that counts.
func TestWhoDoesNotKnowTheLevelGetsNoSeat(t *testing.T) {
	c := upgrading(t)
	for _, m := range []byte{2, 3, 4} {
		c.knows(m, 7, 2)
	}
	expect(t, "level", c.level(), 2)
	c.passives(1, 2) // put back
	expect(t, "a passive", c.change(1, Change{Promote: ids(8)}), protocol.ErrNotEligible.Code)
	c.r.SetPeers(c.now, []protocol.Peer{{ID: id(4), Address: "h:4", Role: protocol.RoleActive, Eligible: true, Level: 1}})
	expect(t, "a learner", c.change(2, Change{Promote: ids(4)}), protocol.ErrNotEligible.Code)
	c.passives(2, 2)
	expect(t, "one that knows it", c.change(3, Change{Promote: ids(8)}), protocol.OK)
}

// raised is a log before entry 5, which raises the level, and one that goes on to 8.
func raised() (before, whole storage.Opened) {
	first := conf(3, []byte{1, 2, 3})
	whole = found(2, 8, 8, map[protocol.Index]protocol.Configuration{1: first, 5: first.At(2)})
	return found(2, 4, 4, map[protocol.Index]protocol.Configuration{1: first}), whole
}

// [S] Counterexample: a voter is put back to the release before. It passes over an entry
// that it does not know, and its state is another one, for ever; or it leads, and writes
// in the old format what the others read in the new one.
func TestWhoDoesNotKnowTheLevelAppliesNothingAboveIt(t *testing.T) {
	for role, self := range map[protocol.Role]byte{protocol.RoleActive: 2, protocol.RolePassive: 9} {
		before, whole := raised()
		for what, rec := range map[string]storage.Opened{"as it comes": before, "after a restart": whole} {
			x := &reader{t: t, r: openOn(t, self, Config{Level: 1}, rec, OpenedState{}), now: 1}
			x.turn()
			x.receive(&protocol.Append{Term: 2, PrevIndex: 4, PrevTerm: 2, Commit: 8, Last: 8, Entries: whole.Tail[4:]})
			x.receive(&protocol.Heartbeat{Term: 2, Commit: 8, Round: 1})
			s := x.r.Status(x.now)
			expect(t, what+": role", s.Role, role)
			expect(t, what+": commit", s.Commit, 8)
			expect(t, what+": last", s.Last, 8)
			expect(t, what+": applied", s.Applied, 5)
			expect(t, what+": level", s.Level, 2)
			if !strings.Contains(s.Beyond, "at format level 2") {
				t.Errorf("%s: got %q, want what it lacks", what, s.Beyond)
			}
			x.now++
			x.r.Read(x.now, 1)
			x.turn()
			if len(x.reads) != 1 || x.reads[0].Err == nil {
				t.Errorf("%s: got %+v, want a read that is refused", what, x.reads)
			}
		}
	}
}

// [S] It would write entries that it does not know.
func TestWhoDoesNotKnowTheLevelDoesNotCampaign(t *testing.T) {
	before, whole := raised()
	x := &reader{t: t, r: openOn(t, 2, Config{Level: 1}, before, OpenedState{}), now: 1}
	// The raise is not committed so far.
	x.receive(&protocol.Append{Term: 2, PrevIndex: 4, PrevTerm: 2, Commit: 4, Last: 5, Entries: whole.Tail[4:5]})
	quiet := func(what string) {
		t.Helper()
		for range 100 {
			x.now = x.now.Add(100 * time.Millisecond)
			x.r.Tick(x.now)
			x.turn()
			for _, s := range x.Send {
				if v, ok := s.Message.(*protocol.Vote); ok {
					t.Fatalf("%s: it campaigns: %+v", what, v)
				}
			}
		}
	}
	quiet("without a leader")
	x.receive(&protocol.Heartbeat{Term: 2, Round: 1})
	x.receive(&protocol.TimeoutNow{Term: 2})
	quiet("when it is told to")
	// It votes, and acknowledges.
	x.receive(&protocol.Vote{Term: 9, Transfer: true, LastIndex: 5, LastTerm: 2})
	granted := false
	for _, s := range x.Send {
		v, ok := s.Message.(*protocol.VoteAnswer)
		granted = granted || ok && v.Granted
	}
	if !granted {
		t.Error("it gives no vote to one that has what it has")
	}
	// Another leader lacks the raise: it is taken back, and the member is as good as any.
	other := []protocol.Entry{{Index: 5, Term: 9, Kind: protocol.EntryNoop}, {Index: 6, Term: 9, Kind: protocol.EntryNoop}}
	protocol.EncodeEntries(other)
	x.receive(&protocol.Append{Term: 9, PrevIndex: 4, PrevTerm: 2, Commit: 6, Last: 6, Entries: other})
	s := x.r.Status(x.now)
	expect(t, "applied when the raise is taken back", s.Applied, 6)
	expect(t, "level", s.Level, 1)
	expect(t, "beyond", s.Beyond, "")
	for range 100 {
		x.now = x.now.Add(100 * time.Millisecond)
		x.r.Tick(x.now)
		x.turn()
		if x.r.Status(x.now).RaftRole == "pre-candidate" {
			return
		}
	}
	t.Error("it does not campaign any more")
}

// [S] The items of a checkpoint are of the level in force: who does not know it can read
// none, neither of others nor of its own, and what its log holds stays where it is.
func TestWhoDoesNotKnowTheLevelReadsNoCheckpointOfIt(t *testing.T) {
	_, whole := raised()
	before, _ := raised()
	r := openOn(t, 9, Config{Level: 1}, before, OpenedState{})
	serve(t, r)
	d := described(whole, 8, 2)
	offer(r, d)
	if e := r.Effects(); len(e.Install) > 0 {
		t.Errorf("it installs %+v", e.Install)
	}
	r = openOn(t, 2, Config{Level: 1}, whole, OpenedState{Kept: []storage.Manifest{d}})
	if e := r.Effects(); len(e.Apply) > 0 {
		t.Errorf("it applies %+v beside a checkpoint that it cannot read", e.Apply)
	}
	if s := r.Status(1); s.Beyond == "" || s.Commit != 8 {
		t.Errorf("got %+v, want one that says what it lacks", s)
	}
}

// Only who leads has to know, and only while there is something to be raised to: between
// members of one release nothing is said.
func TestWhatAMemberKnowsIsToldToTheLeaderOnly(t *testing.T) {
	before, _ := raised()
	for known, want := range map[protocol.FormatLevel]int{1: 0, 2: 1} {
		x := &reader{t: t, r: openOn(t, 2, Config{Level: known}, before, OpenedState{}), now: 1}
		x.turn()
		said := 0
		x.now++
		x.r.Receive(x.now, id(1), &protocol.Heartbeat{Term: 2, Commit: 4, Round: 1})
		for range 10 {
			for _, s := range x.r.Effects().Send {
				if m, ok := s.Message.(*protocol.Formats); ok {
					said++
					expect(t, "whom it tells", s.To, id(1))
					expect(t, "what", *m, protocol.Formats{Run: 1, Level: known})
				}
			}
		}
		expect(t, "how often", said, want)
	}
}
