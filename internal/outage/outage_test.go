package outage

import (
	"bytes"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// poor is a listener without descriptors.
type poor struct {
	mu      sync.Mutex
	fails   int
	causes  []error
	asked   []time.Time
	pending chan net.Conn
}

func (l *poor) Accept() (net.Conn, error) {
	l.mu.Lock()
	l.asked = append(l.asked, time.Now())
	failed := l.fails > 0
	l.fails--
	cause := l.causes[len(l.asked)%len(l.causes)]
	l.mu.Unlock()
	if failed {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", cause)}
	}
	conn, ok := <-l.pending
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l *poor) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7600} }
func (l *poor) Close() error   { close(l.pending); return nil }

// A listener without descriptors, or without memory, is asked again after 5 ms to a
// second, for ever; the outage is said once, with the way out, and its end.
func TestAcceptIsAskedAgainForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		l := &poor{fails: 100, causes: []error{syscall.EMFILE, syscall.ENOMEM, syscall.ENOBUFS}, pending: make(chan net.Conn, 1)}
		near, far := net.Pipe()
		defer far.Close()
		l.pending <- near
		patient := Listen(l, slog.New(slog.NewTextHandler(&said, nil)))
		begin := time.Now()
		done := make(chan error, 1)
		go func() {
			conn, err := patient.Accept()
			if err == nil {
				_ = conn.Close()
			}
			done <- err
		}()
		time.Sleep(whyAfter - time.Millisecond)
		if err := patient.Why(); err != nil {
			t.Errorf("before it counts as an outage: got %v", err)
		}
		time.Sleep(time.Millisecond) // between two attempts: nobody knows better than the last one
		if err := patient.Why(); err == nil {
			t.Error("after a second it is not said why it does not accept")
		}
		time.Sleep(9 * time.Second)
		if err := patient.Why(); !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENOMEM) && !errors.Is(err, syscall.ENOBUFS) {
			t.Errorf("why it does not accept: got %v", err)
		}
		if err := <-done; err != nil {
			t.Fatalf("got %v, want a connection", err)
		}
		if err := patient.Why(); err != nil {
			t.Errorf("after the outage: got %v", err)
		}
		if first, second := l.asked[1].Sub(begin), l.asked[2].Sub(l.asked[1]); first != 5*time.Millisecond || second != 10*time.Millisecond {
			t.Errorf("asked again after %v and %v, want 5 and 10 ms", first, second)
		}
		if last := l.asked[100].Sub(l.asked[99]); last != time.Second {
			t.Errorf("asked again at last after %v, want 1 s", last)
		}
		text := said.String()
		if strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "way_out=") || strings.Count(text, "can accept connections again") != 1 {
			t.Errorf("said:\n%s", text)
		}
	})
}

func TestCloseEndsThePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &poor{fails: 1 << 30, causes: []error{syscall.EMFILE}, pending: make(chan net.Conn)}
		patient := Listen(l, slog.New(slog.DiscardHandler))
		done := make(chan error, 1)
		go func() {
			_, err := patient.Accept()
			done <- err
		}()
		time.Sleep(10 * time.Second)
		if err := errors.Join(patient.Close()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want %v", err, net.ErrClosed)
		}
	})
}
