package client

import (
	"sync/atomic"

	"github.com/starlinghq/starling/protocol"
)

// seen is the highest index that a client has seen: in an answer to a command,
// a read or a question for the status, the one of its dial too, or in a watch. A read that carries it reads the client's own
// writes, and never backwards, at whichever member. It belongs to the client
// and not to its session in the log: it outlives one that has expired, and
// there is one before the first command. Safe for use from any number of
// goroutines.
type seen struct{ v atomic.Uint64 }

func (s *seen) index() protocol.Index { return protocol.Index(s.v.Load()) }

// raise takes note of an index, before what came with it is handed out.
func (s *seen) raise(i protocol.Index) {
	for {
		old := s.v.Load()
		if uint64(i) <= old || s.v.CompareAndSwap(old, uint64(i)) {
			return
		}
	}
}
