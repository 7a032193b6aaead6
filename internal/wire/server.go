package wire

import (
	"container/list"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/outage"
	"github.com/starlinghq/starling/internal/security"
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
	// Gossip takes memberlist's streams; nil closes them. A stream is a handshake
	// under way until it returns.
	Gossip func(net.Conn)
	// Alive answers a client's ping by calling answer, once, now or later, as a
	// proof that this member is at work, and not only its process or its kernel.
	// It must not block. Nil answers at once.
	Alive  func(answer func())
	Logger *slog.Logger
	// Favours reports whether a member is of the configuration, as far as this one
	// knows: ids are claimed, so it gets a share and not everything. FavoursAddress
	// says the same of where a connection comes from, before anybody has said who
	// it is. Nil favours nobody. They are called under a lock, and must not block.
	Favours        func(protocol.MemberID) bool
	FavoursAddress func(netip.Addr) bool
	// Refused, if not nil, hears whom the server has refused, and why.
	Refused func(peer protocol.Hello, from net.Addr, err error)
	// Identity lets one run of each member in.
	Identity Identity
	// MembersMax and ClientsMax limit the streams of each kind; HandshakesMax
	// those that have not said what they are. Who comes too many takes the place
	// of the one that has been of no use for longest: an unfinished handshake, a
	// silent stream of a member that is not favoured, an idle client. Only where all
	// are in use is it refused with protocol.ErrOverloaded. Defaults 4,096, 1,024
	// and 256.
	MembersMax, ClientsMax, HandshakesMax int
	// UnfinishedBytesMax limits what is held of frames that are not whole yet,
	// over all streams. Beyond it the oldest is given up, with its stream. Half of
	// it is kept for members that are favoured. Default 64 MiB.
	UnfinishedBytesMax int
	// AnswersBytesMax limits what waits to be written to all clients. Beyond it
	// those that have more than an equal part of it waiting lose their connection.
	// Default 256 MiB.
	AnswersBytesMax int
	// Sessions bounds how many sessions one connection opens. Nil: they are not
	// bounded.
	Sessions Sessions
	// RequestsMax limits the requests in flight on one stream, watches not counted.
	// Beyond it they are answered protocol.ErrOverloaded at once. Default 1,024.
	RequestsMax int
	// WatchesMax limits the watches on one stream, beyond it protocol.ErrTooLarge;
	// WatchesAllMax those on all streams, beyond it protocol.ErrOverloaded: another
	// member may have room. Defaults protocol.WatchesPerCallerMax and 65,536.
	WatchesMax, WatchesAllMax int
	Options
}

// Defaults of a ServerConfig; docs/limits.md has them all.
const (
	membersMaxDefault         = 4096
	clientsMaxDefault         = 1024
	handshakesMaxDefault      = 256
	requestsMaxDefault        = 1024
	watchesAllMaxDefault      = 65_536
	unfinishedBytesMaxDefault = 64 << 20
	answersBytesMaxDefault    = 256 << 20
)

// Server accepts the streams of members and clients on a member's port.
type Server struct {
	cfg     ServerConfig
	inbound *inbound
	wg      sync.WaitGroup

	budget  budget
	answers answers
	streams atomic.Uint64 // of clients, so far
	watches atomic.Int64  // on all streams
	drops   drops
	ending  chan struct{} // closed when nothing more is accepted
	freed   chan struct{} // told when a handshake has left its slot

	listening atomic.Pointer[outage.Listener] // the latest

	mu        sync.Mutex
	closed    bool
	listeners map[*outage.Listener]struct{}
	places    map[*place]struct{} // all
	shaking   [2]list.List        // handshakes under way, the oldest in front; [1]: favoured
	members   map[*place]struct{}
	clients   map[*place]struct{}
}

// NewServer returns a server that accepts nothing yet.
func NewServer(cfg ServerConfig) *Server {
	cfg.Options = cfg.Options.withDefaults()
	setDefault(&cfg.MembersMax, membersMaxDefault)
	setDefault(&cfg.ClientsMax, clientsMaxDefault)
	setDefault(&cfg.HandshakesMax, handshakesMaxDefault)
	setDefault(&cfg.RequestsMax, requestsMaxDefault)
	setDefault(&cfg.WatchesMax, protocol.WatchesPerCallerMax)
	setDefault(&cfg.WatchesAllMax, watchesAllMaxDefault)
	setDefault(&cfg.UnfinishedBytesMax, unfinishedBytesMaxDefault)
	setDefault(&cfg.AnswersBytesMax, answersBytesMaxDefault)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, ending: make(chan struct{}), freed: make(chan struct{}, 1),
		listeners: make(map[*outage.Listener]struct{}), places: make(map[*place]struct{}),
		members: make(map[*place]struct{}), inbound: newInbound(cfg.Identity), clients: make(map[*place]struct{}),
	}
	s.answers.limit = cfg.AnswersBytesMax
	s.budget.init(cfg.UnfinishedBytesMax, s.favours)
	return s
}

// Serve accepts until the listener or the server is closed, which closes the
// listener. A listener that fails otherwise is asked again for ever: most likely
// there are no descriptors, and that passes.
func (s *Server) Serve(listener net.Listener) {
	l := outage.Listen(listener, s.cfg.Logger)
	defer l.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	s.listening.Store(l)
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.ServeConn(conn)
	}
}

// Accepting returns why no connections have been accepted for a second or longer,
// with the way out, or nil. Any goroutine may ask; it does not wait.
func (s *Server) Accepting() error {
	if l := s.listening.Load(); l != nil {
		return l.Why()
	}
	return nil
}

// ServeConn serves one connection in a goroutine of the server. It waits while too
// many handshakes have just begun.
func (s *Server) ServeConn(conn net.Conn) {
	p := s.enter(conn)
	if p == nil {
		_ = conn.Close()
		return
	}
	go func() {
		defer s.wg.Done()
		defer s.leave(p)
		s.handle(p)
	}()
}

// handle finds out who talks and stays with the stream until its end.
func (s *Server) handle(p *place) {
	raw := p.conn
	_ = raw.SetDeadline(time.Now().Add(s.cfg.HandshakeTimeout))
	kind, conn, err := Sniff(raw)
	switch {
	case err != nil:
		_ = conn.Close()
	case kind == StreamUnknown:
		s.cfg.Logger.Debug("a stream that is not ours", "from", raw.RemoteAddr())
		Refuse(conn)
	case kind == StreamGossip:
		_ = raw.SetDeadline(time.Time{})
		if s.cfg.Gossip == nil {
			_ = conn.Close()
			return
		}
		s.cfg.Gossip(conn)
	default:
		s.welcome(p, conn.(*sniffedConn))
	}
}

// welcome finishes the handshake and runs the stream.
func (s *Server) welcome(p *place, conn *sniffedConn) {
	defer conn.Close()
	peer, err := readHello(conn.r)
	stream := &memberStream{nc: conn, peer: peer}
	defer s.inbound.leave(stream)
	if err != nil {
		s.cfg.Logger.Debug("handshake failed", "from", conn.RemoteAddr(), "err", err)
		return
	}
	version, err := s.admit(p, stream)
	if err != nil {
		if s.cfg.Refused != nil {
			s.cfg.Refused(peer, security.Who(conn), err)
		}
		s.refuse(conn, err)
		return
	}
	hello := s.cfg.Hello()
	if err := writeHello(conn, &hello); err != nil {
		return
	}
	_ = conn.SetDeadline(time.Time{})
	tune(conn, s.cfg.Options)
	if peer.Member.IsZero() {
		s.serveClient(p, conn, peer, version)
	} else {
		s.serveMember(p, conn, stream, version)
	}
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
func (s *Server) serveMember(p *place, nc *sniffedConn, stream *memberStream, version uint8) {
	peer := stream.peer
	c := newConn(nc, nc.r, peer, version, s.cfg.Options)
	c.idle, c.busy = s.cfg.IdleTimeout, func() bool { return false } // where Standing goes, it is not idle
	c.claim = claim{of: &s.budget, conn: c, member: peer.Member}
	defer c.Close()
	s.mu.Lock()
	p.stream = c
	s.mu.Unlock()
	if !s.inbound.attach(stream, c) {
		return
	}
	work := sayAtWork(stream, c)
	for {
		m, err := c.ReadMessage()
		if damaged, ok := err.(damagedFrame); ok {
			s.cfg.Logger.Debug("a damaged frame was dropped", "member", peer.Member.Short(), "err", damaged.error)
			continue
		}
		if err != nil {
			c.fail(err)
			s.cfg.Logger.Debug("a member's stream has ended", "member", peer.Member.Short(), "err", c.Err())
			return
		}
		if m == nil {
			s.inbound.answered(stream)
			continue
		}
		work.begin()
		if !stream.superseded.Load() {
			s.cfg.Handler.Receive(peer.Member, m)
		}
		work.end()
	}
}

// Shutdown accepts nothing more, waits until all requests but watches, and
// questions for the next leader, are answered and the answers written, and then does what Close does. It gives up
// waiting when ctx ends, and returns its error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.refuseMore()
	streams := make([]*clientStream, 0, len(s.clients))
	for p := range s.clients {
		if p.client != nil {
			streams = append(streams, p.client)
		}
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
	s.refuseMore()
	for p := range s.places {
		p.end()
		_ = p.conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// refuseMore ends accepting. The lock is held.
func (s *Server) refuseMore() {
	if !s.closed {
		s.closed = true
		close(s.ending)
	}
	for l := range s.listeners {
		_ = l.Close()
	}
	clear(s.listeners)
}
