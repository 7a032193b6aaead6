package replica

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// shelf is voter 1 of three with a committed log to 100, of which the last forty
// entries are in memory and the rest on a disk that may be bad. Voter 2 agrees with
// all that it says, voter 3 has the log up to has.
type shelf struct {
	t           *testing.T
	r           *Replica
	now         protocol.Instant
	disk        []protocol.Entry
	bad         protocol.Range
	also        protocol.Range // bad, too, and above
	err         error
	failed      int            // reads
	has         protocol.Index // of voter 3
	offered     []protocol.Index
	transferees []protocol.MemberID
	room        []protocol.MemberID // whose disks have room
	unfit       []protocol.MemberID // who could answer nobody as leaders
	away        []protocol.MemberID // who gets nothing
	got         []protocol.Message  // by passive 8
	answers     []Answer
	reads       []ReadAnswer
	events      []protocol.Event
	// rebuilds answers what the log is asked to repair; nil: it cannot.
	rebuilds func(*repair.Step) *repair.Done
	steps    []repair.Step
	// holds answers who is asked for lost entries; nil: nobody does.
	holds func(protocol.MemberID, *protocol.RepairWant) *protocol.Repair
	wants int
	// installs are the steps of an installation that were asked for.
	installs []InstallStep
	adopted  protocol.Index
}

func newShelf(t *testing.T, applied protocol.Index, kept ...protocol.Index) *shelf {
	t.Helper()
	rec := found(2, 100, 100, threeVoters)
	s := &shelf{t: t, disk: rec.Tail, bad: protocol.Range{First: 31, Last: 40}, err: errors.New("input/output error"), has: 100}
	restored := OpenedState{Applied: applied}
	for _, i := range kept {
		restored.Kept = append(restored.Kept, described(rec, i, 1))
	}
	rec.Tail = rec.Tail[60:]
	s.r = openOn(t, 1, Config{CheckpointEvery: -1, RetainEntries: 1000}, rec, restored)
	s.r.SetPeers(0, []protocol.Peer{{ID: id(2), Role: protocol.RoleActive}, {ID: id(3), Role: protocol.RoleActive}, {ID: id(8), Role: protocol.RolePassive}})
	s.settle()
	return s
}

// lead makes it the leader.
func (s *shelf) lead() {
	s.t.Helper()
	s.until("leads", func() bool { return s.r.log.leads() && raft(s.r).HasCommittedOwnTerm() })
}

func (s *shelf) until(what string, is func() bool) {
	s.t.Helper()
	for end := s.now.Add(time.Minute); !is(); {
		if s.pass(20 * time.Millisecond); s.now > end {
			s.t.Fatalf("after a minute, not yet: %s", what)
		}
	}
}

func (s *shelf) pass(d time.Duration) {
	for end := s.now.Add(d); s.now < end; {
		s.now = min(end, max(s.now.Add(time.Millisecond), s.r.Deadline()))
		s.r.Tick(s.now)
		s.settle()
	}
}

func (s *shelf) settle() {
	s.t.Helper()
	for range 500 {
		e := s.r.Effects()
		s.events, s.reads = append(s.events, e.Events...), append(s.reads, e.Reads...)
		s.answers = append(s.answers, e.Answers...)
		if e.Persist != nil && e.Persist.Drop != 0 {
			s.r.Dropped(s.now, e.Persist.ID, storage.Begin{}, nil) // nothing went: no segment ends there
		} else if e.Persist != nil {
			s.disk = append(s.disk[:len(s.disk):len(s.disk)], e.Persist.Entries...)
			s.r.Persisted(s.now, e.Persist.ID, nil)
		}
		for _, m := range e.Send {
			s.take(m)
		}
		s.installs = append(s.installs, e.Install...)
		for _, a := range e.Apply {
			if a.Installed != 0 {
				s.adopted = a.Installed
				s.r.Applied(s.now, Applied{Last: a.Installed})
				continue
			}
			s.r.Applied(s.now, Applied{Last: a.Entries[len(a.Entries)-1].Index, Results: make([]protocol.Result, len(a.Entries))})
		}
		for _, x := range e.ReadLog {
			entries, err := s.read(x)
			s.r.LogRead(s.now, x.ID, entries, err)
		}
		if e.Repair != nil {
			s.steps = append(s.steps, *e.Repair)
			done := &repair.Done{ID: e.Repair.ID, Err: protocol.ErrInvalid.With("it cannot be repaired")}
			if s.rebuilds != nil {
				done = s.rebuilds(e.Repair)
			}
			if done != nil {
				s.r.Repaired(s.now, *done)
			}
		}
		if e.Persist == nil && e.Repair == nil && len(e.Apply) == 0 && len(e.Send) == 0 && len(e.ReadLog) == 0 {
			return
		}
	}
	s.t.Fatalf("the replica does not settle: %d reads have failed", s.failed)
}

// read is storage.Log.Read.
func (s *shelf) read(x ReadLog) ([]protocol.Entry, error) {
	last := x.Last
	for _, bad := range []protocol.Range{s.bad, s.also} {
		if x.First < bad.First {
			last = min(last, bad.First-1)
		} else if x.First <= bad.Last {
			s.failed++
			return nil, &storage.Unreadable{Entries: bad, Segment: "00000007.wal", Offset: 4096, Err: s.err}
		}
	}
	return s.disk[x.First-1 : last], nil
}

func (s *shelf) take(x Send) {
	if slices.Contains(s.away, x.To) {
		return
	}
	switch m := x.Message.(type) {
	case *protocol.Vote:
		s.r.Receive(s.now, x.To, &protocol.VoteAnswer{Term: m.Term, Pre: m.Pre, Granted: true})
	case *protocol.Heartbeat:
		s.r.Receive(s.now, x.To, &protocol.HeartbeatAnswer{Term: m.Term, Round: m.Round, Room: slices.Contains(s.room, x.To), Unfit: slices.Contains(s.unfit, x.To)})
	case *protocol.DigestQuestion:
		s.r.Receive(s.now, x.To, &protocol.DigestAnswer{Index: m.Index, Known: m.Known, Digest: m.Digest})
	case *protocol.TimeoutNow:
		s.transferees = append(s.transferees, x.To)
	case *protocol.InstallCheckpoint:
		d, err := storage.DecodeManifest(m.Manifest)
		if err != nil {
			s.t.Fatal(err)
		}
		s.offered = append(s.offered, d.Index)
		s.has = max(s.has, d.Index)
		s.r.Receive(s.now, x.To, &protocol.AppendAnswer{Term: m.Term, Index: s.has})
	case *protocol.Append:
		answer := &protocol.AppendAnswer{Term: m.Term, Index: m.Last}
		switch {
		case x.To == id(3) && m.PrevIndex > s.has:
			*answer = protocol.AppendAnswer{Term: m.Term, Reject: true, Index: m.PrevIndex, HintIndex: s.has, HintTerm: 2}
		case x.To == id(3):
			s.has = max(s.has, m.Last)
		}
		s.r.Receive(s.now, x.To, answer)
	case *protocol.RepairWant:
		s.wants++
		if s.holds != nil {
			if answer := s.holds(x.To, m); answer != nil {
				s.r.Receive(s.now, x.To, answer)
			}
		}
	default:
		if x.To == id(8) {
			s.got = append(s.got, m)
		}
	}
}

// said counts events of a kind.
func (s *shelf) said(kind protocol.EventKind, text string) (n int) {
	for _, e := range s.events {
		if e.Kind == kind && strings.Contains(e.Text, text) {
			n++
		}
	}
	return n
}

const where = "cannot read its log at 00000007.wal, offset 4096: entries 31 to 40: input/output error"

// A follower that needs entries which its leader cannot read gets a checkpoint of
// them, and the log above. It was left behind for ever, and nobody said so.
func TestFollowerGetsACheckpointInPlaceOfEntriesThatCannotBeRead(t *testing.T) {
	s := newShelf(t, 60, 50, 30)
	s.has = 20
	s.lead()
	s.until("voter 3 is level", func() bool { return s.has == s.r.log.tail.last() })
	s.pass(5 * time.Second)
	if len(s.offered) == 0 || s.offered[0] != 50 {
		t.Errorf("offered %v, want the checkpoint at 50", s.offered)
	}
	expect(t, "said", s.said(protocol.EventUnreadable, where), 1)
	if got := s.r.Status(s.now); got.Stuck != "" || got.Unreadable != "this member "+where {
		t.Errorf("status says %q and %q", got.Stuck, got.Unreadable)
	}
	if p := raft(s.r).Status().Progress; len(p) != 2 || p[1].Match != s.r.log.tail.last() {
		t.Errorf("got %+v, want voter 3 fed again", p)
	}
}

// Without a checkpoint the place is read again, ever more rarely, said once, and the
// follower goes on when it can be read. It was read with every answer of the follower.
func TestEntriesThatCannotBeReadAreReadAgainEverMoreRarely(t *testing.T) {
	for name, kept := range map[string][]protocol.Index{"none": nil, "below": {35, 20}} {
		s := newShelf(t, 60, kept...)
		s.has = 20
		s.lead()
		s.until("it fails", func() bool { return s.failed > 0 })
		s.pass(20 * time.Second)
		if s.failed < 6 || s.failed > 10 {
			t.Errorf("%s: read %d times in twenty seconds, want eight", name, s.failed)
		}
		expect(t, name+": voter 3 has", s.has, 30)
		expect(t, name+": offered", len(s.offered), 0)
		expect(t, name+": said", s.said(protocol.EventUnreadable, where), 1)
		s.bad = protocol.Range{}
		s.until("voter 3 is level", func() bool { return s.has == s.r.log.tail.last() })
		expect(t, name+": said that it is over", s.said(protocol.EventReadable, "31 to 40"), 1)
		expect(t, name+": status", s.r.Status(s.now).Unreadable, "")
	}
}

// A disk that fails as a whole is reported a few times, with how many places there
// are, and read a few times at once. Each record was read again and again.
func TestDiskThatFailsAsAWholeIsReportedOnce(t *testing.T) {
	s := newShelf(t, 60)
	s.lead()
	for i := protocol.Index(1); i <= 95; i++ {
		s.r.LogRead(s.now, s.fetch(fetchGossip, i), nil, &storage.Unreadable{
			Entries: protocol.Range{First: i, Last: i}, Segment: "00000007.wal", Offset: int64(i), Err: s.err,
		})
	}
	s.bad = protocol.Range{First: 1, Last: 100}
	s.pass(5 * time.Second)
	expect(t, "said at once", s.said(protocol.EventUnreadable, "cannot read its log"), 1)
	s.pass(time.Minute)
	if s.r.unreadable.at(95) == nil || s.r.unreadable.at(1) == nil {
		t.Error("a place was forgotten")
	}
	if n := s.said(protocol.EventUnreadable, "cannot be repaired"); n > 3 {
		t.Errorf("said %d times that it cannot be repaired", n)
	}
	if n := s.said(protocol.EventUnreadable, "places more"); n != 1 {
		t.Errorf("said %d times that there are more places, want once: %v", n, s.events)
	}
	if n := len(s.r.unreadable.places); n > placesMax {
		t.Errorf("%d places, want a limit", n)
	}
	s.bad = protocol.Range{}
	s.pass(time.Minute)
	expect(t, "when all can be read again", s.r.Status(s.now).Unreadable, "")
}

// fetch is a read that is under way.
func (s *shelf) fetch(p purpose, first protocol.Index) uint64 {
	s.r.fetches.add(fetch{purpose: p, first: first, last: first})
	s.r.out.ReadLog = nil
	return s.r.fetches.next
}

// What cannot be read to be applied is tried again with pauses, and the member says
// why it does not serve while that lasts. It was read again at once, for ever.
func TestMemberThatCannotReadWhatItAppliesSaysSo(t *testing.T) {
	s := newShelf(t, 20)
	s.r.Receive(s.now, id(2), &protocol.Heartbeat{Term: 2, Commit: 100, Round: 1})
	s.settle()
	for range 100 {
		s.pass(200 * time.Millisecond)
		s.r.Receive(s.now, id(2), &protocol.Heartbeat{Term: 2, Commit: 100, Round: 1})
		s.settle()
	}
	if s.failed < 6 || s.failed > 10 {
		t.Errorf("read %d times in twenty seconds, want eight", s.failed)
	}
	expect(t, "applied", s.r.log.applied, 30)
	expect(t, "said", s.said(protocol.EventUnreadable, where), 1)
	if got := s.r.Status(s.now).Stuck; !strings.Contains(got, "00000007.wal, offset 4096") {
		t.Errorf("status says %q, want where it is stuck", got)
	}
	s.r.Read(s.now, 7)
	s.settle()
	if n := len(s.reads); n != 1 || !errors.Is(s.reads[n-1].Err, protocol.ErrNotServing) {
		t.Errorf("a read is answered with %+v, want %v", s.reads, protocol.ErrNotServing)
	}
	s.bad = protocol.Range{}
	s.until("all is applied", func() bool { return s.r.log.applied >= 100 })
	expect(t, "stuck", s.r.Status(s.now).Stuck, "")
}

// Damage is told from a disk that fails: a start repairs it.
func TestDamageThatARunningMemberMeetsNamesTheWayOut(t *testing.T) {
	s := newShelf(t, 60)
	s.err, s.has = protocol.ErrCorrupt.With("damaged data: payload"), 20
	s.lead()
	s.until("it fails", func() bool { return s.failed > 0 })
	expect(t, "said", s.said(protocol.EventUnreadable, "is repaired from the others"), 1)
}

// A leader that cannot apply hands over to a voter that has applied what it cannot
// read, to no other, and not again and again. It kept the lead and answered nobody.
func TestLeaderThatCannotApplyHandsOver(t *testing.T) {
	s := newShelf(t, 20)
	s.lead()
	has := func(who byte, applied protocol.Index) {
		s.r.Receive(s.now, id(who), &protocol.Have{LastIndex: 100, Commit: 100, Applied: applied})
		s.settle()
	}
	for range 10 {
		has(2, 30)
		s.pass(100 * time.Millisecond)
	}
	expect(t, "transferees while nobody has applied more", len(s.transferees), 0)
	for range 50 {
		has(2, 30)
		has(3, 100)
		s.pass(100 * time.Millisecond)
	}
	if len(s.transferees) == 0 || s.transferees[0] != id(3) || s.transferees[len(s.transferees)-1] != id(3) {
		t.Fatalf("transferees %v, want 3", s.transferees)
	}
	expect(t, "hand-overs", s.said(protocol.EventTransfer, "by a leader that cannot read its log"), 1)
}

// A passive that pulls what cannot be read is sent to others, or told that the log
// begins above it. It waited for an answer each time.
func TestPassiveThatPullsWhatCannotBeReadIsTold(t *testing.T) {
	s := newShelf(t, 60)
	want := func() (busy bool, first protocol.Index) {
		s.pass(3 * time.Second)
		s.got = nil
		s.r.Receive(s.now, id(8), &protocol.Have{LastIndex: 30, Commit: 30, Applied: 30})
		s.r.Receive(s.now, id(8), &protocol.Want{Ranges: []protocol.Range{{First: 31, Last: 50}}, Bytes: 1 << 20})
		s.settle()
		for _, m := range s.got {
			switch m := m.(type) {
			case *protocol.Busy:
				busy = true
			case *protocol.Have:
				first = m.First
			}
		}
		return busy, first
	}
	for range 3 {
		if busy, _ := want(); !busy {
			t.Errorf("without a checkpoint: got %v, want to be sent to others", s.got)
		}
	}
	s.r.Kept(s.now, []storage.Manifest{described(found(2, 100, 100, threeVoters), 50, 1)})
	s.settle()
	if _, first := want(); first != 41 {
		t.Errorf("with a checkpoint: got %v, want to hear that the log begins at 41", s.got)
	}
}
