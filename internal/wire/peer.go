package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	"github.com/starlinghq/starling/protocol"
)

// PeerConfig describes a link to another member.
type PeerConfig struct {
	// ID is who must answer; another member at the address is an error.
	ID protocol.MemberID
	// Address is host:port, and Other, if not empty, where to try when an attempt
	// there has failed, in turns; SetAddress changes them.
	Address, Other string
	// Hello makes this member's Hello for each handshake.
	Hello func() protocol.Hello
	// Check, if not nil, judges the other's Hello (is its directory older than
	// what we have seen of it?); its error ends the attempt. address is where it was
	// dialled. It may wait for less than Options.HandshakeTimeout, and for the other
	// side's Identity.Patience at most: pings are not answered meanwhile.
	Check func(address string, peer protocol.Hello) error
	// OnState, if not nil, hears nil when the link is connected, with SignTimeout as soon
	// as anything has come on it, and the cause
	// when it is lost and of each attempt that failed, with the address that was
	// dialled. It is called by the link's goroutine and must not block or close
	// the link.
	OnState func(address string, err error)
	// OnMessage, if not nil, takes what the other side says on this stream: a
	// protocol.Standing, or what only a later version knows. The same goroutine calls it.
	OnMessage func(address string, m protocol.Message)
	// Sent, if not nil, hears of each message that was queued, with the bytes
	// that it takes on the stream. It must not block.
	Sent func(m protocol.Message, bytes int)
	// Unsent, if not nil, hears of each message that is dropped before any of it
	// was sent, and why. It must neither block nor use the link.
	Unsent func(m protocol.Message, why error)
	// PingAfter says, at each look, after how long the next one is at whether anything has come on
	// the connection; if not, the other side is asked (Options.SignTimeout). It must not
	// block. Default: SignTimeout / 4.
	PingAfter func() time.Duration
	// BackoffMin and BackoffMax bound the pause between two attempts, which
	// doubles and is jittered. Defaults 20 ms and 1 s. A link whose stream was lost in
	// silence tries by itself until there is one again, once a second at most.
	BackoffMin, BackoffMax time.Duration
	Logger                 *slog.Logger
	Options
}

// Peer is the outgoing link to another member. It connects when there is
// something to send, reconnects after a loss, and never blocks a sender: what
// does not fit into its queue is dropped and counted. Any goroutine may use it.
type Peer struct {
	cfg    PeerConfig
	dial   DialFunc
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}
	ended  chan struct{}

	dropped atomic.Uint64

	mu      sync.Mutex
	address string
	other   string             // or empty
	turn    int                // attempts since there was a connection
	conn    *Conn              // nil while there is none
	at      string             // where conn was dialled
	waiting []protocol.Message // while an attempt is under way
}

// waitingMax limits the messages that wait for a connection. They are few: a
// link without a connection loses what Raft and gossip say again anyway.
const waitingMax = 64

// NewPeer starts a link, whose connections dial makes.
func NewPeer(cfg PeerConfig, dial DialFunc) *Peer {
	setDefault(&cfg.DialTimeout, time.Second)
	setDefault(&cfg.Silence, 2*time.Second)
	cfg.Options = cfg.Options.withDefaults()
	setDefault(&cfg.BackoffMin, 20*time.Millisecond)
	setDefault(&cfg.BackoffMax, time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.PingAfter == nil {
		cfg.PingAfter = func() time.Duration { return cfg.SignTimeout / pulseBeats }
	}
	p := &Peer{cfg: cfg, dial: dial, address: cfg.Address, other: cfg.Other, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	go p.run()
	return p
}

// Send queues messages. They may be lost, and urgent ones (protocol.LaneUrgent) may
// overtake others. It encodes before it returns, or keeps the message.
func (p *Peer) Send(messages []protocol.Message) {
	p.mu.Lock()
	conn := p.conn
	if conn == nil {
		n := min(len(messages), waitingMax-len(p.waiting))
		p.waiting = append(p.waiting, messages[:n]...)
		p.drop(messages[n:], ErrQueueFull)
	}
	p.mu.Unlock()
	if conn == nil {
		select {
		case p.wake <- struct{}{}:
		default:
		}
		return
	}
	p.sendOn(conn, messages)
}

func (p *Peer) sendOn(conn *Conn, messages []protocol.Message) {
	for _, m := range messages {
		bytes, err := conn.sendMessage(m)
		if err == nil && p.cfg.Sent != nil {
			p.cfg.Sent(m, bytes)
		}
		if err != nil {
			p.drop([]protocol.Message{m}, err)
			if errors.Is(err, protocol.ErrTooLarge) {
				p.cfg.Logger.Error("message dropped", "to", p.cfg.ID.Short(), "kind", m.Kind().String(), "err", err)
			}
		}
	}
}

// drop gives messages up that were not sent.
func (p *Peer) drop(messages []protocol.Message, why error) {
	p.dropped.Add(uint64(len(messages)))
	if p.cfg.Unsent == nil {
		return
	}
	for _, m := range messages {
		p.cfg.Unsent(m, why)
	}
}

// SetAddress says where the member is now, and where else to try; see PeerConfig. A
// connection to where it is not any more is closed.
func (p *Peer) SetAddress(address, other string) {
	p.mu.Lock()
	p.address, p.other = address, other
	conn := p.conn
	gone := !p.isThere(p.at)
	p.mu.Unlock()
	if gone && conn != nil {
		conn.fail(protocol.ErrClosed.With("the member has moved to " + address))
	}
}

// isThere reports whether an address is one of the member's; the lock is held.
func (p *Peer) isThere(address string) bool {
	return address == p.address || address == p.other
}

// Connect makes the link connect, if it has no connection, although there is
// nothing to send. It does not wait.
func (p *Peer) Connect() {
	if p.Connected() {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Renew connects anew, if the link has a connection to another run of the member
// than run.
func (p *Peer) Renew(run protocol.RunID) {
	p.mu.Lock()
	conn := p.conn
	p.mu.Unlock()
	if conn != nil && conn.Peer().Run != run {
		conn.fail(protocol.ErrClosed.With("another run of the member has come"))
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// Connected reports whether the link has a connection.
func (p *Peer) Connected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn != nil
}

// Dropped returns how many messages were dropped so far because the queue was
// full or there was no connection.
func (p *Peer) Dropped() uint64 { return p.dropped.Load() }

// Drain waits until everything queued was written, if there is a connection.
func (p *Peer) Drain(ctx context.Context) error {
	p.mu.Lock()
	conn := p.conn
	p.mu.Unlock()
	if conn == nil {
		return nil
	}
	return conn.out.waitIdle(ctx)
}

// Close ends the link. What is queued is lost. It returns when no goroutine is
// left, and may be called many times.
func (p *Peer) Close() error {
	p.cancel()
	<-p.ended
	return nil
}

func (p *Peer) run() {
	defer close(p.ended)
	pause, silent := time.Duration(0), false
	for {
		select {
		case <-p.wake:
		case <-p.ctx.Done():
			return
		}
		address, began := p.where(), time.Now()
		lived, err := p.serve(address)
		p.tried(lived)
		if p.ctx.Err() != nil {
			return
		}
		if p.cfg.OnState != nil {
			p.cfg.OnState(address, err)
		}
		p.cfg.Logger.Debug("no link", "to", p.cfg.ID.Short(), "err", err)
		if lived > 2*p.cfg.BackoffMax {
			pause = 0 // it worked for a while; an attempt may hang as long
		}
		pause = min(max(2*pause, p.cfg.BackoffMin), p.cfg.BackoffMax)
		rest := pause/2 + rand.N(pause/2+1)
		if silent = lostInSilence(err) || silent && errors.Is(err, ErrNoAnswer); silent {
			rest = max(rest, time.Until(began.Add(redialEvery)))
		}
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-p.ctx.Done():
			timer.Stop()
			return
		}
		if silent {
			p.Connect()
		}
	}
}

// where returns the address to dial now.
func (p *Peer) where() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn%2 == 1 && p.other != "" {
		return p.other
	}
	return p.address
}

// tried counts an attempt.
func (p *Peer) tried(lived time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.turn++; lived > 0 {
		p.turn = 0
	}
}

// serve makes one connection and stays until it is lost. It returns how long there
// was one; none, if nothing has come on it.
func (p *Peer) serve(address string) (lived time.Duration, err error) {
	conn, err := connect(p.ctx, p.dial, address, p.cfg.guest(address), p.cfg.Options)
	if err != nil {
		p.mu.Lock()
		waiting := p.waiting
		p.waiting = nil
		p.mu.Unlock()
		p.drop(waiting, err)
		return 0, err
	}
	made := time.Now()
	stop := context.AfterFunc(p.ctx, func() { conn.fail(protocol.ErrClosed.With("the link is closed")) })
	defer stop()
	p.mu.Lock()
	moved := !p.isThere(address)
	waiting := p.waiting
	p.waiting = nil
	if !moved {
		// Under the lock, so that nothing overtakes what has waited.
		p.sendOn(conn, waiting)
		p.conn, p.at = conn, address
	}
	p.mu.Unlock()
	if moved {
		_ = conn.Close()
		err := protocol.ErrUnavailable.With("the member has moved")
		p.drop(waiting, err)
		return 0, err
	}
	s := p.listen(conn)
	defer s.stop()
	heard, err := p.read(conn, address, s)
	conn.fail(err)
	_ = conn.Close()
	p.mu.Lock()
	p.conn = nil
	p.mu.Unlock()
	if heard {
		lived = time.Since(made)
	}
	return lived, conn.Err()
}

// Greet shakes hands with a member, as a link does, and hangs up. Of cfg it heeds ID,
// Address, Hello, Check and Options.
func Greet(ctx context.Context, cfg PeerConfig, dial DialFunc) error {
	conn, err := connect(ctx, dial, cfg.Address, cfg.guest(cfg.Address), cfg.Options.withDefaults())
	if err != nil {
		return err
	}
	return conn.Close()
}

// guest is the side of the handshake that dials an address.
func (cfg *PeerConfig) guest(address string) handshake.Guest {
	g := handshake.Guest{Own: cfg.Hello(), Meant: cfg.ID}
	if cfg.Check != nil {
		g.Check = func(peer protocol.Hello) error { return cfg.Check(address, peer) }
	}
	return g
}

// backBytesMax limits a frame that the other side sends back.
const backBytesMax = 1 << 10

// read answers pings and takes what the other side says on this stream, until it
// ends. The pong is a sign that this process is at work: nothing else says so on a
// stream that rests. It reports whether the link was connected: whether anything has
// come, from who is asked for it.
func (p *Peer) read(conn *Conn, address string, s *lifeSigns) (heard bool, err error) {
	conn.limit = backBytesMax
	for {
		if !heard && (!s.asks() || conn.moved.frames.Load() > 0) {
			heard = true
			if p.cfg.OnState != nil {
				p.cfg.OnState(address, nil)
			}
		}
		kind, payload, err := conn.ReadFrame()
		if err != nil {
			return heard, err
		}
		switch {
		case kind == FramePing && len(payload) == 0:
			_ = conn.sendSign(FramePong) // refused only by a connection that has ended
			continue
		case kind == FramePong && len(payload) == 0:
			s.pong()
			continue
		case kind != FrameMessage:
			return heard, unexpectedFrame(kind)
		}
		s.handing.Store(true)
		if err := p.take(address, payload); err != nil {
			return heard, err
		}
		s.handing.Store(false)
	}
}

// take hands over what the other side says.
func (p *Peer) take(address string, payload []byte) error {
	m, err := protocol.DecodeMessage(payload)
	if err != nil {
		return err
	}
	if m.Kind().Known() && m.Kind() != protocol.KindWatermark {
		return protocol.ErrMalformed.With(fmt.Sprintf("malformed stream: a message of kind %s from the side that accepted it", m.Kind()))
	}
	if p.cfg.OnMessage != nil {
		p.cfg.OnMessage(address, m)
	}
	return nil
}
