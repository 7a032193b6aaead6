package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Watch returns a stream of the changes that w asks for; ctx bounds its
// opening only. When the member that serves it is lost, the stream goes on at
// another, from the last index that it has seen: without gaps or duplicates.
// It ends with protocol.ErrCompacted if no member has the changes any more.
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
	open := c.openStream
	switch {
	case w.From == 0 && !w.Latest:
		return c.join(ctx, &w)
	case w.From == 0:
		open = c.begin
	}
	s, err := open(ctx, &w)
	if err != nil {
		return nil, err // not a stream that is nil
	}
	return s, nil
}

// counts adds a watch to those that there are.
func (c *Client) counts() error {
	if c.watches.Add(1) > protocol.WatchesPerCallerMax {
		c.watches.Add(-1)
		return protocol.ErrTooLarge.With(fmt.Sprintf(
			"there are %d watches here, the limit: close some, share one, or dial another client", protocol.WatchesPerCallerMax))
	}
	return nil
}

// newStream returns a stream that is at no member, for a watch that counts already.
func (c *Client) newStream(w *protocol.Watch) *stream {
	s := &stream{client: c, watch: attempt.NewWatch(w, c.seen.index(), *c.pause())}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// openStream opens a stream.
func (c *Client) openStream(ctx context.Context, w *protocol.Watch) (*stream, error) {
	if err := c.counts(); err != nil {
		return nil, err
	}
	s := c.newStream(w)
	inner, err := s.open(ctx)
	if err != nil {
		s.end()
		c.watches.Add(-1)
		return nil, err
	}
	s.watch.Taken()
	s.inner = inner
	return s, nil
}

// begin opens a stream, and waits until it has begun: "now" is any moment up to then, so one whose
// member is lost before begins at another.
func (c *Client) begin(ctx context.Context, w *protocol.Watch) (*stream, error) {
	for pause := c.pause(); ; {
		source, err := c.openStream(ctx, w)
		if err != nil {
			return nil, err
		}
		begins, err := source.Next(ctx)
		if err == nil {
			source.begins = &begins
			return source, nil
		}
		source.Close()
		if ctx.Err() != nil || !attempt.MayGoOn(err) {
			return nil, err
		}
		if c.wait(ctx, pause.Next(nil)) != nil {
			return nil, attempt.GaveUp(ctx.Err(), err)
		}
	}
}

// ager is a stream whose source says how old its state is. The Index of the result is one that this
// state has come to.
type ager interface{ StateAge() protocol.Result }

// stream is a watch that survives the loss of a member. Next belongs to one
// goroutine; Close may be called from any. What it decides, package attempt does.
type stream struct {
	client *Client
	// watch belongs to Next, and to the attempt to go on elsewhere, if one is under way, what that asks
	// and how long it pauses.
	watch *attempt.Watch
	// opening hears what has come of that attempt; nil: none is under way.
	opening chan error
	lost    error             // why there is one
	begins  *protocol.Changes // what it has begun with, and not told yet

	life context.Context // ends with Close
	end  context.CancelFunc

	mu    sync.Mutex
	inner resources.WatchStream // nil while there is none
	ended bool
}

// Next waits for the changes of one entry. About once a second at least it returns, with changes or
// without, however long no member can be reached.
func (s *stream) Next(ctx context.Context) (protocol.Changes, error) {
	if b := s.begins; b != nil {
		s.begins = nil
		return *b, nil
	}
	for {
		inner, err := s.current(ctx)
		if err != nil {
			return protocol.Changes{}, err
		}
		if inner == nil {
			return s.watch.Idle(time.Now()), nil
		}
		if from, ok := inner.(ager); ok && s.watch.Waits() {
			s.watch.Hear(from.StateAge(), time.Now())
		}
		changes, err := inner.Next(ctx)
		if err == nil {
			changes, seen, news := s.watch.Told(changes, time.Now())
			s.client.seen.raise(seen)
			if news {
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
		if !s.watch.Ended(err) {
			return protocol.Changes{}, err
		}
		s.forget(inner)
		s.lost = err
	}
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
	s.end()
	if s.inner != nil {
		s.inner.Close()
	}
}

// current returns the stream at some member. Without one it has one opened where the last one ended,
// and returns nil when that takes long.
func (s *stream) current(ctx context.Context) (resources.WatchStream, error) {
	idle := time.NewTimer(attempt.WatchIdle)
	defer idle.Stop()
	for {
		s.mu.Lock()
		inner, ended := s.inner, s.ended
		s.mu.Unlock()
		switch {
		case ended:
			return nil, protocol.ErrClosed
		case inner != nil:
			return inner, nil
		case s.opening == nil:
			s.reopen()
		}
		select {
		case err := <-s.opening:
			s.opening = nil
			switch {
			case err != nil && s.isClosed():
				return nil, protocol.ErrClosed
			case err != nil:
				return nil, err
			}
		case <-idle.C:
			return nil, nil
		case <-ctx.Done():
			return nil, attempt.GaveUp(ctx.Err(), s.lost)
		}
	}
}

// reopen has the stream opened after a pause.
func (s *stream) reopen() {
	opening := make(chan error, 1)
	s.opening = opening
	go func() {
		if s.client.wait(s.life, s.watch.Pause(nil)) != nil {
			opening <- protocol.ErrClosed
			return
		}
		inner, err := s.open(s.life)
		if err == nil {
			s.mu.Lock()
			if s.ended {
				inner.Close()
			} else {
				s.inner = inner
			}
			s.mu.Unlock()
		}
		opening <- err
	}()
}

// open makes attempts to open a stream, until one fails in a way that ends them.
func (s *stream) open(ctx context.Context) (resources.WatchStream, error) {
	for w := s.watch.Request(); ; {
		if s.client.isClosed() || s.isClosed() {
			return nil, protocol.ErrClosed
		}
		inner, err := s.client.transport.Watch(ctx, &w)
		if err == nil {
			return inner, nil
		}
		if !s.watch.Refused(err) {
			return nil, err
		}
		if ctx.Err() != nil || s.client.wait(ctx, s.watch.Pause(nil)) != nil {
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

func (s *stream) isClosed() bool { return s.life.Err() != nil }
