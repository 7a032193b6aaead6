package replica

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Counterexample: a member votes while it installs a checkpoint, its log is begun
// anew without the vote, and it votes for another one in the same term.
func TestVoteGivenWhileInstallingOutlivesTheReset(t *testing.T) {
	r, d, _ := installing(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1, 2, 9})})
	offer(r, d)
	fetchAll(t, r, d)
	r.Receive(3, id(2), &protocol.Vote{Term: 3, LastIndex: 90, LastTerm: 2, Transfer: true})
	serveWrites(r)
	if got := r.HardState(); got.Term != 3 || got.Vote != id(2) {
		t.Fatalf("the member has not voted: %+v", got)
	}
	r.InstallFinished(4, []storage.Manifest{d}, 77, nil)
	e := r.Effects()
	if e.Persist == nil || e.Persist.Reset == nil {
		t.Fatalf("persists %+v, want the log reset", e.Persist)
	}
	if got := e.Persist.Write.State; got.Term != 3 || got.Vote != id(2) {
		t.Errorf("the log is reset with %+v, want the vote for %v in term 3", got, id(2))
	}
	r.Persisted(5, e.Persist.ID, nil)
	if got := r.HardState(); got.Term != 3 || got.Vote != id(2) {
		t.Errorf("after the reset the member knows of %+v", got)
	}
}

// Counterexample (simulated seed 147): a member votes while its log is being begun anew
// after a checkpoint. The vote was written with the commit index of before, and a log
// that begins above its own commit index cannot be opened.
func TestVoteGivenWhileTheLogIsBegunAnewKeepsItsCommitIndex(t *testing.T) {
	r, d, _ := installing(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1, 2, 9})})
	offer(r, d)
	fetchAll(t, r, d)
	r.InstallFinished(4, []storage.Manifest{d}, 77, nil)
	e := r.Effects()
	if e.Persist == nil || e.Persist.Reset == nil {
		t.Fatalf("persists %+v, want the log reset", e.Persist)
	}
	r.Receive(5, id(2), &protocol.Vote{Term: 3, LastIndex: 90, LastTerm: 2, Transfer: true})
	r.Persisted(6, e.Persist.ID, nil)
	voted := false
	for e := r.Effects(); e.Persist != nil; e = r.Effects() {
		if s := e.Persist.Write.State; s.Commit < d.Index {
			t.Errorf("writes %+v after the log was begun anew at %d", s, d.Index)
		}
		voted = voted || e.Persist.Write.State.Vote == id(2)
		r.Persisted(7, e.Persist.ID, nil)
	}
	if !voted {
		t.Error("the vote was never written")
	}
}
