package wire

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/starlinghq/starling/protocol"
)

// Clients that do not take their answers share a bound, and cost those nothing that
// do.
func TestAnswersThatNobodyTakesAreBounded(t *testing.T) {
	const size, clients, limit = 64 << 10, 16, 2 << 20
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerConfig{
			Hello: helloOf(cluster, memberA), AnswersBytesMax: limit,
			Handler: &handler{serve: func(_ *protocol.Request, to *Responder) {
				_ = to.Respond(&protocol.Response{Result: protocol.Result{Data: make([]byte, size)}})
			}},
		})
		defer s.Close()
		pipe := func() net.Conn {
			near, far := net.Pipe()
			t.Cleanup(func() { _ = near.Close() })
			s.ServeConn(far)
			if _, err := greet(near, newReader(near), protocol.Hello{}); err != nil {
				t.Fatal(err)
			}
			return near
		}
		ask := func(c net.Conn, id uint64) error {
			q := query()
			q.ID = id
			frame := protocol.AppendRequest(beginFrame(nil, protocol.Version, FrameRequest), q)
			_ = endFrame(frame, 0)
			_, err := c.Write(frame)
			synctest.Wait()
			return err
		}
		var greedy []net.Conn
		for range clients {
			greedy = append(greedy, pipe())
		}
		lost := 0
		for id := range uint64(64) {
			for _, c := range greedy {
				if ask(c, id+1) != nil {
					lost++
				}
			}
			if got := s.answers.bytes.Load(); got > 2*limit {
				t.Fatalf("%d bytes wait, the limit is %d", got, limit)
			}
		}
		if lost == 0 {
			t.Error("no client lost its connection")
		}
		c, err := DialClient(forever(t), "pipe:1", ClientConfig{Dial: func(context.Context, string) (net.Conn, error) {
			near, far := net.Pipe()
			s.ServeConn(far)
			return near, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		for range 32 {
			if _, err := c.Do(forever(t), query()); err != nil {
				t.Fatalf("a client that takes its answers: %v", err)
			}
		}
		_ = c.Close()
		_ = s.Close()
		if got := s.answers.bytes.Load(); got != 0 {
			t.Errorf("%d bytes wait in the end", got)
		}
	})
}
