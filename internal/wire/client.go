package wire

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	"github.com/starlinghq/starling/protocol"
)

// LostError says that a request has no answer. errors.Is finds
// protocol.ErrUnavailable and the cause.
type LostError struct {
	// Written says that the request may have reached the other side, so that a
	// command may have been executed. Not Written: it certainly has not.
	Written bool
	// Working says that the member was at work, by its word, when the caller
	// gave up.
	Working bool
	Cause   error
}

// Error returns both halves.
func (e *LostError) Error() string {
	switch {
	case e.Working:
		return "no answer so far to a request that was sent, from a member that is at work: " + e.Cause.Error()
	case e.Written:
		return "no answer to a request that was sent: " + e.Cause.Error()
	}
	return "the request was not sent: " + e.Cause.Error()
}

// Unwrap returns ErrUnavailable and the cause.
func (e *LostError) Unwrap() []error { return []error{protocol.ErrUnavailable, e.Cause} }

// DismissedError says that the member has ended the connection because of something
// that was sent on it, which it could neither answer nor pass over. Which of the
// requests in flight that was is not known: none of them is to be sent again.
type DismissedError struct{ Reason error }

// Error returns the reason.
func (e *DismissedError) Error() string {
	return "the member has ended the connection because of what was sent on it: " + e.Reason.Error()
}

// Unwrap returns the reason.
func (e *DismissedError) Unwrap() error { return e.Reason }

// Dismissed tells it from other errors; see attempt.Dismissed.
func (*DismissedError) Dismissed() {}

// ClientConfig says how a client introduces itself.
type ClientConfig struct {
	// Hello is the client's own; Member stays zero. With a Cluster, a member
	// of another one is refused.
	Hello protocol.Hello
	// Dial makes the connection; required.
	Dial DialFunc
	// Check, if not nil, judges the member's Hello; its error ends the attempt.
	Check func(protocol.Hello) error
	// PingTimeout is how long a member may leave a ping unanswered before the
	// connection ends with a SilentError. It is asked a quarter to a half of that
	// after a request that has no answer yet, and once in that time for watches
	// alone.
	// Negative: it is never asked. Default PingTimeoutDefault.
	PingTimeout time.Duration
	Options
}

// PingTimeoutDefault is longer than what a member that is well stands still for
// (a collection, a busy machine, a lost segment or two), and than most elections,
// so that where the new leader is heard of first, that decides. It is shorter
// than what anybody calls an outage.
const PingTimeoutDefault = time.Second

// ClientConn is a client's connection to one member. Any number of goroutines
// may use it at once. It does not reconnect.
type ClientConn struct {
	conn *Conn

	mu      sync.Mutex
	next    uint64
	pending map[uint64]*call
	lost    error // why nothing can be asked any more
	pulse   pulse

	left   bool          // the member has made room for others: what it had not answered it has not done; the reader's
	reader chan struct{} // closed when the reading goroutine has ended
}

// call is one request in flight.
type call struct {
	number uint64    // of its frame
	began  time.Time // when it was sent
	answer chan answer
	watch  *WatchStream // of a watch; then answer is nil
	told   bool         // the watch was; guarded by the connection's lock
}

type answer struct {
	response *protocol.Response
	err      error
}

// DialClient connects to a member. The errors of the handshake have codes: a
// member that refuses says why.
func DialClient(ctx context.Context, address string, cfg ClientConfig) (*ClientConn, error) {
	conn, err := connect(ctx, cfg.Dial, address, handshake.Guest{Own: cfg.Hello, Check: cfg.Check}, cfg.Options.withDefaults())
	if err != nil {
		return nil, err
	}
	setDefault(&cfg.PingTimeout, PingTimeoutDefault)
	c := &ClientConn{conn: conn, pending: make(map[uint64]*call), reader: make(chan struct{})}
	c.pulse.every = cfg.PingTimeout / pulseBeats
	go c.read()
	return c, nil
}

// Peer returns the member's Hello.
func (c *ClientConn) Peer() protocol.Hello { return c.conn.Peer() }

// Done is closed when the connection has ended, for whatever reason.
func (c *ClientConn) Done() <-chan struct{} { return c.conn.Done() }

// Err says why the connection has ended; nil while it has not.
func (c *ClientConn) Err() error { return c.conn.Err() }

// Close ends the connection. All that is in flight fails with a LostError. It
// returns when no goroutine is left.
func (c *ClientConn) Close() error {
	_ = c.conn.Close()
	<-c.reader
	return nil
}

// Do sends a request, waits for its answer as long as ctx and the member last,
// and returns it; what the answer says, even if it is an error, is in its Result.
// The request's ID and Wait are chosen here. Do waits while the queue is full.
// When ctx ends, the member is told that nobody waits any more. Every error is a
// LostError, but for requests that cannot be sent (protocol.ErrTooLarge,
// ErrInvalid).
func (c *ClientConn) Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error) {
	if q.Kind == protocol.RequestWatch || q.Kind == protocol.RequestCancel || q.Kind == protocol.RequestCredit {
		return nil, protocol.ErrInvalid.With("a watch is asked for by Watch, read from its stream, and cancelled by closing that")
	}
	one := &call{answer: make(chan answer, 1)}
	id, err := c.start(ctx, *q, one)
	if err != nil {
		return nil, err
	}
	select {
	case a := <-one.answer:
		return a.response, a.err
	case <-ctx.Done():
		return nil, &LostError{Written: true, Working: c.cancel(id), Cause: ctx.Err()}
	}
}

// Watch asks for changes. The member's refusal, if any, is what the stream's
// first Next returns. The stream must be closed.
func (c *ClientConn) Watch(ctx context.Context, w *protocol.Watch) (*WatchStream, error) {
	s := newWatchStream(c)
	id, err := c.start(ctx, protocol.Request{Kind: protocol.RequestWatch, Watch: w}, &call{watch: s})
	if err != nil {
		return nil, err
	}
	s.id = id
	return s, nil
}

// start sends a request once there is room for it.
func (c *ClientConn) start(ctx context.Context, q protocol.Request, one *call) (uint64, error) {
	for {
		err := ctx.Err()
		if err == nil {
			if deadline, ok := ctx.Deadline(); ok {
				q.Wait = max(time.Until(deadline), 1)
			}
			err = c.send(&q, one)
		}
		if err == nil {
			return q.ID, nil
		}
		if errors.Is(err, protocol.ErrTooLarge) {
			return 0, err
		}
		if errors.Is(err, ErrQueueFull) {
			if err = c.conn.out.waitRoom(ctx); err == nil {
				continue
			}
		}
		return 0, &LostError{Cause: err}
	}
}

// send registers the call and queues its frame in one step, so that a loss of
// the connection finds both or neither.
func (c *ClientConn) send(q *protocol.Request, one *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return c.lost
	}
	c.next++
	q.ID = c.next
	number, err := c.conn.sendRequest(q)
	if err != nil {
		return err
	}
	one.number, one.began = number, time.Now()
	c.pending[q.ID] = one
	c.watchPulse()
	return nil
}

func (c *ClientConn) read() {
	defer close(c.reader)
	for {
		p, err := c.conn.readResponse()
		switch {
		case err != nil:
			c.fail(err)
			return
		case p == nil:
			c.pong()
		case p.ID == 0: // goodbye: requests have numbers
			err := cmp.Or(p.Result.Err(), error(protocol.ErrClosed))
			if c.left = errors.Is(err, protocol.ErrUnavailable); !c.left {
				err = &DismissedError{err}
			}
			c.fail(err)
			return
		default:
			c.dispatch(p)
		}
	}
}

func (c *ClientConn) dispatch(p *protocol.Response) {
	c.mu.Lock()
	one := c.pending[p.ID]
	if one == nil { // given up meanwhile
		c.mu.Unlock()
		return
	}
	ends := one.watch == nil || p.Changes == nil
	one.told = true
	if ends {
		delete(c.pending, p.ID)
	}
	c.mu.Unlock()
	switch {
	case one.watch == nil:
		one.answer <- answer{response: p}
	case ends:
		err := p.Result.Err()
		if err == nil {
			err = protocol.ErrClosed.With("the member has ended the watch")
		}
		one.watch.end(err)
	case !one.watch.offer(*p.Changes):
		c.cancel(p.ID)
		one.watch.end(protocol.ErrMalformed.With("the member tells a watch more than was asked for"))
	}
}

// cancel ends a request on the other side, and reports whether the member has
// said since it was sent that it is at work.
func (c *ClientConn) cancel(id uint64) (working bool) {
	c.mu.Lock()
	one, running := c.pending[id]
	delete(c.pending, id)
	working = running && c.pulse.heard.After(one.began)
	c.mu.Unlock()
	if running {
		// It fails only on a closed connection, and that ends the request, too.
		_, _ = c.conn.sendRequest(&protocol.Request{ID: id, Kind: protocol.RequestCancel})
	}
	return working
}

// credit tells the member what was taken of a watch. What it fails on ends the watch, too.
func (c *ClientConn) credit(id, taken uint64) {
	_, _ = c.conn.sendRequest(&protocol.Request{ID: id, Kind: protocol.RequestCredit, Taken: taken})
}

// fail ends everything in flight. The writer is stopped first, so that what it
// has taken is final.
func (c *ClientConn) fail(err error) {
	c.conn.fail(err)
	<-c.conn.writer
	err = c.conn.Err()
	c.stopPulse()
	c.mu.Lock()
	pending := c.pending
	c.pending, c.lost = nil, err
	c.mu.Unlock()
	dismissed := (*DismissedError)(nil)
	for _, one := range pending {
		if one.watch != nil && !one.told && errors.As(err, &dismissed) {
			one.watch.end(dismissed) // it may be what the member could not read
			continue
		}
		if one.watch != nil {
			one.watch.end(&LostError{Written: true, Cause: err})
			continue
		}
		one.answer <- answer{err: &LostError{Written: !c.left && c.conn.out.mayHaveLeft(one.number), Cause: err}}
	}
}
