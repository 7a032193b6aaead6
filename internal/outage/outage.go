// Package outage asks sockets again, for ever, that fail for want of something which
// comes back: descriptors, memory, room in the kernel's tables.
package outage

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// pauseMin and pauseMax bound the pause after a failure, which doubles: those of
// net/http.
const (
	pauseMin = 5 * time.Millisecond
	pauseMax = time.Second
	// whyAfter is how long an outage lasts before it counts as one.
	whyAfter = time.Second
)

// Outage follows the failures of one thing, and says each outage once, and its end.
// One goroutine tells it of them; Why may be asked by any.
type Outage struct {
	// Logger hears of it. Doing is what cannot be done, as in "accept connections",
	// At where.
	Logger *slog.Logger
	Doing  string
	At     string

	pause time.Duration
	now   atomic.Pointer[failing] // nil: it works
}

// failing is an outage under way.
type failing struct {
	since time.Time
	err   error // the last
}

// Failed takes note of a failure and returns after how long to try again.
func (o *Outage) Failed(err error) time.Duration {
	next := &failing{since: time.Now(), err: err}
	if last := o.now.Load(); last != nil {
		next.since = last.since
	} else {
		o.Logger.Warn("cannot "+o.Doing+"; tried again until it works", "at", o.At, "err", err, "way_out", wayOut(err))
	}
	o.now.Store(next)
	o.pause = min(max(2*o.pause, pauseMin), pauseMax)
	return o.pause
}

// Works takes note that it works.
func (o *Outage) Works() {
	if o.pause == 0 {
		return
	}
	o.pause = 0
	o.now.Store(nil)
	o.Logger.Info("can "+o.Doing+" again", "at", o.At)
}

// Why says why it has not worked for a second or longer, with the way out; nil if it
// has. It goes by when it is asked, and not by when the socket was.
func (o *Outage) Why() error {
	f := o.now.Load()
	if f == nil || time.Since(f.since) < whyAfter {
		return nil
	}
	return fmt.Errorf("cannot %s at %s: %w; %s", o.Doing, o.At, f.err, wayOut(f.err))
}

// wayOut is what whoever runs the program can do about an error of a socket.
func wayOut(err error) string {
	switch {
	case errors.Is(err, syscall.EMFILE):
		return "raise the limit of open files (ulimit -n, LimitNOFILE), or have fewer clients"
	case errors.Is(err, syscall.ENFILE):
		return "the machine has no descriptors left: raise fs.file-max, or end what holds them"
	case errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.ENOBUFS):
		return "the system has no memory left: give it more or end something"
	}
	return "the kernel's log may say more; start the program again if it stays"
}

// Listener is a listener whose Accept fails only when it is closed.
type Listener struct {
	net.Listener
	outage Outage
	once   sync.Once
	closed chan struct{}
}

// Listen puts an Outage around a listener. One goroutine accepts.
func Listen(l net.Listener, logger *slog.Logger) *Listener {
	return &Listener{
		Listener: l, closed: make(chan struct{}),
		outage: Outage{Logger: logger, Doing: "accept connections", At: l.Addr().String()},
	}
}

// Accept returns the next connection, or net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			l.outage.Works()
			return conn, nil
		}
		if errors.Is(err, net.ErrClosed) || l.isClosed() {
			return nil, net.ErrClosed
		}
		timer := time.NewTimer(l.outage.Failed(err))
		select {
		case <-timer.C:
		case <-l.closed:
			timer.Stop()
			return nil, net.ErrClosed
		}
	}
}

// Why is that of the Outage.
func (l *Listener) Why() error { return l.outage.Why() }

func (l *Listener) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// Close ends an Accept, also during a pause.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}
