package replica

import (
	"testing"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
)

// cutting is a follower that holds 61 to 100 of an old term on its disk. The leader has
// replaced them by its own, which are committed to 70, and the follower knows; its disk
// is slow, and still has the old ones.
func cutting(t *testing.T) (r *Replica, disk, committed []protocol.Entry) {
	t.Helper()
	old := found(2, 100, 50, threeVoters)
	disk = old.Tail
	old.Tail = old.Tail[40:]
	r = openOn(t, 2, Config{CheckpointEvery: -1}, old, OpenedState{Applied: 50})
	r.SetPeers(0, []protocol.Peer{{ID: id(1), Role: protocol.RoleActive}, {ID: id(3), Role: protocol.RoleActive}, {ID: id(8), Role: protocol.RolePassive}})
	committed = append(disk[:60:60], disk[60:70]...)
	for i := range committed[60:] {
		committed[60+i] = protocol.Entry{Index: protocol.Index(61 + i), Term: 3, Kind: protocol.EntryNoop}
	}
	protocol.EncodeEntries(committed[60:])
	protocol.SumEntries(disk[59].Sum, committed[60:])
	r.Receive(1, id(1), &protocol.Append{Term: 3, PrevIndex: 60, PrevTerm: 2, Commit: 70, Last: 70, Entries: committed[60:]})
	return r, disk, committed
}

// It read the old ones, and gave them to a passive as committed.
func TestPullIsNotAnsweredWithWhatIsBeingCutOff(t *testing.T) {
	for _, first := range []protocol.Index{30, 40, 41, 42, 66} {
		r, disk, committed := cutting(t)
		r.Receive(1, id(8), &protocol.Want{Ranges: []protocol.Range{{First: first, Last: 70}}, Bytes: 1 << 20})
		var got []protocol.Entry
		for range 20 {
			e := r.Effects() // what is to be written never is
			for _, x := range e.ReadLog {
				r.LogRead(1, x.ID, disk[x.First-1:x.Last], nil)
			}
			for _, s := range e.Send {
				if f, ok := s.Message.(*protocol.Frame); ok && s.To == id(8) {
					got = append(got, f.Entries...)
				}
			}
		}
		if len(got) == 0 || got[0].Index != first {
			t.Fatalf("asked for %d to 70, got %v", first, got)
		}
		for _, e := range got {
			if e.Sum != committed[e.Index-1].Sum {
				t.Errorf("asked for %d to 70: got %v, which is not what was committed", first, &e)
			}
		}
	}
}

// It would have told a member that repairs its log that the old ones are committed, and
// that what this one held there, the new ones, never was.
func TestWhoRepairsIsNotToldThatWhatIsBeingCutOffWasCommitted(t *testing.T) {
	r, _, _ := cutting(t)
	want := repair.Held{Last: 60, Commit: 60, Active: true}
	if got := r.Held(); got != want {
		t.Errorf("before anything is written it answers from %+v, want %+v", got, want)
	}
	e := r.Effects()
	if got := r.Held(); got != want {
		t.Errorf("while it is written it answers from %+v, want %+v", got, want)
	}
	for ; e.Persist != nil; e = r.Effects() {
		r.Persisted(1, e.Persist.ID, nil)
	}
	want.Last, want.Commit = 70, 70
	if got := r.Held(); got != want {
		t.Errorf("when it is written it answers from %+v, want %+v", got, want)
	}
}
