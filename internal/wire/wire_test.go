package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

// written reports whether a request that failed with err may have reached the
// other side.
func written(err error) bool {
	var lost *LostError
	return errors.As(err, &lost) && lost.Written
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	cluster  = protocol.ClusterID{1}
	memberA  = protocol.MemberID{0xa}
	memberB  = protocol.MemberID{0xb}
	patience = time.Minute
)

func helloOf(cluster protocol.ClusterID, id protocol.MemberID) func() protocol.Hello {
	return func() protocol.Hello { return protocol.Hello{Cluster: cluster, Member: id, Name: "n"} }
}

// handler records messages and answers requests by a function.
type handler struct {
	messages chan protocol.Message
	welcome  func(protocol.Hello) error
	serve    func(*protocol.Request, *Responder)
}

func (h *handler) Welcome(peer protocol.Hello, _ net.Addr) error {
	if h.welcome == nil {
		return nil
	}
	return h.welcome(peer)
}

func (h *handler) Receive(_ protocol.MemberID, m protocol.Message) { h.messages <- m }

func (h *handler) Serve(q *protocol.Request, to *Responder) { h.serve(q, to) }

// echo answers a command with its argument.
func echo(q *protocol.Request, to *Responder) {
	_ = to.Respond(&protocol.Response{Result: protocol.Result{Data: q.Command.Argument, Index: 7}})
}

// serve starts a server of member A on a loopback port.
func serve(t *testing.T, h *handler, change func(*ServerConfig)) (*Server, string) {
	t.Helper()
	if h.messages == nil {
		h.messages = make(chan protocol.Message, 1<<14)
	}
	cfg := ServerConfig{Hello: helloOf(cluster, memberA), Handler: h, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&cfg)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(cfg)
	var serving sync.WaitGroup
	serving.Go(func() { s.Serve(l) })
	t.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
	})
	return s, l.Addr().String()
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func dialClient(t *testing.T, address string, cfg ClientConfig) *ClientConn {
	t.Helper()
	c, err := DialClient(testContext(t), address, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came in time")
		panic("unreachable")
	}
}

func command(argument []byte) *protocol.Request {
	return &protocol.Request{Kind: protocol.RequestCommand, Command: &protocol.Command{
		Session: 1, Sequence: 1, Resource: "r", Type: "t", Operation: "o", Argument: argument,
	}}
}

func someEntries(n, size int) []protocol.Entry {
	entries := make([]protocol.Entry, n)
	for i := range entries {
		entries[i] = protocol.Entry{Index: protocol.Index(i + 1), Term: 1, Kind: protocol.EntryCommand, Data: make([]byte, size)}
	}
	protocol.EncodeEntries(entries)
	return entries
}

func TestPeerCarriesMessages(t *testing.T) {
	h := &handler{}
	_, address := serve(t, h, nil)
	p := NewPeer(PeerConfig{ID: memberA, Address: address, Hello: helloOf(cluster, memberB)}, security.Plaintext().Dial)
	defer p.Close()
	entries := someEntries(3, 1000)
	p.Send([]protocol.Message{&protocol.Append{Term: 1, Entries: entries}, &protocol.Heartbeat{Term: 2, Round: 3}})
	kinds := map[protocol.MessageKind]protocol.Message{}
	for range 2 {
		m := receive(t, h.messages)
		kinds[m.Kind()] = m
	}
	got, ok := kinds[protocol.KindAppend].(*protocol.Append)
	if !ok || len(got.Entries) != 3 || got.Last != 3 {
		t.Errorf("got %+v", kinds)
	}
	// The entries must survive the connection's buffers.
	for i := range 100 {
		p.Send([]protocol.Message{&protocol.Heartbeat{Round: uint64(i)}})
		receive(t, h.messages)
	}
	if again, err := protocol.DecodeEntries(joinRaw(got.Entries)); err != nil || len(again) != 3 {
		t.Errorf("got %v, %v", again, err)
	}
	if !p.Connected() || p.Dropped() != 0 {
		t.Errorf("connected %v, dropped %d", p.Connected(), p.Dropped())
	}
}

func joinRaw(entries []protocol.Entry) (out []byte) {
	for _, e := range entries {
		out = append(out, e.Raw...)
	}
	return out
}

func TestPeerReconnects(t *testing.T) {
	h := &handler{}
	s, address := serve(t, h, nil)
	states := make(chan error, 64)
	p := NewPeer(PeerConfig{
		ID: memberA, Address: address, Hello: helloOf(cluster, memberB), BackoffMin: time.Millisecond, BackoffMax: 2 * time.Millisecond,
		OnState: func(_ string, err error) {
			select {
			case states <- err:
			default:
			}
		},
	}, security.Plaintext().Dial)
	defer p.Close()
	p.Send([]protocol.Message{&protocol.TimeoutNow{Term: 1}})
	receive(t, h.messages)
	if err := receive(t, states); err != nil {
		t.Errorf("got %v, want connected", err)
	}
	_ = s.Close()
	if err := receive(t, states); err == nil {
		t.Error("the loss was not told")
	}
	h2 := &handler{}
	_, moved := serve(t, h2, nil)
	p.SetAddress(moved, "")
	deadline := time.After(patience)
	for term := protocol.Term(2); ; term++ {
		p.Send([]protocol.Message{&protocol.TimeoutNow{Term: term}})
		select {
		case <-h2.messages:
			return
		case <-states:
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatal("no new connection")
		}
	}
}

// An attempt that a link has swallowed is given up early: the next finds the link
// whole.
func TestPeerDoesNotWaitForADialThatHangs(t *testing.T) {
	h := &handler{}
	_, address := serve(t, h, nil)
	var dials atomic.Int32
	p := NewPeer(PeerConfig{
		ID: memberA, Address: address, Hello: helloOf(cluster, memberB), BackoffMin: time.Millisecond,
		Options: Options{HandshakeTimeout: time.Hour, DialTimeout: 10 * time.Millisecond},
	}, func(ctx context.Context, address string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return security.Plaintext().Dial(ctx, address)
	})
	defer p.Close()
	deadline := time.After(patience)
	for {
		p.Send([]protocol.Message{&protocol.TimeoutNow{Term: 1}})
		select {
		case <-h.messages:
			return
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatal("no connection")
		}
	}
}

// The pause between attempts grows, however long each of them hangs.
func TestPeerPausesBetweenDialsThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = time.Second
		var ended time.Time
		pauses := make(chan time.Duration, 64)
		p := NewPeer(PeerConfig{
			ID: memberA, Address: "nowhere:1", Hello: helloOf(cluster, memberB), BackoffMin: time.Millisecond, BackoffMax: most, Options: Options{DialTimeout: 3 * most},
		}, func(ctx context.Context, _ string) (net.Conn, error) {
			pauses <- time.Since(ended)
			<-ctx.Done()
			ended = time.Now()
			return nil, ctx.Err()
		})
		defer p.Close()
		var last time.Duration
		for range 15 {
			p.Send([]protocol.Message{&protocol.TimeoutNow{Term: 1}})
			last = <-pauses
		}
		if last < most/2 {
			t.Errorf("got a pause of %v after 14 dials that hung, want %v at least", last, most/2)
		}
	})
}

func TestPeerRefusesAnotherMemberAtTheAddress(t *testing.T) {
	_, address := serve(t, &handler{}, nil)
	states := make(chan error, 64)
	p := NewPeer(PeerConfig{
		ID: memberB, Address: address, Hello: helloOf(cluster, memberB), OnState: func(_ string, err error) { states <- err },
	}, security.Plaintext().Dial)
	defer p.Close()
	p.Send([]protocol.Message{&protocol.TimeoutNow{}})
	if err := receive(t, states); !errors.Is(err, protocol.ErrUnavailable) || !strings.Contains(err.Error(), "answers there") {
		t.Errorf("got %v", err)
	}
}

// pipePair returns a Conn whose writer is stuck on its first write until
// somebody reads the other end.
func pipePair(t *testing.T, opt Options) (*Conn, net.Conn) {
	a, b := net.Pipe()
	c := newConn(a, nil, protocol.Hello{}, protocol.Version, opt.withDefaults())
	t.Cleanup(func() {
		_ = b.Close()
		_ = c.Close()
	})
	return c, b
}

func TestHeartbeatNeverWaitsBehindData(t *testing.T) {
	c, far := pipePair(t, Options{})
	data := &protocol.Append{Entries: someEntries(1, 100<<10)}
	const n = 20
	for range n {
		if err := c.SendMessage(data); err != nil {
			t.Fatal(err)
		}
	}
	reader := newConn(far, newReader(far), protocol.Hello{}, protocol.Version, Options{}.withDefaults())
	defer reader.Close()
	if _, err := reader.ReadMessage(); err != nil { // the writer is at work
		t.Fatal(err)
	}
	if err := c.SendMessage(&protocol.Heartbeat{}); err != nil {
		t.Fatal(err)
	}
	for before := 1; ; before++ {
		m, err := reader.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind() == protocol.KindHeartbeat {
			if before > 4 {
				t.Errorf("%d frames of data of %d came before the heartbeat", before, n)
			}
			return
		}
	}
}

func TestQueueIsBounded(t *testing.T) {
	c, _ := pipePair(t, Options{QueueBytes: 100 << 10, QueueFrames: 50})
	m := &protocol.Append{Entries: someEntries(1, 10<<10)}
	for i := range 100 {
		if err := c.SendMessage(m); err != nil {
			if !errors.Is(err, ErrQueueFull) || i > 30 {
				t.Errorf("after %d: got %v, want %v", i, err, ErrQueueFull)
			}
			if err := c.SendMessage(&protocol.Heartbeat{}); err != nil {
				t.Errorf("a full data lane stops the urgent one: %v", err)
			}
			return
		}
	}
	t.Error("the queue took everything")
}

func TestOversizeFrameIsNotSent(t *testing.T) {
	c, far := pipePair(t, Options{QueueBytes: 64 << 20})
	go func() { _, _ = io.Copy(io.Discard, far) }()
	m := &protocol.Append{Entries: someEntries(5, 1<<20)}
	if err := c.SendMessage(m); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("got %v, want %v", err, protocol.ErrTooLarge)
	}
	if err := c.SendMessage(&protocol.Append{Entries: m.Entries[:1]}); err != nil {
		t.Errorf("after a frame that was not taken: %v", err)
	}
}

func TestManyRequestsInFlight(t *testing.T) {
	_, address := serve(t, &handler{serve: func(q *protocol.Request, to *Responder) { go echo(q, to) }}, nil)
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial, Hello: protocol.Hello{Cluster: cluster}})
	if got := c.Peer().Member; got != memberA {
		t.Errorf("got %s, want %s", got, memberA)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			want := fmt.Sprint("argument ", i)
			p, err := c.Do(testContext(t), command([]byte(want)))
			if err != nil || string(p.Result.Data) != want {
				t.Errorf("got %v, %v, want %q", p, err, want)
			}
		})
	}
	wg.Wait()
}

func TestLossSaysWhetherTheRequestWasWritten(t *testing.T) {
	arrived := make(chan struct{})
	_, address := serve(t, &handler{serve: func(*protocol.Request, *Responder) { close(arrived) }}, nil)
	var raw net.Conn
	c := dialClient(t, address, ClientConfig{Dial: func(ctx context.Context, a string) (net.Conn, error) {
		var err error
		raw, err = security.Plaintext().Dial(ctx, a)
		return raw, err
	}})
	result := make(chan error, 1)
	go func() { _, err := c.Do(testContext(t), command(nil)); result <- err }()
	receive(t, arrived)
	_ = raw.Close()
	err := receive(t, result)
	if !written(err) || !errors.Is(err, protocol.ErrUnavailable) {
		t.Errorf("got %v, want a LostError that was written", err)
	}
	<-c.Done()
	_, err = c.Do(testContext(t), command(nil))
	if written(err) || !errors.Is(err, protocol.ErrUnavailable) {
		t.Errorf("got %v, want a LostError that was not written", err)
	}
}

func TestQueuedRequestThatNeverLeftIsNotWritten(t *testing.T) {
	conn, far := pipePair(t, Options{})
	conn.br = newReader(conn.nc)
	c := &ClientConn{conn: conn, pending: make(map[uint64]*call), reader: make(chan struct{})}
	go c.read()
	results := make(chan error, 2)
	do := func() { _, err := c.Do(testContext(t), command(make([]byte, 200<<10))); results <- err }
	go do()
	one := make([]byte, 1)
	if _, err := far.Read(one); err != nil { // the first is on its way
		t.Fatal(err)
	}
	go do()
	for queued := false; !queued; { // the second is queued behind it
		c.mu.Lock()
		queued = len(c.pending) == 2
		c.mu.Unlock()
	}
	_ = far.Close()
	var reached int
	for range 2 {
		if written(receive(t, results)) {
			reached++
		}
	}
	if reached != 1 {
		t.Errorf("got %d requests that may have been written, want 1", reached)
	}
	_ = c.Close()
}

func TestContextEndsARequest(t *testing.T) {
	_, address := serve(t, &handler{serve: func(*protocol.Request, *Responder) {}}, nil)
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err := c.Do(ctx, command(nil))
	if !errors.Is(err, context.DeadlineExceeded) || !written(err) {
		t.Errorf("got %v", err)
	}
}

func TestWatch(t *testing.T) {
	cancelled := make(chan struct{})
	_, address := serve(t, &handler{serve: func(q *protocol.Request, to *Responder) {
		go func() {
			for i := range 3 {
				if err := to.Tell(&protocol.Changes{Index: q.Watch.From + protocol.Index(i)}); err != nil {
					t.Error(err)
				}
			}
			<-to.Context().Done()
			close(cancelled)
		}()
	}}, nil)
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	w, err := c.Watch(testContext(t), &protocol.Watch{Resource: "r", Type: "t", From: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		got, err := nextNew(t, w)
		if err != nil || got.Index != protocol.Index(10+i) {
			t.Errorf("got %v, %v, want index %d", got, err, 10+i)
		}
	}
	_ = w.Close()
	receive(t, cancelled)
	if _, err := w.Next(testContext(t)); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("got %v, want %v", err, protocol.ErrClosed)
	}
}

// nextNew returns what w tells next; that nothing has come for a second is passed over.
func nextNew(t *testing.T, w *WatchStream) (protocol.Changes, error) {
	told := w.told
	for {
		if c, err := w.Next(testContext(t)); err != nil || c.Index != told {
			return c, err
		}
	}
}

// What one entry changed comes in parts, and is told at once; a reader that gives up
// in the middle loses none of it.
func TestPartsOfAnEntryAreToldAtOnce(t *testing.T) {
	one := func(key string) []protocol.Change {
		return []protocol.Change{{Kind: protocol.ChangePut, Key: []byte(key), Value: make([]byte, 1000)}}
	}
	rest := make(chan struct{})
	_, address := serve(t, &handler{serve: func(_ *protocol.Request, to *Responder) {
		go func() {
			for i, c := range []protocol.Changes{
				{Index: 10}, {Index: 11, Changes: one("a"), More: true}, {Index: 11, Changes: one("b"), More: true},
				{Index: 11, Changes: one("c")}, {Index: 12, Changes: one("d")},
				{Index: 13, Changes: one("e"), More: true}, {Index: 13, Changes: one("f"), More: true}, {Index: 13, Changes: one("g"), More: true}, {Index: 13, Changes: one("h")},
			} {
				if i == 3 {
					<-rest
				}
				_ = to.Respond(&protocol.Response{Changes: &c})
			}
		}()
	}}, nil)
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	w, err := c.Watch(testContext(t), &protocol.Watch{Resource: "r", Type: "t", From: 10})
	if err != nil {
		t.Fatal(err)
	}
	w.entryMax = 3500
	if got, err := w.Next(testContext(t)); err != nil || got.Index != 10 || len(got.Changes) != 0 {
		t.Fatalf("got %v, %v, want where it begins", got, err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	for {
		w.mu.Lock()
		n := len(w.queue)
		w.mu.Unlock()
		if n == 2 {
			break
		}
		runtime.Gosched()
	}
	cancel()
	if got, err := w.Next(ctx); err == nil && len(got.Changes) != 3 {
		t.Errorf("got %d changes of 11, want none without the rest", len(got.Changes))
	}
	close(rest)
	for _, want := range []string{"11 abc", "12 d"} {
		got, err := nextNew(t, w)
		keys := fmt.Sprint(got.Index, " ")
		for _, c := range got.Changes {
			keys += string(c.Key)
		}
		if err != nil || keys != want || got.More {
			t.Errorf("got %q, more: %t, %v, want %q", keys, got.More, err, want)
		}
	}
	for range 2 { // four changes are too many for this side, and it says so
		if got, err := nextNew(t, w); !errors.Is(err, protocol.ErrCompacted) || len(got.Changes) != 0 {
			t.Errorf("got %d changes, %v, want none and %v", len(got.Changes), err, protocol.ErrCompacted)
		}
	}
}

func TestRefusedWatchSaysWhy(t *testing.T) {
	_, address := serve(t, &handler{serve: func(_ *protocol.Request, to *Responder) { _ = to.Fail(protocol.ErrCompacted) }}, nil)
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	w, err := c.Watch(testContext(t), &protocol.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(testContext(t)); !errors.Is(err, protocol.ErrCompacted) {
		t.Errorf("got %v, want %v", err, protocol.ErrCompacted)
	}
	_ = w.Close()
}

// A loop that does not read holds up nobody, and is not ended for it: the member waits. All
// that it has waited with comes when the loop reads on.
func TestSlowWatcherHoldsUpNobody(t *testing.T) {
	const all = 12_800
	var told atomic.Int64
	ended := make(chan struct{})
	_, address := serve(t, &handler{serve: func(q *protocol.Request, to *Responder) {
		if q.Kind == protocol.RequestCommand {
			echo(q, to)
			return
		}
		go func() {
			defer close(ended)
			for i := protocol.Index(1); i <= all && to.Tell(&protocol.Changes{Index: i}) == nil; i++ {
				told.Add(1)
			}
		}()
	}}, nil)
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	w, err := c.Watch(testContext(t), &protocol.Watch{})
	if err != nil {
		t.Fatal(err)
	}
	window := int64(protocol.WatchWindowBytes / (&protocol.Changes{}).Size())
	for told.Load() < window {
		if _, err := c.Do(testContext(t), command(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if got := told.Load(); got > window {
		t.Errorf("a loop that does not read was told %d answers, want %d", got, window)
	}
	for n := range all {
		if c, err := nextNew(t, w); err != nil || c.Index != protocol.Index(n+1) {
			t.Fatalf("got %d, %v, want %d", c.Index, err, n+1)
		}
	}
	receive(t, ended)
	_ = w.Close()
}

// A watch that ends while its member waits to tell it more is not counted any more, whether its
// client closes it or is gone: those of a member would be used up by readers that had been slow.
func TestWatchesThatEndWhileTheyWaitAreCountedOut(t *testing.T) {
	waits := make(chan struct{}, 2)
	server, address := serve(t, &handler{serve: func(_ *protocol.Request, to *Responder) {
		go func() {
			for i := protocol.Index(1); ; i++ {
				if i*64 == protocol.WatchWindowBytes {
					waits <- struct{}{}
				}
				if to.Tell(&protocol.Changes{Index: i}) != nil {
					return
				}
			}
		}()
	}}, nil)
	closed, lost := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial}), dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	for _, c := range []*ClientConn{closed, lost} {
		w, err := c.Watch(testContext(t), &protocol.Watch{})
		if err != nil {
			t.Fatal(err)
		}
		receive(t, waits)
		if c == lost {
			_ = c.Close()
		} else {
			_ = w.Close()
		}
	}
	ctx := testContext(t)
	for server.watches.Load() != 0 {
		if ctx.Err() != nil {
			t.Fatalf("%d watches are counted, of which none is left", server.watches.Load())
		}
		runtime.Gosched()
	}
}

// Many watches whose member has much to tell at once take the room in the queue one after the
// other: their connection, with all that is asked on it, stays.
func TestManyLargeChangesKeepTheirConnection(t *testing.T) {
	const watches, times, size = 60, 5, 500 << 10
	begin := make(chan struct{})
	_, address := serve(t, &handler{serve: func(q *protocol.Request, to *Responder) {
		if q.Kind == protocol.RequestCommand {
			echo(q, to)
			return
		}
		go func() {
			<-begin
			for i := range times {
				c := &protocol.Changes{Index: protocol.Index(i + 1), Changes: []protocol.Change{{Kind: protocol.ChangePut, Key: []byte("k"), Value: make([]byte, size)}}}
				if to.Tell(c) != nil {
					return
				}
			}
		}()
	}}, nil)
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	var readers sync.WaitGroup
	for range watches {
		w, err := c.Watch(testContext(t), &protocol.Watch{})
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			for i := range times {
				if got, err := nextNew(t, w); err != nil || got.Index != protocol.Index(i+1) {
					t.Errorf("got %d, %v, want %d", got.Index, err, i+1)
					return
				}
			}
		})
	}
	close(begin)
	if _, err := c.Do(testContext(t), command(nil)); err != nil {
		t.Error(err)
	}
	readers.Wait()
}

func TestTooManyRequestsAreAnswered(t *testing.T) {
	var held atomic.Pointer[Responder]
	arrived := make(chan struct{})
	_, address := serve(t, &handler{serve: func(_ *protocol.Request, to *Responder) { held.Store(to); close(arrived) }}, func(c *ServerConfig) { c.RequestsMax = 1 })
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	first := make(chan error, 1)
	go func() { _, err := c.Do(testContext(t), command(nil)); first <- err }()
	receive(t, arrived)
	p, err := c.Do(testContext(t), command(nil))
	if err != nil || !errors.Is(p.Result.Err(), protocol.ErrOverloaded) {
		t.Errorf("got %v, %v, want %v", p, err, protocol.ErrOverloaded)
	}
	_ = held.Load().Respond(&protocol.Response{})
	if err := receive(t, first); err != nil {
		t.Error(err)
	}
	if err := held.Load().Respond(&protocol.Response{}); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("answered twice: got %v, want %v", err, protocol.ErrClosed)
	}
}

// Watches do not end, so they have a room of their own, in which one too many is
// refused and costs nobody else anything.
func TestWatchesHaveARoomOfTheirOwn(t *testing.T) {
	_, address := serve(t, &handler{serve: func(q *protocol.Request, to *Responder) {
		to.OnCancel(func() {})
		_ = to.Respond(&protocol.Response{Changes: changesOf(q)})
	}}, func(c *ServerConfig) { c.RequestsMax, c.WatchesMax, c.WatchesAllMax = 1, 3, 4 })
	c, other := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial}), dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	watch := func(c *ClientConn) (*WatchStream, error) {
		w, err := c.Watch(testContext(t), &protocol.Watch{Resource: "r", Type: "t"})
		if err == nil {
			t.Cleanup(func() { _ = w.Close() })
			_, err = w.Next(testContext(t))
		}
		return w, err
	}
	var last *WatchStream
	for range 3 {
		w, err := watch(c)
		if err != nil {
			t.Fatal(err)
		}
		last = w
	}
	for range 3 {
		if _, err := watch(c); !errors.Is(err, protocol.ErrTooLarge) {
			t.Errorf("a watch too many: got %v", err)
		}
		if p, err := c.Do(testContext(t), command(nil)); err != nil || p.Result.Err() != nil {
			t.Errorf("a request beside as many watches as there may be: got %+v, %v", p, err)
		}
	}
	if _, err := watch(other); err != nil {
		t.Errorf("another client: %v", err)
	}
	if _, err := watch(other); !errors.Is(err, protocol.ErrOverloaded) {
		t.Errorf("a watch too many for the member: got %v", err)
	}
	_ = last.Close()
	if p, err := c.Do(testContext(t), command(nil)); err != nil || p.Result.Err() != nil { // behind the cancellation
		t.Fatal(p, err)
	}
	if _, err := watch(c); err != nil {
		t.Errorf("after one was closed: %v", err)
	}
}

// changesOf is what a watch is told first, nil for anything else.
func changesOf(q *protocol.Request) *protocol.Changes {
	if q.Kind == protocol.RequestWatch {
		return &protocol.Changes{Index: 1}
	}
	return nil
}

func TestOversizeAnswerBecomesAnError(t *testing.T) {
	_, address := serve(t, &handler{serve: func(_ *protocol.Request, to *Responder) {
		_ = to.Respond(&protocol.Response{Result: protocol.Result{Data: make([]byte, protocol.FrameBytesMax)}})
	}}, nil)
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	p, err := c.Do(testContext(t), command(nil))
	if err != nil || !errors.Is(p.Result.Err(), protocol.ErrTooLarge) {
		t.Errorf("got %v, %v, want %v", p, err, protocol.ErrTooLarge)
	}
}

func TestShutdownWaitsForAnswers(t *testing.T) {
	held := make(chan *Responder, 1)
	s, address := serve(t, &handler{serve: func(q *protocol.Request, to *Responder) {
		if len(q.Command.Argument) > 0 { // a probe
			echo(q, to)
			return
		}
		held <- to
	}}, nil)
	c := dialClient(t, address, ClientConfig{Dial: security.Plaintext().Dial})
	result := make(chan error, 1)
	go func() { _, err := c.Do(testContext(t), command(nil)); result <- err }()
	to := receive(t, held)
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(testContext(t)) }()
	for { // it refuses what is new
		p, err := c.Do(testContext(t), command([]byte("probe")))
		if err != nil {
			t.Fatal(err)
		}
		if errors.Is(p.Result.Err(), protocol.ErrUnavailable) {
			break
		}
	}
	_ = to.Respond(&protocol.Response{})
	if err := receive(t, result); err != nil {
		t.Errorf("the answer was lost: %v", err)
	}
	if err := receive(t, ended); err != nil {
		t.Error(err)
	}
}

func BenchmarkRequests(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := NewServer(ServerConfig{Hello: helloOf(cluster, memberA), Handler: &handler{serve: echo}})
	go s.Serve(l)
	defer s.Close()
	c, err := DialClient(context.Background(), l.Addr().String(), ClientConfig{Dial: security.Plaintext().Dial})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	q := command(make([]byte, 256))
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Do(context.Background(), q); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
