package starling_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// asking is a handler that asks a member for its status, and waits while it is shut.
type asking struct {
	slog.Handler
	node *atomic.Pointer[starling.Node]
	shut <-chan struct{}
	seen *atomic.Int64
}

func (a asking) Enabled(context.Context, slog.Level) bool { return true }

func (a asking) Handle(context.Context, slog.Record) error {
	if n := a.node.Load(); n != nil {
		_ = n.Status()
		a.seen.Add(1)
		<-a.shut
	}
	return nil
}

func (a asking) WithAttrs([]slog.Attr) slog.Handler { return a }
func (a asking) WithGroup(string) slog.Handler      { return a }

// A handler of the log that asks the member that logs, or that hangs, holds it up in
// nothing: writes go on, what does not fit is counted, and the end is as quick as ever.
func TestAHandlerOfTheLogHoldsNothingUp(t *testing.T) {
	t.Parallel()
	shut := make(chan struct{})
	h := asking{node: &atomic.Pointer[starling.Node]{}, shut: shut, seen: &atomic.Int64{}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := starling.Open(ctx, starling.Config{Name: "a1", Bind: "127.0.0.1:0", Bootstrap: true, Logger: slog.New(h)})
	if err != nil {
		t.Fatal(err)
	}
	h.node.Store(n)
	client, err := starling.Dial(ctx, starling.ClientConfig{Addresses: []string{n.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	goes, err := client.Autopilot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	goes.Actives = 5
	if err := client.SetAutopilot(ctx, goes.Autopilot); err != nil { // the loop tells of it
		t.Fatal(err)
	}
	m := starling.NewMap[string, string](n, "m")
	for n.Status().LogLost == 0 {
		junk, err := net.Dial("tcp", n.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = junk.Write([]byte("GET / HTTP/1.0\r\n\r\n")) // a line at the level debug
		_, _ = io.Copy(io.Discard, junk)
		_ = junk.Close()
	}
	if err := m.Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("closed in %v, %d lines handled", time.Since(begin), h.seen.Load())
	close(shut)
}
