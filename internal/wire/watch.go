package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// WatchStream is a running watch. One goroutine calls Next.
type WatchStream struct {
	conn *ClientConn
	id   uint64

	entryMax int // bytes of one entry's changes

	parts       protocol.Changes // of an entry, so far; Next's
	bytes       int              // that they take
	tooMuch     error            // an entry that was too large for this side; Next's
	taken, said uint64           // bytes of answers: taken, and those that the member knows of; Next's
	begun       bool             // the member has answered; Next's
	told        protocol.Index   // the last index that was said; Next's
	timer       *time.Timer      // rings when nothing has come for watchIdle; Next's, nil so far

	mu     sync.Mutex
	queue  []protocol.Changes // not taken so far
	queued int                // bytes
	news   chan struct{}      // told of what has come

	ended chan struct{}
	once  sync.Once
	cause error // written once, before ended is closed
}

func newWatchStream(c *ClientConn) *WatchStream {
	return &WatchStream{conn: c, entryMax: protocol.WatchEntryBytesMax, news: make(chan struct{}, 1), ended: make(chan struct{})}
}

// Next returns the next changes, in order, all of one entry at once. When nothing has come for a
// second it returns none, and the index that was said last. What arrived before the end of the watch is
// returned before its error. After an error other than that of ctx the watch has ended. ErrCompacted: an
// entry changed more than protocol.WatchEntryBytesMax.
func (s *WatchStream) Next(ctx context.Context) (protocol.Changes, error) {
	for s.tooMuch == nil {
		c, err := s.next(ctx)
		switch {
		case errors.Is(err, errIdle):
			return protocol.Changes{Index: s.told}, nil
		case err != nil:
			return protocol.Changes{}, err
		}
		if s.begun = true; !c.More {
			s.told = c.Index
		}
		if s.parts.Index == 0 && !c.More {
			return c, nil
		}
		s.parts.Index = c.Index
		s.parts.Changes = append(s.parts.Changes, c.Changes...)
		s.bytes += c.Size()
		if s.bytes > s.entryMax { // none of it was told
			s.parts = protocol.Changes{}
			s.tooMuch = protocol.ErrCompacted.With(fmt.Sprintf(
				"entry %d changed more than %d bytes: read the state, and watch on from the index of that read", c.Index, s.entryMax))
			s.conn.cancel(s.id)
			s.end(s.tooMuch)
		}
		if !c.More && s.tooMuch == nil {
			c, s.parts, s.bytes = s.parts, protocol.Changes{}, 0
			return c, nil
		}
	}
	return protocol.Changes{}, s.tooMuch
}

// watchIdle is how long a watch says nothing, at most, once it has begun.
const watchIdle = time.Second

// errIdle says that nothing has come.
var errIdle = errors.New("nothing has come")

// next returns the next answer, which may be a part.
func (s *WatchStream) next(ctx context.Context) (protocol.Changes, error) {
	for {
		if c, ok := s.take(); ok {
			return c, nil
		}
		select {
		case <-s.idle():
			return protocol.Changes{}, errIdle
		case <-s.news:
		case <-s.ended:
			if c, ok := s.take(); ok {
				return c, nil
			}
			return protocol.Changes{}, s.cause
		case <-ctx.Done():
			return protocol.Changes{}, ctx.Err()
		}
	}
}

// idle returns what rings when a watch that has begun has said nothing for too long.
func (s *WatchStream) idle() <-chan time.Time {
	switch {
	case !s.begun:
		return nil
	case s.timer == nil:
		s.timer = time.NewTimer(watchIdle)
	default:
		s.timer.Reset(watchIdle)
	}
	return s.timer.C
}

// take takes the oldest answer, if there is one, and tells the member so, for every quarter of
// what it may be ahead.
func (s *WatchStream) take() (c protocol.Changes, ok bool) {
	s.mu.Lock()
	if ok = len(s.queue) > 0; ok {
		c, s.queue[0] = s.queue[0], protocol.Changes{}
		if s.queue = s.queue[1:]; len(s.queue) == 0 {
			s.queue = nil
		}
		s.queued -= c.Size()
	}
	s.mu.Unlock()
	if !ok {
		return c, false
	}
	if s.taken += uint64(c.Size()); s.taken-s.said >= protocol.WatchWindowBytes/4 {
		s.said = s.taken
		s.conn.credit(s.id, s.taken)
	}
	return c, true
}

// Close cancels the watch. It may be called many times, also after its end.
func (s *WatchStream) Close() error {
	s.conn.cancel(s.id)
	s.end(protocol.ErrClosed.With("the watch is closed"))
	return nil
}

// offer takes an answer, unless the member has told more than it may.
func (s *WatchStream) offer(c protocol.Changes) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued >= protocol.WatchWindowBytes {
		return false
	}
	s.queue, s.queued = append(s.queue, c), s.queued+c.Size()
	select {
	case s.news <- struct{}{}:
	default:
	}
	return true
}

func (s *WatchStream) end(cause error) {
	s.once.Do(func() {
		s.cause = cause
		close(s.ended)
	})
}
