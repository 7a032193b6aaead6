package swim

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/starlinghq/starling/internal/outage"
	"github.com/starlinghq/starling/protocol"
)

const (
	// packetBytesMax is more than any packet of memberlist's or ours takes;
	// longer ones are cut off and fail their checksum.
	packetBytesMax = 2 << 10
	// slabBytes is allocated at a time for received packets, which are cut
	// from it at their size.
	slabBytes = 32 << 10
	// socketBytes is what the kernel is asked to hold for us.
	socketBytes = 2 << 20
	// failuresOfPackets are so many in a row that it is the socket which fails.
	failuresOfPackets = 16
)

// Conditions says, for each packet and each stream to an address (host:port),
// whether it is lost, and if not, by how much it is late. It is called by many
// goroutines at once.
type Conditions func(address string) (lost bool, late time.Duration)

// transport is memberlist's Transport on one port: the member's datagram
// socket, and streams that others accept and dial for it.
type transport struct {
	ctx        context.Context
	packets    net.PacketConn
	logger     *slog.Logger
	dial       func(ctx context.Context, address string) (net.Conn, error)
	conditions Conditions
	advertise  atomic.Pointer[net.TCPAddr] // changes when the name means something else
	patience   time.Duration               // for a stream to come about
	cluster    protocol.ClusterID
	versions   protocol.Versions
	// message takes our datagrams; the bytes are valid until it returns.
	message func(from protocol.MemberID, datagram []byte)

	packetCh chan *memberlist.Packet
	streamCh chan net.Conn
	reader   chan struct{} // closed when the reading goroutine has ended
	sent     atomic.Uint64 // bytes of memberlist's

	known   func() int    // how many members are known; nil: none
	dropped atomic.Uint64 // streams that gave way

	mu       sync.Mutex
	closed   bool
	streams  map[*stream]struct{}
	incoming list.List // of *stream, those that others have opened; the oldest in front
	held     int       // bytes of theirs
}

var _ memberlist.Transport = (*transport)(nil)

func newTransport(ctx context.Context, cfg Config, advertise *net.TCPAddr) *transport {
	t := &transport{
		ctx: ctx, packets: cfg.Packets, logger: cfg.Logger, dial: cfg.Dial, conditions: cfg.Conditions, patience: 2 * cfg.Timing.TryInterval,
		cluster: cfg.Cluster, versions: cfg.Versions, message: cfg.OnMessage,
		packetCh: make(chan *memberlist.Packet), streamCh: make(chan net.Conn), reader: make(chan struct{}),
		streams: make(map[*stream]struct{}),
	}
	t.advertise.Store(advertise)
	if u, ok := t.packets.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(socketBytes) // the kernel may give less
	}
	go t.read()
	return t
}

// address returns host:port that others are told.
func (t *transport) address() string { return t.advertise.Load().String() }

// FinalAdvertiseAddr returns what others are told.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	a := t.advertise.Load()
	return a.IP, a.Port, nil
}

// PacketCh is where packets arrive.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packetCh }

// StreamCh is where streams arrive.
func (t *transport) StreamCh() <-chan net.Conn { return t.streamCh }

// read takes the packets apart: ours go to whoever wants them at once, the rest
// to memberlist.
func (t *transport) read() {
	defer close(t.reader)
	buf := make([]byte, packetBytesMax)
	var slab []byte
	out := outage.Outage{Logger: t.logger, Doing: "receive datagrams", At: t.packets.LocalAddr().String()}
	failed := 0
	for {
		n, from, err := t.readFrom(buf)
		if err != nil {
			if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Of one packet, such as "nobody listens there"; or of the socket.
			if failed++; failed > failuresOfPackets && !t.backOff(out.Failed(err)) {
				return
			}
			continue
		}
		failed = 0
		out.Works()
		if id, data, ours, ok := parseDatagram(buf[:n], t.versions, t.cluster); ours {
			if ok && t.message != nil {
				t.message(id, data)
			}
			continue
		}
		if n == 0 {
			continue
		}
		if len(slab) < n {
			slab = make([]byte, slabBytes)
		}
		p := &memberlist.Packet{Buf: slab[:n:n], From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}
		copy(p.Buf, buf)
		slab = slab[n:]
		select {
		case t.packetCh <- p:
		case <-t.ctx.Done():
			return
		}
	}
}

// backOff waits, and reports whether the transport goes on.
func (t *transport) backOff(pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.ctx.Done():
		return false
	}
}

// readFrom reads one packet.
func (t *transport) readFrom(buf []byte) (int, netip.AddrPort, error) {
	if u, ok := t.packets.(*net.UDPConn); ok {
		return u.ReadFromUDPAddrPort(buf)
	}
	n, from, err := t.packets.ReadFrom(buf)
	var at netip.AddrPort
	if u, ok := from.(*net.UDPAddr); ok {
		at = u.AddrPort()
	}
	return n, at, err
}

// WriteTo sends one packet of memberlist's.
func (t *transport) WriteTo(b []byte, address string) (time.Time, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return time.Time{}, fmt.Errorf("the address of a packet: %w", err)
	}
	if err = t.send(b, address, t.onLink(to)); err == nil {
		t.sent.Add(uint64(len(b)))
	}
	return time.Now(), err
}

// send sends one packet, unless the conditions are against it. It does not keep
// b.
func (t *transport) send(b []byte, address string, to netip.AddrPort) error {
	if t.conditions != nil {
		lost, late := t.conditions(address)
		if lost {
			return nil
		}
		if late > 0 {
			kept := append([]byte(nil), b...)
			time.AfterFunc(late, func() { _ = t.write(kept, to) })
			return nil
		}
	}
	return t.write(b, to)
}

func (t *transport) write(b []byte, to netip.AddrPort) error {
	if u, ok := t.packets.(*net.UDPConn); ok {
		_, err := u.WriteToUDPAddrPort(b, to)
		return err
	}
	_, err := t.packets.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return err
}

// DialTimeout opens a stream. It does not wait for as long as an exchange may
// take: a link that works again is noticed by the next attempt, not by one that
// began before.
func (t *transport) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	if address = t.addressOnLink(address); address == t.address() {
		return t.toSelf()
	}
	ctx, cancel := context.WithTimeout(t.ctx, min(timeout, t.patience))
	defer cancel()
	if t.conditions != nil {
		lost, late := t.conditions(address)
		if lost {
			<-ctx.Done() // as silent as a network that loses everything
			return nil, ctx.Err()
		}
		if late > 0 {
			timer := time.NewTimer(late)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	conn, err := t.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return t.track(conn)
}

// toSelf is a stream to this member.
func (t *transport) toSelf() (net.Conn, error) {
	near, far := net.Pipe()
	s, err := t.track(near)
	if err != nil {
		_ = far.Close()
		return nil, err
	}
	t.ingest(far)
	return s, nil
}

// ingest hands a stream to memberlist, or closes it.
func (t *transport) ingest(conn net.Conn) {
	s, ok := t.accept(conn)
	if !ok {
		return
	}
	select {
	case t.streamCh <- s:
	case <-t.ctx.Done():
		_ = s.Close()
	}
}

// Shutdown closes the socket and all streams. The context has ended before.
func (t *transport) Shutdown() error {
	err := t.packets.Close()
	t.mu.Lock()
	t.closed = true
	for s := range t.streams {
		_ = s.Conn.Close()
	}
	t.mu.Unlock()
	<-t.reader
	return err
}

// abandon ends reading and leaves the socket to its owner.
func (t *transport) abandon() {
	_ = t.packets.SetReadDeadline(time.Unix(1, 0))
	<-t.reader
	_ = t.packets.SetReadDeadline(time.Time{})
}
