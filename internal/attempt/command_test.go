package attempt

import (
	"context"
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// lost is what an attempt comes to whose connection was lost.
var lost = protocol.ErrUnknownOutcome.With("the connection was lost")

// [S] Once an attempt may have been received, no later refusal says that the command has
// not happened.
func TestRefusalAfterALostAttemptIsAnUnknownOutcome(t *testing.T) {
	for _, tt := range []struct {
		name     string
		attempts []error // of which the last ends the command, unless the caller gives up
		gaveUp   bool
		want     *protocol.Error
	}{
		{"refused for good", []error{protocol.ErrMalformed}, false, protocol.ErrMalformed},
		{"lost, then refused for good", []error{lost, protocol.ErrMalformed}, false, protocol.ErrUnknownOutcome},
		{"lost, then its own answer", []error{lost, protocol.ErrInvalid}, false, protocol.ErrInvalid},
		{"refused, then given up", []error{protocol.ErrNoLeader}, true, protocol.ErrNoLeader},
		{"lost, then given up", []error{lost}, true, protocol.ErrUnknownOutcome},
		{"lost, refused, then given up", []error{lost, protocol.ErrNoLeader}, true, protocol.ErrUnknownOutcome},
		{"refused, lost, refused, then given up", []error{protocol.ErrUnavailable, lost, protocol.ErrUnavailable}, true, protocol.ErrUnknownOutcome},
		{"given up for another leader, then given up", []error{&superseded{"a:1", "b:1"}}, true, protocol.ErrUnknownOutcome},
		{"the session is gone", []error{protocol.ErrSessionExpired}, false, protocol.ErrSessionExpired},
		{"lost, then the session is gone", []error{lost, protocol.ErrSessionExpired}, false, protocol.ErrUnknownOutcome},
	} {
		var c Command
		var verdict Verdict
		var err error
		for _, e := range tt.attempts {
			if verdict, _, err = c.Took(protocol.Result{}, e, nil); verdict != Again {
				break
			}
		}
		if tt.gaveUp {
			if verdict != Again {
				t.Errorf("%s: got verdict %d, want another attempt", tt.name, verdict)
			}
			err = c.GaveUp(context.DeadlineExceeded)
		} else if verdict == Again {
			t.Errorf("%s: got another attempt, want none", tt.name)
		}
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

// A window never hands out a number that is so far above the floor that the members have
// forgotten whether a lower one was executed.
func TestWindowIsBounded(t *testing.T) {
	w := NewWindow()
	for range protocol.SessionWindow {
		w.Take()
	}
	if w.Room() {
		t.Errorf("got room for number %d while 1 is awaited", protocol.SessionWindow+1)
	}
	w.Release(2)
	if got := w.Floor(); got != 1 || w.Room() {
		t.Errorf("got floor %d, want 1, and no room", got)
	}
	w.Release(1)
	if got := w.Floor(); got != 3 || !w.Room() {
		t.Errorf("got floor %d, want 3, and room", got)
	}
}
