package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Handler is what a Server hands its streams to. Its methods are called by many
// goroutines at once.
type Handler interface {
	// Welcome judges who has introduced itself: Member is zero for a client.
	// The code and text of its error are told to the other side. The cluster
	// was compared before.
	Welcome(peer protocol.Hello, from net.Addr) error
	// Receive takes a message from a member, in the order of its stream, which
	// waits meanwhile. The message belongs to the handler.
	Receive(from protocol.MemberID, m protocol.Message)
	// Serve takes a request, in the order of its stream, which waits
	// meanwhile: what takes long belongs into another goroutine. It must be
	// answered through to, now or later, also if nobody waits any more.
	// RequestCancel does not come here: it ends the context of the request.
	Serve(q *protocol.Request, to *Responder)
}

// ServerConfig says how a member accepts.
type ServerConfig struct {
	// Hello makes this member's Hello for each handshake.
	Hello   func() protocol.Hello
	Handler Handler
	// Gossip takes memberlist's streams; nil closes them.
	Gossip func(net.Conn)
	// Alive answers a client's ping by calling answer, once, now or later, as a
	// proof that this member is at work, and not only its process or its kernel.
	// It must not block. Nil answers at once.
	Alive  func(answer func())
	Logger *slog.Logger
	// Identity lets one run of each member in.
	Identity Identity
	// MembersMax and ClientsMax limit the streams of each kind; HandshakesMax
	// those that have not said what they are. Who comes too many is refused
	// with protocol.ErrOverloaded. Defaults 4,096, 1,024 and 256.
	MembersMax, ClientsMax, HandshakesMax int
	// RequestsMax limits the requests in flight on one stream. Beyond it they
	// are answered protocol.ErrOverloaded at once. Default 1,024.
	RequestsMax int
	Options
}

// Server accepts the streams of members and clients on a member's port.
type Server struct {
	cfg     ServerConfig
	inbound *inbound
	wg      sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	listeners  map[net.Listener]struct{}
	conns      map[net.Conn]struct{}
	streams    map[*clientStream]struct{}
	handshakes int
	members    int
	clients    int
}

// NewServer returns a server that accepts nothing yet.
func NewServer(cfg ServerConfig) *Server {
	cfg.Options = cfg.Options.withDefaults()
	setDefault(&cfg.MembersMax, 4096)
	setDefault(&cfg.ClientsMax, 1024)
	setDefault(&cfg.HandshakesMax, 256)
	setDefault(&cfg.RequestsMax, 1024)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		cfg: cfg, listeners: make(map[net.Listener]struct{}), conns: make(map[net.Conn]struct{}),
		streams: make(map[*clientStream]struct{}), inbound: newInbound(cfg.Identity),
	}
}

// Serve accepts until the listener or the server is closed, then returns nil;
// any other error of the listener is returned after a few tries. It closes the
// listener.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	const triesMax = 10
	for tries := 0; ; {
		conn, err := l.Accept()
		if err == nil {
			tries = 0
			s.ServeConn(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) || s.isClosed() {
			return nil
		}
		// Out of descriptors, most likely: it passes.
		if tries++; tries == triesMax {
			return fmt.Errorf("accepting: %w", err)
		}
		s.cfg.Logger.Warn("cannot accept", "err", err)
		time.Sleep(time.Duration(tries) * 10 * time.Millisecond)
	}
}

// ServeConn serves one connection in a goroutine of the server.
func (s *Server) ServeConn(conn net.Conn) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = conn.Close()
		return
	}
	s.wg.Add(1)
	s.conns[conn] = struct{}{}
	full := s.handshakes >= s.cfg.HandshakesMax
	if !full {
		s.handshakes++
	}
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		defer s.forget(conn)
		if full {
			s.refuse(conn, protocol.ErrOverloaded.With("too many connections are being opened; try again"))
			_ = conn.Close()
			return
		}
		s.handle(conn)
	}()
}

func (s *Server) forget(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// handle finds out who talks and stays with the stream until its end.
func (s *Server) handle(raw net.Conn) {
	_ = raw.SetDeadline(time.Now().Add(s.cfg.HandshakeTimeout))
	shaking := true
	shaken := func() {
		if shaking {
			shaking = false
			s.mu.Lock()
			s.handshakes--
			s.mu.Unlock()
		}
	}
	defer shaken()
	kind, conn, err := Sniff(raw)
	switch {
	case err != nil:
		_ = conn.Close()
	case kind == StreamUnknown:
		s.cfg.Logger.Debug("a stream that is not ours", "from", raw.RemoteAddr())
		Refuse(conn)
	case kind == StreamGossip:
		shaken()
		_ = raw.SetDeadline(time.Time{})
		if s.cfg.Gossip == nil {
			_ = conn.Close()
			return
		}
		s.cfg.Gossip(conn)
	default:
		s.welcome(conn.(*sniffedConn), shaken)
	}
}

// welcome finishes the handshake and runs the stream.
func (s *Server) welcome(conn *sniffedConn, shaken func()) {
	defer conn.Close()
	peer, err := readHello(conn.r)
	stream := &memberStream{nc: conn, peer: peer}
	defer s.inbound.leave(stream)
	if err == nil {
		err = s.admit(stream)
	} else if !errors.Is(err, protocol.ErrWrongVersion) {
		s.cfg.Logger.Debug("handshake failed", "from", conn.RemoteAddr(), "err", err)
		return
	}
	if err != nil {
		s.cfg.Logger.Info("refused", "from", conn.RemoteAddr(), "peer", peer.Member.Short(), "name", peer.Name, "err", err)
		s.refuse(conn, err)
		return
	}
	count := &s.clients
	if !peer.Member.IsZero() {
		count = &s.members
	}
	defer func() {
		s.mu.Lock()
		*count--
		s.mu.Unlock()
	}()
	hello := s.cfg.Hello()
	if err := writeHello(conn, &hello); err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	tune(conn)
	shaken()
	if peer.Member.IsZero() {
		s.serveClient(conn, peer)
	} else {
		s.serveMember(conn, conn.r, stream)
	}
}

// admit decides whether the stream may stay, and counts it if so.
func (s *Server) admit(stream *memberStream) error {
	peer, from := stream.peer, stream.nc.RemoteAddr()
	hello := s.cfg.Hello()
	if err := judge(peer.Cluster, hello.Cluster); err != nil {
		return err
	}
	isMember := !peer.Member.IsZero()
	if isMember && peer.Cluster.IsZero() {
		return protocol.ErrInvalid.With("a member's stream must name its cluster")
	}
	if isMember && hello.Cluster.IsZero() {
		return protocol.ErrNotServing.With("this member has not joined a cluster yet")
	}
	welcome := func() error { return s.cfg.Handler.Welcome(peer, from) }
	if !isMember {
		if err := welcome(); err != nil {
			return err
		}
	} else if err := s.inbound.enter(stream, welcome); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	count, limit := &s.clients, s.cfg.ClientsMax
	if isMember {
		count, limit = &s.members, s.cfg.MembersMax
	}
	if *count >= limit {
		return protocol.ErrOverloaded.With(fmt.Sprintf("this member has %d connections of the kind, its limit; try another member", limit))
	}
	*count++
	return nil
}

// refuse says why, in a Hello. Nobody waits long for a reader.
func (s *Server) refuse(conn net.Conn, cause error) {
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	hello := s.cfg.Hello()
	hello.Refused, hello.Text = protocol.CodeOf(cause)
	_ = writeHello(conn, &hello)
}

// serveMember reads a member's messages until its stream ends. A damaged frame
// of gossip is dropped; any other malformed message ends the stream.
func (s *Server) serveMember(nc net.Conn, br *bufio.Reader, stream *memberStream) {
	peer := stream.peer
	c := newConn(nc, br, peer, s.cfg.Options)
	c.idle, c.busy = s.cfg.IdleTimeout, func() bool { return false } // where Standing goes, it is not idle
	defer c.Close()
	if !s.inbound.attach(stream, c) {
		return
	}
	for {
		m, err := c.ReadMessage()
		if damaged, ok := err.(damagedFrame); ok {
			s.cfg.Logger.Debug("a damaged frame was dropped", "member", peer.Member.Short(), "err", damaged.error)
			continue
		}
		if err != nil {
			c.fail(err)
			s.cfg.Logger.Debug("a member's stream has ended", "member", peer.Member.Short(), "err", err)
			return
		}
		if m == nil {
			s.inbound.answered(stream)
			continue
		}
		stream.handing.Store(true)
		if !stream.superseded.Load() {
			s.cfg.Handler.Receive(peer.Member, m)
		}
		stream.handing.Store(false)
	}
}

// Shutdown accepts nothing more, waits until all requests but watches, and
// questions for the next leader, are answered and the answers written, and then does what Close does. It gives up
// waiting when ctx ends, and returns its error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.closeListeners()
	streams := make([]*clientStream, 0, len(s.streams))
	for c := range s.streams {
		streams = append(streams, c)
	}
	s.mu.Unlock()
	var err error
	for _, c := range streams {
		if e := c.drain(ctx); e != nil && ctx.Err() != nil {
			err = e
			break
		}
	}
	_ = s.Close()
	return err
}

// Close ends everything at once and returns when no goroutine is left. Contexts
// of requests in flight end.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.closeListeners()
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

func (s *Server) closeListeners() {
	for l := range s.listeners {
		_ = l.Close()
	}
	clear(s.listeners)
}
