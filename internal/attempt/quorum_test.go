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

// A passive goes on for a while to say who led last. That is less than what a voter has said,
// and begins no new time, whatever is asked.
func TestHintOfAPassiveDoesNotPutOffThatAQuorumIsMissing(t *testing.T) {
	var l QuorumLack
	var change Change
	var question Question
	var ended bool
	for i, refusal := range []error{protocol.ErrNoLeader, protocol.ErrNotLeader, protocol.ErrNoLeader, protocol.ErrNotLeader, protocol.ErrNoQuorum} {
		response := &protocol.Response{Result: protocol.Failed(refusal)}
		_, err := change.Took(response, nil, nil)
		if _, same := question.Took(response, nil, Until{}); CodeIn(same) != CodeIn(err) {
			t.Errorf("attempt %d: %v of a question, %v of a change", i, same, err)
		}
		ended = l.Lasts(err, time.Unix(1, 0).Add(time.Duration(i)*quorumPatience/4))
	}
	if !ended {
		t.Error("goes on although no voter has known a leader all the time")
	}
}
