package replica

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// [S] A passive asks the leader for indexes at which linearizable reads are
// served. Where signatures are checked it learns who leads from what an active
// has signed, not from whoever claims to, in however high a term.
func TestUnsignedLeaderIsNotBelieved(t *testing.T) {
	villain := protocol.MemberID{9}
	for _, signed := range []bool{false, true} {
		cfg := Config{ID: protocol.MemberID{1}, Run: 1}
		if signed {
			cfg.Gossip.Verify = func([]byte, protocol.Signature) error { return nil }
		}
		r, err := New(0, cfg, storage.Opened{}, OpenedState{})
		if err != nil {
			t.Fatal(err)
		}
		r.SetPeers(0, []protocol.Peer{{ID: villain, Role: protocol.RoleActive}})
		for _, m := range []protocol.Message{
			&protocol.Have{Term: 1 << 40, Leader: villain}, &protocol.Append{Term: 1 << 41}, &protocol.InstallCheckpoint{Term: 1 << 42},
		} {
			r.Receive(0, villain, m)
		}
		s := r.Status(0)
		if believed := s.Leader == villain || s.Term > 0; believed == signed {
			t.Errorf("signatures checked: %v; got leader %v, term %d", signed, s.Leader, s.Term)
		}
	}
}
