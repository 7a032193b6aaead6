package client

import (
	"fmt"
	"sync/atomic"

	"github.com/starlinghq/starling/protocol"
)

// waiting are the commands of a client that have no place in its session's window so
// far, because that is full or because there is no session yet: their callers have
// them in memory. Safe for use from any number of goroutines.
type waiting struct{ callers, bytes atomic.Int64 }

// enter counts a command, or says that it is one too many.
func (w *waiting) enter(bytes int) error {
	callers, all := w.callers.Add(1), w.bytes.Add(int64(bytes))
	if callers <= protocol.CallersWaitingMax && (callers == 1 || all <= protocol.CallersWaitingBytesMax) {
		return nil
	}
	w.leave(bytes)
	return protocol.ErrOverloaded.With(fmt.Sprintf(
		"%d commands with %d bytes wait in this client already, the limits are %d and %d: wait for answers",
		callers-1, all-int64(bytes), protocol.CallersWaitingMax, protocol.CallersWaitingBytesMax))
}

// leave takes a command out that waits no longer.
func (w *waiting) leave(bytes int) {
	w.callers.Add(-1)
	w.bytes.Add(-int64(bytes))
}
