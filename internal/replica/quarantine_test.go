package replica

import (
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
