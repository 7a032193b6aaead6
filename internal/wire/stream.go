package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// clientStream is the accepted side of a client's connection.
type clientStream struct {
	server *Server
	number uint64
	conn   *Conn
	ctx    context.Context

	proving atomic.Bool // a ping waits for the member's proof that it is at work
	// telling is held by the one watch that waits for room in the queue, or takes it.
	telling chan struct{}

	mu       sync.Mutex
	inFlight map[uint64]*Responder
	watches  int           // of those in flight
	quiet    time.Time     // when it last had nothing in flight any more
	opened   opened        // sessions
	retired  bool          // it gives way: nothing that still comes is done
	draining bool          // new requests are refused
	drained  chan struct{} // if not nil, closed when nothing but watches is in flight
}

func (s *Server) serveClient(p *place, nc *sniffedConn, peer protocol.Hello, version uint8) {
	opt := s.cfg.Options
	opt.QueueBytes, opt.QueueFrames = 4*opt.QueueBytes, 4*opt.QueueFrames
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &clientStream{server: s, number: s.streams.Add(1), conn: newConnWith(nc, nc.r, peer, version, opt, &s.answers), ctx: ctx, inFlight: make(map[uint64]*Responder), telling: make(chan struct{}, 1)}
	c.conn.idle, c.conn.busy = opt.IdleTimeout, c.isBusy
	c.conn.claim = claim{of: &s.budget, conn: c.conn}
	c.quiet = time.Now()
	s.answers.streams.Add(1)
	defer s.answers.streams.Add(-1)
	defer c.abandonAll()
	defer c.conn.Close()
	s.mu.Lock()
	p.client = c
	s.mu.Unlock()
	for {
		q, err := c.conn.readRequest()
		switch {
		case q != nil:
			err = c.serve(q, err)
		case err == nil:
			c.prove()
		}
		if err != nil {
			c.dismiss(err)
			c.conn.fail(err)
			s.cfg.Logger.Debug("a client's stream has ended", "from", nc.RemoteAddr(), "err", c.conn.Err())
			return
		}
	}
}

// prove answers a ping when the member has proven that it is at work. Pings that
// come meanwhile have the same answer.
func (c *clientStream) prove() {
	if !c.proving.CompareAndSwap(false, true) {
		return
	}
	answer := func() {
		c.proving.Store(false)
		_ = c.conn.sendSign(FramePong) // refused only by a connection that has ended
	}
	if c.server.cfg.Alive == nil {
		answer()
		return
	}
	c.server.cfg.Alive(answer)
}

// abandonAll ends what is in flight when the connection has ended.
func (c *clientStream) abandonAll() {
	c.mu.Lock()
	left := make([]*Responder, 0, len(c.inFlight))
	for _, to := range c.inFlight {
		left = append(left, to)
	}
	c.mu.Unlock()
	for _, to := range left {
		to.abandon()
	}
}

func (c *clientStream) isBusy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.inFlight) > 0
}

// idleness says how little the stream would be missed, and whether it is idle.
func (c *clientStream) idleness() (is idleness, idle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isIdle() {
		return is, false
	}
	return idleness{session: c.opened.holds(c.server.cfg.Sessions), since: c.quiet}, true
}

// isIdle reports whether nothing is in flight. The lock is held.
func (c *clientStream) isIdle() bool {
	return len(c.inFlight) == 0 && !c.retired && c.conn.out.atRest()
}

// retire has nothing more done on an idle stream, and reports whether it was one.
func (c *clientStream) retire() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = c.isIdle()
	return c.retired
}

// sayGoodbye ends a retired stream. The client hears that nothing that it may have
// sent meanwhile was done, and dials again.
func (c *clientStream) sayGoodbye() {
	why := protocol.ErrUnavailable.With("this member has too many clients, and this one was idle for longest: connect again")
	c.sayLast(why)
	c.conn.fail(why)
}

// sayLast tells the client why its stream ends, in an answer to no request, and
// reports whether that was written.
func (c *clientStream) sayLast(why error) bool {
	if c.conn.sendResponse(&protocol.Response{Result: protocol.Failed(why)}) != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbyeMax)
	defer cancel()
	return c.conn.out.waitIdle(ctx) == nil
}

// dismiss tells a client why its stream ends, if that is something that it has sent:
// a frame that can be neither answered nor passed over.
func (c *clientStream) dismiss(why error) {
	if !errors.Is(why, protocol.ErrTooLarge) && !errors.Is(why, protocol.ErrMalformed) && !errors.Is(why, protocol.ErrWrongVersion) {
		return
	}
	if !c.sayLast(why) {
		return
	}
	// What is not read would turn the end into a reset, which takes the word with it;
	// and who is in the middle of a frame listens only when it is written.
	c.conn.bound(goodbyeMax)
	_, _ = io.Copy(io.Discard, c.conn.br)
}

// serve hands a request to the handler, or answers it here: with refused if that
// is not nil. Its error ends the stream.
func (c *clientStream) serve(q *protocol.Request, refused error) error {
	c.mu.Lock()
	if c.retired {
		c.mu.Unlock()
		return nil
	}
	before := c.inFlight[q.ID]
	if q.Kind == protocol.RequestCancel || q.Kind == protocol.RequestCredit {
		c.mu.Unlock()
		switch {
		case refused != nil:
			return refused // no answer belongs to it
		case before == nil:
		case q.Kind == protocol.RequestCancel:
			before.abandon()
		default:
			before.credit(q.Taken)
		}
		return nil
	}
	if before != nil {
		c.mu.Unlock()
		return protocol.ErrMalformed.With(fmt.Sprintf("malformed stream: request %d is in flight already", q.ID))
	}
	to := &Responder{stream: c, id: q.ID, kind: q.Kind}
	to.ctx, to.cancel = context.WithCancel(c.ctx)
	if q.Kind == protocol.RequestWatch {
		to.credited = make(chan struct{}, 1)
	}
	if refused == nil {
		refused = c.oneTooMany(q.Kind)
	}
	if refused == nil {
		refused = c.noteCommand(q, to)
	}
	if refused == nil {
		c.inFlight[q.ID] = to
		c.countWatch(to, +1)
	}
	c.mu.Unlock()
	if refused != nil {
		c.server.cfg.Logger.Debug("a request was refused", "from", c.conn.Remote(), "kind", q.Kind, "err", refused)
		return to.Fail(refused)
	}
	c.server.cfg.Handler.Serve(q, to)
	return nil
}

// oneTooMany says why there is no room for another request, if there is none. Watches,
// which do not end, have a room of their own. The lock is held.
func (c *clientStream) oneTooMany(kind protocol.RequestKind) error {
	cfg := &c.server.cfg
	switch watch := kind == protocol.RequestWatch; {
	case c.draining:
		return protocol.ErrUnavailable.With("this member is shutting down; ask another")
	case !watch && len(c.inFlight)-c.watches >= cfg.RequestsMax:
		return protocol.ErrOverloaded.With(fmt.Sprintf(
			"this connection has %d requests in flight, the limit; wait for answers", cfg.RequestsMax))
	case watch && c.watches >= cfg.WatchesMax:
		return protocol.ErrTooLarge.With(fmt.Sprintf(
			"this connection has %d watches, the limit: close some, or dial another client", cfg.WatchesMax))
	case watch && c.server.watches.Load() >= int64(cfg.WatchesAllMax):
		return protocol.ErrOverloaded.With(fmt.Sprintf("this member serves %d watches, its limit; ask another", cfg.WatchesAllMax))
	}
	return nil
}

// countWatch counts a request, if it is a watch, in or out. The lock is held.
func (c *clientStream) countWatch(to *Responder, by int) {
	if to.kind == protocol.RequestWatch {
		c.watches += by
		c.server.watches.Add(int64(by))
	}
}

// noteCommand takes note of what a command says about sessions, or refuses it. The
// lock is held.
func (c *clientStream) noteCommand(q *protocol.Request, to *Responder) error {
	sessions := c.server.cfg.Sessions
	if q.Kind != protocol.RequestCommand || q.Command == nil || sessions == nil {
		return nil
	}
	if q.Command.Session != 0 {
		c.opened.last = q.Command.Session
	}
	if q.Command.Type != protocol.SessionType {
		return nil
	}
	if q.Command.Operation == protocol.SessionOpen {
		if err := c.opened.mayOpen(time.Now(), sessions); err != nil {
			return err
		}
	}
	to.operation, to.session = q.Command.Operation, q.Command.Session
	return nil
}

// forget takes a request out of those in flight. answer is what it was answered,
// nil if it was not.
func (c *clientStream) forget(to *Responder, answer *protocol.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to.operation != "" {
		c.opened.note(time.Now(), to.operation, to.session, answer, c.server.cfg.Sessions)
		to.operation = ""
	}
	if c.inFlight[to.id] == to {
		delete(c.inFlight, to.id)
		c.countWatch(to, -1)
		c.quiet = time.Now()
	}
	c.settle()
}

// notOwed takes note that the answer to a request is not wanted any more.
func (c *clientStream) notOwed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle()
}

// settle wakes drain if nothing is owed. The lock is held.
func (c *clientStream) settle() {
	if c.drained != nil && !c.owes() {
		close(c.drained)
		c.drained = nil
	}
}

// owes reports whether somebody waits for an answer that will come: a watch, and a
// question for the next leader, may wait for ever.
func (c *clientStream) owes() bool {
	for _, to := range c.inFlight {
		if to.kind != protocol.RequestWatch && to.kind != protocol.RequestLeader && to.ctx.Err() == nil {
			return true
		}
	}
	return false
}

// drain waits until all requests but watches are answered and all answers are
// written.
func (c *clientStream) drain(ctx context.Context) error {
	c.mu.Lock()
	c.draining = true
	var wait chan struct{}
	if c.owes() {
		if c.drained == nil {
			c.drained = make(chan struct{})
		}
		wait = c.drained
	}
	c.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-c.conn.Done():
			return c.conn.Err()
		case <-ctx.Done():
			return fmt.Errorf("waiting for requests in flight: %w", ctx.Err())
		}
	}
	return c.conn.out.waitIdle(ctx)
}

// Responder answers one request. Any goroutine may use it.
type Responder struct {
	stream *clientStream
	id     uint64
	kind   protocol.RequestKind
	ctx    context.Context
	cancel context.CancelFunc

	// operation and session are of a command about sessions that is in flight.
	// They are guarded by the stream's lock.
	operation string
	session   protocol.SessionID

	credited chan struct{} // of a watch: told when more was taken

	mu          sync.Mutex
	withdraw    func() // see OnCancel
	over        bool   // it was answered, or let go
	sent, taken uint64 // bytes of a watch
}

// Context ends when the request needs no answer any more: it was answered,
// cancelled, or the connection is gone. A request counts as in flight until
// its handler has answered it all the same, or let it go by OnCancel: who
// cancels and asks again must not have more at work here than the limit.
func (r *Responder) Context() context.Context { return r.ctx }

// OnCancel has f called once if the request is cancelled, or its connection
// ends, before it is answered. With that the request is over: f takes it from
// wherever it waits, and nothing answers it. f must not block.
func (r *Responder) OnCancel(f func()) {
	r.mu.Lock()
	if !r.over {
		r.withdraw = f
	}
	late := !r.over && r.ctx.Err() != nil
	r.mu.Unlock()
	if late {
		r.letGo()
	}
}

// abandon ends a request whose answer nobody waits for.
func (r *Responder) abandon() {
	r.cancel()
	if !r.letGo() {
		r.stream.notOwed()
	}
}

// letGo calls what OnCancel was given, once, for a request that was not
// answered, and reports whether there was anything.
func (r *Responder) letGo() bool {
	r.mu.Lock()
	f := r.withdraw
	r.withdraw = nil
	r.mu.Unlock()
	if f == nil {
		return false
	}
	f()
	r.finish(nil)
	return true
}

// Peer returns the client's Hello.
func (r *Responder) Peer() protocol.Hello { return r.stream.conn.Peer() }

// Stream returns a number of the client's connection, by which a handler is fair to
// all of them.
func (r *Responder) Stream() uint64 { return r.stream.number }

// Respond sends an answer; ID and Kind are filled in. The first one ends the
// request, except that a watch goes on while answers carry Changes. It never
// blocks: a client that does not take its answers loses its connection (see
// Tell). protocol.ErrClosed: nobody waits any more. An answer that is too
// large is replaced by protocol.ErrTooLarge.
func (r *Responder) Respond(p *protocol.Response) error {
	if r.ctx.Err() != nil {
		r.finish(&p.Result)
		return protocol.ErrClosed.With("nobody waits for this answer any more")
	}
	p.ID, p.Kind = r.id, r.kind
	err := r.stream.conn.sendResponse(p)
	if errors.Is(err, protocol.ErrTooLarge) {
		err = r.stream.conn.sendResponse(&protocol.Response{ID: r.id, Kind: r.kind, Result: protocol.Failed(err)})
		r.finish(&p.Result)
		return err
	}
	if err != nil {
		r.stream.conn.fail(err)
	}
	if r.kind != protocol.RequestWatch || p.Changes == nil || err != nil {
		r.finish(&p.Result)
	}
	return err
}

// Fail answers with an error.
func (r *Responder) Fail(cause error) error {
	return r.Respond(&protocol.Response{Result: protocol.Failed(cause)})
}

// Tell answers a watch with changes. It waits until the client has taken most of what it was
// told before, and for room in the connection's queue, one watch after the other: so a loop that
// does not read costs its connection a bounded part of memory, and the other answers nothing.
// It fails when the watch is over.
func (r *Responder) Tell(c *protocol.Changes) error {
	err := r.waitTurn(uint64(c.Size()))
	if err != nil {
		r.finish(nil)
		return err
	}
	defer func() { <-r.stream.telling }()
	return r.Respond(&protocol.Response{Changes: c})
}

// waitTurn waits until so many bytes may be told, and for room for them; without an error
// telling is held.
func (r *Responder) waitTurn(size uint64) error {
	for !r.spend(size) {
		select {
		case <-r.credited:
		case <-r.ctx.Done():
			return r.ctx.Err()
		}
	}
	select {
	case r.stream.telling <- struct{}{}:
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	err := r.stream.conn.out.waitRoom(r.ctx)
	if err != nil {
		<-r.stream.telling
	}
	return err
}

// spend counts what is told, if the client has taken enough of what was told before.
func (r *Responder) spend(size uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sent-min(r.taken, r.sent) >= protocol.WatchWindowBytes {
		return false
	}
	r.sent += size
	return true
}

// credit takes note of what the client of a watch has taken.
func (r *Responder) credit(taken uint64) {
	if r.credited == nil {
		return
	}
	r.mu.Lock()
	r.taken = max(r.taken, taken)
	r.mu.Unlock()
	select {
	case r.credited <- struct{}{}:
	default:
	}
}

func (r *Responder) finish(answer *protocol.Result) {
	r.mu.Lock()
	r.withdraw, r.over = nil, true
	r.mu.Unlock()
	r.cancel()
	r.stream.forget(r, answer)
}
