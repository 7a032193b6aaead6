package wire

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
)

// counting is a handler of records that counts warnings.
type counting struct{ warnings atomic.Int32 }

func (c *counting) logger() *slog.Logger { return slog.New(c) }

// Enabled is true for warnings.
func (c *counting) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle counts.
func (c *counting) Handle(context.Context, slog.Record) error {
	c.warnings.Add(1)
	return nil
}

// WithAttrs and WithGroup change nothing.
func (c *counting) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup changes nothing.
func (c *counting) WithGroup(string) slog.Handler { return c }

// pipeListener accepts pipes.
type pipeListener struct {
	conns chan net.Conn
	once  sync.Once
	ended chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), ended: make(chan struct{})}
}

func (l *pipeListener) dial(ctx context.Context, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept waits for a pipe.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

// Close ends Accept.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return nil
}

// Addr is of no network.
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
