package hostile

import (
	"math/rand/v2"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// Every kind can be drawn, and nearly all that is drawn gets through the decoder.
func TestEveryKindGetsThroughTheDecoder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := &Scene{Term: 5, Commit: 10, Last: 12, CommitTerm: 4, LastTerm: 5, Request: 3}
	kinds := protocol.Kinds()
	if len(kinds) < 30 {
		t.Errorf("got %d kinds", len(kinds))
	}
	for _, kind := range kinds {
		through := 0
		for range 1000 {
			if m := Message(rng, kind, s); m != nil {
				through++
				if m.Kind() != kind {
					t.Fatalf("got a %s, want a %s", m.Kind(), kind)
				}
				if said, is := protocol.MessageSize(m), len(protocol.AppendMessage(nil, m)); said < is {
					t.Fatalf("%s: size %d said, %d needed: %+v", kind, said, is, m)
				}
			}
		}
		if through < 300 {
			t.Errorf("%s: %d of 1000 get through the decoder", kind, through)
		}
	}
}
