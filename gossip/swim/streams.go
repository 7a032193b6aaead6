package swim

import (
	"container/list"
	"fmt"
	"net"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// streamsMax limits the streams of membership that are open at once, both
	// ways, and incomingMax those that others have opened: memberlist refuses new
	// ones at 128. It needs a few. Beyond them the oldest that others have opened is
	// closed, and never one of this member's own.
	streamsMax, incomingMax = 256, 96
	// streamMin is the time that a stream of others gets in any case: a flood of
	// them waits, and does not push out an exchange that has just begun.
	streamMin = 50 * time.Millisecond
	// streamBytesMax limits what is held of the exchanges that others have begun,
	// all together: what has come of them, and what memberlist makes room for on
	// their word. Beyond it the oldest is closed. The lists of a hundred thousand
	// members fit.
	streamBytesMax = 16 << 20
	// nodeBytes is about what memberlist makes room for at each node that a stream
	// announces, and announcedMin how many it may announce whatever is known here.
	nodeBytes, announcedMin = 128, 4096
)

// stream is a connection that Shutdown closes.
type stream struct {
	net.Conn
	of *transport

	// Of those that others have opened:
	scan  *scanner
	began time.Time
	at    *list.Element // in the transport's incoming; guarded by its lock
	held  int           // guarded by the transport's lock
}

// Read reads, and refuses what memberlist would believe.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if s.scan == nil || n == 0 {
		return n, err
	}
	announced, fault := s.scan.pass(b[:n])
	if fault != nil {
		_ = s.Close()
		return 0, fault
	}
	if !s.of.hold(s, n+announced*nodeBytes) {
		return 0, protocol.ErrOverloaded.With("this exchange was the oldest of too many, or of too large ones")
	}
	return n, err
}

// Write writes and counts.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.of.sent.Add(uint64(n))
	return n, err
}

// Close closes the connection and forgets it.
func (s *stream) Close() error {
	s.of.mu.Lock()
	s.of.forget(s)
	s.of.mu.Unlock()
	return s.Conn.Close()
}

// forget takes a stream out of those that are open. The lock is held.
func (t *transport) forget(s *stream) {
	delete(t.streams, s)
	if s.at != nil {
		t.incoming.Remove(s.at)
		t.held -= s.held
		s.at, s.held = nil, 0
	}
}

// track opens a stream of this member's own.
func (t *transport) track(conn net.Conn) (net.Conn, error) {
	s := &stream{Conn: conn, of: t}
	t.mu.Lock()
	var victim *stream
	full := len(t.streams) >= streamsMax
	if full && t.incoming.Len() > 0 {
		victim = t.incoming.Front().Value.(*stream)
		t.forget(victim)
	}
	refused := t.closed || full && victim == nil
	if !refused {
		t.streams[s] = struct{}{}
	}
	t.mu.Unlock()
	t.drop(victim)
	if refused {
		_ = conn.Close()
		return nil, protocol.ErrOverloaded.With("too many streams of membership are open, or it is shut down")
	}
	return s, nil
}

// drop closes a stream that has given way.
func (t *transport) drop(victim *stream) {
	if victim == nil {
		return
	}
	t.dropped.Add(1)
	_ = victim.Conn.Close()
}

// accept opens a stream that another member has opened, and reports whether there
// is one. It waits while too many have just begun.
func (t *transport) accept(conn net.Conn) (*stream, bool) {
	s := &stream{Conn: conn, of: t, began: time.Now(), scan: &scanner{announcedMax: t.announcedMax}}
	for {
		wait, ok := t.tryAccept(s)
		if !ok {
			_ = conn.Close()
			return nil, false
		}
		if wait <= 0 {
			return s, true
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-t.ctx.Done():
		}
		timer.Stop()
	}
}

// tryAccept opens a stream, or says after how long it should be tried again; not
// ok: never.
func (t *transport) tryAccept(s *stream) (wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.ctx.Err() != nil {
		return 0, false
	}
	if len(t.streams) >= streamsMax || t.incoming.Len() >= incomingMax {
		if t.incoming.Len() == 0 {
			return 0, false
		}
		victim := t.incoming.Front().Value.(*stream)
		if wait := streamMin - time.Since(victim.began); wait > 0 {
			return wait, true
		}
		t.forget(victim)
		t.drop(victim)
	}
	s.began = time.Now()
	s.at = t.incoming.PushBack(s)
	t.streams[s] = struct{}{}
	return 0, true
}

// hold takes note of what is held of a stream, and reports whether it goes on.
func (t *transport) hold(s *stream, bytes int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.at == nil {
		return false
	}
	s.held += bytes
	t.held += bytes
	for t.held > streamBytesMax {
		victim := t.incoming.Front().Value.(*stream)
		t.forget(victim)
		t.drop(victim)
	}
	return s.at != nil
}

// announcedMax is how many nodes a stream may announce: whoever knows far more
// members than this one finds it by itself.
func (t *transport) announcedMax() int {
	if t.known == nil {
		return announcedMin
	}
	return announcedMin + 4*t.known()
}

// scanner looks at what another member's memberlist says, as it passes, before the
// own one does: that makes room for as many nodes, and for as many bytes, as are
// announced, up to hundreds of megabytes for a few bytes. A label, a kind, and
// values in msgpack: first the head, whose numbers are of nodes and of bytes that
// we never send, and then one value for each node.
type scanner struct {
	announcedMax func() int

	stage   int
	ping    bool  // a probe, which announces nothing: its numbers are its own, and a port
	label   int   // bytes of it to come
	open    []int // values to come in what is open, the innermost last
	heads   int   // values that have ended at the top
	numbers int   // sum of those in the head
	width   int   // bytes of a number or a length to come
	value   uint64
	length  byte // what the number is the length of; 0: of nothing
	skip    int  // bytes of a string to come
}

// What the scanner waits for.
const (
	stageLabel = iota
	stageLabelBytes
	stageKind
	stageValues
)

// Bounds of a value of memberlist's: names, addresses and what is told about a
// member are shorter, and nothing has as many parts.
const (
	scanBytesMax = 1 << 10
	scanPartsMax = 32
	scanDepthMax = 4
	// scanPing and scanExchange are the kinds that members open streams with, and
	// scanLabel begins a label.
	scanPing, scanExchange, scanLabel = 0, 6, 0xf4
)

// pass takes the next bytes, and returns how many nodes they announce.
func (c *scanner) pass(b []byte) (announced int, err error) {
	before := c.numbers
	for len(b) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(b))
			c.skip -= n
			b = b[n:]
			if c.skip == 0 {
				c.ended()
			}
			continue
		}
		if err := c.byte(b[0]); err != nil {
			return 0, err
		}
		b = b[1:]
	}
	return c.numbers - before, nil
}

func (c *scanner) byte(b byte) error {
	switch c.stage {
	case stageLabel:
		if b != scanLabel {
			return scanFault("a stream of membership without a label")
		}
		c.stage = stageLabelBytes
		c.label = -1
	case stageLabelBytes:
		if c.label < 0 {
			c.label = int(b)
		} else {
			c.label--
		}
		if c.label == 0 {
			c.stage = stageKind
		}
	case stageKind:
		if b != scanPing && b != scanExchange {
			return scanFault(fmt.Sprintf("a stream of membership of kind %d", b))
		}
		c.stage, c.ping = stageValues, b == scanPing
	default:
		return c.token(b)
	}
	return nil
}

// token takes a byte of a value.
func (c *scanner) token(b byte) error {
	if c.width > 0 {
		c.value = c.value<<8 | uint64(b)
		if c.width--; c.width > 0 {
			return nil
		}
		if c.length != 0 {
			return c.begins(c.length, c.value)
		}
		return c.number(c.value)
	}
	switch {
	case b < 0x80:
		return c.number(uint64(b))
	case b < 0x90:
		return c.begins('m', uint64(b&0xf))
	case b < 0xa0:
		return c.begins('a', uint64(b&0xf))
	case b < 0xc0:
		return c.begins('s', uint64(b&0x1f))
	case b == 0xc0, b == 0xc2, b == 0xc3:
		c.ended()
	case b >= 0xc4 && b <= 0xc6:
		c.reads(1<<(b-0xc4), 's')
	case b >= 0xcc && b <= 0xcf:
		c.reads(1<<(b-0xcc), 0)
	case b >= 0xd0 && b <= 0xd3:
		c.reads(1<<(b-0xd0), 0)
	case b >= 0xd9 && b <= 0xdb:
		c.reads(1<<(b-0xd9), 's')
	case b == 0xdc, b == 0xdd:
		c.reads(2<<(b-0xdc), 'a')
	case b == 0xde, b == 0xdf:
		c.reads(2<<(b-0xde), 'm')
	default:
		return scanFault("a value that no member sends")
	}
	return nil
}

func (c *scanner) reads(width int, length byte) { c.width, c.value, c.length = width, 0, length }

// number takes a number that is whole.
func (c *scanner) number(n uint64) error {
	if c.heads == 0 && !c.ping {
		most := uint64(c.announcedMax())
		if n > most || uint64(c.numbers)+n > most {
			return scanFault(fmt.Sprintf("%d nodes, or bytes, are announced, the limit is %d", n, most))
		}
		c.numbers += int(n)
	}
	c.ended()
	return nil
}

// begins takes the head of a string, a map or an array.
func (c *scanner) begins(what byte, n uint64) error {
	c.length = 0
	switch {
	case what == 's' && n > scanBytesMax, what != 's' && n > scanPartsMax, len(c.open) >= scanDepthMax:
		return scanFault(fmt.Sprintf("a part of %d bytes or values", n))
	case n == 0:
		c.ended()
	case what == 's':
		c.skip = int(n)
	case what == 'm':
		c.open = append(c.open, 2*int(n))
	default:
		c.open = append(c.open, int(n))
	}
	return nil
}

// ended takes note of the end of a value, and of all that end with it.
func (c *scanner) ended() {
	for len(c.open) > 0 {
		last := len(c.open) - 1
		if c.open[last]--; c.open[last] > 0 {
			return
		}
		c.open = c.open[:last]
	}
	c.heads++
}

func scanFault(what string) error {
	return protocol.ErrMalformed.With("malformed stream: " + what)
}
