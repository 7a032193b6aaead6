package wire

import (
	"context"
	"fmt"
	"sync"

	"github.com/starlinghq/starling/protocol"
)

// watchBuffer is how many Changes a stream holds for a watcher that does not
// ask. Beyond it: protocol.ErrSlowWatcher, and the watch is cancelled, so that
// it cannot hold up the connection's other answers.
const watchBuffer = 1024

// changeOverhead is about what a change takes beside its key and value.
const changeOverhead = 64

// WatchStream is a running watch. One goroutine calls Next.
type WatchStream struct {
	conn *ClientConn
	id   uint64

	entryMax int // bytes of one entry's changes

	changes chan protocol.Changes
	parts   protocol.Changes // of an entry, so far; Next's
	bytes   int              // that they take
	tooMuch error            // an entry that was too large for this side; Next's
	ended   chan struct{}
	once    sync.Once
	cause   error // written once, before ended is closed
}

func newWatchStream(c *ClientConn) *WatchStream {
	return &WatchStream{conn: c, entryMax: protocol.WatchEntryBytesMax, changes: make(chan protocol.Changes, watchBuffer), ended: make(chan struct{})}
}

// Next returns the next changes, in order, all of one entry at once. What arrived
// before the end of the watch is returned before its error. After an error other than
// that of ctx the watch has ended. ErrCompacted: an entry changed more than
// protocol.WatchEntryBytesMax.
func (s *WatchStream) Next(ctx context.Context) (protocol.Changes, error) {
	for s.tooMuch == nil {
		c, err := s.next(ctx)
		if err != nil {
			return protocol.Changes{}, err
		}
		if s.parts.Index == 0 && !c.More {
			return c, nil
		}
		s.parts.Index = c.Index
		s.parts.Changes = append(s.parts.Changes, c.Changes...)
		for i := range c.Changes {
			s.bytes += len(c.Changes[i].Key) + len(c.Changes[i].Value) + changeOverhead
		}
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

// next returns the next answer, which may be a part.
func (s *WatchStream) next(ctx context.Context) (protocol.Changes, error) {
	select {
	case c := <-s.changes:
		return c, nil
	default:
	}
	select {
	case c := <-s.changes:
		return c, nil
	case <-s.ended:
		select {
		case c := <-s.changes:
			return c, nil
		default:
			return protocol.Changes{}, s.cause
		}
	case <-ctx.Done():
		return protocol.Changes{}, ctx.Err()
	}
}

// Close cancels the watch. It may be called many times, also after its end.
func (s *WatchStream) Close() error {
	s.conn.cancel(s.id)
	s.end(protocol.ErrClosed.With("the watch is closed"))
	return nil
}

func (s *WatchStream) offer(c protocol.Changes) bool {
	select {
	case s.changes <- c:
		return true
	default:
		return false
	}
}

func (s *WatchStream) end(cause error) {
	s.once.Do(func() {
		s.cause = cause
		close(s.ended)
	})
}
