package replica

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// convicted is a member that two actives have told that its state at 15 is
// wrong. It has checkpoints at 10 and 5, which were right. before happens to it
// when all is well.
func convicted(t *testing.T, before func(*patient)) *patient {
	t.Helper()
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	before(p)
	p.asks(2, 15, 7)
	p.says(3, 15, 7)
	p.wants("two actives of three differ", true)
	return p
}

// [S] A batch was with the state machine when its state was given up: what comes of it is
// of the bad state, and answers nobody. Who waits for it is not left waiting: the outcome
// is open, for this member's clients and for those of the member that has forwarded to it.
func TestWhoWaitsForASuspendedStateIsToldThatTheOutcomeIsOpen(t *testing.T) {
	for _, bad := range []bool{true, false} {
		rec := marked([]byte{1, 2, 3}, 1, 1)
		late := rec.Tail[18:20]
		onItsWay := func(p *patient) {
			p.r.log.applied, p.applied = 18, 18
			p.r.apply.flights = []flight{{entries: late}}
			p.r.commands.proposed = []proposed{
				{index: 19, term: late[0].Term, from: origin{request: 5}},
				{index: 20, term: late[1].Term, from: origin{request: 6, member: id(2)}},
			}
		}
		p := patientOf(t, 1, rec, always(1))
		onItsWay(p)
		batch := Apply{Entries: late, Epoch: p.r.Effects().Gate, expected: p.r.commands.expected(19, 20)}
		if batch.Epoch == 0 || len(batch.expected) != 2 {
			t.Fatalf("handed out in epoch %d for %d who wait, want a state that answers both", batch.Epoch, len(batch.expected))
		}
		if bad {
			p.asks(2, 15, 7)
			p.says(3, 15, 7)
			p.wants("two actives of three differ", true)
		}
		if bad {
			if p.gate != 0 || p.told[5] != protocol.ErrUnknownOutcome.Code || p.told[6] != protocol.ErrUnknownOutcome.Code || len(p.told) != 2 {
				t.Errorf("the state is suspended: the gate is at %d, and told is %v", p.gate, p.told)
			}
		}
		p.r.Applied(p.now, appliedOf(&batch, nil, func(uint64, protocol.Result) {}))
		fx := p.r.Effects()
		forwarded := 0
		for _, s := range fx.Send {
			if _, ok := s.Message.(*protocol.ForwardAnswer); ok {
				forwarded++
			}
		}
		if want := 1; bad && forwarded != 0 || !bad && (forwarded != want || fx.Gate != batch.Epoch) {
			t.Errorf("in quarantine: %t, and the batch makes %d answers for others, at the gate %d", bad, forwarded, fx.Gate)
		}
	}
}

// [S] A state that may answer again does so in another epoch: what was handed out before
// stays unanswered, however late it is applied. Each trouble that forbids answers ends the
// epoch once, and a second one that comes beside it needs no other.
func TestAnEpochEndsWithItsStateAndNeverComesBack(t *testing.T) {
	var s standing
	s.epoch = 1
	for _, x := range []struct {
		trouble trouble
		on      bool
		want    uint64
	}{
		{halted, true, 1}, {halted, false, 1}, {outgrown, true, 1}, {outgrown, false, 1},
		{discarded, true, 0}, {replaying, true, 0}, {discarded, false, 0}, {replaying, false, 2},
		{otherHistory, true, 0}, {otherHistory, false, 3}, {beyond, true, 0}, {beyond, false, 4},
	} {
		if s.set(x.trouble, x.on); s.answering() != x.want {
			t.Errorf("trouble %d is %t: epoch %d, want %d", x.trouble, x.on, s.answering(), x.want)
		}
	}
}

// [S] A member that has been wrong feeds nobody, not even checkpoints from before
// it was found to be: they agreed with one leader's checkpoint entries, no majority has looked.
func TestMemberInQuarantineOffersNoOlderCheckpoint(t *testing.T) {
	offers := func(p *patient) (some bool) {
		p.r.Effects()
		p.r.Receive(p.now, id(2), &protocol.ManifestWant{Above: 1})
		for _, s := range p.r.Effects().Send {
			d, ok := s.Message.(*protocol.Manifest)
			some = some || ok && len(d.Manifest) > 0
		}
		return some
	}
	p := convicted(t, func(p *patient) {
		right(p.r, p.kept[1:]...)
		p.r.Kept(p.now, p.kept)
		if !offers(p) {
			t.Error("a sound member offers nothing")
		}
	})
	if len(p.kept) != 2 || p.kept[0].Index != 10 {
		t.Fatalf("%d checkpoints are kept, want those at 10 and 5", len(p.kept))
	}
	if offers(p) {
		t.Error("it offers a checkpoint")
	}
}

// [S] A member in quarantine applies its log again from a checkpoint of the
// others, which may be an old one: the log's head stays.
func TestHeadIsNotDroppedInQuarantine(t *testing.T) {
	for _, bad := range []bool{true, false} {
		p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
		if bad {
			p = convicted(t, func(*patient) {})
		}
		p.r.cfg.RetainEntries = 1
		p.r.Kept(p.now, right(p.r, p.kept...))
		if dropped := p.r.checkpoints.dropped != 0; dropped == bad {
			t.Errorf("in quarantine: %t, and the head is dropped: %t", bad, dropped)
		}
	}
}

// Counterexample (simulated seed 926): two actives of three are wrong one after the
// other, the first hears of it when it has long been right again, and both give their
// states up. Whoever is in quarantine has no say: no majority could heal either, for
// ever. The first one's state is that of a majority at a later checkpoint entry, which it asks for.
func TestStateThatIsRightAtALaterCheckpointEntryIsKept(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	p.asks(2, 10, 7)
	p.asked = nil
	p.says(3, 10, 7)
	p.wants("two actives of three had something else at 10", true)
	if len(p.asked) != 2 {
		t.Fatalf("%v are asked about 15, want both actives", p.asked)
	}
	p.answers = nil
	p.asks(3, 15, 1)
	if len(p.answers) != 1 || p.answers[0].Known {
		t.Errorf("it testifies %+v before it knows that it is right", p.answers)
	}
	p.wants("one active has the same at 15, and this one", false)
	if !strings.Contains(p.events, "was right again at 15") || len(p.replaced) != 0 {
		t.Errorf("states replaced at %v, events\n%s", p.replaced, p.events)
	}
	if len(p.kept) != 1 || p.kept[0].Index != 5 {
		t.Errorf("%v are kept, want the one at 5: those from 10 on were given up", p.kept)
	}
	p.r.Read(p.now, 1)
	p.serve()
	if len(p.reads) > 0 && errors.Is(p.reads[0], protocol.ErrNotServing) {
		t.Errorf("a read is answered by %v", p.reads[0])
	}
}

// [S] It is kept for nothing else: neither the word of fewer than a majority, nor a checkpoint entry
// whose checkpoint was not kept here, where memory may be damaged and not counted yet.
func TestStateInDoubtIsKeptForNothingLess(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	p.asks(2, 10, 7)
	p.says(3, 10, 7)
	p.says(2, 15, 7)
	p.says(3, 15, 8)
	p.wants("nobody has the same at 15", true)
	p.says(3, 15, 7)
	p.wants("a majority has something else at 15, too", true)

	p = patientOf(t, 1, marked([]byte{1, 2, 3, 4, 5}, 1, 1), always(1))
	for from := byte(2); from <= 4; from++ {
		p.asks(from, 10, 7)
	}
	p.wants("three actives of five differ", true)
	p.says(2, 15, 1)
	p.wants("two of five have the same at 15", true)
	p.says(5, 15, 1)
	p.wants("three of five have the same at 15", false)

	p = patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	p.kept = p.kept[1:]
	p.r.Kept(p.now, p.kept) // the one at 15 is not there
	p.asks(2, 10, 7)
	p.says(3, 10, 7)
	p.says(2, 15, 1)
	p.says(3, 15, 1)
	p.wants("nothing was counted at 15", true)
}

// The state is kept after all while a checkpoint is being fetched in its place: that would
// come to its end for nothing, and be thrown away.
func TestInstallationEndsWhenTheStateIsKept(t *testing.T) {
	for _, far := range []install.Phase{install.Begins, install.Fetches} {
		rec := marked([]byte{1, 2, 3}, 1, 1)
		p := patientOf(t, 1, rec, always(1))
		p.asks(2, 10, 7)
		p.says(3, 10, 7)
		d := described(rec, 5, 2)
		d.Digest = [16]byte{1}
		p.r.audit.polled = keepDigest(p.r.audit.polled, digestAt{5, d.Digest})
		p.r.install.offered(p.now, &protocol.ManifestOffer{From: id(2), Manifest: storage.EncodeManifest(d)}, false)
		p.r.pump(p.now)
		if e := p.r.Effects(); len(e.Install) != 1 || e.Install[0].Begin == nil {
			t.Fatalf("installs %+v, want a beginning", e.Install)
		}
		if far == install.Fetches {
			p.r.InstallBegun(p.now, d.Index, []int{0, 1}, nil)
		}
		if p.r.install.Phase != far {
			t.Fatalf("it is at stage %d, want %d", p.r.install.Phase, far)
		}
		p.r.Effects()
		p.r.Receive(p.now, id(3), &protocol.DigestAnswer{Index: 15, Known: true, Digest: [16]byte{1}})
		aborted := false
		for _, s := range p.r.Effects().Install {
			aborted = aborted || s.Abort
		}
		p.wants("one active has the same at 15, and this one", false)
		if !aborted || p.r.install.Phase != install.None || p.r.Status(p.now).Installing != 0 {
			t.Errorf("from stage %d on: given up: %t, it is at stage %d", far, aborted, p.r.install.Phase)
		}
	}
}

// A checkpoint entry was with the state machine when the state came into doubt. The state is kept: the
// next checkpoint entry is compared with that one, others are told of both, and this one, should it
// lead, says in its next checkpoint entry what it was there.
func TestCheckpointEntryOfAStateInDoubtCountsWhenItIsKept(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	mark := protocol.Entry{Index: 20, Term: 2, Kind: protocol.EntryCheckpoint, Data: protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{Previous: 15, Digest: [16]byte{1}})}
	p.r.log.applied, p.applied = 19, 19
	p.r.apply.flights = []flight{{entries: []protocol.Entry{mark}}}
	p.asks(2, 10, 7)
	p.says(3, 10, 7)
	p.wants("two actives of three had something else at 10", true)
	p.r.Applied(p.now, Applied{Last: 20, Results: make([]protocol.Result, 1), Digest: [16]byte{5}})
	p.serve()
	p.answers = nil
	p.asks(2, 20, 5)
	if len(p.answers) != 1 || p.answers[0].Known {
		t.Errorf("it testifies %+v before it knows that it is right", p.answers)
	}
	p.says(3, 15, 1)
	p.wants("one active has the same at 15, and this one", false)
	for _, want := range []digestAt{{15, [16]byte{1}}, {20, [16]byte{5}}} {
		p.answers = nil
		p.asks(2, want.index, want.digest[0])
		if len(p.answers) != 1 || !p.answers[0].Known || p.answers[0].Digest != want.digest {
			t.Errorf("asked for %d it answers %+v, want %x", want.index, p.answers, want.digest)
		}
	}
	if c := &p.r.checkpoints; c.entryAt != 20 || c.digest != [16]byte{5} {
		t.Errorf("the last checkpoint entry is %d with %x, want 20 with what was applied there", c.entryAt, c.digest)
	}
}

// [S] The batch that ends with the checkpoint entry at which the state is found to be wrong was applied
// to that state: its commands have an unknown outcome.
func TestBatchWhoseCheckpointEntryConvictsAnswersNobody(t *testing.T) {
	p := patientOf(t, 1, marked([]byte{1, 2, 3}, 1, 1), always(1))
	late := []protocol.Entry{
		{Index: 19, Term: 2, Kind: protocol.EntryCommand},
		{Index: 20, Term: 2, Kind: protocol.EntryCheckpoint, Data: protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{Previous: 15, Digest: [16]byte{7}})},
	}
	x := p.r.audit.poll(15)
	x.reports = []digestReport{{id(2), [16]byte{7}}, {id(3), [16]byte{7}}}
	p.r.log.applied, p.applied = 18, 18
	p.r.apply.flights = []flight{{entries: late}}
	p.r.commands.proposed = []proposed{{index: 19, term: 2, from: origin{member: id(2), request: 5}}}
	p.r.Effects()
	p.r.Applied(p.now, Applied{Last: 20, Results: make([]protocol.Result, 2), Digest: [16]byte{1}})
	var told []protocol.Result
	for _, s := range p.r.Effects().Send {
		if a, ok := s.Message.(*protocol.ForwardAnswer); ok && s.To == id(2) && a.Request == 5 {
			told = append(told, a.Result)
		}
	}
	p.wants("a majority has had something else at 15", true)
	if len(told) != 1 || told[0].Code != protocol.ErrUnknownOutcome.Code {
		t.Errorf("who forwarded a command is told %+v, want one unknown outcome", told)
	}
}

// ADR 41: it asks again whenever it is offered a checkpoint, also one that it does not
// take: after a second fall it may install nothing for a while, and while another one is
// being fetched.
func TestStateInDoubtAsksAgainAtEveryOffer(t *testing.T) {
	for _, hindered := range []string{"nothing", "a pause", "another installation"} {
		rec := marked([]byte{1, 2, 3}, 1, 1)
		p := patientOf(t, 1, rec, always(1))
		p.asks(2, 10, 7)
		p.says(3, 10, 7)
		p.says(2, 15, 7)
		p.says(3, 15, 8)
		p.wants("no majority has one at 15", true)
		switch hindered {
		case "a pause":
			p.r.install.retryAt = p.now.Add(time.Minute)
		case "another installation":
			p.r.install.Phase = install.Finishes
		}
		offered := func() (about []protocol.MemberID) {
			p.asked = nil
			d := described(rec, 5, 2)
			d.Digest = [16]byte{9}
			p.r.audit.polled = keepDigest(p.r.audit.polled, digestAt{5, [16]byte{1}}) // it is refused
			p.r.install.offered(p.now, &protocol.ManifestOffer{From: id(2), Manifest: storage.EncodeManifest(d)}, true)
			p.r.pump(p.now)
			p.serve()
			return p.asked
		}
		if again := offered(); len(again) != 0 {
			t.Errorf("%s: %v are asked again within the second", hindered, again)
		}
		p.now = p.now.Add(digestPause)
		if again := offered(); len(again) != 2 {
			t.Errorf("%s: %v are asked again about 15, want both actives", hindered, again)
		}
	}
}
