package client

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/starlinghq/starling/protocol"
)

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// What no member would take is not sent, and costs no session either.
func TestInvalidRequestsAreNotSent(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{})
	s.fateIs(fate{before: protocol.ErrNoSpace}) // what is sent ends at once
	long := strings.Repeat("n", protocol.NameBytesMax+1)
	large := make([]byte, protocol.CommandBytesMax+1)
	command := func(change func(*protocol.Command)) func() error {
		return func() error {
			command := count("a")
			change(&command)
			_, err := c.Command(t.Context(), command)
			return err
		}
	}
	query := func(change func(*protocol.Query)) func() error {
		return func() error {
			query := read()
			change(&query)
			_, err := c.Query(t.Context(), query)
			return err
		}
	}
	watch := func(change func(*protocol.Watch)) func() error {
		return func() error {
			w := watching(0)
			change(&w)
			_, err := c.Watch(t.Context(), w)
			return err
		}
	}
	for name, one := range map[string]struct {
		call func() error
		want error
	}{
		"command, no name":        {command(func(c *protocol.Command) { c.Resource = "" }), protocol.ErrInvalid},
		"command, bad name":       {command(func(c *protocol.Command) { c.Resource = "a b" }), protocol.ErrInvalid},
		"command, long name":      {command(func(c *protocol.Command) { c.Resource = long }), protocol.ErrTooLarge},
		"command, large argument": {command(func(c *protocol.Command) { c.Argument = large }), protocol.ErrTooLarge},
		"command, a session's": {command(func(c *protocol.Command) {
			c.Resource, c.Type, c.Operation = "", protocol.SessionType, protocol.SessionClose
		}), protocol.ErrInvalid},
		"query, no name":        {query(func(q *protocol.Query) { q.Resource = "" }), protocol.ErrInvalid},
		"query, long type":      {query(func(q *protocol.Query) { q.Type = long }), protocol.ErrTooLarge},
		"query, large argument": {query(func(q *protocol.Query) { q.Argument = large }), protocol.ErrTooLarge},
		"query, unknown level":  {query(func(q *protocol.Query) { q.Consistency = 9 }), protocol.ErrInvalid},
		"watch, bad name":       {watch(func(w *protocol.Watch) { w.Resource = "a b" }), protocol.ErrInvalid},
		"watch, long name":      {watch(func(w *protocol.Watch) { w.Resource = long }), protocol.ErrTooLarge},
		"watch, long prefix":    {watch(func(w *protocol.Watch) { w.Prefix = large[:protocol.KeyBytesMax+1] }), protocol.ErrTooLarge},
		"watch, index too high": {watch(func(w *protocol.Watch) { w.From = protocol.IndexMax + 1 }), protocol.ErrInvalid},
		"seats": {func() error {
			_, err := c.ChangeMembership(t.Context(), protocol.MembershipChange{Target: -1})
			return err
		}, protocol.ErrInvalid},
	} {
		if err := one.call(); !errors.Is(err, one.want) {
			t.Errorf("%s: got %v, want %v", name, err, one.want)
		}
	}
	if got := s.count(); got != 0 {
		t.Errorf("%d requests were sent, want none", got)
	}
}

// A member's word that a request will not do is final: it is asked once.
func TestARefusalForGoodIsNotTriedAgain(t *testing.T) {
	for _, code := range []*protocol.Error{
		protocol.ErrInvalid, protocol.ErrTooLarge, protocol.ErrMalformed, protocol.ErrUnsupported,
		protocol.ErrUnknownType, protocol.ErrUnknownOperation, protocol.ErrWrongType,
	} {
		for _, answered := range []bool{true, false} { // by a response, or by the transport itself
			synctest.Test(t, func(t *testing.T) { // where a pause would never be noticed
				s := newServer(t)
				c := newClient(t, s, Config{})
				mustCommand(t, c, "a session")
				f := fate{before: code}
				if answered {
					f = fate{answer: code.Code}
				}
				s.fateIs(f)
				before := s.count()
				result, err := c.Command(t.Context(), count("b"))
				if err == nil {
					err = result.Err()
				}
				wantIs(t, err, []error{code}, []error{protocol.ErrUnknownOutcome})
				result, err = c.Query(t.Context(), read())
				if err == nil {
					err = result.Err()
				}
				wantIs(t, err, []error{code}, nil)
				_, err = c.ChangeMembership(t.Context(), protocol.MembershipChange{Target: 3})
				wantIs(t, err, []error{code}, nil)
				if got, want := s.count()-before, 3; got != want {
					t.Errorf("%s: %d requests, want %d", code.Code, got, want)
				}
				if !answered {
					_, err = c.Watch(t.Context(), watching(0))
					wantIs(t, err, []error{code}, nil)
				}
				s.fateIs(fate{})
			})
		}
	}
}

// A watch that its member refuses ends with the reason, over sockets, too.
func TestARefusedWatchIsNotTriedAgain(t *testing.T) {
	s := newServer(t)
	address, _ := listen(t, s, protocol.ClusterID{7})
	c := dial(t, address)
	mustCommand(t, c, "a")
	before := s.count()
	w := watching(1)
	w.Type = "unknown"
	_, err := c.Watch(t.Context(), w)
	wantIs(t, err, []error{protocol.ErrUnknownType}, nil)
	if got := s.count() - before; got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}
