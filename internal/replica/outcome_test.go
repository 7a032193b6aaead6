package replica

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// What a leader has proposed may be committed by the next one: when it loses its
// leadership the outcome is open, for its own clients and for those whose members
// forwarded to it. Told that it was refused, a client would do it again.
func TestOutcomeAtALostLeaderIsUnknown(t *testing.T) {
	c := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3})})
	c.silent[id(2)], c.silent[id(3)] = true, true
	c.r.Submit(c.now, Submission{Request: 7, Command: someCommand(1)})
	c.settle()
	c.r.Receive(c.now, id(9), &protocol.Forward{Run: 5, Request: 8, Command: someCommand(1)})
	c.settle()
	if len(c.answers) != 0 {
		t.Fatalf("answered before anything is known: %v", c.answers)
	}
	c.r.Receive(c.now, id(2), &protocol.Heartbeat{Term: raft(c.r).Term() + 1})
	var told *protocol.ForwardAnswer
	for range 10 {
		e := c.r.Effects()
		for _, a := range e.Answers {
			c.answers[a.Request] = a.Result
		}
		for _, s := range e.Send {
			if a, ok := s.Message.(*protocol.ForwardAnswer); ok && s.To == id(9) {
				told = a
			}
		}
		if e.Persist != nil {
			c.r.Persisted(c.now, e.Persist.ID, nil)
		}
	}
	if got := c.answers[7].Code; got != protocol.ErrUnknownOutcome.Code {
		t.Errorf("its own client: got %q, want %q", got, protocol.ErrUnknownOutcome.Code)
	}
	if told == nil || told.Request != 8 || told.Result.Code != protocol.ErrUnknownOutcome.Code {
		t.Errorf("who forwarded: got %+v, want %q", told, protocol.ErrUnknownOutcome.Code)
	}
}

// A state that comes from another member has the effects of what this one proposed,
// and not the answers.
func TestOutcomeOfWhatAnInstalledStatePassedOverIsUnknown(t *testing.T) {
	c := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3})})
	q := &c.r.commands
	q.proposed = []proposed{{index: 10, term: 2, from: origin{request: 7}}, {index: 20, term: 2, from: origin{request: 8}}}
	q.skipped(10)
	answers := c.r.Effects().Answers
	if len(answers) != 1 || answers[0].Request != 7 || answers[0].Result.Code != protocol.ErrUnknownOutcome.Code {
		t.Errorf("got %+v, want %q for what is at 10, and nothing yet for what is above", answers, protocol.ErrUnknownOutcome.Code)
	}
}

// What waits for the disk stays in memory: the writes that have begun and those that
// have not.
func TestNothingThatWaitsForTheDiskIsSettled(t *testing.T) {
	write := func(first, last protocol.Index) queued {
		return queued{write: protocol.Write{First: first, Last: last}}
	}
	flying := write(8, 9)
	for _, x := range []struct {
		what string
		disk disk
		want protocol.Index
	}{
		{"nothing waits", disk{written: 12}, 12},
		{"a write is under way", disk{written: 9, flying: &flying}, 7},
		{"one waits", disk{written: 12, queue: []queued{write(10, 12)}}, 9},
		{"one waits behind another", disk{written: 12, flying: &flying, queue: []queued{write(10, 12)}}, 7},
		{"two wait", disk{written: 12, queue: []queued{write(5, 9), write(10, 12)}}, 4},
		{"one without entries waits", disk{written: 12, queue: []queued{write(13, 12)}}, 12},
	} {
		if got := x.disk.settled(); got != x.want {
			t.Errorf("%s: settled up to %d, want %d", x.what, got, x.want)
		}
	}
}

// A place that could not be read is forgotten when its entries are cut off: others take
// their place, in another part of the log, and can be read.
func TestPlaceIsForgottenWithItsEntries(t *testing.T) {
	s := newShelf(t, 60)
	s.has = 20
	s.lead()
	s.until("it fails", func() bool { return s.failed > 0 })
	u := &s.r.unreadable
	if u.truncate(40); u.at(31) == nil {
		t.Error("forgotten although its entries are there")
	}
	if u.truncate(39); u.at(31) != nil {
		t.Error("it is still there, its entries are not")
	}
}
