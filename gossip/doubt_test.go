package gossip

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// doubtful returns a passive at index 10 that was sent a run which does not
// fit, and the questions that it asks.
func doubtful(t *testing.T, h []protocol.Entry, origin protocol.MemberID) (*bench, []protocol.Envelope) {
	b := newBench(t, protocol.RolePassive, h, 10, 3, 5, Config{})
	other := chain(20, 10, "other")
	rd := b.step(passiveID(1), frame(other, origin, 11, 12))
	if len(rd.Runs) != 1 {
		t.Fatalf("got %d runs, want 1", len(rd.Runs))
	}
	b.core.Refused(b.now, rd.Runs[0])
	return b, only[*protocol.SumQuestion](b.core.Ready().Messages)
}

func sumOf(h []protocol.Entry, i protocol.Index) *protocol.SumAnswer {
	return &protocol.SumAnswer{Index: i, Known: true, Sum: h[i-1].Sum}
}

// [S] A frame that does not fit, counterexample 33: my own state is bad. I say
// so, and blame nobody.
func TestBadStateBlamesNobody(t *testing.T) {
	mine, right := chain(20, 10, "mine"), chain(20, 10, "right")
	b, asked := doubtful(t, mine, activeID(1))
	if len(asked) != 1 || asked[0].To == activeID(1) || asked[0].To[0] != 1 {
		t.Fatalf("got %v, want one question, to an active that is not the origin", asked)
	}
	if got := asked[0].Message.(*protocol.SumQuestion).Index; got != 10 {
		t.Errorf("asked for index %d, want 10", got)
	}
	rd := b.step(asked[0].To, sumOf(right, 10))
	if rd.Diverged == nil || *rd.Diverged != (Divergence{Index: 10, Mine: mine[9].Sum, Theirs: right[9].Sum, By: asked[0].To, Holds: 10}) {
		t.Fatalf("got %+v, want a divergence at 10", rd.Diverged)
	}
	for _, m := range b.core.members.all {
		if b.core.doubt.avoided(b.now, m.id) {
			t.Errorf("member %s is avoided: it is innocent", m.id.Short())
		}
	}
	// No source, and nothing is taken.
	rd = b.step(passiveID(2), &protocol.Want{Ranges: []protocol.Range{{First: 1, Last: 5}}, Bytes: 1000})
	if len(rd.Messages) != 0 {
		t.Errorf("got %v from a diverged member", rd.Messages)
	}
	if h := b.step(passiveID(2), &protocol.Have{Nonce: 3}).Messages[0].Message.(*protocol.Have); h.LastIndex != 0 {
		t.Errorf("a diverged member says that it holds up to %d", h.LastIndex)
	} else if h.Diverged != 10 || h.Applied != 10 {
		t.Errorf("it says that it has applied %d and diverged at %d, want 10 and 10", h.Applied, h.Diverged)
	}
	if rd := b.step(passiveID(1), frame(mine, activeID(2), 11, 11)); len(rd.Runs) != 0 {
		t.Error("a diverged member takes entries")
	}
}

// [S] A frame that does not fit, counterexample 33: the origin (here the
// leader) has diverged. Another active is asked, the origin is reported and
// avoided; who passed the frame on is not.
func TestBadOriginIsAvoidedNotItsRelay(t *testing.T) {
	mine := chain(20, 10, "mine")
	b, asked := doubtful(t, mine, activeID(1))
	rd := b.step(asked[0].To, sumOf(mine, 10))
	if rd.Diverged != nil || len(rd.Events) != 1 || rd.Events[0].Member != activeID(1) {
		t.Fatalf("got %+v, want the origin reported", rd)
	}
	for _, id := range []protocol.MemberID{activeID(2), activeID(3), passiveID(1)} {
		if b.core.doubt.avoided(b.now, id) {
			t.Errorf("member %s is avoided: it is innocent", id.Short())
		}
	}
	if rd := b.step(passiveID(1), frame(mine, activeID(1), 11, 11)); len(rd.Runs)+len(rd.Messages) != 0 {
		t.Error("a frame of the origin is taken or passed on")
	}
	rd = b.step(passiveID(1), frame(mine, activeID(2), 11, 11))
	if len(rd.Runs) != 1 {
		t.Fatal("a good frame from the relay is not taken")
	}
	b.take(rd.Runs)
	b.core.Ready()
	// Others are preferred for pulls, but it is asked when nobody else holds
	// what is missing.
	b.step(activeID(1), &protocol.Have{First: 1, LastIndex: 12})
	if w := only[*protocol.Want](b.wait(5 * ms).Messages); len(w) != 1 || w[0].To != activeID(1) {
		t.Errorf("got %v, want the only holder asked", w)
	}
	b.now = b.now.Add(avoidFor)
	if rd := b.step(passiveID(1), frame(mine, activeID(1), 12, 12)); len(rd.Runs) != 1 {
		t.Error("the origin is avoided for ever")
	}
}

// [S] "Not yet" is no answer, nor is silence: another active is asked.
func TestNotYetAsksAnother(t *testing.T) {
	mine := chain(20, 10, "mine")
	b, asked := doubtful(t, mine, passiveID(4))
	seen := map[protocol.MemberID]bool{}
	for range 2 {
		seen[asked[0].To] = true
		rd := b.step(asked[0].To, &protocol.SumAnswer{Index: 10})
		if asked = only[*protocol.SumQuestion](rd.Messages); len(asked) != 1 || seen[asked[0].To] {
			t.Fatalf("got %v, want another active asked", asked)
		}
	}
	// An answer from somebody who was not asked, or about something else,
	// decides nothing.
	b.step(passiveID(1), sumOf(chain(20, 10, "other"), 10))
	b.step(asked[0].To, sumOf(chain(20, 10, "other"), 9))
	if b.core.self.wrong || b.core.doubt.avoided(b.now, passiveID(4)) {
		t.Fatal("decided by somebody who was not asked")
	}
	// All were asked: again after a pause.
	rd := b.wait(sumPatience + sumPause + time.Millisecond)
	if asked = only[*protocol.SumQuestion](rd.Messages); len(asked) != 1 {
		t.Fatalf("got %d questions, want one after a pause", len(asked))
	}
	b.step(asked[0].To, sumOf(mine, 10))
	if !b.core.doubt.avoided(b.now, passiveID(4)) {
		t.Error("the origin is not avoided")
	}
}

// Without an answer the question is dropped in the end.
func TestDoubtEnds(t *testing.T) {
	b, _ := doubtful(t, chain(20, 10, "mine"), passiveID(4))
	rd := b.wait(doubtFor + 2*time.Second)
	if b.core.doubt.open || b.core.doubt.at != never {
		t.Error("the question is still open")
	}
	if n := len(only[*protocol.SumQuestion](rd.Messages)); n > 120 {
		t.Errorf("asked %d times", n)
	}
}

// The origin of the frame is asked last: a diverged leader would declare
// everybody else wrong.
func TestOriginIsNotAskedAboutItself(t *testing.T) {
	for seed := range uint64(50) {
		b := newBench(t, protocol.RolePassive, chain(20, 10, "mine"), 10, 3, 5, Config{Run: protocol.RunID(seed)})
		run := Run{From: passiveID(1), Origin: activeID(1), Entries: chain(20, 10, "other")[10:12], Commit: 12}
		b.core.Refused(b.now, run)
		asked := only[*protocol.SumQuestion](b.core.Ready().Messages)
		for range 2 {
			if len(asked) != 1 || asked[0].To == activeID(1) {
				t.Fatalf("seed %d: got %v, want another active asked", seed, asked)
			}
			asked = only[*protocol.SumQuestion](b.step(asked[0].To, &protocol.SumAnswer{Index: 10}).Messages)
		}
		if len(asked) != 0 {
			t.Fatalf("seed %d: got %v, want the origin left out", seed, asked)
		}
	}
	// An active that is alone is right.
	b := newBench(t, protocol.RolePassive, chain(20, 10, "mine"), 10, 1, 5, Config{})
	b.core.Refused(b.now, Run{From: passiveID(1), Origin: activeID(1), Entries: chain(20, 10, "other")[10:12], Commit: 12})
	if asked := only[*protocol.SumQuestion](b.core.Ready().Messages); len(asked) != 1 || asked[0].To != activeID(1) {
		t.Errorf("got %v, want the only active asked", asked)
	}
}

// A run that does not fit is fetched again, from others.
func TestRefusedRunIsPulledFromOthers(t *testing.T) {
	mine := chain(20, 10, "mine")
	b, _ := doubtful(t, mine, passiveID(4))
	b.step(passiveID(2), &protocol.Have{First: 1, LastIndex: 12})
	w := only[*protocol.Want](b.wait(5 * ms).Messages)
	if len(w) != 1 || w[0].Message.(*protocol.Want).Ranges[0] != (protocol.Range{First: 11, Last: 12}) {
		t.Fatalf("got %v, want a pull of 11..12", w)
	}
}

// [S] Actives whose log has lost what this member holds say "not yet" for ever. The
// leader is asked for a read index then, which proves what "not yet" does not.
func TestNotYetOfAllAsksForProof(t *testing.T) {
	b, asked := doubtful(t, chain(20, 10, "mine"), activeID(1))
	var rd Ready
	for range 3 {
		if rd.Prove {
			t.Error("it wants proof before all were asked")
		}
		rd = b.step(asked[0].To, &protocol.SumAnswer{Index: 10})
		asked = only[*protocol.SumQuestion](rd.Messages)
		if len(asked) == 0 {
			break
		}
	}
	if !rd.Prove {
		t.Error("all actives have said \"not yet\", and no proof is asked for")
	}
	b.core.Contradicted(Divergence{Index: 9, Short: true, By: activeID(1)})
	if rd := b.core.Ready(); rd.Diverged == nil || rd.Diverged.Holds != 10 || len(rd.Events) != 1 {
		t.Errorf("got %+v, want a divergence of a member that holds 10", rd)
	}
	if _, ok := b.core.Age(b.now, 10); ok || b.core.doubt.open {
		t.Error("it gives ages, or asks on")
	}
}
