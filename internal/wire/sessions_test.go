package wire

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// register is a cluster's sessions.
type register struct {
	mu    sync.Mutex
	next  protocol.SessionID
	lives map[protocol.SessionID]bool
	mute  bool // openings are not answered
}

// Opened reads the index.
func (*register) Opened(r *protocol.Result) (protocol.SessionID, error) {
	return protocol.SessionID(r.Index), nil
}

// Lives looks it up.
func (g *register) Lives(id protocol.SessionID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lives[id]
}

func (g *register) serve(q *protocol.Request, to *Responder) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch q.Command.Operation {
	case protocol.SessionOpen:
		if g.mute {
			to.OnCancel(func() {})
			return
		}
		g.next++
		g.lives[g.next] = true
		_ = to.Respond(&protocol.Response{Result: protocol.Result{Index: protocol.Index(g.next)}})
	case protocol.SessionClose:
		delete(g.lives, q.Command.Session)
		_ = to.Respond(&protocol.Response{})
	}
}

func sessionCommand(operation string, id protocol.SessionID) *protocol.Request {
	return &protocol.Request{Kind: protocol.RequestCommand, Command: &protocol.Command{Session: id, Type: protocol.SessionType, Operation: operation}}
}

// One connection opens no more sessions than the limit, however it loses them.
func TestSessionsOfOneConnectionAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &register{lives: map[protocol.SessionID]bool{}}
		c := piped(t, &handler{serve: g.serve}, func(cfg *ServerConfig) { cfg.Sessions = g })
		do := func(q *protocol.Request) error {
			p, err := c.Do(forever(t), q)
			if err != nil {
				t.Fatal(err)
			}
			return p.Result.Err()
		}
		open := func(want int) {
			t.Helper()
			for n := 0; ; n++ {
				err := do(sessionCommand(protocol.SessionOpen, 0))
				if err == nil {
					continue
				}
				if n != want || !errors.Is(err, protocol.ErrTooLarge) || !strings.Contains(err.Error(), "sessions") {
					t.Errorf("%d were opened, then %v; want %d and %v", n, err, want, protocol.ErrTooLarge)
				}
				return
			}
		}
		open(protocol.SessionsPerConnectionMax)
		for id := range protocol.SessionID(3) {
			if err := do(sessionCommand(protocol.SessionClose, id+1)); err != nil {
				t.Error(err)
			}
		}
		open(3)
		for id := range protocol.SessionID(5) {
			g.lives[id+10] = false // expired
		}
		open(5)
		for id := range protocol.SessionID(2) {
			g.lives[id+20] = false
		}
		g.mute = true
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, _ = c.Do(ctx, sessionCommand(protocol.SessionOpen, 0))
			cancel()
		}
		g.mute = false
		open(0) // nobody knows what became of these
		time.Sleep(protocol.SessionUnusedMax)
		open(2)
	})
}

// An idle client that holds a session gives way after those that hold none.
func TestClientWithASessionGivesWayLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &register{lives: map[protocol.SessionID]bool{}}
		s := NewServer(ServerConfig{Hello: helloOf(cluster, memberA), Handler: &handler{serve: g.serve}, ClientsMax: 2, Sessions: g})
		defer s.Close()
		pipes := newPipeListener()
		var serving sync.WaitGroup
		serving.Go(func() { s.Serve(pipes) })
		dial := func() *ClientConn {
			c, err := DialClient(forever(t), "pipe:1", ClientConfig{Dial: pipes.dial})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close() })
			time.Sleep(time.Second)
			return c
		}
		holds := dial()
		if _, err := holds.Do(forever(t), sessionCommand(protocol.SessionOpen, 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 3 {
			dial()
		}
		if err := holds.Err(); err != nil {
			t.Errorf("the client with a session gave way to those without: %v", err)
		}
		g.mu.Lock()
		g.lives[1] = false // it has expired
		g.mu.Unlock()
		dial()
		if err := holds.Err(); err == nil {
			t.Error("the client without a session stays, and it is the idlest")
		}
		_ = s.Close()
		serving.Wait()
	})
}
