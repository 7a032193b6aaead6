package wire

import "sync/atomic"

// answers bounds what waits to be written to the clients of a server, all of them
// together: what one may have waiting times their number is more than a machine
// has. When there is too much, whoever has more than an equal part loses its
// connection with its next answer, as one does whose own queue is full. So clients
// that take their answers lose nothing by those that do not, and there is never
// more than twice the limit.
type answers struct {
	limit   int
	bytes   atomic.Int64
	streams atomic.Int64
}

// overShare reports whether a frame of a size is one too many. The outbox's lock is
// held.
func (o *outbox) overShare(size int) bool {
	a := o.shared
	if a == nil || o.shares == 0 || int(a.bytes.Load())+size <= a.limit {
		return false
	}
	return o.shares+size > a.limit/int(max(1, a.streams.Load()))
}

// share takes note of what waits in the data lane. The lock is held.
func (o *outbox) share() {
	if o.shared == nil {
		return
	}
	now := len(o.data.buf) + len(o.work.buf)
	if o.closed {
		now = 0
	}
	o.shared.bytes.Add(int64(now - o.shares))
	o.shares = now
}
