package gossip

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// latenessMax bounds how long a gap is left to streams: by then another member's is faster.
const latenessMax = 60 * time.Millisecond

// lateness is how much later than the first word of them frames come that go by stream. A
// stream loses nothing: what is heard of and not there is on its way, for longer where the
// network loses packets, and pulling it meanwhile brings it twice. (Of datagrams nothing
// says whether one is lost or late.)
//
// The estimate is that of TCP's retransmission timer (Jacobson, SIGCOMM 1988): the mean
// and four times the deviation, both smoothed.
type lateness struct {
	heardOf   protocol.Index // an index that is waited for since heardAt; 0: none
	heardAt   protocol.Instant
	mean, dev time.Duration
	sampled   bool
}

// wait is how long to wait for what was heard of, while frames go by stream.
func (l *lateness) wait() time.Duration {
	return min(l.mean+4*l.dev, latenessMax)
}

// heard notes that an index is held by others.
func (l *lateness) heard(now protocol.Instant, i protocol.Index) {
	if l.heardOf == 0 {
		l.heardOf, l.heardAt = i, now
	}
}

// came takes the time from a frame that was pushed, also one that was pulled before it
// came; ahead says that it came before any word of it.
func (l *lateness) came(now protocol.Instant, f *protocol.Frame, ahead bool) {
	r := f.Range()
	switch {
	case !streamed(f) || l.heardOf != 0 && r.First > l.heardOf:
		l.heardOf = 0 // it is not to come any more
	case l.heardOf != 0 && r.Last >= l.heardOf:
		l.sample(now.Sub(l.heardAt))
		l.heardOf = 0
	case ahead:
		l.sample(0)
	}
}

// streamed reports whether a frame came, and goes on, by stream.
func streamed(f *protocol.Frame) bool { return len(f.Body) > protocol.DatagramBytesMax }

func (l *lateness) sample(late time.Duration) {
	late = min(late, latenessMax)
	if !l.sampled {
		l.mean, l.dev, l.sampled = late, late/2, true
		return
	}
	off := late - l.mean
	l.mean += off / 8
	l.dev += (max(off, -off) - l.dev) / 4
}
