package replica

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// marked is a log with checkpoint entries at 5, 10 and 15, each with the digest that the
// leader of the time had at the one before: theirs of 5 and of 10.
func marked(voters []byte, theirs ...byte) storage.Opened {
	rec := found(2, 20, 20, map[protocol.Index]protocol.Configuration{1: conf(3, voters)})
	for k := range rec.Tail {
		e := &rec.Tail[k]
		switch e.Index {
		case 5:
			e.Kind, e.Data = protocol.EntryCheckpoint, protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{})
		case 10:
			e.Kind, e.Data = protocol.EntryCheckpoint, protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{Previous: 5, Digest: [16]byte{theirs[0]}})
		case 15:
			e.Kind, e.Data = protocol.EntryCheckpoint, protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{Previous: 10, Digest: [16]byte{theirs[1]}})
		}
		e.Raw = nil
	}
	protocol.EncodeEntries(rec.Tail)
	rec.LastSum = protocol.SumEntries(protocol.LogSum{}, rec.Tail)
	return rec
}

// patient is a replica whose state machine has the digest that state says, and
// everything that it has said.
type patient struct {
	skips    bool // no checkpoint is taken: the one before is still being written
	t        *testing.T
	r        *Replica
	now      protocol.Instant
	state    func(protocol.Index) byte
	kept     []storage.Manifest
	applied  protocol.Index
	events   string
	asked    []protocol.MemberID
	answers  []*protocol.DigestAnswer
	bad      []protocol.Index
	replaced []protocol.Index
	reads    []error
	gate     uint64                   // before the answers, as it was set last
	told     map[uint64]protocol.Code // what requests were answered, those of others too
	compared []*protocol.PartsQuestion
	tallies  map[byte]*Tally      // by member, of those that answer what their states are made of
	notes    []storage.Quarantine // what is put on disk, or fails to be, for noDisk
	noDisk   error
}

func patientOf(t *testing.T, self byte, rec storage.Opened, state func(protocol.Index) byte) *patient {
	t.Helper()
	p := &patient{t: t, state: state, r: openOn(t, self, Config{}, rec, OpenedState{})}
	p.serve()
	return p
}

func (p *patient) serve() {
	p.t.Helper()
	for range 200 {
		e := p.r.Effects()
		p.look(&e)
		for _, x := range e.Events {
			p.events += x.String() + "\n"
		}
		for _, s := range e.Send {
			switch m := s.Message.(type) {
			case *protocol.DigestQuestion:
				p.asked = append(p.asked, s.To)
			case *protocol.DigestAnswer:
				p.answers = append(p.answers, m)
			case *protocol.PartsQuestion:
				p.compared = append(p.compared, m)
				p.r.Receive(p.now, s.To, p.madeOf(s.To, m))
			}
		}
		for _, x := range e.Reads {
			p.reads = append(p.reads, x.Err)
		}
		if e.Persist != nil {
			p.r.Persisted(p.now, e.Persist.ID, nil)
		}
		for _, x := range e.ReadLog {
			p.t.Fatalf("reads the log from %d", x.First)
		}
		for _, a := range e.Apply {
			p.apply(a)
		}
		for _, s := range e.Install {
			p.install(s)
		}
		if e.Quarantine != nil {
			p.notes = append(p.notes, *e.Quarantine)
			QuarantineKept(p.r, p.now, p.noDisk)
		}
		if e.Persist == nil && len(e.Apply)+len(e.Install)+len(e.Send) == 0 {
			return
		}
	}
	p.t.Fatal("it does not settle")
}

// look notes the gate and what is answered.
func (p *patient) look(e *Effects) {
	if p.told == nil {
		p.told = map[uint64]protocol.Code{}
	}
	p.gate = e.Gate
	for _, a := range e.Answers {
		p.told[a.Request] = a.Result.Code
	}
	for _, s := range e.Send {
		if a, ok := s.Message.(*protocol.ForwardAnswer); ok {
			p.told[a.Request] = a.Result.Code
		}
	}
}

func (p *patient) apply(a Apply) {
	if a.Installed != 0 {
		p.replaced = append(p.replaced, a.Installed)
		p.applied = a.Installed
		p.r.Applied(p.now, Applied{Last: a.Installed, Digest: [16]byte{p.state(a.Installed)}})
		return
	}
	p.applied = a.Entries[len(a.Entries)-1].Index
	p.r.Applied(p.now, Applied{Last: p.applied, Results: make([]protocol.Result, len(a.Entries)), Digest: [16]byte{p.state(p.applied)}, Skipped: p.skips && a.Take != nil})
	if a.Take != nil && !p.skips {
		d := *a.Take
		d.Digest = [16]byte{p.state(p.applied)}
		p.kept = append([]storage.Manifest{d}, p.kept...)
		p.r.Kept(p.now, p.kept)
	}
}

func (p *patient) install(s InstallStep) {
	switch {
	case s.GiveUp != 0:
		p.bad = append(p.bad, s.GiveUp)
		var left []storage.Manifest
		for _, d := range p.kept {
			if d.Index != s.GiveUp {
				left = append(left, d)
			}
		}
		if len(left) < len(p.kept) {
			p.kept = left
			p.r.Kept(p.now, left)
		}
	case s.ConfirmedAt != 0:
		p.kept = slices.Clone(p.kept)
		for k := range p.kept {
			if p.kept[k].Index == s.ConfirmedAt {
				p.kept[k].Confirmed = s.Confirmed
			}
		}
		Confirmed(p.r, p.now, p.kept)
	case s.Begin != nil:
		p.kept = append([]storage.Manifest{*s.Begin}, p.kept...)
		p.r.InstallBegun(p.now, s.Begin.Index, nil, nil)
	case s.Finish:
		p.r.InstallFinished(p.now, p.kept, 0, nil)
	}
}

// says lets a member answer that it has a digest at an index.
func (p *patient) says(from byte, i protocol.Index, digest byte) {
	p.t.Helper()
	p.r.Receive(p.now, id(from), &protocol.DigestAnswer{Index: i, Known: true, Digest: [16]byte{digest}})
	p.serve()
}

func (p *patient) asks(from byte, i protocol.Index, digest byte) {
	p.t.Helper()
	p.r.Receive(p.now, id(from), &protocol.DigestQuestion{Index: i, Known: true, Digest: [16]byte{digest}})
	p.serve()
}

// offer offers a checkpoint of the log with a digest.
func (p *patient) offer(rec storage.Opened, i protocol.Index, digest byte) {
	p.t.Helper()
	d := described(rec, i, 0)
	d.Digest = [16]byte{digest}
	p.r.install.offered(p.now, &protocol.ManifestOffer{From: id(2), Manifest: storage.EncodeManifest(d)}, false)
	p.r.pump(p.now)
	p.serve()
}

func (p *patient) wants(what string, quarantined bool) {
	p.t.Helper()
	if got := p.r.Status(p.now).Quarantine != ""; got != quarantined {
		p.t.Errorf("%s: in quarantine: %t, want %t\n%s", what, got, quarantined, p.events)
	}
}

func always(digest byte) func(protocol.Index) byte {
	return func(protocol.Index) byte { return digest }
}

// Counterexample: the leader has diverged, and its checkpoint entry says so of everybody
// else. A member that believed it would throw away what is right.
func TestLeaderAloneConvictsNobody(t *testing.T) {
	for _, self := range []byte{1, 9} { // a voter, a passive
		p := patientOf(t, self, marked([]byte{1, 2, 3}, 7, 7), always(1))
		if len(p.asked) < 2 {
			t.Fatalf("%v were asked, want the actives", p.asked)
		}
		p.wants("the leader's checkpoint entry differs", false)
		p.says(2, 10, 7)
		p.wants("one active differs", false)
		p.says(3, 10, 1)
		if self == 9 {
			p.wants("one differs, one agrees, one is silent", false)
			p.says(1, 10, 1)
		}
		p.wants("the majority agrees with it", false)
		if !strings.Contains(p.events, "at a majority of the actives and here") {
			t.Errorf("nobody says who has diverged:\n%s", p.events)
		}
	}
}

// Counterexample: my own state is bad, everybody's differs from mine, and I take
// it for theirs. And the other way round: a flock of passives that has gone wrong
// together votes out an active.
func TestMajorityOfTheActivesDecidesAndPassivesHaveNoSay(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	for passive := byte(10); passive < 20; passive++ {
		p.asks(passive, 10, 7)
		p.says(passive, 10, 7)
	}
	p.wants("ten passives differ", false)
	p.asks(2, 10, 7)
	p.wants("one active differs", false)
	p.asks(3, 10, 7)
	p.wants("two actives of three differ", true)
}

// A leader that has diverged agrees with its own checkpoint entries for ever: it finds out
// from those who ask.
func TestDivergedMemberFindsOutFromTheQuestionsOfOthers(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	if len(p.asked) != 0 {
		t.Fatalf("%v were asked, all agree", p.asked)
	}
	p.asks(2, 10, 7)
	if len(p.asked) == 0 {
		t.Error("it does not ask the others when an active contradicts it")
	}
	p.says(3, 10, 7)
	p.wants("two actives of three differ", true)
	if raft(p.r).State().String() == "leader" {
		t.Error("it leads")
	}
}

func TestWithoutAMajorityNobodyActsAndItIsSaid(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 2, 2), always(1))
	p.says(2, 10, 2)
	p.says(3, 10, 3)
	p.wants("three actives, three states", false)
	if s := p.r.Status(p.now); !strings.Contains(s.Disputed, "nobody acts") || !strings.Contains(p.events, "nobody acts") {
		t.Errorf("it says %q, events\n%s", s.Disputed, p.events)
	}
	// One of two is no majority.
	p = patientOf(t, 1, marked([]byte{1, 2}, 2, 2), always(1))
	p.says(2, 10, 2)
	p.wants("two actives, two states", false)
	for _, from := range []byte{1, 2} { // nor for a passive
		p = patientOf(t, 9, marked([]byte{1, 2}, 2, 2), always(1))
		p.says(from, 10, 2)
		p.wants("one of two actives differs", false)
	}
	// One that has no answer does not wait for it silently for ever.
	p = patientOf(t, 1, marked([]byte{1, 2, 3}, 2, 2), always(1))
	p.says(2, 10, 2)
	for p.now < protocol.Instant(2*digestPatience) {
		p.now = max(p.now.Add(time.Millisecond), p.r.Deadline())
		p.r.Tick(p.now)
		p.serve()
	}
	p.wants("one active differs and one is silent", false)
	if s := p.r.Status(p.now); !strings.Contains(s.Disputed, "too few") {
		t.Errorf("it says %q", s.Disputed)
	}
}

// Both halves of a joint configuration have to agree.
func TestHalfAJointConfigurationConvictsNobody(t *testing.T) {
	rec := marked([]byte{1, 2, 3}, 1, 1)
	before := conf(3, []byte{1, 2, 3})
	next := conf(3, []byte{4, 5, 6})
	joint := before.Toward(next)
	rec.Configurations = protocol.NewConfigurations(protocol.ConfigurationAt{Index: 1, Configuration: joint})
	p := patientOf(t, 9, rec, always(1))
	p.asks(4, 10, 7)
	for _, from := range []byte{4, 5, 6} {
		p.says(from, 10, 7)
	}
	p.wants("all of one half differ", false)
	p.says(1, 10, 7)
	p.says(2, 10, 7)
	p.wants("and a majority of the other", true)
}

// Counterexample: a state is known to be bad and goes on to be read, fed to
// others as checkpoints, and asked for as a witness.
func TestMemberInQuarantineServesFeedsAndTestifiesNothing(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 7, 7), always(1))
	p.r.reads.asked = []readGroup{{id: 1, requests: []uint64{5}, until: 1 << 60}} // a read is on its way
	p.says(2, 10, 7)
	p.says(3, 10, 7)
	p.wants("the actives differ", true)
	if len(p.reads) != 1 || !errors.Is(p.reads[0], protocol.ErrNotServing) {
		t.Errorf("the read that was on its way: %v, want not serving", p.reads)
	}
	p.reads = nil
	if fmt.Sprint(p.bad) == "[]" || len(p.kept) != 0 && p.kept[0].Index >= 10 {
		t.Errorf("checkpoints %v are given up, %d kept", p.bad, len(p.kept))
	}
	if g := p.r.progressNow(p.now); g.Source || !g.Lost {
		t.Errorf("gossip is told %+v: a source", g)
	}
	p.r.Read(p.now, 1)
	p.serve()
	if len(p.reads) != 1 || !errors.Is(p.reads[0], protocol.ErrNotServing) {
		t.Errorf("a read is answered by %v, want not serving", p.reads)
	}
	p.answers = nil
	p.asks(2, 10, 7)
	if len(p.answers) != 1 || p.answers[0].Known {
		t.Errorf("it testifies %+v", p.answers)
	}
	for range 100 { // and it does not campaign
		p.now = max(p.now.Add(time.Millisecond), p.r.Deadline())
		p.r.Tick(p.now)
		p.serve()
	}
	if s := raft(p.r).State().String(); s != "follower" {
		t.Errorf("it is %s", s)
	}
}

// Counterexample: the log goes on from the checkpoint, the member has applied
// beyond it, and nobody writes: it would wait for a newer one for ever. Or it
// serves as soon as the old state is in, and its clients read backwards.
func TestStateIsReinstalledBelowWhatWasAppliedAndServedOnlyAbove(t *testing.T) {
	rec := marked([]byte{1, 2, 3}, 7, 7)
	digest := byte(1)
	p := patientOf(t, 1, rec, func(protocol.Index) byte { return digest })
	p.says(2, 10, 7)
	p.says(3, 10, 7)
	p.wants("the actives differ", true)
	digest = 7
	p.offer(rec, 10, 7)
	if len(p.replaced) != 1 || p.replaced[0] != 10 || p.applied != 20 {
		t.Errorf("states replaced at %v, applied to %d; want 10 and 20 again", p.replaced, p.applied)
	}
	p.wants("it has come to 20 again", false)
	if !strings.Contains(p.events, "has come to 20 again") {
		t.Errorf("events\n%s", p.events)
	}
	// Half way it does not serve.
	s := standing{quarantine: quarantine{until: 20}}
	s.set(replaying, true)
	d := audit{ground: ground{standing: &s, log: &log{applied: 19}}}
	if d.healed() || s.may(mayAnswer) {
		t.Error("it serves at 19, it had served at 20")
	}
}

// Counterexample: the checkpoint that is offered to the one that heals comes from
// the next one that has diverged.
func TestCheckpointIsInstalledOnlyIfTheMajorityHasItsDigest(t *testing.T) {
	rec := marked([]byte{1, 2, 3}, 7, 7)
	p := patientOf(t, 1, rec, always(1))
	p.says(2, 10, 7)
	p.asked = nil
	p.says(3, 10, 7)
	p.offer(rec, 10, 8)
	p.offer(rec, 15, 8)
	if len(p.replaced) != 0 || len(p.asked) != 2 {
		t.Fatalf("replaced at %v, asked %v; want the two actives to be asked first", p.replaced, p.asked)
	}
	p.says(2, 15, 9)
	p.says(3, 15, 9)
	if len(p.replaced) != 0 {
		t.Fatal("a state was installed that no majority has")
	}
	p.offer(rec, 15, 9)
	if len(p.replaced) != 1 || p.replaced[0] != 15 {
		t.Errorf("replaced at %v, want 15\n%s", p.replaced, p.events)
	}
}

// Counterexample: the leader finds its log's head in the way of a member that it
// thinks far behind; the offer is of a log that contradicts what is committed.
func TestCheckpointThatContradictsTheCommittedLogIsRefused(t *testing.T) {
	rec := marked([]byte{1, 2, 3}, 7, 7)
	p := patientOf(t, 1, rec, always(1))
	p.says(2, 10, 7)
	p.says(3, 10, 7)
	other := rec
	other.Tail = append([]protocol.Entry(nil), rec.Tail...)
	other.Tail[9].Sum[0]++
	p.offer(other, 10, 7)
	if len(p.replaced) != 0 || !strings.Contains(p.events, "contradicts the committed log") {
		t.Errorf("replaced at %v, events\n%s", p.replaced, p.events)
	}
}

// What is damaged in memory is found by counting, and judged like the rest.
func TestRecountedDigestIsComparedWithTheActives(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	p.r.Recounted(p.now, 15, [16]byte{5})
	p.serve()
	if len(p.asked) != 2 {
		t.Errorf("asked %v", p.asked)
	}
	p.wants("nobody has answered", false)
	p.says(2, 15, 1)
	p.says(3, 15, 1)
	p.wants("the others have what its entries led to", true)
}

// A leader whose digest had gone wrong, and not its state, tells the others what
// it counted: they would ask about each of its checkpoint entries.
func TestRecountedDigestIsWhatTheNextCheckpointEntryTells(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1}, 1, 1), always(1))
	p.r.Recounted(p.now, 15, [16]byte{5})
	p.serve()
	if got, want := p.r.checkpoints.digest, ([16]byte{5}); got != want || p.r.checkpoints.entryAt != 15 {
		t.Errorf("the next checkpoint entry tells %x of %d, want %x of 15", got, p.r.checkpoints.entryAt, want)
	}
}
