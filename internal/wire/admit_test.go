package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

// sitIn opens connections, says begin on each, and opens another one as soon as
// one is closed, until the test ends.
func sitIn(t *testing.T, address string, n int, begin string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var sitters sync.WaitGroup
	var seated sync.WaitGroup
	seated.Add(n)
	for range n {
		sitters.Go(func() {
			first := true
			for ctx.Err() == nil {
				var d net.Dialer
				c, err := d.DialContext(ctx, "tcp", address)
				if err == nil {
					stop := context.AfterFunc(ctx, func() { _ = c.Close() })
					_, _ = io.WriteString(c, begin)
					if first {
						first = false
						seated.Done()
					}
					_, _ = io.Copy(io.Discard, c)
					stop()
					_ = c.Close()
				}
			}
			if first {
				seated.Done()
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		sitters.Wait()
	})
	seated.Wait()
}

// Whoever sits in all slots, and comes back at once, shuts nobody out.
func TestFloodOfHandshakesShutsNobodyOut(t *testing.T) {
	for name, begin := range map[string]string{"silent": "", "begun": Magic} {
		t.Run(name, func(t *testing.T) {
			h := &handler{serve: echo}
			s, address := serve(t, h, func(c *ServerConfig) { c.HandshakesMax = 8; c.Logger = nil })
			sitIn(t, address, 32, begin)
			for range 5 {
				c, err := DialClient(testContext(t), address, ClientConfig{Dial: security.Plaintext().Dial})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Do(testContext(t), command([]byte("x"))); err != nil {
					t.Error(err)
				}
				_ = c.Close()
			}
			p := NewPeer(PeerConfig{ID: memberA, Address: address, Hello: helloOf(cluster, memberB)}, security.Plaintext().Dial)
			defer p.Close()
			p.Send([]protocol.Message{&protocol.TimeoutNow{Term: 5}})
			receive(t, h.messages)
			if s.Drops().Handshakes == 0 {
				t.Error("nobody gave way: the slots were never all taken")
			}
		})
	}
}

// entered has a server that serves nobody take connections from addresses, and
// returns whose handshakes are still under way.
func entered(t *testing.T, handshakes int, from ...string) (left []string) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerConfig{HandshakesMax: handshakes, FavoursAddress: func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.1") }})
		var order []*place
		began := time.Now()
		for _, address := range from {
			near, far := net.Pipe()
			defer near.Close()
			p := s.enter(&fromConn{Conn: far, at: netip.AddrPortFrom(netip.MustParseAddr(address), 1)})
			order = append(order, p)
		}
		if took := time.Since(began); took > shakeMin*time.Duration(len(from)) {
			t.Errorf("taking %d connections took %v", len(from), took)
		}
		for i, p := range order {
			if p.shaking != nil {
				left = append(left, from[i])
			}
			s.leave(p)
			s.wg.Done()
		}
	})
	return left
}

// fromConn is a connection that says where it comes from.
type fromConn struct {
	net.Conn
	at netip.AddrPort
}

// RemoteAddr returns the address.
func (c *fromConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.at) }

func TestHandshakesFromMembersHaveAShare(t *testing.T) {
	const member, one, two, three, four, five = "10.0.0.1", "10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5"
	for _, c := range []struct{ from, want []string }{
		{[]string{one, two, three, four, five}, []string{two, three, four, five}},
		{[]string{member, one, two, three, four, five}, []string{member, three, four, five}},
		{[]string{one, two, three, four, member, member}, []string{three, four, member, member}},
		// Above its share a member's address is one among others.
		{[]string{one, two, member, member, member}, []string{one, two, member, member}},
		{[]string{member, member, member, member, one}, []string{member, member, member, one}},
		{[]string{member, member, member, member, member}, []string{member, member, member, member}},
	} {
		if got := entered(t, 4, c.from...); !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.from, got, c.want)
		}
	}
}

// The client that has been idle for longest gives way, and is told to come back.
func TestIdleClientGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := make(chan *Responder, 8)
		s := NewServer(ServerConfig{
			Hello: helloOf(cluster, memberA), ClientsMax: 3,
			Handler: &handler{serve: func(_ *protocol.Request, to *Responder) { held <- to }},
		})
		defer s.Close()
		dial := func() (*ClientConn, error) {
			return DialClient(t.Context(), "pipe:1", ClientConfig{PingTimeout: -1, Dial: func(context.Context, string) (net.Conn, error) {
				near, far := net.Pipe()
				s.ServeConn(far)
				return near, nil
			}})
		}
		must := func() *ClientConn {
			c, err := dial()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			time.Sleep(time.Second)
			return c
		}
		watches, waits, idle := must(), must(), must()
		w, err := watches.Watch(t.Context(), &protocol.Watch{Resource: "r"})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		answered := make(chan error, 1)
		go func() { _, err := waits.Do(forever(t), query()); answered <- err }()
		watch, waiting := <-held, <-held
		if watch.kind != protocol.RequestWatch {
			watch, waiting = waiting, watch
		}
		newer := must()
		synctest.Wait()
		if err := idle.Err(); !errors.Is(err, protocol.ErrUnavailable) {
			t.Errorf("the idle client: got %v, want %v", err, protocol.ErrUnavailable)
		}
		if _, err := idle.Do(forever(t), query()); written(err) {
			t.Errorf("a request after the goodbye may have been done, by %v", err)
		}
		for _, c := range []*ClientConn{watches, waits, newer} {
			if err := c.Err(); err != nil {
				t.Errorf("a client that is in use gave way: %v", err)
			}
		}
		go func() { _, err := newer.Do(forever(t), query()); answered <- err }()
		last := <-held
		if _, err := dial(); !errors.Is(err, protocol.ErrOverloaded) {
			t.Errorf("nobody is idle: got %v, want %v", err, protocol.ErrOverloaded)
		}
		for _, to := range []*Responder{waiting, last} {
			_ = to.Respond(&protocol.Response{})
			if err := <-answered; err != nil {
				t.Error(err)
			}
		}
		_ = watch.Fail(protocol.ErrClosed)
		if got := s.Drops().Clients; got != 1 {
			t.Errorf("got %d clients that gave way, want 1", got)
		}
	})
}

// What is under way to a member that says goodbye certainly has not been done.
func TestGoodbyeSaysThatNothingWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mute(t, func(far net.Conn) {
			if _, err := io.ReadFull(far, make([]byte, headerBytes)); err != nil {
				t.Error(err)
			}
			go swallow(far)
			goodbye := protocol.AppendResponse(beginFrame(nil, protocol.Version, FrameResponse), &protocol.Response{Result: protocol.Failed(protocol.ErrUnavailable)})
			_ = endFrame(goodbye, 0)
			_, _ = far.Write(goodbye)
			time.Sleep(time.Second)
		})
		_, err := c.Do(forever(t), query())
		if err == nil || written(err) || !errors.Is(err, protocol.ErrUnavailable) {
			t.Errorf("got %v (written: %t), want %v that was not written", err, written(err), protocol.ErrUnavailable)
		}
	})
}

// A flood of idle clients shuts nobody out either.
func TestFloodOfIdleClientsShutsNobodyOut(t *testing.T) {
	h := &handler{serve: echo}
	s, address := serve(t, h, func(c *ServerConfig) { c.ClientsMax = 8; c.Logger = nil })
	hello := protocol.Hello{Name: "idle"}
	begin := beginFrame([]byte(Magic), greetingVersion, FrameHello)
	begin = protocol.AppendHello(begin, &hello)
	_ = endFrame(begin, len(Magic))
	sitIn(t, address, 32, string(begin))
	ctx := testContext(t)
	for served := 0; served < 10; {
		c, err := DialClient(ctx, address, ClientConfig{Dial: security.Plaintext().Dial})
		if errors.Is(err, protocol.ErrOverloaded) && ctx.Err() == nil {
			continue // those who sit there have just come, and are not idle yet
		}
		if err != nil {
			t.Fatal(err)
		}
		// Between its handshake and its request it may be the idlest itself, and
		// then dials again.
		_, err = c.Do(ctx, command([]byte("x")))
		if err == nil {
			served++
		}
		_ = c.Close()
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if s.Drops().Clients == 0 {
		t.Error("no client gave way")
	}
}

// members has a server with n places for members take streams in the names of
// ids, a second after one another, of which the first two are favoured, and
// returns for each whether it is still there.
func members(t *testing.T, n int, ids ...byte) []bool {
	got := make([]bool, len(ids))
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerConfig{
			Hello: helloOf(cluster, memberA), MembersMax: n, Handler: &handler{messages: make(chan protocol.Message, 1)},
			Favours: func(id protocol.MemberID) bool { return id[0] <= 2 },
		})
		defer s.Close()
		conns := make([]net.Conn, len(ids))
		for i, id := range ids {
			near, far := net.Pipe()
			conns[i] = near
			defer near.Close()
			s.ServeConn(far)
			if _, err := greet(near, newReader(near), helloOf(cluster, protocol.MemberID{id})()); err != nil {
				_ = near.Close()
			}
			time.Sleep(time.Second)
		}
		for i, c := range conns {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, err := c.Read(make([]byte, 1))
			got[i] = errors.Is(err, os.ErrDeadlineExceeded)
		}
	})
	return got
}

func TestMembersOfTheConfigurationHaveAShare(t *testing.T) {
	for _, c := range []struct {
		ids  []byte
		want []bool
	}{
		// Strangers have the half of four places: the silent one gives way.
		{[]byte{11, 12, 13}, []bool{false, true, true}},
		{[]byte{11, 12, 1, 2}, []bool{true, true, true, true}},
		{[]byte{1, 2, 11, 12, 13}, []bool{true, true, false, true, true}},
		// Of one id there are two streams.
		{[]byte{1, 1, 1}, []bool{false, true, true}},
		{[]byte{11, 11, 11}, []bool{false, true, true}},
		// One more of the configuration takes a stranger's place.
		{[]byte{11, 12, 1, 1, 2}, []bool{false, true, true, true, true}},
	} {
		if got := members(t, 4, c.ids...); !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.ids, got, c.want)
		}
	}
}

// failing is a listener that fails some times before each connection.
type failing struct {
	net.Listener
	fails atomic.Int32
}

func (l *failing) Accept() (net.Conn, error) {
	if l.fails.Add(-1) >= 0 {
		return nil, errors.New("accept: too many open files")
	}
	return l.Listener.Accept()
}

// A listener that fails is asked again for ever, and spoken of once.
func TestAcceptingGoesOnAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &counting{}
		s := NewServer(ServerConfig{Hello: helloOf(cluster, memberA), Handler: &handler{serve: echo}, Logger: log.logger()})
		pipes := newPipeListener()
		l := &failing{Listener: pipes}
		l.fails.Store(100)
		var serving sync.WaitGroup
		serving.Go(func() { s.Serve(l) })
		c, err := DialClient(forever(t), "pipe:1", ClientConfig{Dial: pipes.dial, Options: Options{HandshakeTimeout: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if got := log.warnings.Load(); got != 1 {
			t.Errorf("got %d warnings of one outage, want 1", got)
		}
		l.fails.Store(1 << 30)
		c, err = DialClient(forever(t), "pipe:1", ClientConfig{Dial: pipes.dial, Options: Options{HandshakeTimeout: time.Hour}})
		if err != nil {
			t.Fatal(err) // the call that was under way took it
		}
		_ = c.Close()
		time.Sleep(time.Minute)
		if s.Accepting() == nil {
			t.Error("nothing says that connections are not accepted")
		}
		_ = s.Close() // also during a pause
		serving.Wait()
		if got := log.warnings.Load(); got != 2 {
			t.Errorf("got %d warnings of two outages, want 2", got)
		}
	})
}
