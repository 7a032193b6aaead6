package replica

import (
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

func TestADirectoryThatHasGoneBackIsRefused(t *testing.T) {
	id := protocol.MemberID{1}
	hello := func(starts uint64, run protocol.RunID, sequence protocol.Sequence) protocol.Hello {
		return protocol.Hello{Member: id, Name: "a1", Starts: starts, Run: run, Sequence: sequence}
	}
	for _, c := range []struct {
		name string
		next protocol.Hello
		good bool
	}{
		{"the same run connects again", hello(2, 7, 95), true},
		{"an earlier connection of the same run is slower", hello(2, 7, 40), true},
		{"the next start", hello(3, 8, 90), true},
		{"an earlier start", hello(1, 6, 90), false},
		{"the same start by another run", hello(2, 8, 90), false},
		{"what it said to be durable while it ran is gone", hello(3, 8, 89), false},
	} {
		var s Sightings
		if err := s.Check(hello(2, 7, 50)); err != nil {
			t.Fatal(err)
		}
		s.Hears(id, &protocol.Standing{Starts: 2, Run: 7, Sequence: 90})
		s.Hears(id, &protocol.Standing{Starts: 2, Run: 6, Sequence: 900}) // of a run that is over
		s.Hears(protocol.MemberID{2}, &protocol.Standing{Sequence: 900})  // of nobody known
		if err := s.Check(c.next); (err == nil) != c.good || err != nil && !errors.Is(err, protocol.ErrRolledBack) {
			t.Errorf("%s: got %v, want refused: %v", c.name, err, !c.good)
		}
		starts, sequence := s.Seen(id)
		if want := max(c.next.Starts, 2); c.good && starts != want || sequence < 90 {
			t.Errorf("%s: got start %d and record %d remembered, want %d and at least 90", c.name, starts, sequence, want)
		}
	}
}
