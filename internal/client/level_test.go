package client

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

func readAt(level protocol.Consistency) protocol.Query {
	q := read()
	q.Consistency = level
	return q
}

// scripted is a transport that answers as the test says.
type scripted struct {
	asked  []protocol.Query
	answer func(q *protocol.Request) protocol.Result
	stream *scriptedStream
}

func (s *scripted) Do(_ context.Context, q *protocol.Request) (*protocol.Response, error) {
	if q.Query != nil {
		s.asked = append(s.asked, *q.Query)
	}
	if q.Kind == protocol.RequestStatus {
		return &protocol.Response{Kind: q.Kind, Status: &protocol.Status{Applied: 70}}, nil
	}
	return &protocol.Response{Kind: q.Kind, Result: s.answer(q)}, nil
}

func (s *scripted) Watch(context.Context, *protocol.Watch) (resources.WatchStream, error) {
	return s.stream, nil
}

func (s *scripted) Close() error { return nil }

// scriptedStream tells its changes, then waits.
type scriptedStream struct{ changes []protocol.Changes }

func (s *scriptedStream) Next(ctx context.Context) (protocol.Changes, error) {
	if len(s.changes) == 0 {
		<-ctx.Done()
		return protocol.Changes{}, ctx.Err()
	}
	next := s.changes[0]
	s.changes = s.changes[1:]
	return next, nil
}

func (s *scriptedStream) Close() {}

// [S] What a client has seen, in whatever way, goes into each of its reads at
// the level Session: without it a member that is behind would answer.
func TestSessionReadsCarryWhatWasSeen(t *testing.T) {
	index := protocol.Index(0)
	s := &scripted{
		answer: func(*protocol.Request) protocol.Result { return protocol.Result{Index: index} },
		stream: &scriptedStream{changes: []protocol.Changes{{Index: 80}, {Index: 90, Changes: []protocol.Change{{}}}}},
	}
	c := newClient(t, s, Config{})
	carried := func(what string, want protocol.Index) {
		t.Helper()
		index = 0
		if _, err := c.Query(t.Context(), readAt(protocol.Session)); err != nil {
			t.Fatal(err)
		}
		if got := s.asked[len(s.asked)-1].Seen; got != want {
			t.Errorf("after %s: got %d carried, want %d", what, got, want)
		}
	}
	carried("nothing", 0)
	index = 50
	for _, level := range []protocol.Consistency{protocol.Linearizable, protocol.Local, protocol.Session, protocol.MaxStale} {
		if _, err := c.Query(t.Context(), readAt(level)); err != nil {
			t.Fatal(err)
		}
		want := index
		carried("a read, "+level.String(), want)
		index = want + 1
	}
	if _, err := c.Query(t.Context(), readAt(protocol.Local)); err != nil {
		t.Fatal(err)
	}
	index = 40
	if _, err := c.Query(t.Context(), readAt(protocol.Local)); err != nil {
		t.Fatal(err)
	}
	carried("an older read", 54)
	if _, err := c.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	carried("a status", 70)
	w, err := c.Watch(t.Context(), watching(75))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, want := range []protocol.Index{80, 90} {
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		carried("a change", want)
	}
	if got := c.seen.index(); got != 90 {
		t.Errorf("got %d seen, want 90", got)
	}
}

func TestSessionReadsCarryWhatACommandAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{})
		result := mustCommand(t, c, "write")
		if got := c.seen.index(); result.Index == 0 || got != result.Index {
			t.Errorf("got %d seen, want %d", got, result.Index)
		}
	})
}

func TestSessionReadIsTriedUntilSomebodyHasCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		s := &scripted{answer: func(*protocol.Request) protocol.Result {
			if tries.Add(1) < 5 {
				return protocol.Failed(protocol.ErrTooStale.With("behind"))
			}
			return protocol.Result{Index: 9}
		}}
		c := newClient(t, s, Config{})
		if r, err := c.Query(t.Context(), readAt(protocol.Session)); err != nil || r.Index != 9 {
			t.Errorf("got %+v, %v, want an answer", r, err)
		}
		tries.Store(-1000)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Query(ctx, readAt(protocol.Session))
		wantIs(t, err, []error{protocol.ErrTooStale, context.DeadlineExceeded}, nil)
		// An age is not waited for: the member has done that.
		tries.Store(0)
		if r, err := c.Query(t.Context(), readAt(protocol.MaxStale)); err != nil || !errors.Is(r.Err(), protocol.ErrTooStale) || tries.Load() != 1 {
			t.Errorf("got %+v, %v after %d tries, want %v at once", r, err, tries.Load(), protocol.ErrTooStale)
		}
	})
}

// A watch from now on at a member that is behind: "now" is not before what the
// client has written.
func TestWatchFromNowDoesNotTellWhatIsKnown(t *testing.T) {
	s := &scripted{
		answer: func(*protocol.Request) protocol.Result { return protocol.Result{Index: 100} },
		stream: &scriptedStream{changes: []protocol.Changes{
			{Index: 95}, {Index: 98, Changes: []protocol.Change{{}}}, {Index: 100, Changes: []protocol.Change{{}}}, {Index: 101, Changes: []protocol.Change{{}}},
		}},
	}
	c := newClient(t, s, Config{})
	if _, err := c.Query(t.Context(), readAt(protocol.Local)); err != nil {
		t.Fatal(err)
	}
	w, err := c.Watch(t.Context(), watching(0))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, want := range []protocol.Index{100, 101} {
		if got, err := w.Next(t.Context()); err != nil || got.Index != want {
			t.Errorf("got %+v, %v, want index %d", got, err, want)
		}
	}
}

func TestNearReadsGoOnWhenTheMemberIsLostOrTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a:1", "b:1", "c:1")
		f.change(func() { f.leader = "a:1" })
		cfg := f.config("a:1", "b:1", "c:1")
		cfg.Turn = 2
		c := newClient(t, newRemote(t, cfg), Config{})
		f.whom()
		ask := func() []string {
			t.Helper()
			if r, err := c.Query(t.Context(), readAt(protocol.Session)); err != nil || r.Code != protocol.OK {
				t.Fatalf("got %+v, %v", r, err)
			}
			return f.whom()
		}
		for _, want := range [][]string{{"b:1"}, {"b:1"}} {
			if got := ask(); !slices.Equal(got, want) {
				t.Errorf("got %v asked, want %v", got, want)
			}
		}
		f.change(func() { f.members["b:1"].down = true })
		if got, want := ask(), []string{"c:1"}; !slices.Equal(got, want) {
			t.Errorf("got %v asked, want %v", got, want)
		}
		f.change(func() { f.members["b:1"].down = false; f.members["c:1"].code = protocol.ErrTooStale.Code })
		if got := ask(); got[0] != "c:1" || len(got) != 2 {
			t.Errorf("got %v asked, want c:1 and one more", got)
		}
	})
}

// [S] The age of an answer that lay in a socket while this process stood still
// is told, and a read that allows less is made again.
func TestAnswerThatWaitedOnItsWayIsNotTakenForFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		delays := []time.Duration{3 * time.Second, time.Millisecond}
		var asked []int64
		cfg := RemoteConfig{Addresses: []string{"a:1"}, Dial: func(context.Context, string, protocol.ClusterID) (Conn, error) {
			return &lateConn{delays: &delays, asked: &asked}, nil
		}}
		r := newRemote(t, cfg)
		local := readAt(protocol.Local)
		response, err := r.Do(t.Context(), &protocol.Request{Kind: protocol.RequestQuery, Query: &local})
		if err != nil || response.Result.Age != int64(3*time.Second+10*time.Millisecond) {
			t.Errorf("local: got %+v, %v, want the way in the age", response, err)
		}
		delays = []time.Duration{3 * time.Second, time.Millisecond}
		asked = nil
		q := readAt(protocol.MaxStale)
		q.MaxAge = int64(100 * time.Millisecond)
		response, err = r.Do(t.Context(), &protocol.Request{Kind: protocol.RequestQuery, Query: &q})
		if err != nil || response.Result.Age > q.MaxAge {
			t.Errorf("stale: got %+v, %v, want an age of at most %d", response, err, q.MaxAge)
		}
		if want := []int64{q.MaxAge, 0}; !slices.Equal(asked, want) {
			t.Errorf("got asked for ages of %v, want %v", asked, want)
		}
	})
}

// lateConn answers each query with an age of 10 ms, after a delay.
type lateConn struct {
	delays *[]time.Duration
	asked  *[]int64
}

func (c *lateConn) Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error) {
	if q.Query == nil {
		return &protocol.Response{Kind: q.Kind, Status: &protocol.Status{}}, nil
	}
	*c.asked = append(*c.asked, q.Query.MaxAge)
	delay := (*c.delays)[0]
	*c.delays = (*c.delays)[1:]
	way, cancel := context.WithTimeout(ctx, delay)
	defer cancel()
	<-way.Done()
	return &protocol.Response{Kind: q.Kind, Result: protocol.Result{Index: 1, AgeKnown: true, Age: int64(10 * time.Millisecond)}}, nil
}

func (c *lateConn) Watch(context.Context, *protocol.Watch) (resources.WatchStream, error) {
	return nil, protocol.ErrClosed
}

func (c *lateConn) Done() <-chan struct{} { return nil }
func (c *lateConn) Err() error            { return nil }
func (c *lateConn) Close() error          { return nil }
