package attempt

import (
	"io"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// A missing quorum is told after two elections, if nobody has known a leader meanwhile.
func TestMissingQuorumIsToldAfterTwoElections(t *testing.T) {
	missing, dead := protocol.ErrNoQuorum.With("of the 3 voters b and c are not heard, a is"), protocol.ErrUnavailable.With("refused")
	at := func(d time.Duration) time.Time { return time.Unix(1, 0).Add(d) }
	for _, test := range []struct {
		name    string
		between error
		want    bool
	}{{"nothing else", missing, true}, {"the dead do not answer", dead, true}, {"a connection breaks", io.EOF, true},
		{"nobody was known to be silent yet", protocol.ErrNoLeader, true}, {"another one knows who leads", protocol.ErrNotLeader, false}} {
		var l QuorumLack
		if l.Lasts(missing, at(0)) || l.Lasts(test.between, at(quorumPatience/2)) || l.Lasts(missing, at(quorumPatience-1)) {
			t.Errorf("%s: gives up too early", test.name)
		}
		if l.Lasts(protocol.ErrNoLeader, at(quorumPatience)) {
			t.Errorf("%s: gives up while somebody may be elected", test.name)
		}
		if got := l.Lasts(missing, at(quorumPatience)); got != test.want {
			t.Errorf("%s: gives up: %t, want %t", test.name, got, test.want)
		}
	}
}
