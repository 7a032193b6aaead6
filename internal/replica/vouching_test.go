package replica

import (
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// [S] Counterexample: a majority is heard, and the checkpoint is given before the confirmation is in the log. Whoever
// installs it finds no confirmation.
func TestWhatAMajorityWasHeardToHaveIsNotGiven(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	p.asks(2, 15, 7)
	p.says(3, 15, 1)
	if _, heard := findDigest(p.r.audit.polled, 15); !heard {
		t.Fatal("no majority was heard")
	}
	if list := p.r.checkpoints.giveable(); len(list) != 0 || len(p.confirmed()) != 0 || p.r.checkpoints.confirmed() != 0 {
		t.Errorf("%d are given, marked are %v, the log is kept above %d; and the log confirms nothing", len(list), p.confirmed(), p.r.checkpoints.confirmed())
	}
	d := p.kept[0]
	d.Installed = true
	p.r.audit.awaits(&d)
	if !p.r.standing.in[unconfirmed] {
		t.Error("a checkpoint of others counts by what a majority was heard to have")
	}
}

// Counterexample: a state keeps going bad and is fetched without a pause: each time it is right after it was
// replayed.
func TestAStateThatWasReplayedIsNotTakenForOneThatStaysRight(t *testing.T) {
	p := patientOf(t, 9, marked([]byte{1, 2, 3}, 1, 1), always(1))
	q := &p.r.standing.quarantine
	q.falls, q.fetched = 3, 20
	p.learns(21, 15, 1) // it was replayed
	expect(t, "quarantines in a row, 15 was replayed", q.falls, 3)
	p.entry(22)
	p.r.standing.set(replaying, true)
	p.learns(23, 22, 1)
	expect(t, "quarantines in a row, the state is being replayed", q.falls, 3)
	p.r.standing.set(replaying, false)
	p.entry(24)
	p.learns(25, 24, 1)
	expect(t, "quarantines in a row, it came to 24 in service", q.falls, 0)
	q.falls = 3
	p.r.audit.endQuarantine()
	p.r.audit.decide(p.now, 24, [16]byte{1}, majoritySays)
	expect(t, "quarantines in a row, all up to 25 was replayed", q.falls, 3)
}

// A leader that came by its state from others, and whose log does not confirm that, would serve nobody for ever. Its
// own word does not count.
func TestALeaderThatIsNotConfirmedHasAMajorityOfTheOthersConfirmIt(t *testing.T) {
	c := newCrew(t, threeVoters)
	i := c.checkpointEntry()
	c.r.audit.awaits(&storage.Manifest{Index: i})
	c.has = map[protocol.MemberID]byte{id(2): 0}
	for range 30 {
		c.pass(100 * time.Millisecond)
	}
	if got := c.confirmations(); len(got) != 0 || !c.r.standing.in[unconfirmed] {
		t.Fatalf("confirmed %+v by itself and one of two others", got)
	}
	c.has[id(3)] = 0
	for range 30 {
		c.pass(100 * time.Millisecond)
	}
	if got := c.confirmations(); len(got) != 1 || c.r.standing.in[unconfirmed] {
		t.Errorf("confirmed %+v, and it waits: %t", got, c.r.standing.in[unconfirmed])
	}
}

// Counterexample: the next checkpoint entry is always there before the answers to the last one are.
func TestWhatIsKnownIsConfirmedAlthoughThereIsANewerEntry(t *testing.T) {
	c := newCrew(t, threeVoters)
	c.r.cfg.CheckpointEvery = -1
	i := c.checkpointEntry()
	c.checkpointEntry()
	c.r.audit.polled = keepDigest(c.r.audit.polled, digestAt{index: i})
	c.pass(100 * time.Millisecond)
	c.pass(100 * time.Millisecond)
	if got := c.confirmations(); len(got) != 1 || got[0].Index != i {
		t.Errorf("confirmed %+v, want %d", got, i)
	}
}

// Counterexample: a leader without a state has proposed a checkpoint entry, and another leader's entry took its
// place. When it leads again it asks for what nobody has, and nothing is confirmed.
func TestACheckpointEntryThatIsGoneIsNotSought(t *testing.T) {
	c := newCrew(t, threeVoters)
	c.r.cfg.CheckpointEvery = -1
	i := c.checkpointEntry()
	x := &c.r.audit.confirmations
	x.sought, x.soughtIn = c.r.log.logTerms().LastIndex()+1, c.r.log.lead().Term()
	c.has = map[protocol.MemberID]byte{id(2): 0, id(3): 0}
	for range 30 {
		c.pass(100 * time.Millisecond)
	}
	if got := c.confirmations(); len(got) != 1 || got[0].Index != i || x.sought != 0 {
		t.Errorf("confirmed %+v, sought is %d", got, x.sought)
	}
	x.sought, x.soughtIn = i, x.term-1
	c.pass(100 * time.Millisecond)
	expect(t, "the entry is of another term; sought is", x.sought, 0)
}

// A checkpoint that was taken of a state that waits for its confirmation waits after a start, too; a state that is
// replaced by a confirmed one waits no more.
func TestWhatIsBuiltOnACheckpointOfOthersWaitsAsItDoes(t *testing.T) {
	p := joined(t)
	p.entry(41)
	if p.kept[0].Index != 41 || !p.kept[0].Installed {
		t.Errorf("kept is %d, as one of others: %t", p.kept[0].Index, p.kept[0].Installed)
	}
	p.r.audit.awaits(&storage.Manifest{Index: 50, Confirmed: true})
	if p.r.standing.in[unconfirmed] {
		t.Error("it waits for the confirmation of a state that it does not have any more")
	}
}

// What comes behind the confirmation is built on a state that waits no more, also where both come at once.
func TestWhatIsTakenBehindAConfirmationDoesNotWait(t *testing.T) {
	p := joined(t)
	list := append(confirmationAt(41, 40, 1), protocol.Entry{Index: 42, Term: 2, Kind: protocol.EntryCheckpoint, Data: protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{})})
	list[0].Raw = nil
	protocol.EncodeEntries(list)
	p.r.Receive(p.now, id(1), &protocol.Append{Term: 2, PrevIndex: 40, PrevTerm: 2, Commit: 42, Last: 42, Entries: list})
	p.serve()
	if p.kept[0].Index != 42 || p.kept[0].Installed {
		t.Errorf("kept is %d, as one that waits for its confirmation: %t", p.kept[0].Index, p.kept[0].Installed)
	}
}

// passes lets time pass, in steps in which the others answer.
func (c *crew) passes(d time.Duration) {
	for end := c.now.Add(d); c.now < end; {
		c.pass(100 * time.Millisecond)
	}
}

// Counterexample: of three voters one is gone, and the leader's state came from others and is not confirmed. The third alone
// is no majority, and would serve if it led.
func TestALeaderThatNobodyConfirmsHandsOver(t *testing.T) {
	c := newCrew(t, threeVoters)
	i := c.checkpointEntry()
	c.r.audit.awaits(&storage.Manifest{Index: i})
	c.has = map[protocol.MemberID]byte{id(2): 0}
	c.r.SetPeers(c.now, []protocol.Peer{{ID: id(2), Name: "two", Address: "h:2", Role: protocol.RoleActive}})
	c.passes(5 * time.Second)
	c.r.Receive(c.now, id(2), &protocol.Have{First: 1, LastIndex: i, Applied: i})
	if c.passes(time.Second); len(c.transferees) != 0 {
		t.Fatalf("%v are to lead, and the others have not been asked for long", c.transferees)
	}
	for range 70 {
		c.passes(time.Second)
		c.r.Receive(c.now, id(2), &protocol.Have{First: 1, LastIndex: i, Applied: i})
	}
	if len(c.transferees) == 0 || c.transferees[0] != id(2) {
		t.Errorf("%v are to lead, want 2, whose state is as far", c.transferees)
	}
}

// That nothing can be given to others any more is said, and why.
func TestALastConfirmedCheckpointThatGoesIsSaid(t *testing.T) {
	for _, full := range []bool{false, true} {
		p := patientOf(t, 9, marked([]byte{1, 2, 3}, 1, 1), always(1))
		p.kept = p.kept[:2]
		p.r.Kept(p.now, p.kept)
		p.learns(21, 10, 1)
		p.r.Hamper(p.now, Hampered{Full: full})
		p.serve()
		p.events = ""
		p.r.Kept(p.now, p.kept[:1])
		p.serve()
		if room := strings.Contains(p.events, "for want of room"); !strings.Contains(p.events, "the checkpoint at 10, the last that the log confirms") || room != full {
			t.Errorf("the disk is full: %t, and it says %q", full, p.events)
		}
	}
}
