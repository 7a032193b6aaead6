package member

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// client is one who waits for a command, and all that it was told.
type client struct {
	told []protocol.Result
}

// waits has it wait for a command that was forwarded, if it has a sequence number.
func (c *client) waits(a *Answers, session protocol.SessionID, sequence uint64) uint64 {
	id := a.Command(func(r protocol.Result) { c.told = append(c.told, r) })
	if sequence != 0 {
		a.await(&replica.Awaited{Request: id, Session: session, Sequence: sequence})
	}
	return id
}

// batchOf is a batch of one command, handed out in an epoch.
func batchOf(epoch uint64, session protocol.SessionID, sequence uint64) *replica.Apply {
	c := protocol.Command{Session: session, Sequence: sequence, Resource: "r", Type: "t", Operation: "o"}
	return &replica.Apply{Epoch: epoch, Entries: []protocol.Entry{{Index: 9, Term: 1, Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&c)}}}
}

var appliedAt9 = []protocol.Result{{Data: []byte("ok"), Index: 9}}

// [S] A state that is suspended answers nobody, nor does one that has taken its place, or
// has come right, with what was handed out before; and one that ends does not, whatever
// the replica says afterwards.
func TestASuspendedStateAnswersNobody(t *testing.T) {
	for what, x := range map[string]struct {
		handedOut uint64
		happens   func(d *Driver)
		answers   bool
	}{
		"sound":                    {1, func(*Driver) {}, true},
		"suspended":                {1, func(d *Driver) { d.serve(&replica.Effects{}) }, false},
		"handed out while it was":  {0, func(*Driver) {}, false},
		"replaced since":           {1, func(d *Driver) { d.serve(&replica.Effects{}); d.serve(&replica.Effects{Gate: 2}) }, false},
		"replaced within one step": {1, func(d *Driver) { d.serve(&replica.Effects{Gate: 2}) }, false},
		"stopped": {1, func(d *Driver) {
			d.serve(&replica.Effects{Gate: 1, Stop: errors.New("two histories")})
			d.serve(&replica.Effects{Gate: 2})
			d.serve(&replica.Effects{Gate: 1})
		}, false},
	} {
		a, c := NewAnswers(), &client{}
		d := New(Config{Context: context.Background(), Hands: &recorder{}, Answers: a})
		d.serve(&replica.Effects{Gate: 1})
		id := c.waits(a, 4, 7)
		x.happens(d)
		a.applied(batchOf(x.handedOut, 4, 7), appliedAt9)
		if got := len(c.told) == 1; got != x.answers {
			t.Errorf("%s: answered: %t, want %t", what, got, x.answers)
		}
		if !x.answers { // it is not forgotten: the replica's word, or the leader's, still comes
			if a.Answer(id, protocol.Failed(protocol.ErrUnknownOutcome)); len(c.told) != 1 {
				t.Errorf("%s: its client was told %d times, want once", what, len(c.told))
			}
		}
	}
}

// [S] When the gate has been moved, no answer of the epoch before is on its way any more:
// what the member does next is done after the last of them.
func TestNoAnswerIsOnItsWayWhenTheGateHasShut(t *testing.T) {
	a := NewAnswers()
	d := New(Config{Context: context.Background(), Hands: &recorder{}, Answers: a})
	d.serve(&replica.Effects{Gate: 1})
	begun, goOn := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var order []string
	did := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	id := a.Command(func(protocol.Result) {
		close(begun)
		<-goOn
		did("answered")
	})
	a.await(&replica.Awaited{Request: id, Session: 4, Sequence: 7})
	var all sync.WaitGroup
	all.Go(func() { a.applied(batchOf(1, 4, 7), appliedAt9) })
	<-begun
	all.Go(func() {
		d.serve(&replica.Effects{})
		did("suspended")
	})
	if a.gate.mu.TryLock() {
		t.Error("an answer is on its way, and the gate can be moved")
		a.gate.mu.Unlock()
	}
	close(goOn)
	all.Wait()
	if order[0] != "answered" {
		t.Errorf("got %q, want the answer before the suspension", order)
	}
}

// The leader's answer and the one of the own state may come in either order, again and
// again: the client hears the first.
func TestARequestIsAnsweredOnce(t *testing.T) {
	for _, own := range []bool{true, false} {
		a, c := NewAnswers(), &client{}
		a.gate.set(1)
		id := c.waits(a, 4, 7)
		for range 2 {
			if own {
				a.applied(batchOf(1, 4, 7), appliedAt9)
			}
			a.Answer(id, protocol.Result{Data: []byte("ok"), Index: 9})
			a.applied(batchOf(1, 4, 7), appliedAt9)
		}
		if a.Close(protocol.ErrClosed); len(c.told) != 1 || c.told[0].Code != protocol.OK || c.told[0].Index != 9 {
			t.Errorf("the own state first: %t; got %+v, want one answer", own, c.told)
		}
		if a.some.Load() != 0 || len(a.awaited) != 0 {
			t.Errorf("%d are awaited", a.some.Load())
		}
	}
}

// [S] The log may hold a command twice, because its client has sent it again. A copy that
// was not admitted is no answer to the other one, which may run: its client would be told
// that nothing has happened.
func TestACopyThatWasNotAdmittedIsNoAnswerToTheOther(t *testing.T) {
	for _, refused := range []*protocol.Error{
		protocol.ErrWindow, protocol.ErrStaleSequence, protocol.ErrSessionExpired, protocol.ErrAnswerLost, protocol.ErrInvalid, protocol.ErrRefusedEntry,
	} {
		a, c := NewAnswers(), &client{}
		a.gate.set(1)
		c.waits(a, 4, 7)
		if a.applied(batchOf(1, 4, 7), []protocol.Result{protocol.Failed(refused)}); len(c.told) != 0 {
			t.Fatalf("told %+v by a copy that was not admitted", c.told)
		}
		if a.applied(batchOf(1, 4, 7), appliedAt9); len(c.told) != 1 || c.told[0].Code != protocol.OK {
			t.Errorf("after %v: got %+v, want the answer of the copy that ran", refused, c.told)
		}
	}
	a, c := NewAnswers(), &client{}
	a.gate.set(1)
	c.waits(a, 4, 7)
	a.applied(batchOf(1, 4, 8), appliedAt9)
	if a.applied(batchOf(1, 5, 7), appliedAt9); len(c.told) != 0 {
		t.Errorf("told %+v by other commands", c.told)
	}
}

// Who gives up, or asks for the same again, loses nobody else's place.
func TestWhoGivesUpLosesNobodyElsesPlace(t *testing.T) {
	a := NewAnswers()
	a.gate.set(1)
	first, second := &client{}, &client{}
	one := first.waits(a, 4, 7)
	second.waits(a, 4, 7)
	if !a.Forget(one) || a.Forget(one) {
		t.Error("who waits is forgotten once")
	}
	if a.applied(batchOf(1, 4, 7), appliedAt9); len(first.told) != 0 || len(second.told) != 1 {
		t.Errorf("told %d and %d times, want the second one once", len(first.told), len(second.told))
	}
	if id := second.waits(a, 4, 9); !a.Forget(id) || a.some.Load() != 0 || len(a.awaited) != 0 {
		t.Errorf("%d are awaited after the last has gone", a.some.Load())
	}
	a.await(&replica.Awaited{Request: one, Session: 4, Sequence: 7})
	if a.some.Load() != 0 {
		t.Error("one who has gone is awaited")
	}
}

// [S] Whoever is answered reads what was answered, at once, from the same member: what it
// had not applied where readers look it answers nobody.
func TestNobodyIsAnsweredBeforeReadersSeeWhatWasApplied(t *testing.T) {
	registry, err := resources.NewRegistry(kvmap.Type)
	if err != nil {
		t.Fatal(err)
	}
	m := machine.New(machine.Config{Registry: registry})
	a := NewAnswers()
	d := New(Config{Context: context.Background(), Machine: m, Hands: &recorder{}, Answers: a})
	a.gate.set(1)
	seen := protocol.Index(0)
	id := a.Command(func(r protocol.Result) {
		if seen = m.Applied(); seen < r.Index {
			t.Errorf("answered at %d, readers are at %d", r.Index, seen)
		}
	})
	a.await(&replica.Awaited{Request: id, Session: 1, Sequence: 1})
	batch := batchOf(1, 1, 1)
	open := protocol.Command{Type: protocol.SessionType, Operation: protocol.SessionOpen}
	argument, err := kvmap.PutRequest{Key: []byte("k"), Value: []byte("v")}.AppendRaw(nil)
	if err != nil {
		t.Fatal(err)
	}
	put := protocol.Command{Session: 1, Sequence: 1, Floor: 1, Resource: "r", Type: kvmap.Type.Name(), Version: 1, Operation: "put", Argument: argument}
	batch.Entries = []protocol.Entry{
		{Index: 1, Term: 1, Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&open)},
		{Index: 2, Term: 1, Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&put)},
	}
	results := m.Apply(batch.Entries, nil)
	if err := m.Stopped(); err != nil {
		t.Fatal(err)
	}
	if done := d.Applied(batch, results); done.Last != 2 || seen != 2 {
		t.Errorf("applied %d, and answered at %d (%+v); want 2", done.Last, seen, results)
	}
}

// A write that nobody here waits for costs whoever applies it nothing.
func TestAnswersCostNothingWhereNobodyWaits(t *testing.T) {
	a := NewAnswers()
	a.gate.set(1)
	batch := batchOf(1, 4, 7)
	if n := testing.AllocsPerRun(100, func() { a.applied(batch, appliedAt9) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	a.await(&replica.Awaited{Request: a.Command(func(protocol.Result) {}), Session: 4, Sequence: 8})
	if n := testing.AllocsPerRun(100, func() { a.applied(batch, appliedAt9) }); n != 0 {
		t.Errorf("%v allocations where others are awaited", n)
	}
}
