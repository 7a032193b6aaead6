package replica

import (
	"reflect"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// Whoever asks a member of an older version would wait for an answer that cannot come,
// and nobody would see that two members do not understand each other.
func TestWhatIsNotKnownIsAnsweredAndCounted(t *testing.T) {
	x := follower(t, 1)
	state, logTerms := x.r.log.role.HardState(), x.r.log.logTerms().Clone()
	for range 3 {
		x.r.Receive(x.now, id(2), &protocol.Unknown{Of: 63})
	}
	if e := x.r.Effects(); len(e.Send) > 0 {
		t.Errorf("a message that does not ask: got %+v", e)
	}
	x.r.Receive(x.now, id(3), &protocol.Unknown{Of: 127, Request: 9})
	want := []Send{{Envelope: protocol.Envelope{From: x.r.cfg.ID, To: id(3), Message: &protocol.Unsupported{Asked: 127, Request: 9}}}}
	if e := x.r.Effects(); !reflect.DeepEqual(e.Send, want) {
		t.Errorf("got %+v, want %+v", e.Send, want)
	}
	x.r.Receive(x.now, id(2), &protocol.Unsupported{Asked: 126, Request: 4})
	if e := x.r.Effects(); len(e.Send) > 0 {
		t.Errorf("an answer is answered: %+v", e.Send)
	}
	counts := []protocol.KindCount{{Kind: 63, Skipped: 3}, {Kind: 126, Unsupported: 1}, {Kind: 127, Skipped: 1}}
	if got := x.r.Status(x.now).Unknown; !slices.Equal(got, counts) {
		t.Errorf("got %+v, want %+v", got, counts)
	}
	if got := x.r.log.role.HardState(); got != state || !reflect.DeepEqual(logTerms, x.r.log.logTerms().Clone()) {
		t.Errorf("it has changed what is held: %+v, was %+v", got, state)
	}
}
