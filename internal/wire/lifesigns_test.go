package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// signs has a link ask, and a server say that it is at work.
const signs = time.Second

func asking(cfg *PeerConfig)      { cfg.SignTimeout = signs }
func answering(cfg *ServerConfig) { cfg.SignTimeout = signs }

// proxy stands between members with real sockets, and stops forwarding without closing
// anything, as a firewall does.
type proxy struct {
	net.Listener
	to   string
	work sync.WaitGroup

	mu      sync.Mutex
	blocked bool
	conns   []net.Conn
	dialled []time.Time
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	p.work.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.work.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		near, err := p.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, near, far)
		p.dialled = append(p.dialled, time.Now())
		forget := p.blocked // what was opened meanwhile stays blocked
		p.mu.Unlock()
		p.work.Go(func() { p.forward(near, far, &forget) })
		p.work.Go(func() { p.forward(far, near, &forget) })
	}
}

// block has nothing come through any more; after it is over, on new connections only.
func (p *proxy) block(blocked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blocked = blocked
}

func (p *proxy) forward(from, to net.Conn, forget *bool) {
	buf := make([]byte, 1<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		*forget = *forget || p.blocked
		drop := *forget
		p.mu.Unlock()
		if err != nil {
			if !drop {
				_ = to.Close()
			}
			return
		}
		if !drop {
			_, _ = to.Write(buf[:n])
		}
	}
}

// A stream on which nothing is sent stayed up for ever when its packets were dropped, and
// what was sent next was lost. It ends, is dialled once a second at most without anybody
// asking for it, and is there when the way is open again.
func TestALinkThatRestsFindsOutThatNothingComesThrough(t *testing.T) {
	_, address := serve(t, &handler{}, nil)
	way := newProxy(t, address)
	states := make(chan error, 1<<10)
	p := NewPeer(PeerConfig{
		ID: memberA, Address: way.Addr().String(), Hello: helloOf(cluster, memberB),
		OnState: func(_ string, err error) { states <- err },
		Options: Options{SignTimeout: 200 * time.Millisecond, HandshakeTimeout: 200 * time.Millisecond},
	}, dialTCP)
	defer p.Close()
	p.Connect()
	if err := receive(t, states); err != nil {
		t.Fatal(err)
	}
	way.block(true)
	silent := (*SilentError)(nil)
	if err := receive(t, states); !errors.As(err, &silent) || !errors.Is(err, ErrNoAnswer) || !errors.Is(err, protocol.ErrUnavailable) {
		t.Fatalf("got %v, want %v and %v because of the silence", err, ErrNoAnswer, protocol.ErrUnavailable)
	}
	for range 2 {
		if err := receive(t, states); !errors.Is(err, ErrNoAnswer) {
			t.Fatalf("got %v, want %v", err, ErrNoAnswer)
		}
	}
	way.block(false)
	for err := receive(t, states); err != nil; err = receive(t, states) {
		if !errors.Is(err, ErrNoAnswer) {
			t.Fatalf("got %v, want %v, or a link", err, ErrNoAnswer)
		}
	}
	way.mu.Lock()
	defer way.mu.Unlock()
	for i := 2; i < len(way.dialled); i++ {
		if apart := way.dialled[i].Sub(way.dialled[i-1]); apart < redialEvery/2 {
			t.Errorf("attempts %d and %d were begun %v apart, want %v", i-1, i, apart, redialEvery)
		}
	}
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

// silentAfter returns after how long a link ends that has been connected.
func silentAfter(t *testing.T, l link) time.Duration {
	t.Helper()
	began := time.Now()
	silent := (*SilentError)(nil)
	if err := receive(t, l.states); !errors.As(err, &silent) {
		t.Fatalf("got %v, want an end because of the silence", err)
	}
	return time.Since(began)
}

// held is a pipe whose reads stop when it is told to, and go on by being closed alone.
type held struct {
	net.Conn
	stop chan struct{}
}

func (h held) Write(b []byte) (int, error) {
	select {
	case <-h.stop:
		return len(b), nil // lost
	default:
		return h.Conn.Write(b)
	}
}

// lossy is a link whose every connection can be made to lose what its own side sends.
func (d *door) lossy(change ...func(*PeerConfig)) (link, chan struct{}) {
	stop, states := make(chan struct{}), make(chan error, 1<<10)
	cfg := PeerConfig{
		ID: memberA, Address: "pipe:1", Hello: func() protocol.Hello { return helloB(1) },
		OnState: func(_ string, err error) { states <- err }, Options: Options{SignTimeout: signs},
	}
	for _, f := range change {
		f(&cfg)
	}
	p := NewPeer(cfg, func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		d.s.ServeConn(far)
		return held{near, stop}, nil
	})
	d.t.Cleanup(func() { _ = p.Close() })
	return link{p, states}, stop
}

// How long silence lasts: a ping after a quarter to a half of SignTimeout, and a whole one
// from there; more where there are more members, as PingAfter says.
func TestHowLongSilenceLasts(t *testing.T) {
	for _, after := range []time.Duration{0, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			d := newDoor(t, &handler{}, answering)
			l, stop := d.lossy(func(cfg *PeerConfig) {
				if after > 0 {
					cfg.PingAfter = func() time.Duration { return after }
				}
			})
			if err := l.next(t); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			close(stop)
			least, most := signs, 2*max(after, signs/pulseBeats)+signs
			if took := silentAfter(t, l); took < least || took > most {
				t.Errorf("it ended after %v, want %v to %v", took, least, most)
			}
		})
	}
}

// A link on which much is sent and nothing comes through ends, too: what is sent is no sign.
func TestALinkThatSendsIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{}, answering)
		l, stop := d.lossy()
		if err := l.next(t); err != nil {
			t.Fatal(err)
		}
		close(stop)
		began := time.Now()
		for len(l.states) == 0 {
			l.Send([]protocol.Message{&protocol.Heartbeat{Term: 1}})
			time.Sleep(100 * time.Millisecond)
			if time.Since(began) > time.Minute {
				t.Fatal("it never ends")
			}
		}
		if took := time.Since(began); took > 2*signs {
			t.Errorf("it ended after %v", took)
		}
	})
}

// A member of an earlier release ends a stream on which a ping comes, and answers none: it is
// asked nothing.
func TestAMemberThatKnowsNoPingsIsAskedNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		states := make(chan error, 1<<10)
		var done sync.WaitGroup
		p := NewPeer(PeerConfig{
			ID: memberA, Address: "pipe:1", Hello: helloOf(cluster, memberB),
			OnState: func(_ string, err error) { states <- err }, Options: Options{SignTimeout: signs},
		}, func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			done.Go(func() {
				defer far.Close()
				reader := newReader(far)
				if _, err := readGreeting(reader); err != nil {
					t.Error(err)
					return
				}
				hello := helloOf(cluster, memberA)()
				hello.Versions = protocol.Versions{Lowest: protocol.Version, Highest: protocol.Version}
				greeting := protocol.AppendHello(beginFrame([]byte(Magic), greetingVersion, FrameHello), &hello)
				if err := endFrame(greeting, len(Magic)); err != nil {
					t.Error(err)
				}
				_, _ = far.Write(greeting)
				if n, _ := io.Copy(io.Discard, reader); n > 0 {
					t.Errorf("%d bytes came to a member that knows no pings", n)
				}
			})
			return near, nil
		})
		p.Connect()
		if err := receive(t, states); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if len(states) > 0 {
			t.Errorf("its stream has ended: %v", <-states)
		}
		_ = p.Close()
		done.Wait()
	})
}

// A member whose messages wait, because its loop is behind, reads no pings, and is at work.
func TestAMemberThatIsBusyIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler{messages: make(chan protocol.Message)}
		d := newDoor(t, h, answering)
		l := d.link(1, asking)
		if err := l.next(t); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			l.Send([]protocol.Message{&protocol.Heartbeat{Term: 1}})
			time.Sleep(8 * signs) // it is handed over, and nobody takes it
			receive(t, h.messages)
		}
		time.Sleep(time.Minute)
		if len(l.states) > 0 {
			t.Errorf("its stream has ended: %v", <-l.states)
		}
	})
}

// Nor is one silent whose word is being handed over on this side, for as long as that takes.
func TestASideThatIsBusyItselfCondemnsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{}, answering)
		taken := make(chan struct{})
		l := d.link(1, asking, func(cfg *PeerConfig) {
			cfg.OnMessage = func(string, protocol.Message) { <-taken }
		})
		if err := l.next(t); err != nil {
			t.Fatal(err)
		}
		d.s.Tell(&protocol.Watermark{Starts: 1, Run: 1, Sequence: 1}, func(protocol.MemberID) bool { return true })
		time.Sleep(8 * signs)
		close(taken)
		time.Sleep(time.Minute)
		if len(l.states) > 0 {
			t.Errorf("its stream has ended: %v", <-l.states)
		}
	})
}

// Looks that come late prove nothing: this process stood still, not the member.
func TestAPauseOfThisProcessCondemnsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, &handler{}, answering)
		l, stop := d.lossy()
		if err := l.next(t); err != nil {
			t.Fatal(err)
		}
		close(stop) // its answer is not read yet, as far as a look can tell
		l.mu.Lock()
		conn := l.conn
		l.mu.Unlock()
		s := l.listen(conn)
		s.stop()
		synctest.Wait()
		s.frames = conn.moved.frames.Load()
		for range 10 * pulseBeats {
			s.mu.Lock()
			s.due = time.Now().Add(-signs)
			s.mu.Unlock()
			s.look()
			s.stop()
			if conn.Err() != nil {
				t.Fatalf("condemned by a look that came late: %v", conn.Err())
			}
		}
		for range pulseBeats {
			s.mu.Lock()
			s.due = time.Now()
			s.mu.Unlock()
			s.look()
			s.stop()
		}
		if conn.Err() == nil {
			t.Error("looks in time condemn nobody either: nothing is proven")
		}
	})
}

// slow is a link that takes what it is given at once, as the kernel does, and carries twice
// slowestBytes in a second.
type slow struct {
	net.Conn
	bytes chan []byte
	ended chan struct{}
	once  *sync.Once
}

func newSlow(nc net.Conn) slow {
	s := slow{nc, make(chan []byte, 1<<10), make(chan struct{}), new(sync.Once)}
	go func() {
		for {
			select {
			case b := <-s.bytes:
				select {
				case <-time.NewTimer(time.Duration(len(b)) * time.Second / slowestBytes / 2).C:
					_, _ = s.Conn.Write(b)
				case <-s.ended:
				}
			case <-s.ended:
				return
			}
		}
	}()
	return s
}

// Write takes a piece.
func (s slow) Write(b []byte) (int, error) {
	s.bytes <- bytes.Clone(b)
	return len(b), nil
}

// Close ends the link.
func (s slow) Close() error {
	s.once.Do(func() { close(s.ended) })
	return s.Conn.Close()
}

// While what was sent before it is on its way, a ping is not missed.
func TestASlowLinkIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &handler{}
		d := newDoor(t, h, answering)
		l := d.link(1, asking)
		l.dial = func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			d.s.ServeConn(far)
			return newSlow(near), nil
		}
		if err := l.next(t); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		const chunks = 5 // of 200 KiB
		for n := range chunks {
			l.Send([]protocol.Message{chunk(n)})
		}
		for range chunks {
			receive(t, h.messages)
		}
		if took := time.Since(began); len(l.states) > 0 || took < 5*signs {
			t.Errorf("after %v %d ends, want none for a long time", took, len(l.states))
		}
	})
}

// Pings keep no stream that is of no use: where members are many, each would have one to each
// other in the end.
func TestPingsKeepNoStreamThatIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = time.Minute
		h := &handler{}
		d := newDoor(t, h, answering, func(cfg *ServerConfig) { cfg.IdleTimeout = idle })
		l := d.link(1, asking)
		if err := l.next(t); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(idle - time.Second)
			l.Send([]protocol.Message{&protocol.Heartbeat{Term: 1}})
		}
		time.Sleep(idle - time.Second)
		d.s.Tell(&protocol.Watermark{Starts: 1, Run: 1, Sequence: 1}, func(protocol.MemberID) bool { return true })
		time.Sleep(idle - time.Second)
		if len(l.states) > 0 {
			t.Fatalf("it has ended though it was used: %v", <-l.states)
		}
		time.Sleep(2 * idle)
		// A ping may have been on its way when the other side closed the stream.
		if err := receive(t, l.states); !errors.Is(err, protocol.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			t.Fatalf("got %v, want %v", err, protocol.ErrClosed)
		}
		time.Sleep(idle)
		if len(l.states) > 0 {
			t.Errorf("it was dialled again for nothing: %v", <-l.states)
		}
	})
}

// A router that knows no way ends a stream with another error than the silence of its other end
// does. Nobody tried again until there was something to send.
func TestAStreamThatHasNoWayIsTriedAgain(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if !lostInSilence(&net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", errno)}) {
			t.Errorf("%v is not taken for a way that is lost", errno)
		}
	}
	for _, err := range []error{io.EOF, syscall.ECONNRESET, protocol.ErrClosed} { // somebody answers
		if lostInSilence(err) {
			t.Errorf("%v is taken for a way that is lost", err)
		}
	}
}
