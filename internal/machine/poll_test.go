package machine_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// poll returns what a poller says, as next does.
func poll(t *testing.T, p *machine.Poller, tick bool) string {
	t.Helper()
	c, err := p.Poll(tick)
	if err != nil {
		t.Fatal(err)
	}
	return spelt(&c)
}

// Who asks a watch is never kept waiting, and is told what Next tells.
func TestAPollerIsAskedAndDoesNotWait(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	first := put(t, l, "m", "a", "1")
	p := watch(t, l, "a", first-1).Polled()
	want := func(tick bool, want string) {
		t.Helper()
		if got := poll(t, p, tick); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	want(false, fmt.Sprint(first-1)) // where it begins
	want(true, fmt.Sprintf("%d 1:a=1", first))
	want(false, fmt.Sprint(first))
	other := put(t, l, "m", "b", "1")
	want(false, fmt.Sprint(first))
	want(true, fmt.Sprint(other))
	put(t, l, "m", "b", "2")
	again := put(t, l, "m", "a", "2")
	want(true, fmt.Sprint(other)) // a change waits to be told: a tick says nothing beyond it
	want(false, fmt.Sprintf("%d 1:a=2", again))
	want(false, fmt.Sprint(again))
	l.m.Close()
	if _, err := p.Poll(false); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("got %v, want that the machine is closed", err)
	}
}
