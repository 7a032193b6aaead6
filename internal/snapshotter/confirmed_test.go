package snapshotter_test

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// confirmed puts an entry that says what is right at the checkpoint entry at 50 into a history, at 60.
func confirmed(all []protocol.Entry, kind protocol.EntryKind, digest [16]byte) []protocol.Entry {
	e := &all[59]
	e.Kind, e.Data = kind, protocol.EncodeConfirmation(protocol.Confirmation{Index: 50, Digest: digest})
	protocol.EncodeEntries(all)
	protocol.SumEntries(protocol.LogSum{}, all)
	return all
}

// [S] Counterexample: a member ends between the confirmation of its older checkpoint, or an operator's ruling, and the mark of
// it, and its next run begins from the newer one. It gives the older one to nobody, and lets it go for the next.
func TestAStartMarksTheOlderCheckpointAsTheLogSays(t *testing.T) {
	for _, kind := range []protocol.EntryKind{protocol.EntryConfirmation, protocol.EntryRuling} {
		each(t, func(t *testing.T, h *home) {
			_, digest := stateOf(t, history(9, 50, 1)).Digest()
			all := confirmed(history(9, 160, 1), kind, digest.Bytes())
			h.grow(all[:110])
			h.startAgain()
			if kept := h.store.Kept(); len(kept) != 2 || !kept[1].Confirmed || kept[0].Confirmed {
				t.Fatalf("%s: kept are %+v, want the one at 50 confirmed", kind, kept)
			}
			h.replay()
			h.grow(all)
			h.wantKept(150, 50)
		})
	}
}

// What the log confirms of another state is no word on this one.
func TestAStartMarksNothingThatTheLogDoesNotConfirm(t *testing.T) {
	h := newHome(t, flat, 3)
	all := confirmed(history(9, 110, 1), protocol.EntryConfirmation, [16]byte{7})
	h.must(h.start())
	h.grow(all)
	h.startAgain()
	for _, d := range h.store.Kept() {
		if d.Confirmed {
			t.Errorf("%d is marked, and the log confirms something else", d.Index)
		}
	}
}
