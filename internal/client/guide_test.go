package client

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// realm is three members of which one leads, over the real protocol, and a client
// whose bounds are so long that only what it is told can help it.
type realm struct {
	desks
	t       *testing.T
	cluster *server // the state behind all of them

	mu      sync.Mutex
	leader  string
	term    protocol.Term
	changed chan struct{}
	stale   map[string]protocol.Response // what a member says of the leader instead
	asked   []string                     // addresses, of commands and membership changes
}

func newRealm(t *testing.T) *realm {
	r := &realm{t: t, cluster: newServer(t), leader: "a:1", term: 5, changed: make(chan struct{}), stale: map[string]protocol.Response{}}
	var all []*desk
	for _, address := range []string{"a:1", "b:1", "c:1"} {
		all = append(all, &desk{address: address, serve: func(q *protocol.Request, to *wire.Responder) { r.serve(address, q, to) }})
	}
	r.desks = newDesks(t, all...)
	return r
}

// elect makes another member the leader of the next term.
func (r *realm) elect(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leader, r.term = address, r.term+1
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *realm) serve(address string, q *protocol.Request, to *wire.Responder) {
	r.mu.Lock()
	leader, term, changed := r.leader, r.term, r.changed
	says, stale := r.stale[address]
	if q.Kind == protocol.RequestCommand || q.Kind == protocol.RequestMembershipChange {
		r.asked = append(r.asked, address)
	}
	r.mu.Unlock()
	switch {
	case q.Kind == protocol.RequestLeader && stale:
		_ = to.Respond(&says)
	case q.Kind == protocol.RequestLeader:
		for leader == "" || term <= q.Term {
			select {
			case <-changed:
			case <-to.Context().Done():
				_ = to.Fail(protocol.ErrNoLeader)
				return
			}
			r.mu.Lock()
			leader, term, changed = r.leader, r.term, r.changed
			r.mu.Unlock()
		}
		_ = to.Respond(&protocol.Response{Leader: leader, Term: term})
	case leader != address:
		_ = to.Respond(&protocol.Response{Result: protocol.Failed(protocol.ErrNotLeader), Leader: leader, Term: term})
	default:
		response, err := r.cluster.Do(to.Context(), q)
		if err != nil {
			_ = to.Fail(err)
			return
		}
		response.Leader, response.Term = leader, term
		_ = to.Respond(response)
	}
}

func (r *realm) client(cfg Config) *Client {
	r.t.Helper()
	remote := newRemote(r.t, RemoteConfig{
		Addresses: []string{"a:1", "b:1", "c:1"}, Dial: r.desks.deaf, DialTimeout: 1000 * time.Hour, PingTimeout: 1000 * time.Hour,
		Follow: 1000 * time.Hour,
	})
	cfg.SessionTimeout = time.Hour
	return newClient(r.t, remote, cfg)
}

func (r *realm) whom() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	return asked
}

// mustWrite is mustCommand with an end, so that a test fails that would wait for
// ever.
func mustWrite(t *testing.T, c *Client, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	if _, err := c.Command(ctx, count(name)); err != nil {
		t.Errorf("command %q: %v", name, err)
	}
}

// A command at a leader that stands still is given up when another member names
// the leader of a newer term, and no time limit has a part in it.
func TestCommandGoesToTheNextLeaderAsSoonAsItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRealm(t)
		c := r.client(Config{})
		mustCommand(t, c, "1")
		r.desks["a:1"].freeze(true)
		r.whom()
		began := time.Now()
		time.AfterFunc(20*time.Second, func() { r.elect("c:1") })
		var all sync.WaitGroup
		for _, name := range []string{"2", "3", "4"} {
			all.Go(func() { mustWrite(t, c, name) })
		}
		all.Wait()
		if got, want := time.Since(began), 20*time.Second; got != want {
			t.Errorf("got the answers after %v, want %v: as soon as the leader is known", got, want)
		}
		if got, want := r.whom(), []string{"c:1", "c:1", "c:1"}; !slices.Equal(got, want) {
			t.Errorf("got %v asked, want %v", got, want)
		}
		for _, name := range []string{"2", "3", "4"} {
			if got := r.cluster.times(name); got != 1 {
				t.Errorf("%s was executed %d times, want once", name, got)
			}
		}
	})
}

// Who pauses for the lack of a leader goes on as soon as there is one.
func TestPauseEndsWhenALeaderIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRealm(t)
		c := r.client(Config{RetryMin: time.Minute, RetryMax: time.Hour})
		mustCommand(t, c, "1")
		r.mu.Lock()
		r.leader = ""
		r.mu.Unlock()
		began := time.Now()
		time.AfterFunc(10*time.Second, func() { r.elect("b:1") })
		mustWrite(t, c, "2")
		if got, want := time.Since(began), 10*time.Second; got != want {
			t.Errorf("got an answer after %v, want %v", got, want)
		}
	})
}

// What names the leader of an older term, or the one that is known, or the one
// that has just said that it leads no more, triggers nothing.
func TestStaleWordOfALeaderTriggersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRealm(t)
		c := r.client(Config{})
		mustCommand(t, c, "1")
		r.mu.Lock()
		r.stale["b:1"] = protocol.Response{Leader: "b:1", Term: 4}
		r.stale["c:1"] = protocol.Response{Leader: "b:1", Term: 5}
		r.mu.Unlock()
		r.desks["a:1"].freeze(true)
		r.whom()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.Command(ctx, count("2"))
		wantIs(t, err, []error{protocol.ErrUnknownOutcome, context.DeadlineExceeded}, nil)
		if err == nil || !strings.Contains(err.Error(), "a:1") || !strings.Contains(err.Error(), "at work") && !strings.Contains(err.Error(), "no answer") {
			t.Errorf("got %v, want who has not answered in it", err)
		}
		if got := r.whom(); len(got) != 0 {
			t.Errorf("got %v asked because of a stale word", got)
		}
	})
}

// A membership change has no session that would make a second one exact: who asked
// for it is told, and decides.
func TestChangeOfSeatsIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRealm(t)
		c := r.client(Config{})
		mustCommand(t, c, "1")
		r.desks["a:1"].freeze(true)
		r.whom()
		time.AfterFunc(time.Second, func() { r.elect("c:1") })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		_, err := c.ChangeMembership(ctx, protocol.MembershipChange{Transfer: true})
		wantIs(t, err, []error{protocol.ErrUnknownOutcome}, nil)
		if got := r.whom(); len(got) != 0 {
			t.Errorf("got it sent to %v as well", got)
		}
		if !strings.Contains(err.Error(), "by now c:1 leads") {
			t.Errorf("got %v, want who leads in it", err)
		}
	})
}

// While nobody waits, nobody is asked who leads.
func TestNobodyIsAskedWhoLeadsWithoutNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRealm(t)
		c := r.client(Config{})
		for range 50 {
			mustCommand(t, c, "1")
			time.Sleep(70 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		for address, d := range r.desks {
			if slices.Contains(d.seen, protocol.RequestLeader) {
				t.Errorf("%s was asked who leads", address)
			}
		}
		g := &c.transport.(*Remote).guide
		g.mu.Lock()
		defer g.mu.Unlock()
		if !g.search.Begin() { // there are ticks
			t.Errorf("the search has not come to rest: %+v", &g.search)
		}
	})
}

// Of what is under way, only that is given up which waits at another address than
// the new leader's, and was sent before it was known.
func TestOnlyWhatWaitsElsewhereIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRealm(t).client(Config{}).transport.(*Remote)
		out := func(address string) context.Context {
			ctx, comeBack := r.setOut(t.Context(), address)
			t.Cleanup(comeBack)
			return ctx
		}
		there, elsewhere := out("c:1"), out("b:1")
		r.learn("b:1", &protocol.Response{Leader: "c:1", Term: 9})
		later := out("b:1")
		r.learn("a:1", &protocol.Response{Leader: "c:1", Term: 9})
		if there.Err() != nil || later.Err() != nil {
			t.Errorf("given up: at the new leader %v, sent later %v; want neither", there.Err(), later.Err())
		}
		if !errors.Is(context.Cause(elsewhere), protocol.ErrUnknownOutcome) {
			t.Errorf("got %v for what waits elsewhere, want %v", context.Cause(elsewhere), protocol.ErrUnknownOutcome)
		}
	})
}
