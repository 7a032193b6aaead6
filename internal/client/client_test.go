package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

var _ resources.Caller = (*Client)(nil)

func newClient(t *testing.T, transport Transport, cfg Config) *Client {
	t.Helper()
	c, err := New(transport, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func mustCommand(t *testing.T, c *Client, argument string) protocol.Result {
	t.Helper()
	result, err := c.Command(t.Context(), count(argument))
	if err != nil {
		t.Fatalf("command %q: %v", argument, err)
	}
	if result.Code != "" {
		t.Fatalf("command of %d bytes: %s", len(argument), result.Code)
	}
	return result
}

// wantIs checks what errors.Is finds in an error, and what it must not find.
func wantIs(t *testing.T, err error, is []error, not []error) {
	t.Helper()
	for _, want := range is {
		if !errors.Is(err, want) {
			t.Errorf("got %v, want an error that is %v", err, want)
		}
	}
	for _, unwanted := range not {
		if errors.Is(err, unwanted) {
			t.Errorf("got %v, want no error that is %v", err, unwanted)
		}
	}
}

func TestManyCallersShareOneSession(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{})
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() { mustCommand(t, c, fmt.Sprint(i)) })
	}
	group.Wait()
	if s.opened != 1 {
		t.Errorf("got %d sessions, want 1", s.opened)
	}
	for i := range 50 {
		if got := s.times(fmt.Sprint(i)); got != 1 {
			t.Errorf("command %d was executed %d times, want once", i, got)
		}
	}
}

func TestNoSessionWithoutCommand(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{})
	if _, err := c.Query(t.Context(), read()); err != nil {
		t.Fatal(err)
	}
	if s.opened != 0 {
		t.Errorf("got %d sessions after a query, want none", s.opened)
	}
}

// TestExactlyOnceUnderLostAnswers sends increments from many goroutines while
// requests and answers are lost, refused, and copies arrive late. What was
// answered has happened once; what was given up, at most once.
func TestExactlyOnceUnderLostAnswers(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := newServer(t)
		refusals := []protocol.Code{
			protocol.ErrNoLeader.Code, protocol.ErrNotLeader.Code, protocol.ErrOverloaded.Code,
			protocol.ErrUnavailable.Code, protocol.ErrUnknownOutcome.Code,
		}
		s.setFate(func(_ int, q *protocol.Request) fate {
			if len(s.late) > 0 && random.IntN(4) == 0 {
				k := random.IntN(len(s.late))
				s.execute(&protocol.Request{Kind: protocol.RequestCommand, Command: &s.late[k]})
				s.late = slices.Delete(s.late, k, k+1)
			}
			var f fate
			switch random.IntN(10) {
			case 0:
				f.before = errBroken
			case 1, 2:
				f.after = errBroken
			case 3:
				f.after = protocol.ErrUnknownOutcome
			case 4, 5:
				f.answer = refusals[random.IntN(len(refusals))]
			case 6:
				f.hang = random.IntN(10) == 0
			}
			// A refusal promises that no copy is on its way; nothing else does.
			mayCopy := f.answer == protocol.OK || f.answer == protocol.ErrUnknownOutcome.Code
			if mayCopy && q.Kind == protocol.RequestCommand && q.Command.Session != 0 && random.IntN(3) == 0 {
				s.late = append(s.late, *q.Command)
			}
			return f
		})
		c := newClient(t, s, Config{SessionTimeout: time.Hour})
		var group sync.WaitGroup
		var answered, unknown atomic.Int64
		for i := range 40 {
			group.Go(func() {
				for k := range 25 {
					name := fmt.Sprintf("%d.%d", i, k)
					ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
					result, err := c.Command(ctx, count(name))
					cancel()
					switch times := s.times(name); {
					case err == nil && (times != 1 || answerOf(result) != name):
						t.Errorf("%s: executed %d times, answer %q, want once", name, times, answerOf(result))
					case err == nil:
						answered.Add(1)
					case !errors.Is(err, protocol.ErrUnknownOutcome) && times != 0:
						t.Errorf("%s: executed %d times although %v", name, times, err)
					case errors.Is(err, protocol.ErrUnknownOutcome):
						unknown.Add(1)
					}
				}
			})
		}
		group.Wait()
		s.mu.Lock()
		for _, c := range s.late {
			s.execute(&protocol.Request{Kind: protocol.RequestCommand, Command: &c})
		}
		for name, times := range s.executed {
			if times > 1 {
				t.Errorf("%s: executed %d times", name, times)
			}
		}
		s.fate = nil
		s.mu.Unlock()
		t.Logf("%d answered, %d of unknown outcome", answered.Load(), unknown.Load())
		if answered.Load() < 500 || unknown.Load() == 0 {
			t.Error("the faults are too many or too few to prove anything")
		}
	})
}

func TestWindowIsNeverExceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{SessionTimeout: time.Hour})
		mustCommand(t, c, "first") // its number is 1
		stuck := true
		s.setFate(func(_ int, q *protocol.Request) fate {
			if q.Command.Sequence == 2 && stuck {
				return fate{answer: protocol.ErrOverloaded.Code}
			}
			return fate{}
		})
		var group sync.WaitGroup
		group.Go(func() { mustCommand(t, c, "stuck") })
		synctest.Wait()
		var done atomic.Int64
		for i := range 3000 {
			group.Go(func() {
				mustCommand(t, c, fmt.Sprint(i))
				done.Add(1)
			})
		}
		synctest.Wait()
		if got, want := done.Load(), int64(protocol.SessionWindow-1); got != want {
			t.Errorf("got %d commands done beside the stuck one, want %d", got, want)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := c.Command(ctx, count("late"))
		cancel()
		wantIs(t, err, []error{protocol.ErrOverloaded, context.DeadlineExceeded}, []error{protocol.ErrUnknownOutcome})
		if s.times("late") != 0 {
			t.Error("a command without a number was sent")
		}

		s.mu.Lock()
		stuck = false
		s.mu.Unlock()
		group.Wait()
		if got := done.Load(); got != 3000 {
			t.Errorf("got %d commands done, want 3000", got)
		}
	})
}

// TestTurnGivenToOneWhoLeft plays the race in which a number is handed to a
// caller whose context has ended: it must not stay unanswered for ever.
func TestTurnGivenToOneWhoLeft(t *testing.T) {
	s := newSession(1)
	for range protocol.SessionWindow {
		if _, err := s.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w := &turn{sequence: make(chan uint64, 1)}
	s.waiting.add(w)
	s.release(1)
	s.leave(w)
	for i := range uint64(protocol.SessionWindow - 1) {
		s.release(i + 2)
	}
	if got, want := s.floor(), uint64(protocol.SessionWindow+2); got != want {
		t.Errorf("got floor %d, want %d", got, want)
	}
}

func TestContextEndsBeforeAnAnswer(t *testing.T) {
	tests := []struct {
		name    string
		fates   []fate // the last one repeats
		is, not []error
	}{
		{"hanging", []fate{{hang: true}}, []error{protocol.ErrUnknownOutcome, context.DeadlineExceeded}, nil},
		{"refused", []fate{{answer: protocol.ErrNoLeader.Code}},
			[]error{protocol.ErrNoLeader, context.DeadlineExceeded}, []error{protocol.ErrUnknownOutcome}},
		{"refused by the transport", []fate{{before: protocol.ErrUnavailable}},
			[]error{protocol.ErrUnavailable, context.DeadlineExceeded}, []error{protocol.ErrUnknownOutcome}},
		{"lost, then refused", []fate{{after: errBroken}, {answer: protocol.ErrNoLeader.Code}},
			[]error{protocol.ErrUnknownOutcome, context.DeadlineExceeded}, nil},
		{"lost", []fate{{before: errBroken}}, []error{protocol.ErrUnknownOutcome, context.DeadlineExceeded}, nil},
		{"no room here", []fate{{answer: protocol.ErrNoSpaceHere.Code}},
			[]error{protocol.ErrNoSpace, context.DeadlineExceeded}, []error{protocol.ErrUnknownOutcome, protocol.ErrNoSpaceHere}},
		{"lost, then no room here", []fate{{after: errBroken}, {answer: protocol.ErrNoSpaceHere.Code}},
			[]error{protocol.ErrUnknownOutcome, context.DeadlineExceeded}, nil},
	}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				c := newClient(t, s, Config{})
				mustCommand(t, c, "first")
				before := s.requests
				s.setFate(func(n int, _ *protocol.Request) fate { return test.fates[min(n-before, len(test.fates))-1] })
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				start := time.Now()
				_, err := c.Command(ctx, count("second"))
				wantIs(t, err, test.is, test.not)
				if got := time.Since(start); got != 5*time.Second {
					t.Errorf("gave up after %v, want 5s", got)
				}
				// The number that was given up does not hold up the others.
				s.setFate(nil)
				mustCommand(t, c, "third")
				if s.floor != 3 {
					t.Errorf("got floor %d, want 3", s.floor)
				}
			})
		})
	}
}

// What a member of a later version answers would count as the write's own answer: a write
// that happened in an attempt before would be reported as refused.
func TestACodeOfALaterVersionSettlesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{})
		mustCommand(t, c, "first")
		before := s.requests
		s.setFate(func(n int, _ *protocol.Request) fate {
			if n == before+1 {
				return fate{after: errBroken}
			}
			return fate{answer: "from_a_later_version"}
		})
		_, err := c.Command(t.Context(), count("second"))
		wantIs(t, err, []error{protocol.ErrUnknownOutcome}, nil)
	})
}

// TestNoSessionInTime: nothing of the caller's was sent, so its outcome is
// known, however the opening of the session ended.
func TestNoSessionInTime(t *testing.T) {
	for _, f := range []fate{{hang: true}, {before: errBroken}, {after: protocol.ErrUnknownOutcome}, {answer: protocol.ErrNoLeader.Code}} {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t)
			s.fateIs(f)
			c := newClient(t, s, Config{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var group sync.WaitGroup
			for range 3 {
				group.Go(func() {
					_, err := c.Command(ctx, count("x"))
					wantIs(t, err, []error{context.DeadlineExceeded}, []error{protocol.ErrUnknownOutcome})
					if code, _ := protocol.CodeOf(err); code != protocol.ErrUnavailable.Code && code != protocol.ErrNoLeader.Code {
						t.Errorf("got code %q, want one that says unavailable", code)
					}
				})
			}
			group.Wait()
		})
	}
}

func TestSessionExpired(t *testing.T) {
	t.Run("before the command was sent", func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{})
		mustCommand(t, c, "a")
		s.expireAll()
		mustCommand(t, c, "b")
		mustCommand(t, c, "c")
		if s.opened != 2 || s.times("b") != 1 {
			t.Errorf("got %d sessions and %d executions of b, want 2 and 1", s.opened, s.times("b"))
		}
	})
	t.Run("after the command was sent", func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{})
		mustCommand(t, c, "a")
		s.setFate(func(n int, q *protocol.Request) fate {
			s.fate = func(int, *protocol.Request) fate { s.expire(); s.fate = nil; return fate{} }
			return fate{after: errBroken}
		})
		_, err := c.Command(t.Context(), count("b"))
		wantIs(t, err, []error{protocol.ErrSessionExpired, protocol.ErrUnknownOutcome}, nil)
		if s.times("b") != 1 {
			t.Errorf("b was executed %d times, want once", s.times("b"))
		}
		mustCommand(t, c, "c")
		if s.opened != 2 {
			t.Errorf("got %d sessions, want 2", s.opened)
		}
	})
}

func TestErrorsOfCommands(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{})
	result, err := c.Command(t.Context(), failing("a"))
	if err != nil || result.Code != protocol.ErrConditionFailed.Code || answerOf(result) != "seen" {
		t.Errorf("got %+v, %v, want a condition that was not met in the result", result, err)
	}

	next := func(fates ...fate) {
		s.setFate(func(int, *protocol.Request) fate {
			f := fates[0]
			if fates = fates[1:]; len(fates) == 0 {
				s.fate = nil
			}
			return f
		})
	}
	next(fate{answer: protocol.ErrNoSpace.Code})
	result, err = c.Command(t.Context(), count("b"))
	if err != nil || result.Code != protocol.ErrNoSpace.Code {
		t.Errorf("got %+v, %v, want no_space in the result", result, err)
	}
	next(fate{answer: protocol.ErrNoSpaceHere.Code}, fate{answer: protocol.ErrNoSpaceHere.Code}, fate{})
	result, err = c.Command(t.Context(), count("elsewhere"))
	if err != nil || result.Code != protocol.OK || s.times("elsewhere") != 1 {
		t.Errorf("got %+v, %v after %d executions, want the answer of the leader with room", result, err, s.times("elsewhere"))
	}
	next(fate{after: errBroken}, fate{answer: protocol.ErrNoSpace.Code})
	_, err = c.Command(t.Context(), count("c"))
	wantIs(t, err, []error{protocol.ErrUnknownOutcome, protocol.ErrNoSpace}, nil)
	next(fate{before: protocol.ErrWrongCluster})
	_, err = c.Command(t.Context(), count("d"))
	wantIs(t, err, []error{protocol.ErrWrongCluster}, []error{protocol.ErrUnknownOutcome})
	next(fate{after: errBroken})
	result, err = c.Command(t.Context(), failing("e"))
	if err != nil || result.Code != protocol.ErrConditionFailed.Code || s.times("e") != 1 {
		t.Errorf("got %+v, %v after %d executions, want the first one's answer", result, err, s.times("e"))
	}
}

func TestSessionIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{SessionTimeout: 30 * time.Second})
		mustCommand(t, c, "a")
		start := time.Now()
		time.Sleep(95 * time.Second)
		synctest.Wait()
		var got []time.Duration
		for _, at := range s.kept {
			got = append(got, at.Sub(start))
		}
		want := []time.Duration{}
		for i := range 9 {
			want = append(want, time.Duration(i+1)*10*time.Second)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got keep-alives after %v, want %v", got, want)
		}
		mustCommand(t, c, "b")
		if s.opened != 1 {
			t.Errorf("got %d sessions, want 1", s.opened)
		}
	})
}

// A long session lasts only for a short time until it has carried a command: it is
// kept alive as if it were a short one, and then like a long one.
func TestUnusedSessionIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{SessionTimeout: time.Hour})
		start := time.Now()
		s.setFate(func(_ int, q *protocol.Request) fate {
			if q.Command.Type != protocol.SessionType && time.Since(start) < 25*time.Second {
				return fate{answer: protocol.ErrOverloaded.Code}
			}
			return fate{}
		})
		mustCommand(t, c, "a")
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		got := []time.Duration{}
		for _, at := range s.kept {
			got = append(got, at.Sub(start).Round(time.Second))
		}
		want := []time.Duration{10 * time.Second, 20 * time.Second, 20*time.Minute + 30*time.Second, 40*time.Minute + 30*time.Second}
		if !slices.Equal(got, want) {
			t.Errorf("got keep-alives after %v, want %v", got, want)
		}
	})
}

func TestKeepAliveSurvivesAFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{SessionTimeout: 30 * time.Second})
		mustCommand(t, c, "a")
		start := time.Now()
		s.setFate(func(int, *protocol.Request) fate {
			if time.Since(start) < 25*time.Second {
				return fate{answer: protocol.ErrNoLeader.Code}
			}
			return fate{}
		})
		time.Sleep(50 * time.Second)
		mustCommand(t, c, "b")
		if s.opened != 1 {
			t.Errorf("got %d sessions, want 1", s.opened)
		}
	})
}

func TestExpiryFoundWhileIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{SessionTimeout: 30 * time.Second})
		mustCommand(t, c, "a")
		s.expireAll()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		mustCommand(t, c, "b") // no error: nothing was lost by it
		if s.opened != 2 {
			t.Errorf("got %d sessions, want 2", s.opened)
		}
	})
}

func TestClose(t *testing.T) {
	t.Run("ends the session", func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{})
		mustCommand(t, c, "a")
		for range 2 {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if s.ended != 1 || !s.closed {
			t.Errorf("got %d sessions ended, transport closed %v, want 1 and true", s.ended, s.closed)
		}
		_, err := c.Command(t.Context(), count("b"))
		wantIs(t, err, []error{protocol.ErrClosed}, nil)
		_, err = c.Query(t.Context(), read())
		wantIs(t, err, []error{protocol.ErrClosed}, nil)
		_, err = c.Watch(t.Context(), watching(0))
		wantIs(t, err, []error{protocol.ErrClosed}, nil)
	})
	t.Run("does not wait for a dead cluster", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t)
			c := newClient(t, s, Config{})
			mustCommand(t, c, "a")
			s.fateIs(fate{hang: true})
			start := time.Now()
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got > closePatience {
				t.Errorf("Close took %v, want %v at most", got, closePatience)
			}
		})
	})
	t.Run("ends what is retried", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t)
			c := newClient(t, s, Config{})
			mustCommand(t, c, "a")
			s.setFate(func(_ int, q *protocol.Request) fate {
				if q.Kind == protocol.RequestCommand && string(q.Command.Argument) == string(encode("lost")) {
					return fate{before: errBroken}
				}
				return fate{answer: protocol.ErrNoLeader.Code}
			})
			var group sync.WaitGroup
			group.Go(func() {
				_, err := c.Command(t.Context(), count("lost"))
				wantIs(t, err, []error{protocol.ErrUnknownOutcome, protocol.ErrClosed}, nil)
			})
			group.Go(func() {
				_, err := c.Command(t.Context(), count("refused"))
				wantIs(t, err, []error{protocol.ErrClosed}, []error{protocol.ErrUnknownOutcome})
			})
			group.Go(func() {
				_, err := c.Query(t.Context(), read())
				wantIs(t, err, []error{protocol.ErrClosed}, nil)
			})
			time.Sleep(3 * time.Second)
			_ = c.Close()
			group.Wait()
		})
	})
}

func TestQueryIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{})
		s.setFate(func(n int, _ *protocol.Request) fate {
			return []fate{{answer: protocol.ErrNoLeader.Code}, {before: errBroken}, {after: protocol.ErrUnknownOutcome}, {}}[n-1]
		})
		result, err := c.Query(t.Context(), read())
		if err != nil || answerOf(result) != "read" || s.requests != 4 {
			t.Errorf("got %q, %v after %d requests, want an answer after 4", answerOf(result), err, s.requests)
		}
		s.fateIs(fate{answer: protocol.ErrUnknownType.Code})
		result, err = c.Query(t.Context(), read())
		if err != nil || result.Code != protocol.ErrUnknownType.Code {
			t.Errorf("got %+v, %v, want unknown_type in the result", result, err)
		}
		s.fateIs(fate{before: errBroken})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Query(ctx, read())
		wantIs(t, err, []error{protocol.ErrUnavailable, context.DeadlineExceeded}, []error{protocol.ErrUnknownOutcome})
	})
}

func TestPausesGrowAndDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{RetryMin: 8 * time.Millisecond, RetryMax: 100 * time.Millisecond})
		var at []time.Time
		s.setFate(func(int, *protocol.Request) fate {
			at = append(at, time.Now())
			return fate{answer: protocol.ErrNoLeader.Code}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, _ = c.Query(ctx, read())
		longest, different := 8*time.Millisecond, map[time.Duration]bool{}
		for i := range at[1:] {
			got := at[i+1].Sub(at[i])
			if got < longest/2 || got > longest {
				t.Errorf("pause %d is %v, want from %v to %v", i, got, longest/2, longest)
			}
			different[got] = true
			longest = min(2*longest, 100*time.Millisecond)
		}
		if len(different) < 10 {
			t.Errorf("got %d different pauses of %d, want many", len(different), len(at)-1)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	_, err := New(newServer(t), Config{SessionTimeout: time.Millisecond, RetryMin: time.Second, RetryMax: time.Millisecond})
	wantIs(t, err, []error{protocol.ErrInvalid}, nil)
	for _, want := range []string{"1s to 1h", "pauses"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want all mistakes named, %q too", err, want)
		}
	}
}
