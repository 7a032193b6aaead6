package replica

import (
	"errors"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
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

// [S] A batch was with the state machine when its state was given up: what comes
// of it is of the bad state, and answers nobody.
func TestBatchThatWasOnItsWayToABadStateAnswersNobody(t *testing.T) {
	for _, bad := range []bool{true, false} {
		rec := marked([]byte{1, 2, 3}, 1, 1)
		late := rec.Tail[18:20]
		onItsWay := func(p *patient) {
			p.r.log.applied, p.applied = 18, 18
			p.r.apply.flights = []flight{{entries: late}}
			p.r.commands.proposed = []proposed{{index: 19, term: late[0].Term, from: origin{request: 5}}}
		}
		var p *patient
		if bad {
			p = convicted(t, onItsWay)
		} else {
			p = patientOf(t, 1, rec, always(1))
			onItsWay(p)
		}
		p.r.Effects()
		p.r.Applied(p.now, Applied{Last: 20, Results: make([]protocol.Result, len(late)), Digest: [16]byte{1}})
		answered := false
		for _, a := range p.r.Effects().Answers {
			answered = answered || a.Request == 5 && a.Result.Code == protocol.OK
		}
		if answered == bad {
			t.Errorf("in quarantine: %t, and the command is answered from the state: %t", bad, answered)
		}
	}
}

// [S] A member that has been wrong feeds nobody, not even checkpoints from before
// it was found to be: they agreed with one leader's marks, no majority has looked.
func TestMemberInQuarantineOffersNoOlderCheckpoint(t *testing.T) {
	offers := func(p *patient) (some bool) {
		p.r.Effects()
		p.r.Receive(p.now, id(2), &protocol.Describe{Above: 1})
		for _, s := range p.r.Effects().Send {
			d, ok := s.Message.(*protocol.Description)
			some = some || ok && len(d.Description) > 0
		}
		return some
	}
	p := convicted(t, func(p *patient) {
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
		p.r.Kept(p.now, p.kept)
		if dropped := p.r.checkpoints.dropped != 0; dropped == bad {
			t.Errorf("in quarantine: %t, and the head is dropped: %t", bad, dropped)
		}
	}
}

// Counterexample (simulated seed 926): two actives of three are wrong one after the
// other, the first hears of it when it has long been right again, and both give their
// states up. Whoever is in quarantine has no say: no majority could heal either, for
// ever. The first one's state is that of a majority at a later mark, which it asks for.
func TestStateThatIsRightAtALaterMarkIsKept(t *testing.T) {
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

// [S] It is kept for nothing else: neither the word of fewer than a majority, nor a mark
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
