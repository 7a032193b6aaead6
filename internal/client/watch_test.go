package client

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

func watching(from protocol.Index) protocol.Watch {
	return protocol.Watch{Resource: "hits", Type: "count", From: from}
}

// begun is a watch that has said where it begins.
func begun(t *testing.T) (*server, *Client, resources.WatchStream) {
	t.Helper()
	s := newServer(t)
	c := newClient(t, s, Config{})
	mustCommand(t, c, "before")
	w, err := c.Watch(t.Context(), watching(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	if first, err := w.Next(t.Context()); err != nil || len(first.Changes) != 0 || first.Index == 0 {
		t.Fatalf("got %+v, %v, want an index without changes first", first, err)
	}
	return s, c, w
}

func TestWatchGoesOnElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, w := begun(t)
		ends := []error{nil, errBroken, protocol.ErrUnavailable, protocol.ErrClosed, protocol.ErrNotServing}
		for i, end := range ends {
			if end != nil {
				s.streams[len(s.streams)-1].fail(end)
			}
			for k := range 2 {
				mustCommand(t, c, fmt.Sprintf("key-%d-%d", i, k))
			}
			for k := range 2 {
				want := fmt.Sprintf("key-%d-%d", i, k)
				for {
					changes, err := w.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if len(changes.Changes) == 0 {
						continue // the new member says where it begins
					}
					if got := string(changes.Changes[0].Key); !strings.Contains(got, want) {
						t.Fatalf("got change %q, want %q: no gaps, no duplicates", got, want)
					}
					break
				}
			}
		}
		if got := len(s.streams); got != len(ends) {
			t.Errorf("got %d streams, want %d", got, len(ends))
		}
	})
}

func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{})
		mustCommand(t, c, "before")
		open := func(from protocol.Index) *stream {
			watch := watching(from)
			w, err := c.openStream(t.Context(), &watch)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(w.Close)
			return w
		}

		slow := open(s.machine.Applied())
		s.streams[len(s.streams)-1].fail(protocol.ErrSlowWatcher)
		_, _ = slow.Next(t.Context()) // where it begins
		_, err := slow.Next(t.Context())
		wantIs(t, err, []error{protocol.ErrSlowWatcher}, nil)

		// Lost before it said where "now" is: going on could leave a gap.
		now := open(0)
		lost := s.streams[len(s.streams)-1]
		lost.fail(protocol.ErrUnavailable)
		_, err = now.Next(t.Context())
		wantIs(t, err, []error{protocol.ErrUnavailable}, nil)

		resumed := open(s.machine.Applied())
		_, _ = resumed.Next(t.Context())
		s.fateIs(fate{before: protocol.ErrCompacted})
		s.streams[len(s.streams)-1].fail(errBroken)
		_, err = resumed.Next(t.Context())
		wantIs(t, err, []error{protocol.ErrCompacted}, nil)

		s.setFate(nil)
		closed := open(s.machine.Applied())
		_, _ = closed.Next(t.Context())
		time.AfterFunc(time.Second, closed.Close)
		_, err = closed.Next(t.Context())
		wantIs(t, err, []error{protocol.ErrClosed}, nil)

		bounded := open(s.machine.Applied())
		_, _ = bounded.Next(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = bounded.Next(ctx)
		wantIs(t, err, []error{context.DeadlineExceeded}, nil)

		s.fateIs(fate{before: protocol.ErrUnavailable})
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Watch(ctx, watching(0))
		wantIs(t, err, []error{protocol.ErrUnavailable, context.DeadlineExceeded}, nil)
	})
}
