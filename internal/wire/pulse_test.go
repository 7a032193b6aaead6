package wire

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// piped connects a client to a server in the bubble of the test, without
// sockets, so that time is virtual.
func piped(t *testing.T, h *handler, change func(*ServerConfig)) *ClientConn {
	t.Helper()
	cfg := ServerConfig{Hello: helloOf(cluster, memberA), Handler: h}
	if change != nil {
		change(&cfg)
	}
	s := NewServer(cfg)
	c, err := DialClient(t.Context(), "pipe:1", ClientConfig{Dial: func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		s.ServeConn(far)
		return near, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		_ = s.Close()
	})
	return c
}

// mute shakes hands, and is then whatever behave makes of it.
func mute(t *testing.T, behave func(net.Conn)) *ClientConn {
	t.Helper()
	var done sync.WaitGroup
	c, err := DialClient(t.Context(), "pipe:1", ClientConfig{Dial: func(context.Context, string) (net.Conn, error) {
		near, far := net.Pipe()
		done.Go(func() {
			defer far.Close()
			if _, err := readGreeting(newReader(far)); err != nil {
				t.Error(err)
				return
			}
			hello := helloOf(cluster, memberA)()
			if err := writeHello(far, &hello); err != nil {
				t.Error(err)
				return
			}
			behave(far)
		})
		return near, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Close()
		done.Wait()
	})
	return c
}

// forever is longer than anything may take in these tests: of a test that would wait
// for ever they make one that fails.
func forever(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}

// swallow reads everything and says nothing until the connection ends.
func swallow(c net.Conn) {
	buf := make([]byte, 1<<10)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

func query() *protocol.Request {
	return &protocol.Request{Kind: protocol.RequestQuery, Query: &protocol.Query{Resource: "r", Type: "t", Operation: "o"}}
}

// A request is waited for as long as it takes, if the member is at work.
func TestLongRequestIsWaitedForWhileTheMemberIsAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate, served := make(chan struct{}), 0
		c := piped(t, &handler{serve: func(_ *protocol.Request, to *Responder) {
			served++
			go func() {
				<-gate
				_ = to.Respond(&protocol.Response{Result: protocol.Result{Index: 5}})
			}()
		}}, nil)
		var got *protocol.Response
		var err error
		var done sync.WaitGroup
		done.Go(func() { got, err = c.Do(t.Context(), query()) })
		time.Sleep(time.Hour)
		close(gate)
		done.Wait()
		if err != nil || got.Result.Index != 5 || served != 1 {
			t.Errorf("got %+v, %v, served %d times; want one answer after an hour", got, err, served)
		}
	})
}

// What a member that says nothing was asked ends within the bound, all of it.
func TestSilentMemberIsCondemnedWithAllThatItWasAsked(t *testing.T) {
	for name, behave := range map[string]func(net.Conn){
		"it reads and says nothing": swallow,
		"it does not even read":     func(net.Conn) { <-time.NewTimer(time.Minute).C },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := mute(t, behave)
				began := time.Now()
				stream, err := c.Watch(forever(t), &protocol.Watch{Resource: "r", Type: "t"})
				if err != nil {
					t.Fatal(err)
				}
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() {
						_, err := c.Do(forever(t), query())
						silent := (*SilentError)(nil)
						if !errors.As(err, &silent) || !errors.Is(err, protocol.ErrUnavailable) {
							t.Errorf("got %v, want a LostError because of the silence", err)
						}
						if got := time.Since(began); got < PingTimeoutDefault || got > PingTimeoutDefault*3/2 {
							t.Errorf("ended after %v, want %v, and half of that before", got, PingTimeoutDefault)
						}
					})
				}
				all.Wait()
				if _, err := stream.Next(forever(t)); !written(err) {
					t.Errorf("the watch: got %v, want a LostError", err)
				}
			})
		})
	}
}

// A watch alone is asked after less often.
func TestWatchAloneOutlivesSilenceForTwoBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mute(t, swallow)
		began := time.Now()
		stream, err := c.Watch(forever(t), &protocol.Watch{Resource: "r", Type: "t"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Next(forever(t)); !written(err) {
			t.Errorf("got %v, want a LostError", err)
		}
		if got, want := time.Since(began), 2*PingTimeoutDefault; got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
	})
}

// A member whose deciding part hangs is not at work, however well it answers what
// it can answer without that part.
func TestMemberThatHangsIsCondemnedAlthoughItAnswersOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, &handler{serve: func(q *protocol.Request, to *Responder) {
			if q.Kind == protocol.RequestQuery {
				_ = to.Respond(&protocol.Response{})
			}
		}}, func(cfg *ServerConfig) { cfg.Alive = func(func()) {} })
		began := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		var others sync.WaitGroup
		answered := 0
		others.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.Do(ctx, query()); err == nil {
					answered++
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
		_, err := c.Do(forever(t), command(nil))
		took := time.Since(began)
		stop()
		others.Wait()
		if !written(err) || took > 2*PingTimeoutDefault || answered < 10 {
			t.Errorf("got %v after %v and %d answers beside it, want it lost within %v", err, took, answered, 2*PingTimeoutDefault)
		}
	})
}

// While a long frame trickles in, the pong that waits behind it is not missed.
func TestSlowLinkIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := mute(t, func(far net.Conn) {
			go swallow(far)
			frame := beginFrame(nil, protocol.Version, FrameResponse)
			frame = protocol.AppendResponse(frame, &protocol.Response{ID: 1, Kind: protocol.RequestQuery, Result: protocol.Result{Index: 9, Data: make([]byte, 100)}})
			if err := endFrame(frame, 0); err != nil {
				t.Error(err)
			}
			for n, piece := 0, headerBytes; n < len(frame); n, piece = n+piece, 1 {
				if _, err := far.Write(frame[n : n+piece]); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(200 * time.Millisecond)
			}
		})
		began := time.Now()
		got, err := c.Do(t.Context(), query())
		if err != nil || got.Result.Index != 9 {
			t.Errorf("got %+v, %v after %v, want the answer", got, err, time.Since(began))
		}
		if took := time.Since(began); took < 10*PingTimeoutDefault {
			t.Errorf("it took %v only: nothing is proven", took)
		}
	})
}

// A request that takes long to leave is not held against the member either.
func TestSlowUploadIsNotSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 700 << 10
		c := mute(t, func(far net.Conn) {
			buf := make([]byte, 8<<10)
			for read := 0; read < size; {
				n, err := far.Read(buf)
				if err != nil {
					t.Error(err)
					return
				}
				read += n
				time.Sleep(50 * time.Millisecond)
			}
			go swallow(far)
			if err := answerTo(far, 1); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		})
		began := time.Now()
		_, err := c.Do(t.Context(), command(make([]byte, size)))
		if took := time.Since(began); err != nil || took < 3*PingTimeoutDefault {
			t.Errorf("got %v after %v, want an answer after a long time", err, took)
		}
	})
}

func answerTo(far net.Conn, id uint64) error {
	frame := protocol.AppendResponse(beginFrame(nil, protocol.Version, FrameResponse), &protocol.Response{ID: id, Kind: protocol.RequestCommand})
	if err := endFrame(frame, 0); err != nil {
		return err
	}
	_, err := far.Write(frame)
	return err
}

// Nobody is asked for signs of life without a reason.
func TestQuietConnectionSendsNoPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pings := 0
		c := piped(t, &handler{serve: echo}, func(cfg *ServerConfig) {
			cfg.Alive = func(answer func()) {
				pings++
				answer()
			}
		})
		for range 20 {
			if _, err := c.Do(t.Context(), command(nil)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		if pings != 0 {
			t.Errorf("got %d pings for requests that are answered at once, want none", pings)
		}
	})
}

// Cancelling ends the context of the request at the member, and of no other one.
func TestCancelReachesTheMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at [4]atomic.Pointer[Responder]
		n := 0
		withdrawn := 0
		c := piped(t, &handler{serve: func(q *protocol.Request, to *Responder) {
			at[n].Store(to)
			if q.Kind == protocol.RequestCommand {
				to.OnCancel(func() { withdrawn++ })
			}
			n++
		}}, func(cfg *ServerConfig) { cfg.RequestsMax = 2 })
		neighbour := make(chan error, 1)
		go func() { _, err := c.Do(t.Context(), query()); neighbour <- err }()
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := c.Do(ctx, command(nil))
		cancel()
		synctest.Wait()
		var lost *LostError
		if !errors.As(err, &lost) || !lost.Written || !lost.Working || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %#v, want a LostError of a member at work, because of the deadline", err)
		}
		if at[1].Load().Context().Err() == nil || withdrawn != 1 {
			t.Errorf("the member was not told: withdrawn %d times", withdrawn)
		}

		// A query counts until it has really ended.
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		_, _ = c.Do(ctx, query())
		cancel()
		synctest.Wait()
		third := at[2].Load()
		if third.Context().Err() == nil {
			t.Error("the query was not cancelled")
		}
		refused, err := c.Do(t.Context(), query())
		if err != nil || refused.Result.Code != protocol.ErrOverloaded.Code {
			t.Errorf("got %+v, %v while two queries are at work, want %v", refused, err, protocol.ErrOverloaded.Code)
		}
		if err := third.Respond(&protocol.Response{}); !errors.Is(err, protocol.ErrClosed) {
			t.Errorf("answering what was cancelled: got %v, want %v", err, protocol.ErrClosed)
		}

		// The neighbour has noticed nothing.
		first := at[0].Load()
		if first.Context().Err() != nil {
			t.Error("the neighbour was cancelled, too")
		}
		if err := first.Respond(&protocol.Response{}); err != nil {
			t.Error(err)
		}
		if err := <-neighbour; err != nil {
			t.Error(err)
		}
	})
}

// The end of a connection cancels all that came over it.
func TestEndOfAConnectionCancelsItsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []*Responder
		withdrawn := 0
		c := piped(t, &handler{serve: func(q *protocol.Request, to *Responder) {
			all = append(all, to)
			to.OnCancel(func() { withdrawn++ })
		}}, nil)
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() { _, _ = c.Do(t.Context(), query()) })
		}
		synctest.Wait()
		_ = c.Close()
		group.Wait()
		synctest.Wait()
		for i, to := range all {
			if to.Context().Err() == nil {
				t.Errorf("request %d goes on", i)
			}
		}
		if len(all) != 3 || withdrawn != 3 {
			t.Errorf("%d requests, %d withdrawn, want 3 and 3", len(all), withdrawn)
		}
	})
}

// A member answers many pings that wait for one proof by one pong, and what the
// client says in the deadline of its context comes with the request.
func TestPingsShareAProofAndRequestsSayHowLongTheyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var proofs []func()
		waits := make(chan time.Duration, 2)
		c := piped(t, &handler{serve: func(q *protocol.Request, to *Responder) {
			waits <- q.Wait
			_ = to.Respond(&protocol.Response{})
		}}, func(cfg *ServerConfig) { cfg.Alive = func(answer func()) { proofs = append(proofs, answer) } })
		for range 100 {
			if err := c.conn.sendSign(FramePing); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(proofs) != 1 {
			t.Fatalf("got %d proofs asked for, want 1", len(proofs))
		}
		proofs[0]()
		synctest.Wait()
		if c.pulse.heard.IsZero() {
			t.Error("no pong came")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		for _, one := range []struct {
			ctx  context.Context
			want time.Duration
		}{{t.Context(), 0}, {ctx, 3 * time.Second}} {
			if _, err := c.Do(one.ctx, query()); err != nil {
				t.Fatal(err)
			}
			if got := <-waits; got != one.want {
				t.Errorf("got %v to wait, want %v", got, one.want)
			}
		}
	})
}
