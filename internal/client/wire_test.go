package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// front serves a fake cluster over real sockets.
type front struct{ *server }

func (f front) Welcome(protocol.Hello, net.Addr) error { return nil }

func (f front) Receive(protocol.MemberID, protocol.Message) {}

func (f front) Serve(q *protocol.Request, to *wire.Responder) {
	go func() {
		if q.Kind == protocol.RequestWatch {
			f.stream(q, to)
			return
		}
		response, err := f.Do(to.Context(), q)
		if err != nil {
			return // lost: the client finds the connection closed, or gives up
		}
		if q.Kind == protocol.RequestStatus {
			response.Status = &protocol.Status{Cluster: protocol.ClusterID{7}}
		}
		_ = to.Respond(response)
	}()
}

func (f front) stream(q *protocol.Request, to *wire.Responder) {
	stream, err := f.Watch(to.Context(), q.Watch)
	if err != nil {
		_ = to.Fail(err)
		return
	}
	defer stream.Close()
	for {
		changes, err := stream.Next(to.Context())
		if err != nil {
			_ = to.Fail(err)
			return
		}
		if to.Respond(&protocol.Response{Changes: &changes}) != nil {
			return
		}
	}
}

// listen starts a member's port, whose connections can be cut.
func listen(t *testing.T, s *server, cluster protocol.ClusterID) (address string, cut func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var conns []net.Conn
	srv := wire.NewServer(wire.ServerConfig{
		Hello: func() protocol.Hello {
			return protocol.Hello{Cluster: cluster, Member: protocol.MemberID{1}}
		},
		Handler: front{s},
	})
	cuts := &cutting{Listener: l, accepted: func(c net.Conn) {
		mu.Lock()
		defer mu.Unlock()
		conns = append(conns, c)
	}}
	var serving sync.WaitGroup
	serving.Go(func() { srv.Serve(cuts) })
	t.Cleanup(func() {
		_ = srv.Close()
		serving.Wait()
	})
	return l.Addr().String(), func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
		conns = nil
	}
}

type cutting struct {
	net.Listener
	accepted func(net.Conn)
}

func (c *cutting) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err == nil {
		c.accepted(conn)
	}
	return conn, err
}

func dial(t *testing.T, addresses ...string) *Client {
	t.Helper()
	return newClient(t, newRemote(t, RemoteConfig{Security: security.Plaintext(), Addresses: addresses, Name: "test"}), Config{})
}

// TestExactlyOnceOverSockets cuts the connections of two members again and
// again while commands are in flight.
func TestExactlyOnceOverSockets(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 3))
	s := newServer(t)
	one, cutOne := listen(t, s, protocol.ClusterID{7})
	two, cutTwo := listen(t, s, protocol.ClusterID{7})
	cuts := 0
	s.setFate(func(_ int, q *protocol.Request) fate {
		if q.Kind == protocol.RequestCommand && random.IntN(25) == 0 {
			cuts++
			cutOne()
			cutTwo()
		}
		return fate{}
	})
	c := dial(t, one, two)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for k := range 50 {
				mustCommand(t, c, fmt.Sprintf("%d.%d", i, k))
			}
		})
	}
	group.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, times := range s.executed {
		if times != 1 {
			t.Errorf("%s: executed %d times, want once", name, times)
		}
	}
	if len(s.executed) != 400 || cuts == 0 {
		t.Errorf("got %d commands executed and %d cuts, want 400 and some", len(s.executed), cuts)
	}
}

func TestWatchOverSockets(t *testing.T) {
	s := newServer(t)
	one, cut := listen(t, s, protocol.ClusterID{7})
	c := dial(t, one)
	mustCommand(t, c, "before")
	w, err := c.Watch(t.Context(), watching(0))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if first, err := w.Next(t.Context()); err != nil || len(first.Changes) != 0 {
		t.Fatalf("got %+v, %v, want an index without changes first", first, err)
	}
	for i := range 20 {
		if i%5 == 4 {
			cut()
		}
		want := fmt.Sprintf("key-%d", i)
		mustCommand(t, c, want)
		for {
			changes, err := w.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(changes.Changes) == 0 {
				continue
			}
			if got := string(changes.Changes[0].Key); !strings.Contains(got, want) {
				t.Fatalf("got change %q, want %q", got, want)
			}
			break
		}
	}
}

func TestRefusalsOverSockets(t *testing.T) {
	s := newServer(t)
	one, _ := listen(t, s, protocol.ClusterID{7})
	_, err := NewRemote(t.Context(), RemoteConfig{Security: security.Plaintext(), Addresses: []string{one}, Cluster: protocol.ClusterID{8}})
	wantIs(t, err, []error{protocol.ErrWrongCluster}, []error{protocol.ErrUnavailable})
	t.Log(err)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	_, err = NewRemote(t.Context(), RemoteConfig{Security: security.Plaintext(), Addresses: []string{nobody}})
	wantIs(t, err, []error{protocol.ErrUnavailable}, nil)
	for _, want := range []string{nobody, "refused", "give the address of one that runs"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	t.Log(err)

	// A port on which something else listens.
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		for {
			conn, err := other.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = NewRemote(ctx, RemoteConfig{Security: security.Plaintext(), Addresses: []string{other.Addr().String()}})
	wantIs(t, err, []error{protocol.ErrUnavailable}, nil)
	t.Log(err)
}
