package client

import (
	"context"
	"fmt"
	"sync"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Watch returns a stream of the changes that w asks for; ctx bounds its
// opening only. When the member that serves it is lost, the stream goes on at
// another, from the last index that it has seen: without gaps or duplicates.
// It ends with protocol.ErrCompacted if no member has the changes any more,
// and with the connection's error if it has seen nothing yet and began at
// "now", a place that only the lost member knew.
//
// "Now" is not before what the client has seen: a member that is behind tells
// no changes that the client knows already, its own least of all.
//
// A watch that no member would take is not sent: the error is what its Validate
// says.
func (c *Client) Watch(ctx context.Context, w protocol.Watch) (resources.WatchStream, error) {
	if c == nil {
		return nil, errNone
	}
	if err := w.Validate(); err != nil {
		return nil, err
	}
	if err := tooLate(ctx); err != nil {
		return nil, err
	}
	if c.watches.Add(1) > protocol.WatchesPerCallerMax {
		c.watches.Add(-1)
		return nil, protocol.ErrTooLarge.With(fmt.Sprintf(
			"there are %d watches here, the limit: close some, share one, or dial another client", protocol.WatchesPerCallerMax))
	}
	s := &stream{client: c, watch: w, closed: make(chan struct{})}
	if w.From == 0 {
		s.known = c.seen.index()
	}
	inner, err := s.open(ctx)
	if err != nil {
		c.watches.Add(-1)
		return nil, err
	}
	s.inner = inner
	return s, nil
}

// stream is a watch that survives the loss of a member. Next belongs to one
// goroutine; Close may be called from any.
type stream struct {
	client *Client
	watch  protocol.Watch // From moves on with what has been seen
	known  protocol.Index // nothing up to here is told
	pause  *attempt.Pause // nil after a success
	closed chan struct{}

	mu    sync.Mutex
	inner resources.WatchStream // nil while there is none
	ended bool
}

// Next waits for the changes of one entry.
func (s *stream) Next(ctx context.Context) (protocol.Changes, error) {
	for {
		inner, err := s.current(ctx)
		if err != nil {
			return protocol.Changes{}, err
		}
		changes, err := inner.Next(ctx)
		if err == nil {
			s.pause = nil
			if changes, ok := s.next(changes); ok {
				return changes, nil
			}
			continue
		}
		if ctx.Err() != nil {
			return protocol.Changes{}, err
		}
		if s.isClosed() || s.client.isClosed() {
			return protocol.Changes{}, protocol.ErrClosed
		}
		if !lost(err) || s.watch.From == 0 {
			return protocol.Changes{}, err
		}
		s.forget(inner)
		if s.pause == nil {
			s.pause = s.client.pause()
		}
		if s.client.wait(ctx, s.pause.Next(nil)) != nil {
			return protocol.Changes{}, attempt.GaveUp(ctx.Err(), err)
		}
	}
}

// next moves on with what a member has told, and reports whether it is news.
func (s *stream) next(changes protocol.Changes) (protocol.Changes, bool) {
	if len(changes.Changes) > 0 && changes.Index <= s.known {
		return changes, false
	}
	changes.Index = max(changes.Index, s.known) // without changes: where the stream begins
	// [S] What a client has seen comes from members. The index that was asked for does not: nothing
	// may have come to it yet.
	if len(changes.Changes) > 0 || changes.Index != s.watch.From {
		s.client.seen.raise(changes.Index)
	}
	s.watch.From = max(s.watch.From, changes.Index)
	return changes, true
}

// Close ends the stream; a Next that waits returns an error.
func (s *stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	s.client.watches.Add(-1)
	close(s.closed)
	if s.inner != nil {
		s.inner.Close()
	}
}

// lost reports whether a stream ended because of the member that served it,
// and not because of what was asked.
func lost(err error) bool {
	code := attempt.CodeIn(err)
	return code == protocol.OK || code.Meaning().MayRetry(protocol.Later|protocol.Elsewhere)
}

// current returns the stream at some member, opening one if there is none.
func (s *stream) current(ctx context.Context) (resources.WatchStream, error) {
	s.mu.Lock()
	inner, ended := s.inner, s.ended
	s.mu.Unlock()
	switch {
	case ended:
		return nil, protocol.ErrClosed
	case inner != nil:
		return inner, nil
	}
	inner, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		inner.Close()
		return nil, protocol.ErrClosed
	}
	s.inner = inner
	return inner, nil
}

// open makes attempts to open a stream where the last one ended.
func (s *stream) open(ctx context.Context) (resources.WatchStream, error) {
	pause := s.client.pause()
	for {
		if s.client.isClosed() || s.isClosed() {
			return nil, protocol.ErrClosed
		}
		w := s.watch
		inner, err := s.client.transport.Watch(ctx, &w)
		if err == nil {
			return inner, nil
		}
		if attempt.Permanent(err) {
			return nil, err
		}
		if ctx.Err() != nil || s.client.wait(ctx, pause.Next(nil)) != nil {
			return nil, attempt.GaveUp(ctx.Err(), err)
		}
	}
}

func (s *stream) forget(inner resources.WatchStream) {
	inner.Close()
	s.mu.Lock()
	s.inner = nil
	s.mu.Unlock()
}

func (s *stream) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}
