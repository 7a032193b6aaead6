package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// checkpointEntry has the leader propose one, and returns its index.
func (c *crew) checkpointEntry() protocol.Index {
	c.t.Helper()
	i, err := c.r.log.lead().Propose(c.now, []active.Proposal{{Kind: protocol.EntryCheckpoint, Data: protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{})}})
	if err != nil {
		c.t.Fatal(err)
	}
	c.settle()
	return i
}

// confirmations returns those that are in the leader's log.
func (c *crew) confirmations() (list []protocol.Confirmation) {
	c.t.Helper()
	for _, e := range c.r.log.tail.slice(c.r.log.logTerms().FirstIndex(), c.r.log.logTerms().LastIndex()) {
		if e.Kind == protocol.EntryConfirmation {
			m, err := protocol.DecodeConfirmation(e.Data)
			if err != nil {
				c.t.Fatal(err)
			}
			list = append(list, m)
		}
	}
	return list
}

// [S] One member's word confirms nothing, not even the leader's: a majority has to have the same.
func TestALeaderConfirmsWhatAMajorityHasAndOnce(t *testing.T) {
	c := newCrew(t, threeVoters)
	i := c.checkpointEntry()
	for range 5 {
		c.pass(100 * time.Millisecond)
	}
	if got := c.confirmations(); len(got) != 0 {
		t.Fatalf("confirmed %+v with nobody's word", got)
	}
	c.has = map[protocol.MemberID]byte{id(2): 9}
	c.pass(digestPause)
	c.pass(100 * time.Millisecond)
	if got := c.confirmations(); len(got) != 0 {
		t.Fatalf("confirmed %+v, and one active has something else", got)
	}
	c.has[id(3)] = 0
	for range 50 {
		c.pass(100 * time.Millisecond)
	}
	if got := c.confirmations(); len(got) != 1 || got[0] != (protocol.Confirmation{Index: i}) {
		t.Errorf("confirmed %+v, want %d once, with what two of three have", got, i)
	}
}

// A leader asks when it has applied the entry: others may be slower, and answer when they have.
func TestWhoIsAskedTooEarlyAnswersWhenItHasAppliedTheEntry(t *testing.T) {
	rec := marked([]byte{1, 2, 3}, 1, 1)
	p := patientOf(t, 1, rec, always(1))
	p.asks(2, 21, 1)
	if len(p.answers) != 1 || p.answers[0].Known {
		t.Fatalf("it says %+v of an entry that it does not have", p.answers)
	}
	p.answers = nil
	p.r.audit.note(p.now, 21, [16]byte{1})
	p.serve()
	if len(p.answers) != 1 || !p.answers[0].Known || p.answers[0].Index != 21 {
		t.Errorf("it says %+v, want what it has there", p.answers)
	}
}

// A confirmation writes nothing: where nobody writes, neither checkpoint entries nor confirmations follow.
func TestAClusterWhereNobodyWritesComesToRest(t *testing.T) {
	c := newCrew(t, threeVoters)
	c.r.cfg.CheckpointEvery = time.Second
	c.has = map[protocol.MemberID]byte{id(2): 0, id(3): 0}
	for range 100 {
		c.pass(200 * time.Millisecond)
	}
	last := c.r.log.logTerms().LastIndex()
	for range 100 {
		c.pass(200 * time.Millisecond)
	}
	if got := c.r.log.logTerms().LastIndex(); got != last || len(c.confirmations()) != 1 {
		t.Errorf("the log goes on from %d to %d, with %d confirmations; want one, and rest", last, got, len(c.confirmations()))
	}
}

// confirmationAt is an entry that confirms a digest.
func confirmationAt(at, i protocol.Index, digest byte) []protocol.Entry {
	e := []protocol.Entry{{Index: at, Term: 2, Kind: protocol.EntryConfirmation, Data: protocol.EncodeConfirmation(protocol.Confirmation{Index: i, Digest: [16]byte{digest}})}}
	protocol.EncodeEntries(e)
	return e
}

// learns lets a member apply a confirmation.
func (p *patient) learns(at, i protocol.Index, digest byte) {
	p.t.Helper()
	p.r.Receive(p.now, id(1), &protocol.Append{Term: 2, PrevIndex: at - 1, PrevTerm: 2, Commit: at, Last: at, Entries: confirmationAt(at, i, digest)})
	p.serve()
}

// [S] Every member holds its own digest against the one that the log confirms, passives too, and asks nobody.
func TestAMemberThatHasSomethingElseThanTheLogConfirmsGivesItsStateUp(t *testing.T) {
	for _, self := range []byte{2, 9} {
		for _, theirs := range []byte{1, 7} {
			p := patientOf(t, self, marked([]byte{1, 2, 3}, 1, 1), always(1))
			p.learns(21, 15, theirs)
			p.wants("the log has been applied", theirs != 1)
			if theirs == 1 && len(p.asked) != 0 {
				t.Errorf("%d: %v are asked", self, p.asked)
			}
		}
	}
}

// [S] A state whose memory has changed without an entry is counted after the log has confirmed what the
// entries led to.
func TestAStateThatIsCountedAfterTheConfirmationIsHeldAgainstIt(t *testing.T) {
	p := patientOf(t, 2, marked([]byte{1, 2, 3}, 1, 1), always(1))
	p.learns(21, 15, 1)
	p.r.Recounted(p.now, 15, [16]byte{5})
	p.serve()
	p.wants("what was counted is something else", true)
}

// [S] Counterexample: a member that is wrong and does not know gives its state to one that is far behind.
func TestNoCheckpointIsGivenBeforeTheLogHasConfirmedIt(t *testing.T) {
	p := patientOf(t, 9, marked([]byte{1, 2, 3}, 1, 1), always(1))
	offered := func() (list []protocol.Index) {
		for _, d := range p.r.checkpoints.giveable() {
			list = append(list, d.Index)
		}
		return list
	}
	expect(t, "nothing is confirmed, offered are", len(offered()), 0)
	p.learns(21, 10, 1)
	if got := offered(); len(got) != 1 || got[0] != 10 {
		t.Errorf("10 is confirmed, and offered are %v", got)
	}
	p.learns(22, 15, 7)
	expect(t, "the newest is wrong, offered are", len(offered()), 0)
}

// joined is a passive that has installed a checkpoint at 40 of others.
func joined(t *testing.T) *patient {
	t.Helper()
	p := patientOf(t, 9, marked([]byte{1, 2, 3}, 1, 1), always(1))
	d := described(found(2, 20, 20, threeVoters), 20, 0)
	d.Index, d.Digest, d.LogSum[0] = 40, [16]byte{1}, 40
	p.r.install.offered(p.now, &protocol.ManifestOffer{From: id(2), Manifest: storage.EncodeManifest(d)}, false)
	p.r.pump(p.now)
	p.serve()
	if p.r.install.Phase != install.None || p.applied != 40 {
		t.Fatalf("it has applied %d, want the checkpoint at 40", p.applied)
	}
	return p
}

// [S] Whoever has installed a checkpoint serves, feeds and testifies nothing before its log has come to the
// entry that confirms it; and fetches another one should the log confirm something else.
func TestAnInstalledCheckpointCountsWhenTheLogConfirmsIt(t *testing.T) {
	for _, theirs := range []byte{1, 7} {
		p := joined(t)
		p.answers = nil
		p.asks(2, 40, 1)
		if p.gate != 0 || p.r.standing.notServing() == nil || len(p.answers) != 1 || p.answers[0].Known || p.r.progressNow(p.now).Source {
			t.Errorf("before: the gate is at %d, it testifies %+v, and is a source: %t", p.gate, p.answers, p.r.progressNow(p.now).Source)
		}
		p.wants("it is not known to be wrong", false)
		p.learns(41, 40, theirs)
		p.wants("the log has come to the confirmation", theirs != 1)
		if serves := p.gate != 0 && SituationOf(p.r).Unconfirmed == ""; serves != (theirs == 1) {
			t.Errorf("the log confirms %d, it has 1, and serves: %t", theirs, serves)
		}
	}
}

// A checkpoint that is known to be of a wrong state is not fetched.
func TestACheckpointThatTheLogContradictsIsNotInstalled(t *testing.T) {
	p := patientOf(t, 9, marked([]byte{1, 2, 3}, 1, 1), always(1))
	p.r.audit.confirmations.said = []digestAt{{40, [16]byte{7}}}
	d := described(found(2, 20, 20, threeVoters), 20, 0)
	d.Index, d.Digest, d.LogSum[0] = 40, [16]byte{1}, 40
	p.r.install.offered(p.now, &protocol.ManifestOffer{From: id(2), Manifest: storage.EncodeManifest(d)}, false)
	if p.r.install.Phase != install.None {
		t.Error("it is installed")
	}
}

// [S] Counterexample: an installed checkpoint is in its place, and the member dies before its log has come to
// the entry that confirms it. Its next run takes it for its own.
func TestAStartFromACheckpointOfOthersWaitsForItsConfirmation(t *testing.T) {
	for _, installed := range []bool{true, false} {
		rec := marked([]byte{1, 2, 3}, 1, 1)
		d := described(rec, 20, 0)
		d.Digest, d.Installed = [16]byte{1}, installed
		p := &patient{t: t, state: always(1), kept: []storage.Manifest{d}, r: openOn(t, 9, Config{}, begun(rec, 20), OpenedState{Applied: 20, Kept: []storage.Manifest{d}})}
		p.serve()
		if waits := p.gate == 0; waits != installed {
			t.Errorf("installed: %t, and it waits: %t", installed, waits)
		}
		p.learns(21, 20, 1)
		if p.gate == 0 {
			t.Errorf("installed: %t, and it serves nobody when the log has confirmed it", installed)
		}
	}
}

// entry lets a member apply a checkpoint entry.
func (p *patient) entry(at protocol.Index) {
	p.t.Helper()
	e := []protocol.Entry{{Index: at, Term: 2, Kind: protocol.EntryCheckpoint, Data: protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{})}}
	protocol.EncodeEntries(e)
	p.r.Receive(p.now, id(1), &protocol.Append{Term: 2, PrevIndex: at - 1, PrevTerm: 2, Commit: at, Last: at, Entries: e})
	p.serve()
}

// confirmed are the checkpoints that the store has marked.
func (p *patient) confirmed() (list []protocol.Index) {
	for _, d := range p.kept {
		if d.Confirmed {
			list = append(list, d.Index)
		}
	}
	return list
}

// [S] Counterexample: no majority agrees any more, and the log above the last checkpoint that was known to be right goes.
func TestTheLastConfirmedCheckpointAndTheLogAboveItStay(t *testing.T) {
	for _, full := range []bool{false, true} {
		p := patientOf(t, 9, marked([]byte{1, 2, 3}, 1, 1), always(1))
		p.kept = p.kept[:2] // as the store
		p.r.cfg.RetainEntries, p.r.cfg.RetainBytes = 1, 1
		p.r.Kept(p.now, p.kept)
		expect(t, "nothing is confirmed, and the head is dropped below", p.r.checkpoints.dropped, 0)
		p.learns(21, 10, 1)
		if got := p.confirmed(); len(got) != 1 || got[0] != 10 {
			t.Fatalf("marked are %v, the log has confirmed 10", got)
		}
		p.r.Hamper(p.now, Hampered{Full: full})
		p.serve()
		if stays := len(p.confirmed()) == 1; stays == full {
			t.Errorf("the disk is full: %t, and the confirmed one is to stay: %t", full, stays)
		}
		if dropped := p.r.checkpoints.dropped > 11; dropped && !full {
			t.Errorf("the head up to %d is given up, confirmed is 10", p.r.checkpoints.dropped)
		}
		p.learns(22, 15, 1)
		if got := p.confirmed(); len(got) != 2 {
			t.Errorf("the disk is full: %t, both are confirmed, and marked are %v", full, got)
		}
	}
}

// [S] Counterexample: a member dies in a dispute. Its next run begins from above the confirmation, does not know that
// the older checkpoint is confirmed, gives it to nobody and lets it go.
func TestAStartKnowsWhichCheckpointIsConfirmed(t *testing.T) {
	rec := marked([]byte{1, 2, 3}, 1, 1)
	newest, older := described(rec, 20, 0), described(rec, 10, 0)
	newest.Digest, older.Digest, older.Confirmed = [16]byte{1}, [16]byte{1}, true
	p := &patient{t: t, state: always(1), kept: []storage.Manifest{newest, older}, r: openOn(t, 9, Config{}, begun(rec, 20), OpenedState{Applied: 20, Kept: []storage.Manifest{newest, older}})}
	p.serve()
	if list := p.r.checkpoints.giveable(); len(list) != 1 || list[0].Index != 10 {
		t.Errorf("%d are given, want the confirmed one at 10", len(list))
	}
	if got := p.confirmed(); len(got) != 1 {
		t.Errorf("marked are %v, want 10", got)
	}
}

// Counterexample: a dispute ends at a checkpoint entry of which no checkpoint was taken, since the one before was still
// being written, by one member's state that is not what the log leads to. The others come to something else for ever, and
// nobody has a checkpoint to give.
func TestACheckpointIsTakenOfAConfirmedStateThatHasNone(t *testing.T) {
	c := newCrew(t, threeVoters)
	c.r.cfg.CheckpointEvery, c.writes = -1, true
	i := c.checkpointEntry()
	c.r.checkpoints.passed = i
	at := c.r.log.logTerms().LastIndex()
	c.pass(time.Second)
	if c.r.checkpoints.proposed > at {
		t.Error("it is not confirmed, and a checkpoint entry is proposed")
	}
	c.has = map[protocol.MemberID]byte{id(2): 0, id(3): 0}
	for range 30 {
		c.pass(100 * time.Millisecond)
	}
	if c.r.checkpoints.proposed > at {
		t.Error("the one before is still being written, and a checkpoint entry is proposed")
	}
	c.writes = false
	c.r.Kept(c.now, nil)
	for range 30 {
		c.pass(100 * time.Millisecond)
	}
	if c.r.checkpoints.proposed <= at || len(c.confirmations()) != 2 {
		t.Errorf("confirmed %+v, want one more checkpoint entry above %d, and rest", c.confirmations(), at)
	}
	p := patientOf(t, 9, marked([]byte{1, 2, 3}, 1, 1), always(1))
	p.skips = true
	p.entry(21)
	if p.r.checkpoints.passed != 21 {
		t.Errorf("none was taken at 21, and it knows of %d", p.r.checkpoints.passed)
	}
	p.learns(22, 21, 1)
	expect(t, "the one before is being written, and one is lacking", p.r.checkpoints.lacking(), false)
	p.r.Kept(p.now, p.kept)
	expect(t, "what the log confirms is lacking", p.r.checkpoints.lacking(), true)
}
