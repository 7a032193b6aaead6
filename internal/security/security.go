// Package security says who may connect, and how: members and clients make and take all
// their connections through one value of it, and ask it who is at the other end.
package security

import (
	"context"
	"net"
	"time"
)

// Security is how a member or a client listens and dials: for streams of the cluster,
// for membership, for its datagrams and for HTTP. There is one kind, Plaintext. Any
// goroutine may use it. Nil is none, and connects to nobody: what was forgotten is found
// by the first call, and not by whoever reads the traffic.
type Security struct{ dialer net.Dialer }

// Plaintext encrypts nothing, and believes what others say of themselves: it is for
// networks that are trusted. A peer that vanishes without a word is noticed within about
// 15 s, whether something is on its way to it or not.
func Plaintext() *Security {
	return &Security{net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3}}}
}

// Dial makes a connection to host:port. Whatever the two sides have to prove to each
// other they have proven when it returns.
func (s *Security) Dial(ctx context.Context, address string) (net.Conn, error) {
	return s.dialer.DialContext(ctx, "tcp", address)
}

// Listen takes connections at host:port; port 0 picks one. A connection that came in is
// to be read before anything is proven: the proof comes with its first bytes, in the time
// that whoever accepts gives a handshake.
func (s *Security) Listen(ctx context.Context, address string) (net.Listener, error) {
	return s.listen().Listen(ctx, "tcp", address)
}

// ListenPacket takes and sends datagrams at host:port.
func (s *Security) ListenPacket(ctx context.Context, address string) (net.PacketConn, error) {
	return s.listen().ListenPacket(ctx, "udp", address)
}

func (s *Security) listen() *net.ListenConfig {
	return &net.ListenConfig{KeepAliveConfig: s.dialer.KeepAliveConfig}
}

// Who says who is at the other end of a connection that Listen or Dial has made, once
// something was read from it, as far as that is proven: in plaintext only where it comes
// from. What it says of itself is its word alone.
func Who(conn net.Conn) net.Addr { return conn.RemoteAddr() }
