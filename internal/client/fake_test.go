package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errBroken is what a connection says that breaks in the middle.
var errBroken = errors.New("connection reset")

// fate is what happens to one request.
type fate struct {
	before error         // it is lost, or refused, before it is executed
	answer protocol.Code // it is refused by a response
	after  error         // it is executed and the answer is lost
	hang   bool          // nothing comes back until the context ends
}

// server is a cluster as a client sees it: it speaks protocol.Request and
// protocol.Response over the real state machine. Each command is an entry at
// once. The test decides what happens to requests.
type server struct {
	mu       sync.Mutex
	machine  *machine.Machine
	start    time.Time
	skew     time.Duration  // added to cluster time
	executed map[string]int // how often a command ran, by argument
	late     []protocol.Command
	fate     func(n int, q *protocol.Request) fate
	requests int
	floor    uint64 // of the last command
	opened   int
	kept     []time.Time // of each keep-alive
	ended    int         // sessions closed
	streams  []*fakeStream
	closed   bool
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{executed: map[string]int{}, start: time.Now()}
	hits, large := resources.NewTable[string, int]("hits"), resources.NewTable[string, string]("large")
	counting := resources.NewType("count", 1,
		resources.NewCommand("count", func(tx *resources.Tx, name string) (string, error) {
			s.executed[name]++
			n, _, err := hits.Get(tx, name)
			if err != nil {
				return "", err
			}
			return name, hits.Put(tx, name, n+1)
		}),
		resources.NewCommand("large", func(tx *resources.Tx, name string) (string, error) {
			return name, large.Put(tx, "one", name+strings.Repeat("x", protocol.ValueBytesMax-6))
		}),
		resources.NewCommand("fail", func(_ *resources.Tx, name string) (string, error) {
			s.executed[name]++
			return "seen", protocol.ErrConditionFailed
		}),
		resources.NewQuery("read", func(_ *resources.View, name string) (string, error) { return name, nil }),
	)
	registry, err := resources.NewRegistry(counting)
	if err != nil {
		t.Fatal(err)
	}
	s.machine = machine.New(machine.Config{Registry: registry})
	return s
}

// encode returns an argument as operations encode it.
func encode(text string) []byte {
	argument, err := resources.AppendValue(nil, text)
	if err != nil {
		panic(err)
	}
	return argument
}

func count(name string) protocol.Command {
	return protocol.Command{Resource: "hits", Type: "count", Version: 1, Operation: "count", Argument: encode(name)}
}

func failing(name string) protocol.Command {
	c := count(name)
	c.Operation = "fail"
	return c
}

func read() protocol.Query {
	return protocol.Query{Resource: "hits", Type: "count", Operation: "read", Argument: encode("read")}
}

// answerOf decodes the answer of an operation.
func answerOf(r protocol.Result) string {
	text, err := resources.ParseValue[string](r.Data)
	if err != nil {
		return fmt.Sprintf("%q: %v", r.Data, err)
	}
	return text
}

func (s *server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *server) Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, protocol.ErrUnavailable.Because(err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, protocol.ErrClosed
	}
	s.requests++
	var f fate
	if s.fate != nil {
		f = s.fate(s.requests, q)
	}
	response := &protocol.Response{Kind: q.Kind}
	switch {
	case f.before != nil:
		s.mu.Unlock()
		return nil, f.before
	case f.answer != protocol.OK:
		response.Result = protocol.Result{Code: f.answer, Text: "refused: " + string(f.answer)}
		s.mu.Unlock()
		return response, nil
	}
	response.Result = s.execute(q)
	s.mu.Unlock()
	if f.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.after != nil {
		return nil, f.after
	}
	return response, nil
}

func (s *server) execute(q *protocol.Request) protocol.Result {
	switch q.Kind {
	case protocol.RequestQuery:
		return s.machine.Query(context.Background(), q.Query)
	case protocol.RequestCommand:
	default:
		return protocol.Result{}
	}
	c := q.Command
	if c.Type != protocol.SessionType {
		s.floor = c.Floor
	}
	result := s.entry(protocol.EntryCommand, protocol.EncodeCommand(c))
	switch {
	case result.Code == protocol.ErrWindow.Code || result.Code == protocol.ErrInvalid.Code:
		panic(fmt.Sprintf("sequence %d with floor %d: %s", c.Sequence, c.Floor, result.Text))
	case result.Code != protocol.OK || c.Type != protocol.SessionType:
	case c.Operation == protocol.SessionOpen:
		s.opened++
	case c.Operation == protocol.SessionKeepAlive:
		s.kept = append(s.kept, time.Now())
	case c.Operation == protocol.SessionClose:
		s.ended++
	}
	return result
}

func (s *server) entry(kind protocol.EntryKind, data []byte) protocol.Result {
	now := protocol.ClusterTime(time.Since(s.start) + s.skew)
	results := s.machine.Apply([]protocol.Entry{{Index: s.machine.Applied() + 1, Term: 1, Time: now, Kind: kind, Data: data}}, nil)
	if len(results) != 1 {
		panic(s.machine.Stopped())
	}
	return results[0]
}

// expireAll lets cluster time pass until no session is left.
func (s *server) expireAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
}

func (s *server) expire() {
	s.skew += protocol.SessionTimeoutMax
	s.entry(protocol.EntryTick, nil)
}

// setFate changes what happens to requests from now on.
func (s *server) setFate(decide func(n int, q *protocol.Request) fate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fate = decide
}

// fateIs gives all requests from now on the same fate.
func (s *server) fateIs(f fate) { s.setFate(func(int, *protocol.Request) fate { return f }) }

func (s *server) times(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.executed[name]
}

// Watch follows the state. A stream can be broken by the test.
func (s *server) Watch(_ context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, protocol.ErrClosed
	}
	s.requests++
	if s.fate != nil {
		if f := s.fate(s.requests, &protocol.Request{Kind: protocol.RequestWatch, Watch: w}); f.before != nil {
			return nil, f.before
		}
	}
	inner, err := s.machine.Watch(w)
	if err != nil {
		return nil, err
	}
	one := &fakeStream{WatchStream: inner, broken: make(chan struct{})}
	s.streams = append(s.streams, one)
	return one, nil
}

type fakeStream struct {
	resources.WatchStream
	once   sync.Once
	err    error
	broken chan struct{}
}

func (f *fakeStream) fail(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.broken)
		f.WatchStream.Close()
	})
}

func (f *fakeStream) Next(ctx context.Context) (protocol.Changes, error) {
	changes, err := f.WatchStream.Next(ctx)
	select {
	case <-f.broken:
		return protocol.Changes{}, f.err
	default:
		return changes, err
	}
}
