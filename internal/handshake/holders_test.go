package handshake

import (
	"math/rand/v2"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// A copy of a running member's directory has a newer start: a rule that goes by
// starts would believe it, and its original as well.
func TestOneRunAtATimeHoldsAnID(t *testing.T) {
	var h Holders
	id, other := protocol.MemberID{1}, protocol.MemberID{2}
	enter := func(id protocol.MemberID, run, want protocol.RunID) {
		t.Helper()
		if got, ok := h.Enter(id, run); ok != (want == 0) || got != want {
			t.Errorf("run %d enters: got run %d in its way, %v; want %d", run, got, ok, want)
		}
	}
	enter(id, 7, 0)
	enter(id, 7, 0)
	enter(id, 8, 7)
	enter(other, 8, 0)
	if !h.Holds(id, 7) || h.Holds(id, 8) || h.Holds(protocol.MemberID{3}, 0) {
		t.Error("who holds is not who has streams")
	}
	h.Leave(id, 8) // it never had any
	h.Leave(id, 7)
	enter(id, 8, 7)
	h.Leave(id, 7)
	enter(id, 8, 0)
	h.Leave(id, 7) // late: the stream of a run that has gone
	if !h.Holds(id, 8) {
		t.Error("a stream of a run that has gone took the id from the next")
	}
	h.Supersede(id, 7)
	enter(id, 9, 8)
	h.Supersede(id, 8)
	if h.Holds(id, 8) {
		t.Error("a run that was superseded holds the id")
	}
	enter(id, 9, 0)
	h.Leave(id, 8) // its streams end when they are closed
	if !h.Holds(id, 9) {
		t.Error("a stream that was superseded took the id from the next run")
	}
	if !h.Past(id, 8) || h.Past(id, 7) || h.Past(id, 9) || h.Past(other, 8) {
		t.Error("past is who was superseded: not who has left, nor who was not there")
	}
	for run := protocol.RunID(9); run < 100; run++ {
		h.Supersede(id, run)
		enter(id, run+1, 0)
	}
	if got := len(h.past[id].runs); got != pastMax || !h.Past(id, 99) {
		t.Errorf("%d past runs are remembered, want the last %d", got, pastMax)
	}
}

// Ids are claimed: a stranger with ever new ones must not fill the memory.
func TestThePastIsOfAFewMembers(t *testing.T) {
	var h Holders
	id := func(n int) protocol.MemberID { return protocol.MemberID{byte(n), byte(n >> 8), 1} }
	supersede := func(n int, run protocol.RunID) {
		h.Enter(id(n), run)
		h.Supersede(id(n), run)
	}
	for n := range pastIDsMax {
		supersede(n, 1)
	}
	supersede(0, 2) // the second one is now the oldest
	supersede(pastIDsMax, 1)
	if got := len(h.past); got != pastIDsMax {
		t.Errorf("the past of %d members is remembered, want %d", got, pastIDsMax)
	}
	if !h.Past(id(0), 1) || !h.Past(id(0), 2) || h.Past(id(1), 1) || !h.Past(id(2), 1) || !h.Past(id(pastIDsMax), 1) {
		t.Error("not the one was forgotten whose run was superseded longest ago")
	}
	if len(h.runs) > 0 {
		t.Errorf("%d members have no streams and are remembered", len(h.runs))
	}
}

// Whatever comes: streams that entered and neither left nor were superseded are all
// of the run that holds the id, and nobody is remembered who has none.
func TestHoldersCountWhatIsOpen(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h Holders
	var open []protocol.RunID
	id := protocol.MemberID{1}
	for range 10_000 {
		run := protocol.RunID(rng.IntN(3))
		switch rng.IntN(5) {
		case 0, 1:
			if _, ok := h.Enter(id, run); ok {
				open = append(open, run)
			}
		case 2, 3:
			if len(open) > 0 {
				h.Leave(id, open[0])
				open = open[1:]
			}
		default:
			if h.Holds(id, run) {
				open = nil
			}
			h.Supersede(id, run)
		}
		for _, run := range open {
			if run != open[0] || !h.Holds(id, run) {
				t.Fatalf("open streams are of runs %v", open)
			}
		}
		if len(open) == 0 && len(h.runs) > 0 {
			t.Fatalf("nothing is open, and %v is remembered", h.runs)
		}
	}
}
