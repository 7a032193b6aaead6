package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

func id(n byte) protocol.MemberID { return protocol.MemberID{15: n} }

func conf(target int, voters []byte, learners ...byte) protocol.Configuration {
	c := protocol.Configuration{Target: target}
	for _, v := range voters {
		c = c.With(protocol.ActiveMember{ID: id(v), Suffrage: protocol.SuffrageVoter})
	}
	for _, l := range learners {
		c = c.With(protocol.ActiveMember{ID: id(l), Suffrage: protocol.SuffrageLearner})
	}
	return c
}

// found builds what opening a log would have found: entries of one term up to
// last, configurations at some indexes, and the recorded commit index.
func found(term protocol.Term, last, commit protocol.Index, confs map[protocol.Index]protocol.Configuration) storage.Opened {
	var rec storage.Opened
	entries := make([]protocol.Entry, 0, last)
	for i := protocol.Index(1); i <= last; i++ {
		e := protocol.Entry{Index: i, Term: term, Kind: protocol.EntryNoop}
		if c, ok := confs[i]; ok {
			e.Kind, e.Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(c)
			rec.Configurations.Append(protocol.ConfigurationAt{Index: i, Configuration: c})
		}
		rec.LogTerms.Append(term)
		entries = append(entries, e)
	}
	protocol.EncodeEntries(entries)
	rec.LastSum = protocol.SumEntries(protocol.LogSum{}, entries)
	rec.Tail = entries
	rec.State = protocol.HardState{Term: term, Commit: commit}
	return rec
}

func open(t *testing.T, self byte, rec storage.Opened) *Replica {
	t.Helper()
	r, err := New(0, Config{ID: id(self), Run: 1, Seed: 1}, rec, OpenedState{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Counterexample: {A} grows to {A,B,C} at 5; B and C have acknowledged up to
// 100, their recorded commit index is 3. If they took themselves for passive,
// they would drop everything and A would elect itself alone.
func TestLowCommitIndexAfterAPowerCutDoesNotMakeVotersPassive(t *testing.T) {
	confs := map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1}), 5: conf(3, []byte{1, 2, 3})}
	for _, self := range []byte{1, 2, 3} {
		r := open(t, self, found(2, 100, 3, confs))
		s := r.Status(0)
		if s.Role != protocol.RoleActive || s.Last != 100 {
			t.Errorf("member %d is %s with a log to %d, want active to 100", self, s.Role, s.Last)
		}
		if e := r.Effects(); e.Persist != nil && e.Persist.Write.Truncate {
			t.Errorf("member %d truncates its log at start", self)
		}
	}
}

// Counterexample: D's log says D out at 100 and D in again at 110; it has
// acknowledged up to 130. One append raises D's commit index from 99 to 110:
// judged entry by entry, D would drop everything above 100 on the way.
func TestRoleIsNotJudgedEntryByEntry(t *testing.T) {
	confs := map[protocol.Index]protocol.Configuration{
		1: conf(3, []byte{1, 2, 3, 4}), 100: conf(3, []byte{1, 2, 3}), 110: conf(3, []byte{1, 2, 3}, 4),
	}
	r := open(t, 4, found(2, 130, 99, confs))
	r.Effects()
	r.Receive(1, id(1), &protocol.Append{Term: 2, PrevIndex: 130, PrevTerm: 2, Commit: 110, Last: 130})
	s := r.Status(1)
	if s.Commit != 110 {
		t.Fatalf("commit %d, want 110", s.Commit)
	}
	if s.Role != protocol.RoleActive || s.Last != 130 {
		t.Errorf("%s with a log to %d, want active to 130", s.Role, s.Last)
	}
}

// The recorded commit index is a lower bound: a passive cannot tell committed
// from uncommitted above it, so it drops that, on disk too, and fetches it.
func TestPassiveDropsWhatIsAboveItsCommitIndexAfterARestart(t *testing.T) {
	r := open(t, 9, found(2, 20, 10, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})}))
	if s := r.Status(0); s.Role != protocol.RolePassive || s.Last != 10 {
		t.Fatalf("%s with a log to %d, want passive to 10", s.Role, s.Last)
	}
	p := r.Effects().Persist
	if p == nil || !p.Write.Truncate || p.Write.After != 10 {
		t.Fatalf("persists %+v, want a truncation after 10", p)
	}
	if sum, ok := r.SumAt(10); !ok || !p.Write.Joined || p.Write.AfterSum != sum || p.Write.AfterTerm != 2 {
		t.Errorf("persists %+v, want the log up to 10, of term 2, with its sum %s", p.Write, sum)
	}
	if _, ok := r.SumAt(20); ok {
		t.Error("still knows the sum of what it dropped")
	}
}

func TestEmptyLogIsPassive(t *testing.T) {
	r := open(t, 9, storage.Opened{})
	if s := r.Status(0); s.Role != protocol.RolePassive {
		t.Errorf("role %s, want passive", s.Role)
	}
}

// A passive that is named takes the active role over the same log. What the
// passive role had accepted but not written goes to the disk first; the first
// write of the new role syncs all of it, and only then does it speak.
func TestPromotedMemberSaysNothingBeforeItsLogIsDurable(t *testing.T) {
	rec := found(2, 10, 10, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1})})
	r := open(t, 2, rec)
	serve(t, r)
	next := func(first protocol.Index, kind protocol.EntryKind, data []byte) *protocol.Append {
		e := []protocol.Entry{{Index: first, Term: 2, Kind: kind, Data: data}}
		protocol.EncodeEntries(e)
		return &protocol.Append{Term: 2, PrevIndex: first - 1, PrevTerm: 2, Commit: first, Last: first, Entries: e}
	}
	r.Receive(1, id(1), next(11, protocol.EntryNoop, nil))
	inFlight := r.Effects().Persist
	if inFlight == nil || inFlight.Write.Sync {
		t.Fatalf("a passive persists %+v, want a write without sync", inFlight)
	}
	r.Receive(2, id(1), next(12, protocol.EntryConfiguration, protocol.EncodeConfiguration(conf(3, []byte{1}, 2))))
	e := r.Effects()
	if s := r.Status(2); s.Role != protocol.RoleActive || s.RaftRole != active.StateLearner.String() {
		t.Fatalf("%s %s, want an active learner", s.Role, s.RaftRole)
	}
	refuseDurable(t, e.Send)
	r.Receive(3, id(1), &protocol.Heartbeat{Term: 2, Commit: 12, Round: 1})
	refuseDurable(t, r.Effects().Send)
	written, synced := inFlight.Write.Last, false
	for p := inFlight; p != nil; {
		r.Persisted(4, p.ID, nil)
		e := r.Effects()
		if !synced {
			if p.Write.SyncAll {
				synced = true
			} else {
				refuseDurable(t, e.Send)
			}
		}
		p = e.Persist
		if p != nil && !p.Write.Empty() {
			if p.Write.First != written+1 {
				t.Errorf("writes from %d, the disk ends at %d", p.Write.First, written)
			}
			written = p.Write.Last
		}
	}
	if !synced || written != 12 {
		t.Errorf("synced all: %t, written up to %d; want true, 12", synced, written)
	}
}

// refuseDurable fails if a member claims that its log is durable, or votes.
func refuseDurable(t *testing.T, sends []Send) {
	t.Helper()
	for _, s := range sends {
		switch m := s.Message.(type) {
		case *protocol.AppendAnswer:
			if !m.Reject && !m.Passive {
				t.Errorf("acknowledges %d before it is durable", m.Index)
			}
		case *protocol.VoteAnswer:
			t.Error("votes before its log is durable")
		}
	}
}

// serve answers everything that a replica wants, until it wants no more.
func serve(t *testing.T, r *Replica) {
	t.Helper()
	for range 100 {
		e := r.Effects()
		if e.Persist == nil && len(e.Apply) == 0 && len(e.ReadLog) == 0 {
			return
		}
		switch p := e.Persist; {
		case p != nil && p.Drop != 0:
			r.Dropped(0, p.ID, storage.Begin{}, nil) // nothing went: no segment ends there
		case p != nil:
			r.Persisted(0, p.ID, nil)
		}
		for _, a := range e.Apply {
			r.Applied(0, Applied{Last: a.Entries[len(a.Entries)-1].Index, Results: make([]protocol.Result, len(a.Entries))})
			if a.Take != nil {
				r.Kept(0, r.checkpoints.kept) // that it cannot be written is told like any other end of it
			}
		}
	}
	t.Fatal("the replica does not settle")
}

// A single voter that starts elects itself, and answers what it has applied.
func TestSingleVoterServesWritesAndReads(t *testing.T) {
	r := open(t, 1, found(1, 1, 1, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})}))
	now := protocol.Instant(0)
	for range 20 {
		now = max(now.Add(time.Millisecond), r.Deadline())
		r.Tick(now)
		serve(t, r)
	}
	if !r.Status(now).Leads {
		t.Fatal("does not lead")
	}
	command := protocol.EncodeCommand(&protocol.Command{Session: 1, Sequence: 1, Resource: "r", Type: "t", Operation: "o"})
	r.Submit(now, Submission{Request: 7, Command: command})
	r.Read(now, 8)
	var answers []Answer
	var reads []ReadAnswer
	for range 20 {
		e := r.Effects()
		answers, reads = append(answers, e.Answers...), append(reads, e.Reads...)
		if e.Persist != nil {
			r.Persisted(now, e.Persist.ID, nil)
		}
		for _, a := range e.Apply {
			r.Applied(now, appliedOf(&a, nil, func(request uint64, result protocol.Result) {
				answers = append(answers, Answer{Request: request, Result: result})
			}))
		}
	}
	if len(answers) != 1 || answers[0].Request != 7 || answers[0].Result.Code != protocol.OK {
		t.Errorf("answers %+v, want one for 7", answers)
	}
	if len(reads) != 1 || reads[0].Request != 8 || reads[0].Err != nil {
		t.Errorf("reads %+v, want one for 8", reads)
	}
}

// A member that restarts numbers its questions anew: an answer to the previous
// run must not answer the same number of this one, which may have been asked
// after later writes.
func TestAnswersToThePreviousRunAreNotTaken(t *testing.T) {
	rec := found(2, 10, 10, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r := open(t, 9, rec)
	serve(t, r)
	r.Receive(1, id(1), &protocol.Append{Term: 2, PrevIndex: 10, PrevTerm: 2, Commit: 10, Last: 10}) // says who leads
	serve(t, r)
	r.Submit(2, Submission{Request: 7, Command: protocol.EncodeCommand(&protocol.Command{Session: 1, Sequence: 1, Resource: "r", Type: "t", Operation: "o"})})
	r.Read(2, 8)
	var forward *protocol.Forward
	var read *protocol.ReadIndex
	for _, s := range r.Effects().Send {
		switch m := s.Message.(type) {
		case *protocol.Forward:
			forward = m
		case *protocol.ReadIndex:
			read = m
		}
	}
	if forward == nil || read == nil {
		t.Fatal("nothing was asked of the leader")
	}
	r.Receive(3, id(1), &protocol.ForwardAnswer{Run: forward.Run + 1, Request: forward.Request})
	r.Receive(3, id(1), &protocol.ReadIndexAnswer{Run: read.Run + 1, Request: read.Request, Index: 10, Sum: rec.LastSum})
	if e := r.Effects(); len(e.Answers) != 0 || len(e.Reads) != 0 {
		t.Fatalf("took answers to another run: %+v, %+v", e.Answers, e.Reads)
	}
	r.Receive(4, id(1), &protocol.ForwardAnswer{Run: forward.Run, Request: forward.Request})
	r.Receive(4, id(1), &protocol.ReadIndexAnswer{Run: read.Run, Request: read.Request, Index: 10, Sum: rec.LastSum})
	if e := r.Effects(); len(e.Answers) != 1 || len(e.Reads) != 1 || e.Reads[0].Err != nil {
		t.Fatalf("answers %+v and reads %+v, want one of each", e.Answers, e.Reads)
	}
}

// A command that the leader's end of the link could not read is answered here: it
// would cost the link, and everybody's commands that are on it.
func TestACommandThatNoLinkCanCarryIsNotForwarded(t *testing.T) {
	r := open(t, 9, found(2, 10, 10, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})}))
	serve(t, r)
	r.Receive(1, id(1), &protocol.Append{Term: 2, PrevIndex: 10, PrevTerm: 2, Commit: 10, Last: 10}) // says who leads
	serve(t, r)
	command := protocol.Command{Session: 1, Sequence: 1, Resource: "r", Type: "t", Operation: "o"}
	for _, size := range []int{protocol.CommandBytesMax, protocol.EntryBytesMax} {
		command.Argument = make([]byte, size)
		r.Submit(2, Submission{Request: uint64(size), Command: protocol.EncodeCommand(&command)})
	}
	e := r.Effects()
	if len(e.Send) != 1 || len(e.Send[0].Message.(*protocol.Forward).Command) < protocol.CommandBytesMax {
		t.Errorf("%d messages to the leader, want the largest command only", len(e.Send))
	}
	if len(e.Answers) != 1 || e.Answers[0].Request != protocol.EntryBytesMax || e.Answers[0].Result.Code != protocol.ErrTooLarge.Code {
		t.Errorf("answers %+v, want one that says too_large", e.Answers)
	}
}

// What the role hands out of a run that names this member must reach the log
// before the next role begins over it.
func TestNothingIsLostInASwitchOfRoles(t *testing.T) {
	r := open(t, 2, found(2, 10, 10, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1})}))
	serve(t, r)
	e := []protocol.Entry{
		{Index: 11, Term: 2, Kind: protocol.EntryConfiguration, Data: protocol.EncodeConfiguration(conf(3, []byte{1}, 2))},
		{Index: 12, Term: 2, Kind: protocol.EntryNoop},
	}
	protocol.EncodeEntries(e)
	r.Receive(1, id(1), &protocol.Append{Term: 2, PrevIndex: 10, PrevTerm: 2, Commit: 12, Last: 12, Entries: e})
	serve(t, r)
	if s := r.Status(1); s.Role != protocol.RoleActive || s.Last != 12 || s.Commit != 12 || s.Applied != 12 {
		t.Errorf("%s, log to %d, committed %d, applied %d; want active and 12 of each", s.Role, s.Last, s.Commit, s.Applied)
	}
}

// raft returns the Raft core of an active.
func raft(r *Replica) *active.Member { return r.log.role.(activeRole).Member }
