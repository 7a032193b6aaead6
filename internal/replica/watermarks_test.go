package replica

import (
	"errors"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

var seenID = protocol.MemberID{1}

func greeting(starts uint64, run protocol.RunID, sequence protocol.Sequence) protocol.Hello {
	return protocol.Hello{Member: seenID, Name: "a1", Starts: starts, Run: run, Sequence: sequence}
}

func TestADirectoryThatHasGoneBackIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		next   protocol.Hello
		why    []string // what the text names; none: it is not refused
		unlike string   // and what it must not name
	}{
		{"the same run connects again", greeting(2, 7, 95), nil, ""},
		{"an earlier connection of the same run is slower", greeting(2, 7, 40), nil, ""},
		{"the next start", greeting(3, 8, 90), nil, ""},
		{"an earlier start", greeting(1, 6, 129), []string{"start 1,", "start 2 was seen", "`starling remove a1`"}, "129"},
		{"the same start by another run", greeting(2, 8, 129), []string{"another run had its start 2"}, "129"},
		{"what it said to be durable while it ran is gone", greeting(3, 8, 89), []string{"start 3", "record 89", "record 90", "start 2"}, "another run"},
	} {
		var s Watermarks
		s.Raise(greeting(2, 7, 50))
		s.OnWatermark(seenID, &protocol.Watermark{Starts: 2, Run: 7, Sequence: 90})
		s.OnWatermark(seenID, &protocol.Watermark{Starts: 2, Run: 6, Sequence: 900})             // of a run that is over
		s.OnWatermark(protocol.MemberID{2}, &protocol.Watermark{Starts: 2, Run: 7, Sequence: 9}) // of nobody known
		err := s.Check(c.next)
		if (err != nil) != (len(c.why) > 0) || err != nil && !errors.Is(err, protocol.ErrRolledBack) {
			t.Errorf("%s: got %v, want refused: %v", c.name, err, len(c.why) > 0)
			continue
		}
		for _, text := range c.why {
			if !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), c.unlike) {
				t.Errorf("%s: got %q, want the numbers that decided, %q, and not %q", c.name, err, c.why, c.unlike)
			}
		}
	}
}

// A greeting in a member's name, with 2^40 starts, locked that member out for good.
func TestAGreetingRaisesNothing(t *testing.T) {
	var s Watermarks
	s.Raise(greeting(2, 7, 50))
	for range 2 {
		if err := s.Check(greeting(1<<40, 9, 1<<40)); err != nil {
			t.Error(err)
		}
		s.OnWatermark(seenID, &protocol.Watermark{Starts: 1 << 40, Run: 9, Sequence: 1 << 40})
	}
	if err := s.Check(greeting(3, 8, 51)); err != nil {
		t.Errorf("the member itself: %v", err)
	}
	if got := s.Seen(seenID); got.Starts != 2 || got.Sequence != 50 {
		t.Errorf("got start %d and record %d remembered, want 2 and 50", got.Starts, got.Sequence)
	}
}

// What is remembered of a run never falls, whatever order its connections come in.
func TestWhatWasSeenOfARunDoesNotFall(t *testing.T) {
	var s Watermarks
	s.Raise(greeting(2, 7, 50))
	s.Raise(greeting(2, 7, 40))
	s.OnWatermark(seenID, &protocol.Watermark{Starts: 2, Run: 7, Sequence: 30})
	if got := s.Seen(seenID); got.Starts != 2 || got.Sequence != 50 {
		t.Errorf("got start %d and record %d, want 2 and 50", got.Starts, got.Sequence)
	}
	s.Raise(greeting(3, 8, 60))
	if got := s.Seen(seenID); got.Starts != 3 || got.Sequence != 60 {
		t.Errorf("got start %d and record %d, want 3 and 60", got.Starts, got.Sequence)
	}
}
