package wire

import (
	"context"
	"sync"

	"github.com/starlinghq/starling/protocol"
)

// watchBuffer is how many Changes a stream holds for a watcher that does not
// ask. Beyond it: protocol.ErrSlowWatcher, and the watch is cancelled, so that
// it cannot hold up the connection's other answers.
const watchBuffer = 1024

// WatchStream is a running watch. One goroutine calls Next.
type WatchStream struct {
	conn *ClientConn
	id   uint64

	changes chan protocol.Changes
	ended   chan struct{}
	once    sync.Once
	cause   error // written once, before ended is closed
}

func newWatchStream(c *ClientConn) *WatchStream {
	return &WatchStream{conn: c, changes: make(chan protocol.Changes, watchBuffer), ended: make(chan struct{})}
}

// Next returns the next changes, in order. What arrived before the end of the
// watch is returned before its error. After an error other than that of ctx
// the watch has ended.
func (s *WatchStream) Next(ctx context.Context) (protocol.Changes, error) {
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
