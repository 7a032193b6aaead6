package replica

import (
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// A leader that contradicts what is committed is no cause for a panic: the owner is
// told to stop, with a sentence, and nothing is truncated.
func TestAnotherHistoryStopsTheReplica(t *testing.T) {
	r := open(t, 2, found(2, 5, 4, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3})}))
	r.Effects()
	e := []protocol.Entry{{Index: 4, Term: 4, Kind: protocol.EntryNoop}}
	protocol.EncodeEntries(e)
	r.Receive(1, id(1), &protocol.Append{Term: 4, PrevIndex: 3, PrevTerm: 2, Commit: 4, Last: 4, Entries: e})
	fx := r.Effects()
	if !errors.Is(fx.Stop, protocol.ErrTwoHistories) {
		t.Errorf("got %v, want that it stops", fx.Stop)
	}
	if fx.Persist != nil && fx.Persist.Write.Truncate || r.Status(1).Last != 5 {
		t.Errorf("got a log to %d, want that all of it stays", r.Status(1).Last)
	}
	if r.Effects().Stop != nil {
		t.Error("it says so twice")
	}
}

// The leader names the member whose answers prove that its directory was put back,
// once.
func TestAnAnswerBelowWhatWasAcknowledgedIsPassedOn(t *testing.T) {
	c := elected(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3})})
	r, s := c.r, c.r.Status(c.now)
	r.Receive(c.now, id(2), &protocol.AppendAnswer{Term: s.Term, Index: s.Last, Run: 7})
	for range 2 {
		r.Receive(c.now, id(2), &protocol.AppendAnswer{Term: s.Term, Reject: true, Index: s.Last, HintIndex: 1, HintTerm: 1, Run: 8})
	}
	if fx := r.Effects(); len(fx.PutBack) != 1 || fx.PutBack[0] != (protocol.RunOf{Member: id(2), Run: 8}) {
		t.Errorf("got %v, want member 2, once", fx.PutBack)
	}
}

// [S] A checkpoint whose configuration cannot have been committed without this member, which does not hold
// it, is not installed: its log would begin anew with a vote that decides alone. A leader's word ends an active; others
// may have made it up.
func TestACheckpointDoesNotBringBackAForgottenVote(t *testing.T) {
	for name, test := range map[string]struct {
		conf     protocol.Configuration
		at       protocol.Index
		installs bool
	}{
		"alone":               {conf(1, []byte{9}, 1, 2), 50, false},
		"one of two":          {conf(2, []byte{9, 1}), 50, false},
		"one of three":        {conf(3, []byte{9, 1, 2}), 50, true},
		"alone, and it knows": {conf(1, []byte{9}, 1, 2), 20, true},
	} {
		for _, byLeader := range []bool{true, false} {
			r, d, _ := installing(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1, 2, 9})})
			d.Configuration = protocol.ConfigurationAt{Index: test.at, Configuration: test.conf}
			if byLeader {
				offer(r, d)
			} else {
				r.install.offered(1, &protocol.ManifestOffer{From: id(1), Manifest: storage.EncodeManifest(d)}, false)
			}
			fx := r.Effects()
			stops := errors.Is(fx.Stop, protocol.ErrRolledBack)
			if installs := len(fx.Install) > 0; installs != test.installs || stops != (byLeader && !test.installs) {
				t.Errorf("%s, by its leader %v: installs %v, want %v; stops %v", name, byLeader, installs, test.installs, fx.Stop)
			}
		}
	}
}
