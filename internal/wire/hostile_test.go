package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

func newReader(c net.Conn) *bufio.Reader { return bufio.NewReaderSize(c, readBuffer) }

// rawDial sends bytes and returns all that comes back until the close.
func rawDial(t *testing.T, address, send string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, send); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection was not closed: %v", err)
	}
	return string(got)
}

func TestGarbageIsToldWhatThePortSpeaks(t *testing.T) {
	_, address := serve(t, &handler{}, nil)
	for _, garbage := range []string{"hello\r\n", "STARLINE", "\x16\x03\x01", "\x00", strings.Repeat("x", 10_000)} {
		if got := rawDial(t, address, garbage); !strings.Contains(got, "Starling's own protocol") {
			t.Errorf("%q: got %q", garbage, got)
		}
	}
	if got := rawDial(t, address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400") || !strings.Contains(got, "HTTP port") {
		t.Errorf("got %q", got)
	}
}

func TestGossipStreamsAreHandedOver(t *testing.T) {
	got := make(chan string, 1)
	_, address := serve(t, &handler{}, func(c *ServerConfig) {
		c.Gossip = func(conn net.Conn) {
			go func() {
				all, _ := io.ReadAll(conn)
				_ = conn.Close()
				got <- string(all)
			}()
		}
	})
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	want := string([]byte{gossipByte, 3}) + "labmore"
	_, _ = io.WriteString(c, want)
	_ = c.Close()
	if got := receive(t, got); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSlowHandshakeEnds(t *testing.T) {
	_, address := serve(t, &handler{}, func(c *ServerConfig) { c.HandshakeTimeout = 30 * time.Millisecond })
	hello := beginFrame([]byte(Magic), greetingVersion, FrameHello)
	for _, begin := range []string{"", "S", Magic, string(hello)} {
		began := time.Now()
		rawDial(t, address, begin)
		if took := time.Since(began); took > patience/2 {
			t.Errorf("%q held a handshake for %s", begin, took)
		}
	}
}

func TestAnotherClusterIsRefusedWithBothNames(t *testing.T) {
	_, address := serve(t, &handler{}, nil)
	other := protocol.ClusterID{2}
	_, err := DialClient(testContext(t), address, ClientConfig{Dial: security.Plaintext().Dial, Hello: protocol.Hello{Cluster: other}})
	if !errors.Is(err, protocol.ErrWrongCluster) || !strings.Contains(err.Error(), other.String()) || !strings.Contains(err.Error(), cluster.String()) {
		t.Errorf("got %v, want %v", err, protocol.ErrWrongCluster)
	}
}

func TestWelcomeRefusesWithItsReason(t *testing.T) {
	_, address := serve(t, &handler{welcome: func(protocol.Hello) error { return protocol.ErrRolledBack.With("sequence 5, seen 9") }}, nil)
	_, err := DialClient(testContext(t), address, ClientConfig{Dial: security.Plaintext().Dial})
	if !errors.Is(err, protocol.ErrRolledBack) || !strings.Contains(err.Error(), "seen 9") || !strings.Contains(err.Error(), address) {
		t.Errorf("got %v, want %v", err, protocol.ErrRolledBack)
	}
}

func TestWhatAnswersIsNotAMember(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 400 Bad Request\r\n\r\n": "an HTTP server answers there",
		"220 mail.example ESMTP\r\n":       "not a starling member",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, answer)
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}()
		_, err = DialClient(testContext(t), l.Addr().String(), ClientConfig{Dial: security.Plaintext().Dial})
		if !errors.Is(err, protocol.ErrUnavailable) || errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it, and that it is an answer", err, want)
		}
	}
}

func TestNobodyListens(t *testing.T) {
	_, err := DialClient(testContext(t), "127.0.0.1:1", ClientConfig{Dial: security.Plaintext().Dial})
	if !errors.Is(err, protocol.ErrUnavailable) || !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v, want %v and %v", err, protocol.ErrUnavailable, ErrNoAnswer)
	}
}

// handshaken returns a raw stream of a client, or of a member, after its
// handshake.
func handshaken(t *testing.T, address string, hello protocol.Hello) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := greet(c, bufio.NewReaderSize(c, 16), hello); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHostileFramesCloseTheStream(t *testing.T) {
	_, address := serve(t, &handler{serve: echo}, nil)
	frame := func(version, kind byte, length uint32, payload string) string {
		b := binary.BigEndian.AppendUint32(nil, length)
		return string(append(b, version, kind)) + payload
	}
	for name, send := range map[string]string{
		"announced 4 GB":     frame(1, 3, 1<<32-1, ""),
		"over the limit":     frame(1, 3, protocol.FrameBytesMax+1, ""),
		"another version":    frame(2, 3, 1, "x"), // than was agreed on
		"another kind":       frame(1, 1, 1, "x"),
		"garbage as request": frame(1, 3, 4, "\xff\xff\xff\xff"),
		"empty":              frame(1, 3, 0, ""),
	} {
		for _, hello := range []protocol.Hello{{}, {Cluster: cluster, Member: memberB}} {
			if !hello.Member.IsZero() {
				send = strings.Replace(send, "\x01\x03", "\x01\x02", 1)
			}
			c := handshaken(t, address, hello)
			_, _ = io.WriteString(c, send)
			if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: the stream stays open", name)
			}
		}
	}
}

func TestDamagedGossipFrameIsDroppedAndTheStreamGoesOn(t *testing.T) {
	h := &handler{}
	_, address := serve(t, h, nil)
	c := handshaken(t, address, protocol.Hello{Cluster: cluster, Member: memberB})
	frame := protocol.AppendMessage(beginFrame(nil, protocol.Version, FrameMessage), &protocol.Frame{Origin: memberB, Entries: someEntries(2, 10)})
	_ = endFrame(frame, 0)
	frame[len(frame)-1] ^= 1
	next := protocol.AppendMessage(beginFrame(nil, protocol.Version, FrameMessage), &protocol.TimeoutNow{Term: 5})
	_ = endFrame(next, 0)
	_, _ = c.Write(append(frame, next...))
	if m, ok := receive(t, h.messages).(*protocol.TimeoutNow); !ok || m.Term != 5 {
		t.Errorf("got %v", m)
	}
}

func TestFrameThatNeverEndsIsGivenUp(t *testing.T) {
	_, address := serve(t, &handler{serve: echo}, func(c *ServerConfig) { c.FrameTimeout = 20 * time.Millisecond })
	c := handshaken(t, address, protocol.Hello{})
	_, _ = c.Write([]byte{0, 0, 1, 0, 1, 3, 'x'})
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the stream stays open")
	}
}

func TestIdleClientIsClosedUnlessItWaits(t *testing.T) {
	held := make(chan *Responder, 1)
	_, address := serve(t, &handler{serve: func(_ *protocol.Request, to *Responder) { held <- to }}, func(c *ServerConfig) {
		c.IdleTimeout = 20 * time.Millisecond
	})
	waits := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	result := make(chan error, 1)
	go func() { _, err := waits.Do(testContext(t), command(nil)); result <- err }()
	to := receive(t, held)
	idle := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	receive(t, idle.Done())
	_ = to.Respond(&protocol.Response{})
	if err := receive(t, result); err != nil {
		t.Errorf("a client that waits for an answer was closed: %v", err)
	}
}

func TestPeerThatTakesNothingIsGivenUp(t *testing.T) {
	c, _ := pipePair(t, Options{WriteTimeout: 10 * time.Millisecond})
	if err := c.SendMessage(&protocol.Heartbeat{}); err != nil {
		t.Fatal(err)
	}
	receive(t, c.Done())
	if c.Err() == nil {
		t.Error("no cause")
	}
}

func TestMemberWithoutAClusterIsRefused(t *testing.T) {
	_, address := serve(t, &handler{}, nil)
	states := make(chan error, 8)
	p := NewPeer(PeerConfig{ID: memberA, Address: address, Hello: helloOf(protocol.ClusterID{}, memberB), OnState: func(_ string, err error) { states <- err }}, security.Plaintext().Dial)
	defer p.Close()
	p.Send([]protocol.Message{&protocol.Heartbeat{}})
	if err := receive(t, states); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("got %v, want %v", err, protocol.ErrInvalid)
	}
}

func FuzzReadFrames(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 2, 9})
	f.Add(append([]byte{0, 0, 0, 4, 1, 2}, protocol.AppendMessage(nil, &protocol.TimeoutNow{Term: 1})...))
	f.Fuzz(func(t *testing.T, src []byte) {
		c := &Conn{br: bufio.NewReader(strings.NewReader(string(src))), limit: 1 << 16, nc: deadConn{}, opt: Options{}.withDefaults()}
		for {
			if _, err := c.ReadMessage(); err != nil {
				return
			}
		}
	})
}

// deadConn takes deadlines.
type deadConn struct{ net.Conn }

func (deadConn) SetReadDeadline(time.Time) error { return nil }
func (deadConn) RemoteAddr() net.Addr            { return &net.TCPAddr{} }
