package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// StreamKind says who talks on a stream that has begun.
type StreamKind uint8

const (
	// StreamUnknown is HTTP, TLS or garbage.
	StreamUnknown StreamKind = iota
	// StreamStarling began with Magic, which has been read.
	StreamStarling
	// StreamGossip began with memberlist's label, which is still to be read.
	StreamGossip
)

// gossipByte is the first byte of memberlist's streams: all of ours carry a
// label, the cluster id.
const gossipByte = 0xf4

// readBuffer is the size of a stream's read buffer.
const readBuffer = 32 << 10

// sniffedConn is a connection of which a part has been read into r.
type sniffedConn struct {
	net.Conn
	r *bufio.Reader
}

// Read reads what was looked at first.
func (c *sniffedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// Sniff tells by the first bytes who talks. The returned connection reads what
// has been looked at, without Magic, and must be used instead of conn. The
// caller has set a read deadline. An error means that nothing could be read; a
// stream that is cut short within Magic is StreamUnknown.
func Sniff(conn net.Conn) (StreamKind, net.Conn, error) {
	c := &sniffedConn{Conn: conn, r: bufio.NewReaderSize(conn, readBuffer)}
	first, err := c.r.Peek(1)
	if err != nil {
		return StreamUnknown, c, err
	}
	if first[0] == gossipByte {
		return StreamGossip, c, nil
	}
	// A byte that differs ends the wait: garbage shorter than Magic is
	// answered, too.
	for n := 1; n <= len(Magic); n++ {
		got, err := c.r.Peek(n)
		if err != nil || got[n-1] != Magic[n-1] {
			return StreamUnknown, c, nil
		}
	}
	_, err = c.r.Discard(len(Magic))
	return StreamStarling, c, err
}

// Refuse answers a StreamUnknown with one line of text that says what this port
// speaks, as a response if an HTTP request has arrived, and closes it. It takes
// at most a second.
func Refuse(conn net.Conn) {
	defer conn.Close()
	text := fmt.Sprintf("this port speaks Starling's own protocol (%s) and not what you sent; "+
		"use the starling command or its Go client here, and the member's HTTP port for HTTP\n", protocol.Spoken())
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if s, ok := conn.(*sniffedConn); ok {
		if head, _ := s.r.Peek(s.r.Buffered()); isHTTP(head) {
			text = fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"+
				"Connection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		}
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return
	}
	// Unread input would turn the close into a reset, which takes the text
	// with it.
	if half, ok := underlying(conn).(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
		_, _ = io.CopyN(io.Discard, conn, 64<<10)
	}
}

func underlying(conn net.Conn) net.Conn {
	if s, ok := conn.(*sniffedConn); ok {
		return s.Conn
	}
	return conn
}

func isHTTP(head []byte) bool {
	for _, method := range []string{"GET ", "POST ", "HEAD ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "PRI "} {
		if bytes.HasPrefix(head, []byte(method)) {
			return true
		}
	}
	return false
}
