package replica

import (
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// A passive that led before it lost its seat may still have heard last of itself
// (simulated seed 106): a read that it asked itself for was never answered.
func TestPassiveDoesNotAskItselfForAReadIndex(t *testing.T) {
	rec := found(2, 20, 20, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r := openOn(t, 9, Config{}, rec, Restored{})
	serve(t, r)
	r.hint.leader = id(9)
	r.Read(1, 7)
	e := r.Effects()
	for _, s := range e.Send {
		if s.To == id(9) {
			t.Errorf("sends a %s to itself", s.Message.Kind())
		}
	}
	if len(e.Reads) != 1 || !errors.Is(e.Reads[0].Err, protocol.ErrNoLeader) {
		t.Errorf("got %+v, want %v at once", e.Reads, protocol.ErrNoLeader)
	}
}
