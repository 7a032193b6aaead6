package replica

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// sum is the log sum after an entry of the shelf.
func (s *shelf) sum(i protocol.Index) protocol.LogSum { return s.disk[i-1].Sum }

// repairs answers as a member that holds the whole log.
func (s *shelf) repairs(_ protocol.MemberID, want *protocol.RepairWant) *protocol.Repair {
	entries := append([]protocol.Entry(nil), s.disk[want.First-1:want.Last]...)
	return &protocol.Repair{Active: true, First: 1, Commit: 100, Before: s.sum(want.First - 1), Entries: entries}
}

// rots says what is lost, and takes what is found.
func (s *shelf) rots(found *[]protocol.Entry) func(*repair.Step) *repair.Done {
	return func(step *repair.Step) *repair.Done {
		switch {
		case step.Look != 0:
			if step.Look < s.bad.First || step.Look > s.bad.Last {
				s.t.Errorf("it looks at %d", step.Look)
			}
			return &repair.Done{ID: step.ID, Lost: []storage.Lost{
				{After: s.bad.First - 1, Sum: s.sum(s.bad.First - 1), Last: s.bad.Last - 4, LastSum: s.sum(s.bad.Last - 4)},
				{After: s.bad.Last - 4, Sum: s.sum(s.bad.Last - 4), Last: s.bad.Last, LastSum: s.sum(s.bad.Last)},
			}}
		case step.Write:
			for _, run := range step.Found {
				*found = append(*found, run...)
			}
			s.bad = protocol.Range{}
			return &repair.Done{ID: step.ID}
		}
		return nil
	}
}

// A place that a running member cannot read is repaired with what the others hold, in
// whatever role, and is forgotten: it waited for the next start.
func TestPlaceThatCannotBeReadIsRepairedWhileTheMemberRuns(t *testing.T) {
	for name, apply := range map[string]bool{"needed to feed": false, "needed to apply": true} {
		for _, cause := range []error{errors.New("input/output error"), protocol.ErrCorrupt.With("damaged data: payload")} {
			applied := protocol.Index(60)
			if apply {
				applied = 20
			}
			s := newShelf(t, applied)
			var found []protocol.Entry
			s.err, s.has = cause, 20
			s.rebuilds, s.holds = s.rots(&found), s.repairs
			s.lead()
			s.until(name+": it can be read", func() bool { return s.said(protocol.EventReadable, "31 to 40") > 0 })
			s.until(name+": all is applied, and voter 3 is level", func() bool { return s.r.log.applied >= 100 && s.has == s.r.log.tail.last() })
			if len(found) != 10 || found[0].Index != 31 || found[9].Index != 40 {
				t.Errorf("%s: written are %v", name, found)
			}
			expect(t, name+": said", s.said(protocol.EventRepaired, "entries 31 to 40, which are written again, from"), 1)
			expect(t, name+": status", s.r.Status(s.now).Unreadable, "")
			expect(t, name+": installs", len(s.installs), 0)
			if s.wants == 0 || s.now > protocol.Instant(20*time.Second) {
				t.Errorf("%s: asked %d times, repaired after %v", name, s.wants, s.now)
			}
		}
	}
}

// Places in several files are repaired one after the other, without a pause between them.
func TestSeveralPlacesAreRepairedOneAfterTheOther(t *testing.T) {
	s := newShelf(t, 60)
	var found []protocol.Entry
	s.holds, s.has = s.repairs, 20
	s.bad, s.also = protocol.Range{First: 21, Last: 30}, protocol.Range{First: 41, Last: 50}
	repairs := s.rots(&found)
	s.rebuilds = func(step *repair.Step) *repair.Done {
		done := repairs(step)
		if step.Write {
			s.bad, s.also = s.also, protocol.Range{}
		}
		return done
	}
	s.lead()
	s.until("it fails", func() bool { return s.failed > 0 })
	s.r.LogRead(s.now, s.fetch(fetchGossip, 41), nil, &storage.Unreadable{Entries: protocol.Range{First: 41, Last: 50}, Segment: "00000009.wal", Err: s.err})
	since := s.now
	s.until("both are repaired", func() bool { return s.said(protocol.EventReadable, "") == 2 })
	expect(t, "written", len(found), 20)
	if s.now > since.Add(10*time.Second) {
		t.Errorf("it took %v", s.now.Sub(since))
	}
}

// A place that can be read again soon is not repaired.
func TestReadErrorThatPassesIsNotRepaired(t *testing.T) {
	s := newShelf(t, 60)
	s.has = 20
	s.lead()
	s.until("it fails", func() bool { return s.failed > 0 })
	s.bad = protocol.Range{}
	s.pass(time.Minute)
	expect(t, "steps", len(s.steps), 0)
}

// [S] Members that hold something else, and say that they are active, or answer what
// was not asked, give nothing; one that has the entries gives them, whoever it is.
func TestNothingElseThanWhatWasLostIsWritten(t *testing.T) {
	s := newShelf(t, 60)
	var found []protocol.Entry
	s.rebuilds = s.rots(&found)
	s.holds = func(who protocol.MemberID, want *protocol.RepairWant) *protocol.Repair {
		answer := s.repairs(who, want)
		switch who {
		case id(2):
			answer.Active = false
			answer.Entries[0].Data = []byte("another")
			protocol.EncodeEntries(answer.Entries[:1])
		case id(3):
			answer.Entries = answer.Entries[len(answer.Entries)-1:]
		}
		return answer
	}
	s.has = 20
	s.r.SetPeers(s.now, []protocol.Peer{
		{ID: id(2), Name: "a2", Role: protocol.RoleActive}, {ID: id(3), Name: "a3", Role: protocol.RoleActive}, {ID: id(8), Name: "p8", Role: protocol.RolePassive},
	})
	s.lead()
	s.until("it can be read", func() bool { return s.said(protocol.EventReadable, "31 to 40") > 0 })
	for k := range found {
		if e := &s.disk[30+k]; found[k].Index != e.Index || string(found[k].Raw) != string(e.Raw) {
			t.Errorf("written is %v, lost was %v", found[k], e)
		}
	}
	expect(t, "from", s.said(protocol.EventRepaired, "from p8"), 1)
	for _, who := range []string{"a2", "a3"} { // what they sent is not in it
		expect(t, "from "+who, s.said(protocol.EventRepaired, who), 0)
	}
}

// An active that has committed something else says nothing of what was lost: Raft does.
func TestCommittedEntriesOfOthersDoNotTakeThePlaceOfLostOnes(t *testing.T) {
	s := newShelf(t, 60)
	var found []protocol.Entry
	s.rebuilds = s.rots(&found)
	s.holds = func(who protocol.MemberID, want *protocol.RepairWant) *protocol.Repair {
		answer := s.repairs(who, want)
		answer.Entries[0].Data = []byte("another")
		protocol.EncodeEntries(answer.Entries[:1])
		return answer
	}
	s.has = 20
	s.lead()
	s.until("it is given up", func() bool { return s.said(protocol.EventUnreadable, "cannot be repaired") > 0 })
	expect(t, "written", len(found), 0)
	expect(t, "role", s.r.log.leads(), true)
}

// What nobody holds is asked for rarely, and the log stays as it is.
func TestPlaceThatNobodyHoldsIsTriedAgainRarely(t *testing.T) {
	s := newShelf(t, 60)
	var found []protocol.Entry
	s.rebuilds, s.has = s.rots(&found), 20
	s.holds = func(protocol.MemberID, *protocol.RepairWant) *protocol.Repair {
		return &protocol.Repair{Active: true, First: 1, Commit: 100}
	}
	s.lead()
	s.pass(20 * time.Minute)
	looks := 0
	for _, step := range s.steps {
		if step.Look != 0 {
			looks++
		}
	}
	if looks < 5 || looks > 8 {
		t.Errorf("tried %d times in twenty minutes, want six", looks)
	}
	expect(t, "written", len(found), 0)
	s.holds = s.repairs
	for end := s.now.Add(11 * time.Minute); s.said(protocol.EventReadable, "") == 0 && s.now < end; {
		s.pass(time.Second)
	}
	expect(t, "when somebody has it again", s.r.Status(s.now).Unreadable, "")

	// What is lost again is another trouble: it does not wait as long as the last one.
	s.bad = protocol.Range{First: 31, Last: 40}
	s.holds = func(protocol.MemberID, *protocol.RepairWant) *protocol.Repair {
		return &protocol.Repair{Active: true, First: 1, Commit: 100}
	}
	s.r.LogRead(s.now, s.fetch(fetchGossip, 31), nil, &storage.Unreadable{Entries: s.bad, Segment: "00000008.wal", Err: s.err})
	soon := func() int {
		const text = "it is tried again in 30s"
		return s.said(protocol.EventGaveUp, text) + s.said(protocol.EventUnreadable, text)
	}
	had := soon()
	s.until("it is given up, for 30 s", func() bool { return soon() > had })
}

// A member that cannot apply what nobody can give it takes the state of the others: it
// waited for ever. Its log stays, with what it cannot read; the leader keeps its lead.
func TestMemberThatCannotApplyInstallsACheckpointOfTheOthers(t *testing.T) {
	s := newShelf(t, 20)
	s.lead()
	s.until("it is given up", func() bool { return s.said(protocol.EventUnreadable, "as soon as there is one") > 0 })
	rec := found(2, 100, 100, threeVoters)
	offer := func(i protocol.Index) {
		d := described(rec, i, 1)
		s.r.install.offered(s.now, &protocol.ManifestOffer{From: id(2), Manifest: storage.EncodeManifest(d)}, false)
		s.r.pump(s.now)
		s.settle()
	}
	p := s.r.progressNow(s.now)
	if !p.Lost || p.Above != 39 {
		t.Errorf("it looks for a checkpoint: %v, above %d; want one above 39", p.Lost, p.Above)
	}
	offer(35)
	expect(t, "installs what does not help", len(s.installs), 0)
	offer(60)
	if len(s.installs) != 1 || s.installs[0].Begin == nil || s.installs[0].Begin.Index != 60 {
		t.Fatalf("installs %+v, want the checkpoint at 60", s.installs)
	}
	expect(t, "leads", s.r.log.leads(), true)
	d := *s.installs[0].Begin
	s.r.InstallBegun(s.now, 60, nil, nil)
	s.settle()
	s.r.InstallFinished(s.now, []storage.Manifest{d}, 0, nil)
	s.settle()
	expect(t, "taken over", s.adopted, 60)
	s.until("all is applied", func() bool { return s.r.log.applied >= 100 })
	expect(t, "stuck", s.r.Status(s.now).Stuck, "")
	expect(t, "the log begins at", s.r.log.logTerms().FirstIndex(), 1)
	expect(t, "leads", s.r.log.leads(), true)
	if !strings.Contains(s.r.Status(s.now).Unreadable, "31 to 40") {
		t.Error("it does not say any more what it cannot read")
	}
	if p := s.r.progressNow(s.now); p.Lost {
		t.Error("it looks for a checkpoint still")
	}
}

// Counterexample: a member that keeps its log as it is, because it is of another
// history, has a place to repair. It repairs nothing, and woke up at once again, for ever.
func TestMemberThatRepairsNothingDoesNotWakeUpForIt(t *testing.T) {
	for name, keep := range map[string]func(r *Replica){
		"another history": func(r *Replica) { r.standing.stray(&gossip.Divergence{Index: 50}) },
		"a reset":         func(r *Replica) { r.standing.set(renewing, true) },
		"a failed disk":   func(r *Replica) { r.disk.failed = errors.New("input/output error") },
	} {
		s := newShelf(t, 60)
		s.lead()
		p := place{entries: protocol.Range{First: 31, Last: 40}, failed: repairAfter, next: s.now.Add(time.Minute), said: true}
		s.r.unreadable.places = []place{p}
		if at := s.r.unreadable.repairing.deadline(); at > s.now {
			t.Fatalf("%s: the place is not due: the test tests nothing", name)
		}
		keep(s.r)
		if at := s.r.unreadable.deadline(); at <= s.now {
			t.Errorf("%s: it wants to wake up at %v, it is %v", name, at, s.now)
		}
	}
}
