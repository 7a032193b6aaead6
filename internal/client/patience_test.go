package client

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// desk is a member that answers as the test says, over the real protocol but
// without sockets, so that time is virtual.
type desk struct {
	address string
	server  *wire.Server
	serve   func(q *protocol.Request, to *wire.Responder) // has a goroutine of its own

	mu      sync.Mutex
	frozen  bool // takes connections and everything that is sent, and does nothing
	seen    []protocol.RequestKind
	dialled int
}

func (d *desk) Welcome(protocol.Hello, net.Addr) error { return nil }

func (d *desk) Receive(protocol.MemberID, protocol.Message) {}

func (d *desk) Serve(q *protocol.Request, to *wire.Responder) {
	d.mu.Lock()
	d.seen = append(d.seen, q.Kind)
	frozen := d.frozen
	d.mu.Unlock()
	switch {
	case frozen:
	case q.Kind == protocol.RequestStatus:
		_ = to.Respond(&protocol.Response{Status: &protocol.Status{Cluster: protocol.ClusterID{7}}})
	default:
		go d.serve(q, to)
	}
}

func (d *desk) freeze(frozen bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = frozen
}

// desks are members by address, and the Dial that reaches them.
type desks map[string]*desk

func newDesks(t *testing.T, all ...*desk) desks {
	t.Helper()
	byAddress := desks{}
	for i, d := range all {
		byAddress[d.address] = d
		id := protocol.MemberID{byte(i + 1)}
		d.server = wire.NewServer(wire.ServerConfig{
			Hello:   func() protocol.Hello { return protocol.Hello{Cluster: protocol.ClusterID{7}, Member: id} },
			Handler: d,
			Alive: func(answer func()) {
				d.mu.Lock()
				defer d.mu.Unlock()
				if !d.frozen {
					answer()
				}
			},
		})
		t.Cleanup(func() { _ = d.server.Close() })
	}
	return byAddress
}

func (all desks) dial(ctx context.Context, address string, cluster protocol.ClusterID) (Conn, error) {
	return all.connect(ctx, address, cluster, 0)
}

// deaf is dial by a client that never pings.
func (all desks) deaf(ctx context.Context, address string, cluster protocol.ClusterID) (Conn, error) {
	return all.connect(ctx, address, cluster, -1)
}

func (all desks) connect(ctx context.Context, address string, cluster protocol.ClusterID, ping time.Duration) (Conn, error) {
	conn, err := wire.DialClient(ctx, address, wire.ClientConfig{
		Hello: protocol.Hello{Cluster: cluster}, Options: wire.Options{HandshakeTimeout: time.Hour}, PingTimeout: ping,
		Dial: func(context.Context, string) (net.Conn, error) {
			d := all[address]
			if d == nil {
				return nil, errors.New("connection refused")
			}
			near, far := net.Pipe()
			d.mu.Lock()
			defer d.mu.Unlock()
			d.dialled++
			if d.frozen { // its kernel takes it
				context.AfterFunc(ctx, func() { _ = far.Close() })
				go func() { _, _ = far.Read(make([]byte, 1<<10)) }()
				return near, nil
			}
			d.server.ServeConn(far)
			return near, nil
		},
	})
	if err != nil {
		return nil, err
	}
	return wireConn{conn}, nil
}

func (all desks) client(t *testing.T, addresses ...string) *Client {
	t.Helper()
	return newClient(t, newRemote(t, RemoteConfig{Addresses: addresses, Dial: all.dial, Follow: 24 * time.Hour, Turn: 2}), Config{SessionTimeout: time.Hour})
}

// gated is a query that ends when the test says so, or when it is cancelled.
type gated struct {
	gate chan struct{}

	mu                         sync.Mutex
	runs, now, most, cancelled int
}

func (g *gated) serve(_ *protocol.Request, to *wire.Responder) {
	g.mu.Lock()
	g.runs++
	g.now++
	g.most = max(g.most, g.now)
	g.mu.Unlock()
	result := protocol.Result{Index: 5}
	select {
	case <-g.gate:
	case <-to.Context().Done():
		g.mu.Lock()
		g.cancelled++
		g.mu.Unlock()
		result = protocol.Failed(protocol.ErrUnavailable.With("stopped"))
	}
	g.mu.Lock()
	g.now--
	g.mu.Unlock()
	_ = to.Respond(&protocol.Response{Result: result})
}

// A query that takes long is run once and answered, however long it takes.
func TestLongQueryIsRunOnceAndAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{gate: make(chan struct{})}
		c := newDesks(t, &desk{address: "a:1", serve: g.serve}, &desk{address: "b:1", serve: g.serve}).client(t, "a:1", "b:1")
		time.AfterFunc(10*time.Minute, func() { close(g.gate) })
		result, err := c.Query(t.Context(), read())
		if err != nil || result.Index != 5 {
			t.Errorf("got %+v, %v, want the answer after ten minutes", result, err)
		}
		if g.runs != 1 || g.most != 1 {
			t.Errorf("the query ran %d times, %d at once, want once", g.runs, g.most)
		}
	})
}

// A query whose caller gives up is stopped at the member, before it can be asked
// again; its neighbour on the connection goes on.
func TestQueryStopsWhenItsCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{gate: make(chan struct{})}
		all := newDesks(t, &desk{address: "a:1", serve: g.serve})
		c := all.client(t, "a:1")
		var neighbour sync.WaitGroup
		neighbour.Go(func() { mustQuery(t, c) })
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			_, err := c.Query(ctx, read())
			cancel()
			wantIs(t, err, []error{context.DeadlineExceeded, protocol.ErrUnavailable}, nil)
			if want := "a:1: no answer so far to a request that was sent, from a member that is at work"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q in it", err, want)
			}
			synctest.Wait()
		}
		if g.runs != 6 || g.cancelled != 5 || g.now != 1 || g.most != 2 {
			t.Errorf("got %d runs, %d cancelled, %d left, %d at once; want 6, 5, 1 and 2", g.runs, g.cancelled, g.now, g.most)
		}
		close(g.gate)
		neighbour.Wait()
		if got := all["a:1"].dialled; got != 1 {
			t.Errorf("got %d connections, want 1", got)
		}
	})
}

// A frozen member costs one bound; one that is slow is not taken for frozen. A
// watch at it goes on elsewhere, too.
func TestFrozenMemberIsLeftAndASlowOneIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &gated{gate: make(chan struct{})}
		quick := func(q *protocol.Request, to *wire.Responder) {
			if q.Kind == protocol.RequestWatch {
				_ = to.Respond(&protocol.Response{Changes: &protocol.Changes{Index: 8}})
				return
			}
			_ = to.Respond(&protocol.Response{Result: protocol.Result{Index: 3}})
		}
		all := newDesks(t, &desk{address: "a:1", serve: quick}, &desk{address: "b:1", serve: slow.serve})
		frozen, other := all.client(t, "a:1", "b:1"), all.client(t, "b:1")
		var done sync.WaitGroup
		done.Go(func() { mustQuery(t, other) }) // at b, all the time
		mustQuery(t, frozen)
		w, err := frozen.Watch(t.Context(), watching(0))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		all["a:1"].freeze(true)
		began := time.Now()
		done.Go(func() { mustQuery(t, frozen) })
		done.Go(func() { mustQuery(t, frozen) })
		time.Sleep(pinged)
		synctest.Wait()
		if slow.now != 3 {
			t.Errorf("after %v %d queries are at b, want 3", time.Since(began), slow.now)
		}
		time.Sleep(time.Hour)
		if slow.runs != 3 {
			t.Errorf("got %d queries begun at the slow member, want 3", slow.runs)
		}
		watched := false
		b := all["b:1"]
		b.mu.Lock()
		for _, kind := range b.seen {
			watched = watched || kind == protocol.RequestWatch
		}
		b.mu.Unlock()
		if watched {
			t.Error("the watch went on before anybody read it")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, _ = w.Next(ctx)
		cancel()
		b.mu.Lock()
		for _, kind := range b.seen {
			watched = watched || kind == protocol.RequestWatch
		}
		b.mu.Unlock()
		if !watched {
			t.Error("the watch has not gone on at the other member")
		}
		close(slow.gate)
		done.Wait()
	})
}
