package client

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Whoever calls faster than the cluster answers is refused at once, before the
// arguments fill its memory.
func TestWaitingCommandsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		s.fateIs(fate{hang: true}) // the session, too
		c := newClient(t, s, Config{})
		large := count("x")
		large.Argument = make([]byte, protocol.CommandBytesMax)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var group sync.WaitGroup
		const fit = protocol.CallersWaitingBytesMax / protocol.CommandBytesMax
		for range fit {
			group.Go(func() {
				_, err := c.Command(ctx, large)
				wantIs(t, err, []error{context.DeadlineExceeded}, []error{protocol.ErrOverloaded})
			})
		}
		synctest.Wait()
		began := time.Now()
		_, err := c.Command(ctx, large)
		wantIs(t, err, []error{protocol.ErrOverloaded}, []error{context.DeadlineExceeded, protocol.ErrUnknownOutcome})
		if err == nil || !strings.Contains(err.Error(), "64 commands with 67108864 bytes wait in this client already") || time.Now() != began {
			t.Errorf("after %v: got %v", time.Since(began), err)
		}
		group.Wait()
		if n, bytes := c.waiting.callers.Load(), c.waiting.bytes.Load(); n != 0 || bytes != 0 {
			t.Errorf("%d callers with %d bytes are counted, and nobody waits", n, bytes)
		}
	})
	var w waiting
	w.callers.Store(protocol.CallersWaitingMax)
	if err := w.enter(0); !errors.Is(err, protocol.ErrOverloaded) {
		t.Errorf("a caller too many: got %v", err)
	}
	var one waiting
	if err := one.enter(2 * protocol.CallersWaitingBytesMax); err != nil {
		t.Errorf("one in any case: got %v", err)
	}
}

// As many watches as there may be, and one more, which is not sent.
func TestWatchesOfACallerAreBounded(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{})
	mustCommand(t, c, "a")
	for range protocol.WatchesPerCallerMax {
		w, err := c.Watch(t.Context(), watching(1))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
	}
	before := s.count()
	for range 2 {
		_, err := c.Watch(t.Context(), watching(1))
		wantIs(t, err, []error{protocol.ErrTooLarge}, nil)
	}
	if got := s.count(); got != before {
		t.Errorf("%d watches too many were sent", got-before)
	}
	failing := watching(1)
	failing.Type = "unknown"
	s.fateIs(fate{before: protocol.ErrUnknownType})
	d := newClient(t, s, Config{})
	for range 3 { // one that is refused leaves its place
		_, err := d.Watch(t.Context(), failing)
		wantIs(t, err, []error{protocol.ErrUnknownType}, nil)
	}
	if n := d.watches.Load(); n != 0 {
		t.Errorf("%d watches are counted, and none is open", n)
	}
}
