package replica

import (
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// errand is a member that has forwarded things to the leader 1, of term 2.
type errand struct {
	t   *testing.T
	r   *Replica
	now protocol.Instant
}

// newErrand is one of a voter, or of a passive.
func newErrand(t *testing.T, role protocol.Role) *errand {
	t.Helper()
	voters := []byte{1, 2, 3}
	self := byte(2)
	if role == protocol.RolePassive {
		self = 9
	}
	e := &errand{t: t, r: open(t, self, found(2, 10, 10, map[protocol.Index]protocol.Configuration{1: conf(3, voters)}))}
	serve(t, e.r)
	e.leads(1, 2)
	return e
}

// leads has a leader heard.
func (e *errand) leads(leader byte, term protocol.Term) {
	e.t.Helper()
	e.now++
	if e.r.log.knows() {
		e.r.Receive(e.now, id(leader), &protocol.Heartbeat{Term: term})
	} else {
		e.r.Receive(e.now, id(leader), &protocol.Have{Term: term, Leader: id(leader)})
	}
	if got := e.r.hearing.leader(); got != id(leader) && term >= e.r.hearing.term() {
		e.t.Fatalf("got leader %s, want %s", got.Short(), id(leader).Short())
	}
}

func someCommand(session protocol.SessionID) []byte {
	return protocol.EncodeCommand(&protocol.Command{Session: session, Sequence: 1, Resource: "r", Type: "t", Operation: "o"})
}

// take returns the effects: what was forwarded, the answers by request, and the
// reads that failed.
func (e *errand) take() (forwards []*protocol.Forward, answers map[uint64]protocol.Result, reads map[uint64]error) {
	answers, reads = map[uint64]protocol.Result{}, map[uint64]error{}
	out := e.r.Effects()
	for _, s := range out.Send {
		if f, ok := s.Message.(*protocol.Forward); ok {
			forwards = append(forwards, f)
		}
	}
	for _, a := range out.Answers {
		answers[a.Request] = a.Result
	}
	for _, a := range out.Reads {
		reads[a.Request] = a.Err
	}
	if out.Persist != nil {
		e.r.Persisted(e.now, out.Persist.ID, nil)
	}
	return forwards, answers, reads
}

// submit forwards two commands and a read, and returns what was forwarded.
func (e *errand) submit() []*protocol.Forward {
	e.t.Helper()
	e.now++
	e.r.Submit(e.now, Submission{Request: 70, Command: someCommand(1)})
	e.r.Submit(e.now, Submission{Request: 71, Command: someCommand(0)}) // opens a session
	e.r.Read(e.now, 80)
	forwards, answers, reads := e.take()
	if len(forwards) != 2 || len(answers) != 0 || len(reads) != 0 {
		e.t.Fatalf("got %d forwarded, answers %v, reads %v; want two and none", len(forwards), answers, reads)
	}
	return forwards
}

// wantOpen checks that everything was answered: the writes with an outcome that
// is unknown, the read so that it is made again; and that nothing was sent again.
func (e *errand) wantOpen(why string) {
	e.t.Helper()
	forwards, answers, reads := e.take()
	for _, request := range []uint64{70, 71} {
		if a, ok := answers[request]; !ok || a.Code != protocol.ErrUnknownOutcome.Code {
			e.t.Errorf("%s: write %d: got %+v (answered %v), want %v", why, request, a, ok, protocol.ErrUnknownOutcome.Code)
		}
	}
	if code, _ := protocol.CodeOf(reads[80]); code != protocol.ErrNoLeader.Code {
		e.t.Errorf("%s: read: got %v, want %v", why, reads[80], protocol.ErrNoLeader)
	}
	if len(forwards) != 0 {
		e.t.Errorf("%s: %d commands were sent again by the member", why, len(forwards))
	}
}

// wantNothing checks that everything still waits.
func (e *errand) wantNothing(why string) {
	e.t.Helper()
	if forwards, answers, reads := e.take(); len(answers) != 0 || len(reads) != 0 || len(forwards) != 0 {
		e.t.Errorf("%s: got %d sent, answers %v, reads %v; want that all wait", why, len(forwards), answers, reads)
	}
}

// What was forwarded to a leader that is none any more is answered at once, and
// not after some election timeouts; a stale word of another one changes nothing.
func TestForwardedIsAnsweredWhenAnotherLeaderIsKnown(t *testing.T) {
	for _, role := range []protocol.Role{protocol.RoleActive, protocol.RolePassive} {
		e := newErrand(t, role)
		e.submit()
		e.leads(3, 1)
		e.wantNothing("a stale word of another leader")
		e.leads(1, 2)
		e.wantNothing("the leader's own word")
		e.leads(3, 3)
		e.wantOpen("another leader of a higher term")
		e.leads(1, 2)
		if got := e.r.hearing.leader(); got != id(3) {
			t.Errorf("%v: got leader %s after a stale word, want %s", role, got.Short(), id(3).Short())
		}
		e.submit()
		e.leads(3, 4)
		e.wantOpen("the same leader, elected again")
	}
}

func TestForwardedIsAnsweredWhenTheLeaderIsNotHeardAnyMore(t *testing.T) {
	e := newErrand(t, protocol.RoleActive)
	e.submit()
	for range 200 {
		e.now = max(e.now, e.r.Deadline())
		e.r.Tick(e.now)
		if e.r.hearing.leader().IsZero() {
			break
		}
		_, answers, _ := e.take()
		if len(answers) != 0 {
			t.Fatalf("got %v while a leader is known", answers)
		}
	}
	if !e.r.hearing.leader().IsZero() {
		t.Fatal("the leader is not given up")
	}
	e.wantOpen("no leader")
}

// The end of a link leaves open what was sent over it; what never left has not
// happened, and its answer says that.
func TestForwardedIsAnsweredWhenTheLinkBreaks(t *testing.T) {
	for _, role := range []protocol.Role{protocol.RoleActive, protocol.RolePassive} {
		e := newErrand(t, role)
		e.submit()
		e.r.LinkLost(e.now, id(3))
		e.wantNothing("the end of another link")
		e.r.LinkLost(e.now, id(1))
		e.wantOpen("the end of the link")

		forwards := e.submit()
		why := protocol.ErrNoLeader.With("the leader cannot be reached")
		e.r.Unsent(e.now, &protocol.Forward{Run: forwards[0].Run + 1, Request: forwards[0].Request, Command: []byte{1}}, why)
		e.r.Unsent(e.now, &protocol.Forward{Run: forwards[0].Run, Request: forwards[0].Request}, why)
		e.wantNothing("what another run, or a question, did not send")
		for _, f := range forwards {
			e.r.Unsent(e.now, f, why)
		}
		e.r.Unsent(e.now, &protocol.ReadIndex{Origin: e.r.cfg.ID, Run: 1, Request: forwards[1].Request + 1}, why)
		_, answers, reads := e.take()
		for _, request := range []uint64{70, 71} {
			if got := answers[request]; got.Code != why.Code || got.Text != why.Text {
				t.Errorf("write %d that never left: got %+v, want %v", request, got, why)
			}
		}
		if reads[80] != error(why) {
			t.Errorf("read that never left: got %v, want %v", reads[80], why)
		}
	}
}

// A leader that takes long is asked after the oldest command, and waited for
// while it says that it is at work. A fixed time would have everybody send
// everything again to a leader whose disk is slow.
func TestForwardedWaitsWhileTheLeaderIsAtWork(t *testing.T) {
	e := newErrand(t, protocol.RolePassive)
	asked := e.submit()
	oldest := asked[0]
	questions := 0
	for end := e.now.Add(time.Minute); e.now < end; {
		e.now = max(e.now, e.r.Deadline())
		e.r.Tick(e.now)
		forwards, answers, _ := e.take()
		if len(answers) != 0 {
			t.Fatalf("after %v: got %v while the leader is at work", time.Duration(e.now), answers)
		}
		for _, f := range forwards {
			if len(f.Command) != 0 || f.Request != oldest.Request {
				t.Fatalf("sent %+v, want a question after %d", f, oldest.Request)
			}
			questions++
			e.r.Receive(e.now, id(1), &protocol.ForwardAnswer{Run: f.Run, Request: f.Request, Result: protocol.Result{Code: protocol.AtWork}})
		}
	}
	if want := int(time.Minute / e.r.cfg.Active.Election); questions < want-2 || questions > want+2 {
		t.Errorf("got %d questions in a minute, want one per election timeout", questions)
	}
	// A stranger's word counts for nothing.
	e.r.Receive(e.now, id(3), &protocol.ForwardAnswer{Run: oldest.Run, Request: oldest.Request})
	// The answer to the first is lost: the leader says so, and the next is asked after.
	e.r.Receive(e.now, id(1), &protocol.ForwardAnswer{Run: oldest.Run, Request: oldest.Request, Result: protocol.Failed(protocol.ErrUnknownOutcome)})
	if _, answers, _ := e.take(); answers[70].Code != protocol.ErrUnknownOutcome.Code || len(answers) != 1 {
		t.Errorf("got %v, want the first write's outcome unknown", answers)
	}
	// And then it says nothing any more.
	last := e.now
	for e.now < last.Add(time.Minute) {
		e.now = max(e.now, e.r.Deadline())
		e.r.Tick(e.now)
		if _, answers, _ := e.take(); len(answers) != 0 {
			if got, most := e.now.Sub(last), e.r.hearing.patience()+2*e.r.cfg.Active.Election; got > most || answers[71].Code != protocol.ErrUnknownOutcome.Code {
				t.Errorf("got %v after %v of silence, want an unknown outcome within %v", answers, got, most)
			}
			return
		}
	}
	t.Error("silence was waited for without an end")
}

// A leader says of each command whether it has it in hand.
func TestLeaderKnowsWhatItHasInHand(t *testing.T) {
	c := newCrew(t, threeAndALearner)
	said := func(request uint64) (codes []protocol.Code) {
		for _, s := range c.r.Effects().Send {
			if a, ok := s.Message.(*protocol.ForwardAnswer); ok && a.Request == request && a.Run == 5 {
				codes = append(codes, a.Result.Code)
				if a.Leader != c.r.cfg.ID || a.Term != raft(c.r).Term() {
					t.Errorf("got leader %s of term %d in the answer", a.Leader.Short(), a.Term)
				}
			}
		}
		return codes
	}
	ask := func(request uint64) []protocol.Code {
		c.r.Receive(c.now, id(9), &protocol.Forward{Run: 5, Request: request})
		return said(request)
	}
	unknown := []protocol.Code{protocol.ErrUnknownOutcome.Code}
	if got := ask(1); !slices.Equal(got, unknown) {
		t.Errorf("a command that never came: got %q, want %q", got, unknown)
	}
	c.r.Receive(c.now, id(9), &protocol.Forward{Run: 5, Request: 2, Command: someCommand(3)})
	keepAlive := protocol.EncodeCommand(&protocol.Command{Session: 3, Type: protocol.SessionType, Operation: protocol.SessionKeepAlive})
	c.r.Receive(c.now, id(9), &protocol.Forward{Run: 5, Request: 3, Command: keepAlive})
	c.r.Effects() // nobody acknowledges anything: it stays in hand
	for _, request := range []uint64{2, 3} {
		if got := ask(request); !slices.Equal(got, []protocol.Code{protocol.AtWork}) {
			t.Errorf("command %d in hand: got %q, want %q", request, got, protocol.AtWork)
		}
	}
	c.r.Receive(c.now, id(8), &protocol.Forward{Run: 5, Request: 2})
	if got := said(2); !slices.Equal(got, unknown) {
		t.Errorf("another member's number: got %q, want %q", got, unknown)
	}
}
