package repair_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// live is a repair of a running log of which entries 31 to 40 are lost, in two runs.
type live struct {
	t       *testing.T
	l       repair.Live
	entries []protocol.Entry
	sent    []protocol.Envelope
	step    *repair.Step
	end     *repair.LiveEnd
}

func newLive(t *testing.T) *live {
	x := &live{t: t, entries: run(nil, 60, 2, 1, 500)}
	x.l.SetPeers(0, []protocol.Peer{{ID: memberID(2)}, {ID: memberID(3)}})
	x.l.Begin(repair.Config{ID: memberID(1), Seed: 1}, 35)
	x.take()
	return x
}

func (x *live) take() {
	e := x.l.Effects()
	x.sent = append(x.sent, e.Send...)
	if e.Step != nil {
		x.step = e.Step
	}
	if e.End != nil {
		x.end = e.End
	}
}

func (x *live) lost(first, last protocol.Index) storage.Lost {
	return storage.Lost{After: first - 1, Sum: x.entries[first-2].Sum, Last: last, LastSum: x.entries[last-1].Sum}
}

// looked says what is lost.
func (x *live) looked() {
	x.l.Done(0, repair.Done{ID: x.step.ID, Lost: []storage.Lost{x.lost(31, 36), x.lost(37, 40)}})
	x.take()
}

// answer gives what was asked for, from a log.
func (x *live) answer(from []protocol.Entry) {
	for len(x.sent) > 0 {
		e := x.sent[0]
		x.sent = x.sent[1:]
		want, ok := e.Message.(*protocol.RepairWant)
		if !ok {
			x.t.Fatalf("it sends a %s", e.Message.Kind())
		}
		x.l.Receive(0, e.To, &protocol.Repair{Active: true, First: 1, Commit: 60, Before: x.entries[want.First-2].Sum, Entries: from[want.First-1 : want.Last]})
		x.take()
	}
}

// What is lost is asked of the others, verified by its sums, and written once all of it
// is there.
func TestLiveWritesWhatIsLostOnceAllOfItIsThere(t *testing.T) {
	x := newLive(t)
	if x.step == nil || x.step.Look != 35 || !strings.Contains(x.l.String(), "is being repaired") {
		t.Fatalf("the first step is %+v, it says %q", x.step, x.l.String())
	}
	x.looked()
	x.answer(x.entries)
	if !x.step.Write || len(x.step.Found) != 2 || len(x.step.Found[0]) != 6 || x.step.Found[0][0].Index != 31 || len(x.step.Found[1]) != 4 {
		t.Fatalf("the step is %+v, want all written", x.step)
	}
	if x.l.Idle() || x.end != nil {
		t.Error("it is over before it is written")
	}
	x.l.Done(0, repair.Done{ID: x.step.ID})
	x.take()
	if x.end == nil || x.end.Err != nil || x.end.Sound || len(x.end.Helped) == 0 || !x.l.Idle() || x.l.String() != "" {
		t.Errorf("the end is %+v", x.end)
	}
}

// Nothing else than what was lost takes its place, whoever has committed it.
func TestLiveTakesNothingElseThanWhatWasLost(t *testing.T) {
	x := newLive(t)
	x.looked()
	x.answer(run(x.entries[:30], 30, 3, 9, 500))
	x.l.Tick(second)
	x.take()
	if x.end == nil || x.end.Err == nil || !x.end.Hopeless || !x.step.Stop || !x.l.Idle() {
		t.Errorf("the end is %+v, the step %+v; want it given up", x.end, x.step)
	}
}

// Nobody answers: it is given up in time, and nothing is written.
func TestLiveThatNobodyAnswersIsGivenUp(t *testing.T) {
	x := newLive(t)
	x.looked()
	for now := protocol.Instant(0); now < 10*second && x.end == nil; now = x.l.Deadline() {
		x.l.Tick(now)
		x.take()
	}
	if x.end == nil || !x.end.Hopeless || !x.step.Stop || !strings.Contains(x.end.Err.Error(), "none of 2 other members gives entries 31 to 36") {
		t.Errorf("the end is %+v", x.end)
	}
}

// An answer to a step that was given up says nothing of the one that is under way: it is
// about another file, or about what that held before.
func TestAnswerToAnotherStepOfARepairIsNotHeeded(t *testing.T) {
	x := newLive(t)
	first := x.step.ID
	x.l.Stop()
	x.l.Begin(repair.Config{ID: memberID(1)}, 20)
	x.take()
	for _, late := range []repair.Done{{ID: first, Sound: true}, {ID: x.step.ID + 1, Lost: []storage.Lost{x.lost(31, 40)}}, {ID: first, Err: errors.New("late")}} {
		x.l.Done(0, late)
		if x.take(); x.end != nil || len(x.sent) > 0 || x.l.Idle() {
			t.Fatalf("%+v ends the step under way", late)
		}
	}
	x.l.Done(0, repair.Done{ID: x.step.ID, Sound: true})
	if x.take(); x.end == nil || !x.end.Sound || !x.l.Idle() {
		t.Errorf("after its own answer: %+v", x.end)
	}
	x.end = nil
	x.l.Done(0, repair.Done{ID: x.step.ID, Err: errors.New("twice")})
	if x.take(); x.end != nil {
		t.Errorf("what is over ends again: %+v", x.end)
	}
}
