package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// growBytes is how much of a long frame is allocated before its bytes arrive.
	growBytes = 64 << 10
	// reuseBytes is the size up to which a stream keeps its buffer for the next
	// frame.
	reuseBytes = 16 << 10
)

// Conn is a connection after its handshake. Any goroutine may send, and sending
// never blocks; one goroutine, the caller's, reads. One goroutine of its own
// writes, and ends with Close.
type Conn struct {
	nc    net.Conn
	br    *bufio.Reader
	opt   Options
	limit int           // of a frame read
	idle  time.Duration // for a frame to begin that is no sign of life; 0: for ever
	busy  func() bool   // while true, idle does not count; may be nil

	out     outbox
	buf     []byte // reused by ReadFrame
	bounded bool   // a read deadline is set
	moved   moved
	claim   claim        // of the frame that is read
	heard   atomic.Int64 // when the last frame began that is no sign of life, by the clock's nanoseconds
	used    used

	peer protocol.Hello

	once   sync.Once
	cause  error // written once, before done is closed
	done   chan struct{}
	writer chan struct{} // closed when the writer has ended
}

// moved counts what has gone through a connection, so that somebody who waits
// can tell a slow link from a silent one.
type moved struct {
	out    atomic.Uint64 // bytes that the kernel has taken
	in     atomic.Uint64 // bytes of payloads
	frames atomic.Uint64 // frames that have begun to arrive
}

// used is when a connection was of use for the last time: signs of life are of none.
type used struct {
	at     time.Time
	frames uint64 // that were to be sent by then
	stale  bool   // it was used since
}

// newConn starts the writer of a connection whose handshake is done, and has agreed on
// a version.
func newConn(nc net.Conn, br *bufio.Reader, peer protocol.Hello, version uint8, opt Options) *Conn {
	return newConnWith(nc, br, peer, version, opt, nil)
}

// newConnWith is newConn for one that shares the bound of what waits to be written.
func newConnWith(nc net.Conn, br *bufio.Reader, peer protocol.Hello, version uint8, opt Options, shared *answers) *Conn {
	c := &Conn{
		nc: nc, br: br, opt: opt, limit: protocol.FrameBytesMax, peer: peer, bounded: true,
		done: make(chan struct{}), writer: make(chan struct{}),
	}
	c.out.init(version, opt.QueueBytes, opt.QueueFrames)
	c.out.shared = shared
	c.heard.Store(time.Now().UnixNano())
	c.used.stale = true
	go c.write()
	return c
}

// Peer returns the other side's Hello.
func (c *Conn) Peer() protocol.Hello { return c.peer }

// Version returns the version of the protocol that the two sides speak.
func (c *Conn) Version() uint8 { return c.out.version }

// Remote returns the other side's address.
func (c *Conn) Remote() net.Addr { return c.nc.RemoteAddr() }

// Done is closed when the connection has ended, for whatever reason.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection has ended; nil while it has not.
func (c *Conn) Err() error {
	select {
	case <-c.done:
		return c.cause
	default:
		return nil
	}
}

// Close ends the connection at once; what is queued is lost. It returns when
// the writer has ended. It may be called many times.
func (c *Conn) Close() error {
	c.fail(protocol.ErrClosed.With("the connection is closed"))
	<-c.writer
	return nil
}

// fail ends the connection; the first cause stays.
func (c *Conn) fail(cause error) {
	c.once.Do(func() {
		c.cause = cause
		c.out.close()
		_ = c.nc.Close()
		close(c.done)
	})
}

func (c *Conn) write() {
	defer close(c.writer)
	for {
		urgent, data, ok := c.out.next()
		if !ok {
			return
		}
		if err := c.writeAll(urgent, data); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				err = fmt.Errorf("nothing was taken for %v", c.opt.WriteTimeout)
			}
			c.fail(fmt.Errorf("writing to %s: %w", c.nc.RemoteAddr(), err))
			return
		}
	}
}

// writeAll writes in pieces: the deadline is for each of them, and a long frame
// on a slow link can be seen to move.
func (c *Conn) writeAll(urgent, data []byte) error {
	for len(urgent)+len(data) > 0 {
		piece := data[:min(len(data), writeBytes)]
		buffers := make(net.Buffers, 0, 2)
		for _, b := range [][]byte{urgent, piece} {
			if len(b) > 0 {
				buffers = append(buffers, b)
			}
		}
		urgent, data = nil, data[len(piece):]
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.opt.WriteTimeout))
		n, err := buffers.WriteTo(underlying(c.nc))
		c.moved.out.Add(uint64(n))
		if err != nil {
			return err
		}
	}
	return nil
}

// SendMessage queues a message. Errors: ErrQueueFull, protocol.ErrTooLarge,
// protocol.ErrClosed; the message was not taken.
func (c *Conn) SendMessage(m protocol.Message) error {
	_, err := c.sendMessage(m)
	return err
}

// sendMessage also returns how many bytes the message takes.
func (c *Conn) sendMessage(m protocol.Message) (bytes int, err error) {
	_, err = c.out.add(laneOf[m.Kind().Lane()], FrameMessage, protocol.MessageSize(m), func(dst []byte) []byte {
		before := len(dst) - headerBytes
		dst = protocol.AppendMessage(dst, m)
		bytes = len(dst) - before
		return dst
	})
	return bytes, err
}

// sendRequest queues a request and returns its frame's number.
func (c *Conn) sendRequest(q *protocol.Request) (uint64, error) {
	to := laneData
	if q.Kind == protocol.RequestCancel || q.Kind == protocol.RequestCredit {
		to = laneAlways
	}
	return c.out.add(to, FrameRequest, protocol.RequestSize(q), func(dst []byte) []byte {
		return protocol.AppendRequest(dst, q)
	})
}

// sendSign queues a ping or a pong, before all data, unless one waits already. It
// fails only where the connection has ended.
func (c *Conn) sendSign(kind FrameKind) error {
	_, err := c.out.add(laneSign, kind, 0, func(dst []byte) []byte { return dst })
	return err
}

func (c *Conn) sendResponse(p *protocol.Response) error {
	_, err := c.out.add(laneData, FrameResponse, protocol.ResponseSize(p), func(dst []byte) []byte {
		return protocol.AppendResponse(dst, p)
	})
	return err
}

// ReadFrame returns the next frame. The payload is valid until the next call
// of any Read method. After an error the connection must be closed.
func (c *Conn) ReadFrame() (FrameKind, []byte, error) {
	kind, n, err := c.readHeader()
	if err != nil {
		return 0, nil, err
	}
	payload, err := c.readPayload(n, true)
	return kind, payload, err
}

// damagedFrame is the error of a gossip frame that fails its own sum, or is
// malformed: some relay's disk or memory is at fault, not this stream.
type damagedFrame struct{ error }

// Unwrap returns the fault.
func (d damagedFrame) Unwrap() error { return d.error }

// ReadMessage returns the next message, which belongs to the caller, or none and no
// error if a pong has come. Pings are answered: whoever asks wants to know whether
// the other side still reads, and not whether it keeps up.
func (c *Conn) ReadMessage() (protocol.Message, error) {
	kind, n, err := c.readHeader()
	for err == nil && kind == FramePing && n == 0 {
		_ = c.sendSign(FramePong) // refused only by a connection that has ended
		kind, n, err = c.readHeader()
	}
	n, sign, err := expect(FrameMessage, FramePong, kind, n, err)
	if sign || err != nil {
		return nil, err
	}
	reuse, isFrame := false, false
	if n > 0 {
		first, err := c.br.Peek(1)
		if err != nil {
			return nil, c.readFault(err)
		}
		kind := protocol.MessageKind(first[0])
		reuse, isFrame = !kind.KeepsBytes(), kind == protocol.KindFrame
	}
	payload, err := c.readPayload(n, reuse)
	if err != nil {
		return nil, err
	}
	m, err := protocol.DecodeMessage(payload)
	if err != nil && isFrame {
		err = damagedFrame{err}
	}
	return m, err
}

// readRequest returns the next request, or none and no error if a ping has come.
// An error with a request, of which only id and kind are set, says why that one
// is refused: its frame is whole and was read. After an error without one the
// connection must be closed.
func (c *Conn) readRequest() (*protocol.Request, error) {
	n, sign, err := c.readHeaderOr(FrameRequest, FramePing)
	if sign || err != nil {
		return nil, err
	}
	if n > requestBytesMax {
		return c.skipRequest(n)
	}
	payload, err := c.readPayload(n, false)
	if err != nil {
		return nil, err
	}
	return protocol.DecodeRequest(payload)
}

// skipRequest passes over a request of n bytes, more than any that is taken, and
// keeps no more of it than whose it is.
func (c *Conn) skipRequest(n int) (*protocol.Request, error) {
	head, err := c.br.Peek(protocol.RequestHeadBytesMax)
	if err != nil {
		return nil, c.readFault(err)
	}
	q, err := protocol.DecodeRequestHead(head)
	if err != nil {
		return nil, err
	}
	if _, err := c.br.Discard(n); err != nil {
		return nil, c.readFault(err)
	}
	return q, protocol.ErrTooLarge.With(fmt.Sprintf("the request has %d bytes, the limit is %d", n, requestBytesMax))
}

// readResponse returns the next response, or nil if a pong has come.
func (c *Conn) readResponse() (*protocol.Response, error) {
	n, sign, err := c.readHeaderOr(FrameResponse, FramePong)
	if sign || err != nil {
		return nil, err
	}
	payload, err := c.readPayload(n, false)
	if err != nil {
		return nil, err
	}
	return protocol.DecodeResponse(payload)
}

// readHeaderOr reads the header of a frame of the kind want, and returns the length
// of its payload; or says that it was a sign of life, which has none.
func (c *Conn) readHeaderOr(want, sign FrameKind) (n int, isSign bool, err error) {
	kind, n, err := c.readHeader()
	return expect(want, sign, kind, n, err)
}

// expect judges a header that was read.
func expect(want, sign, kind FrameKind, length int, fault error) (n int, isSign bool, err error) {
	switch {
	case fault != nil:
		return 0, false, fault
	case kind == sign && length == 0:
		return 0, true, nil
	case kind != want:
		return 0, false, unexpectedFrame(kind)
	}
	return length, false, nil
}

// readHeader waits for a frame to begin and checks its header.
func (c *Conn) readHeader() (FrameKind, int, error) {
	if c.br.Buffered() == 0 {
		if err := c.awaitFrame(); err != nil {
			return 0, 0, err
		}
	}
	if c.br.Buffered() < headerBytes {
		c.bound(c.opt.FrameTimeout)
	}
	h, err := c.br.Peek(headerBytes)
	if err != nil {
		return 0, 0, c.readFault(err)
	}
	kind, n, err := parseHeader(h, c.out.version, c.limit)
	if err != nil {
		return 0, 0, err
	}
	_, _ = c.br.Discard(headerBytes)
	c.moved.frames.Add(1)
	if kind != FramePing && kind != FramePong {
		c.heard.Store(time.Now().UnixNano())
		c.used.stale = true
	}
	if c.br.Buffered() < n {
		c.bound(c.opt.FrameTimeout)
	}
	return kind, n, nil
}

// awaitFrame waits for the first byte of a frame. A stream that may be busy is idle
// only if nothing was sent either: whoever has just had an answer may ask again.
func (c *Conn) awaitFrame() error {
	for {
		c.boundIdle()
		_, err := c.br.Peek(1)
		if err == nil {
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.busy == nil || !c.busy() && c.out.atRest() && c.out.frames() == c.used.frames {
			return c.readFault(err)
		}
		c.used.stale = true
	}
}

// boundIdle sets the read deadline of a stream that may be idle: by when it was used.
func (c *Conn) boundIdle() {
	if c.idle <= 0 {
		c.bound(0)
		return
	}
	if c.used.stale {
		c.used = used{at: time.Now(), frames: c.out.frames()}
	}
	c.bound(max(1, time.Until(c.used.at.Add(c.idle))))
}

// bound sets the read deadline; 0 takes it away.
func (c *Conn) bound(d time.Duration) {
	if d > 0 {
		_ = c.nc.SetReadDeadline(time.Now().Add(d))
		c.bounded = true
	} else if c.bounded {
		_ = c.nc.SetReadDeadline(time.Time{})
		c.bounded = false
	}
}

// readPayload reads n bytes, into the connection's own buffer if reuse.
func (c *Conn) readPayload(n int, reuse bool) ([]byte, error) {
	var buf []byte
	if reuse {
		buf = c.buf[:0]
	}
	if c.br.Buffered() < n {
		defer c.claim.done()
	}
	for len(buf) < n {
		// Memory is given as bytes arrive, so that a header alone, however
		// hostile, pins little.
		have := len(buf)
		if have == cap(buf) {
			size := min(n, max(growBytes, 2*have))
			if c.br.Buffered() < n-have {
				c.claim.need(size)
			}
			grown := make([]byte, have, size)
			copy(grown, buf)
			buf = grown
		}
		k, err := c.br.Read(buf[have:min(n, cap(buf))])
		c.moved.in.Add(uint64(k))
		buf = buf[:have+k]
		if errors.Is(err, io.EOF) && len(buf) < n {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, c.readFault(err)
		}
	}
	if reuse && cap(buf) <= reuseBytes {
		c.buf = buf
	}
	return buf[:n:n], nil
}

func (c *Conn) readFault(err error) error {
	if errors.Is(err, io.EOF) {
		return protocol.ErrClosed.With("the other side closed the connection")
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("nothing came, or not enough of a frame, within the time for it (%v, %v)", c.idle, c.opt.FrameTimeout)
	}
	return fmt.Errorf("reading from %s: %w", c.nc.RemoteAddr(), err)
}
