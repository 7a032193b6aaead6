package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

// ask sends a request that encode makes for the next id, however malformed, and
// waits for its answer.
func ask(t *testing.T, c *ClientConn, encode func(dst []byte, id uint64) []byte) (*protocol.Response, error) {
	t.Helper()
	one := &call{answer: make(chan answer, 1)}
	c.mu.Lock()
	if c.lost != nil {
		c.mu.Unlock()
		return nil, c.lost
	}
	c.next++
	id := c.next
	_, err := c.conn.out.add(laneAlways, FrameRequest, 0, func(dst []byte) []byte { return encode(dst, id) })
	c.pending[id] = one
	c.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	a := receive(t, one.answer)
	return a.response, a.err
}

// with encodes a request with an id.
func with(q protocol.Request) func([]byte, uint64) []byte {
	return func(dst []byte, id uint64) []byte {
		q.ID = id
		return protocol.AppendRequest(dst, &q)
	}
}

// cutBy encodes a request whose last bytes are missing.
func cutBy(n int, q protocol.Request) func([]byte, uint64) []byte {
	return func(dst []byte, id uint64) []byte {
		dst = with(q)(dst, id)
		return dst[:len(dst)-n]
	}
}

// A request that is refused costs nobody else anything: its sender is told, by
// its id, and what its neighbours on the stream have in flight goes on.
func TestARefusedRequestKeepsTheStream(t *testing.T) {
	var served atomic.Int32
	held := make(chan *Responder, 1)
	_, address := serve(t, &handler{serve: func(q *protocol.Request, to *Responder) {
		served.Add(1)
		if q.Command != nil && string(q.Command.Argument) == "hold" {
			held <- to
			return
		}
		_ = to.Respond(&protocol.Response{Result: protocol.Result{Index: 7}})
	}}, nil)
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	neighbour := make(chan error, 1)
	go func() { _, err := c.Do(testContext(t), command([]byte("hold"))); neighbour <- err }()
	to := receive(t, held)
	before := served.Load()

	status := protocol.Request{Kind: protocol.RequestStatus}
	watch := protocol.Request{Kind: protocol.RequestWatch, Watch: &protocol.Watch{Resource: "r", Type: "t"}}
	for name, c1 := range map[string]struct {
		encode func([]byte, uint64) []byte
		want   *protocol.Error
		says   string
	}{
		"over the limit": {with(*command(make([]byte, requestBytesMax))), protocol.ErrTooLarge, "the limit is 1052672"},
		"a frame of the greatest length": {func(dst []byte, id uint64) []byte {
			dst = with(status)(dst, id)
			return append(dst, make([]byte, protocol.FrameBytesMax-len(dst)+headerBytes)...)
		}, protocol.ErrTooLarge, "4194304 bytes"},
		"unknown kind":          {with(protocol.Request{Kind: 77}), protocol.ErrUnsupported, "kind 77"},
		"a command cut short":   {cutBy(3, *command([]byte("abcdef"))), protocol.ErrMalformed, "cut short"},
		"a watch cut short":     {cutBy(1, watch), protocol.ErrMalformed, "cut short"},
		"a status with a body":  {func(dst []byte, id uint64) []byte { return append(cutBy(1, status)(dst, id), 5) }, protocol.ErrMalformed, "body"},
		"bytes behind the body": {func(dst []byte, id uint64) []byte { return append(with(status)(dst, id), 5) }, protocol.ErrMalformed, "after its end"},
	} {
		for range 3 {
			response, err := ask(t, c, c1.encode)
			if err != nil {
				t.Fatalf("%s: the stream has ended: %v", name, err)
			}
			if err := response.Result.Err(); !errors.Is(err, c1.want) || !strings.Contains(err.Error(), c1.says) {
				t.Errorf("%s: got %v, want %s and %q", name, err, c1.want.Code, c1.says)
			}
			if got, err := c.Do(testContext(t), command([]byte("next"))); err != nil || got.Result.Index != 7 {
				t.Fatalf("%s: the request after it: got %+v, %v", name, got, err)
			}
			before++
		}
	}
	if got := served.Load(); got != before {
		t.Errorf("%d requests were served, want %d: one that is refused must not be", got, before)
	}
	if err := to.Respond(&protocol.Response{}); err != nil {
		t.Errorf("the neighbour's answer: %v", err)
	}
	if err := receive(t, neighbour); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
}

// What nobody can answer ends the stream, with the reason: no id, an id that is in
// flight, a damaged cancellation.
func TestWhatNobodyCanAnswerEndsTheStream(t *testing.T) {
	held := make(chan *Responder, 8)
	_, address := serve(t, &handler{serve: func(_ *protocol.Request, to *Responder) { held <- to }}, nil)
	frame := func(payload []byte) []byte {
		b := append(beginFrame(nil, protocol.Version, FrameRequest), payload...)
		_ = endFrame(b, 0)
		return b
	}
	request := func(id uint64, kind protocol.RequestKind) []byte {
		return protocol.AppendRequest(nil, &protocol.Request{ID: id, Kind: kind})
	}
	long := make([]byte, requestBytesMax+1) // begins with no array
	for name, payloads := range map[string][][]byte{
		"no id":                        {{0x93}},
		"a long frame without an id":   {long},
		"an id twice":                  {request(1, protocol.RequestStatus), request(1, protocol.RequestStatus)},
		"an id twice, refused":         {request(1, protocol.RequestStatus), request(1, 77)},
		"a cancellation that is wrong": {append(request(1, protocol.RequestCancel), 0)},
	} {
		c := handshaken(t, address, protocol.Hello{})
		for _, p := range payloads {
			_, _ = c.Write(frame(p))
		}
		_ = c.(*net.TCPConn).CloseWrite()
		var timeout net.Error
		said, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%s: the stream stays open", name)
		}
		if !strings.Contains(string(said), "malformed") {
			t.Errorf("%s: the stream ends with %q, want the reason", name, said)
		}
	}
}
