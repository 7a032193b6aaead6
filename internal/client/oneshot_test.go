package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// wrote is what a client has written of a cluster: entries, sessions, executions.
type wrote struct {
	entries  protocol.Index
	sessions int
	executed int
}

func (s *server) wrote(name string) wrote {
	n := s.times(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	return wrote{s.machine.Applied(), s.opened, n}
}

// A write that stands alone is one entry, and no session is opened or closed for it.
func TestOneShotIsOneEntry(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{})
	r, err := c.OneShot(t.Context(), count("a"))
	if err != nil || answerOf(r) != "a" {
		t.Fatalf("got %q, %v, want a", answerOf(r), err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := s.wrote("a"), (wrote{1, 0, 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// [S] A one-shot whose answer is lost is sent again under its number, and takes effect
// once; its answer is the first one's, an error too.
func TestOneShotWhoseAnswerIsLostRunsOnce(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{RetryMin: time.Millisecond, RetryMax: time.Millisecond})
	for name, command := range map[string]protocol.Command{"a": count("a"), "b": failing("b")} {
		s.setFate(losing(s, 3))
		r, err := c.OneShot(t.Context(), command)
		s.fateIs(fate{})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.times(name); got != 1 || answerOf(r) != map[string]string{"a": name, "b": "seen"}[name] {
			t.Errorf("%s: executed %d times, answered %q %v, want once", name, got, r.Data, r.Err())
		}
		s.mu.Lock()
		if last := s.machine.Applied(); r.Index != last-3 {
			t.Errorf("%s: answered at %d, want %d, where it was executed", name, r.Index, last-3)
		}
		s.mu.Unlock()
	}
}

// losing loses the answers of the next n requests.
func losing(s *server, n int) func(int, *protocol.Request) fate {
	until := s.requests + n
	return func(k int, _ *protocol.Request) fate {
		if k <= until {
			return fate{after: errBroken}
		}
		return fate{}
	}
}

// A client that has seen too little draws again, and the command runs once; one whose
// copy may have been received does not, since that may have run.
func TestOneShotIsDrawnAnewOnlyIfNoCopyMayHaveRun(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{RetryMin: time.Millisecond, RetryMax: time.Millisecond})
	if _, err := c.OneShot(t.Context(), count("old")); err != nil {
		t.Fatal(err)
	}
	s.expireAll() // the horizon is above what the next one has seen
	late := newClient(t, s, Config{})
	if _, err := late.OneShot(t.Context(), count("late")); err != nil {
		t.Fatal(err)
	}
	if got, want := s.wrote("late"), (wrote{4, 0, 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}

	s.setFate(func(n int, q *protocol.Request) fate { // executed, its answer lost, and then forgotten
		if s.executed["lost"] == 0 {
			return fate{after: errBroken}
		}
		s.expire()
		return fate{}
	})
	_, err := late.OneShot(t.Context(), count("lost"))
	if !errors.Is(err, protocol.ErrSessionExpired) || !errors.Is(err, protocol.ErrUnknownOutcome) {
		t.Errorf("got %v, want %v and %v", err, protocol.ErrSessionExpired, protocol.ErrUnknownOutcome)
	}
	if got := s.times("lost"); got != 1 {
		t.Errorf("executed %d times, want once", got)
	}
}

// A client that has a session writes in that.
func TestOneShotOfAClientWithASessionUsesIt(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{})
	for range 2 {
		if _, err := c.Command(t.Context(), count("a")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.OneShot(t.Context(), count("a")); err != nil {
		t.Fatal(err)
	}
	if got := s.floor; got != 3 {
		t.Errorf("got floor %d with the last command, want 3", got)
	}
}

// While the cluster takes no more one-shots the call goes on, and says so in the end: the
// error has its code, and nothing has happened.
func TestOneShotOverTheLimitIsRefusedWithItsCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{})
		defer c.Close()
		s.fateIs(fate{answer: protocol.ErrOverloaded.Code})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.OneShot(ctx, count("a")); !errors.Is(err, protocol.ErrOverloaded) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, protocol.ErrOverloaded)
		}
		s.fateIs(fate{})
		if got := s.times("a"); got != 0 {
			t.Errorf("executed %d times, want never", got)
		}
	})
}

// What is no command of a type, and what a zero client is asked, is refused at once.
func TestOneShotIsValidated(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{})
	drawn, unnamed := count("a"), count("a")
	drawn.OneShot.Number[0], unnamed.Resource = 1, ""
	for what, command := range map[string]protocol.Command{
		"a session's own":   {Type: protocol.SessionType, Operation: protocol.SessionClose},
		"a number is drawn": drawn,
		"no name":           unnamed,
	} {
		if _, err := c.OneShot(t.Context(), command); !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("%s: got %v, want %v", what, err, protocol.ErrInvalid)
		}
	}
	if _, err := (*Client)(nil).OneShot(t.Context(), count("a")); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("nil: got %v, want %v", err, protocol.ErrInvalid)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.OneShot(t.Context(), count("a")); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("closed: got %v, want %v", err, protocol.ErrClosed)
	}
	if got := s.wrote("a"); got != (wrote{}) {
		t.Errorf("got %+v, want nothing", got)
	}
}
