package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// fleet is the members of one cluster by address, all before the same server.
type fleet struct {
	*server
	cluster protocol.ClusterID

	mu      sync.Mutex
	members map[string]*fakeMember
	leader  string // whom the others name, and what status says
	dials   []string
	asked   []string // "address kind", in order
}

type fakeMember struct {
	down    bool          // nobody answers
	refuses error         // what the handshake says
	code    protocol.Code // answers commands and queries with this
	silent  bool          // frozen: it takes connections and requests, and never answers
	slow    bool          // the handshake never ends
	gone    bool          // no member of the cluster any more
	conns   []*fakeConn
}

func newFleet(t *testing.T, addresses ...string) *fleet {
	f := &fleet{server: newServer(t), cluster: protocol.ClusterID{7}, members: map[string]*fakeMember{}}
	for _, address := range addresses {
		f.members[address] = &fakeMember{}
	}
	return f
}

// change changes the fleet; a member that goes down loses its connections.
func (f *fleet) change(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	for _, m := range f.members {
		if m.down {
			for _, c := range m.conns {
				c.lose()
			}
		}
	}
}

func (f *fleet) dial(ctx context.Context, address string, cluster protocol.ClusterID) (Conn, error) {
	f.mu.Lock()
	f.dials = append(f.dials, address)
	m := f.members[address]
	if m != nil && (m.slow || m.silent) {
		f.mu.Unlock()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	defer f.mu.Unlock()
	switch {
	case m == nil || m.down:
		return nil, errors.New("connection refused")
	case m.refuses != nil:
		return nil, m.refuses
	case !cluster.IsZero() && cluster != f.cluster:
		return nil, protocol.ErrWrongCluster
	}
	c := &fakeConn{fleet: f, address: address, done: make(chan struct{})}
	m.conns = append(m.conns, c)
	return c, nil
}

func (f *fleet) status() *protocol.Status {
	status := &protocol.Status{Cluster: f.cluster}
	for address, m := range f.members {
		if !m.gone {
			status.Members = append(status.Members, protocol.MemberStatus{
				Address: address, Alive: !m.down, Leader: address == f.leader,
			})
		}
	}
	slices.SortFunc(status.Members, func(a, b protocol.MemberStatus) int { return strings.Compare(a.Address, b.Address) })
	return status
}

func (f *fleet) config(addresses ...string) RemoteConfig {
	return RemoteConfig{Addresses: addresses, Dial: f.dial}
}

// whom returns which members were asked for commands or queries since the last
// call.
func (f *fleet) whom() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var asked []string
	for _, one := range f.asked {
		address, kind, _ := strings.Cut(one, " ")
		if kind != fmt.Sprint(protocol.RequestStatus) {
			asked = append(asked, address)
		}
	}
	f.asked = nil
	return asked
}

type fakeConn struct {
	fleet   *fleet
	address string
	once    sync.Once
	done    chan struct{}
	err     error // written before done is closed
}

func (c *fakeConn) lose() { c.fail(errBroken) }

func (c *fakeConn) fail(err error) {
	c.once.Do(func() {
		c.err = err
		close(c.done)
	})
}

func (c *fakeConn) Done() <-chan struct{} { return c.done }

func (c *fakeConn) Err() error { return c.err }

// pinged is when a connection to a silent member has ended at the latest.
const pinged = PingTimeoutDefault * 3 / 2

func (c *fakeConn) Close() error {
	c.lose()
	return nil
}

func (c *fakeConn) Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error) {
	c.fleet.mu.Lock()
	m := c.fleet.members[c.address]
	c.fleet.asked = append(c.fleet.asked, fmt.Sprintf("%s %d", c.address, q.Kind))
	leader, code, silent, status := c.fleet.leader, m.code, m.silent, c.fleet.status()
	c.fleet.mu.Unlock()
	select {
	case <-c.done:
		return nil, protocol.ErrUnavailable
	default:
	}
	if silent {
		timer := time.NewTimer(pinged)
		defer timer.Stop()
		select {
		case <-timer.C:
			c.fail(&wire.SilentError{Address: c.address, For: PingTimeoutDefault})
			return nil, c.err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.done:
			return nil, errBroken
		}
	}
	if q.Kind == protocol.RequestStatus {
		return &protocol.Response{Kind: q.Kind, Status: status}, nil
	}
	if code != protocol.OK {
		return &protocol.Response{Kind: q.Kind, Result: protocol.Result{Code: code}, Leader: leader}, nil
	}
	response, err := c.fleet.Do(ctx, q)
	if err == nil {
		response.Leader = leader
	}
	return response, err
}

func (c *fakeConn) Watch(ctx context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	return c.fleet.Watch(ctx, w)
}

func newRemote(t *testing.T, cfg RemoteConfig) *Remote {
	t.Helper()
	r, err := NewRemote(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func mustQuery(t *testing.T, c *Client) {
	t.Helper()
	result, err := c.Query(t.Context(), read())
	if err != nil || result.Code != protocol.OK {
		t.Fatalf("query: %+v, %v", result, err)
	}
}

func TestCommandsGoToTheLeaderQueriesStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a:1", "b:1", "c:1")
		c := newClient(t, newRemote(t, f.config("a:1", "b:1")), Config{})
		mustCommand(t, c, "1") // nobody has said who leads
		f.whom()
		f.change(func() { f.leader = "c:1" })
		mustCommand(t, c, "2") // at a, which names c
		mustCommand(t, c, "3")
		mustQuery(t, c)
		mustQuery(t, c)
		if got, want := f.whom(), []string{"a:1", "c:1", "a:1", "a:1"}; !slices.Equal(got, want) {
			t.Errorf("got %v asked, want %v", got, want)
		}
		f.change(func() { f.members["c:1"].down = true; f.leader = "b:1" })
		mustCommand(t, c, "4") // c is gone; a takes it, and names b
		mustCommand(t, c, "5")
		mustQuery(t, c)
		if got, want := f.whom(), []string{"a:1", "b:1", "a:1"}; !slices.Equal(got, want) {
			t.Errorf("got %v asked, want %v", got, want)
		}
		f.change(func() { f.members["a:1"].down = true })
		mustQuery(t, c)
		f.change(func() { f.members["a:1"].down = false })
		mustQuery(t, c)
		if got, want := f.whom(), []string{"b:1", "b:1"}; !slices.Equal(got, want) {
			t.Errorf("got %v asked, want %v: reads do not jump back", got, want)
		}
	})
}

// The answer of another member would be an answer to another question.
func TestLocalReadsAndStatusStayAtTheAddressesGiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a:1", "b:1")
		r := newRemote(t, f.config("a:1"))
		c := newClient(t, r, Config{})
		time.Sleep(FollowDefault + time.Second) // b is known now
		mustQuery(t, c)
		f.change(func() { f.members["a:1"].down = true })
		mustQuery(t, c) // b answers: any member does
		local := read()
		local.Consistency = protocol.Local
		for _, q := range []*protocol.Request{
			{Kind: protocol.RequestQuery, Query: &local}, {Kind: protocol.RequestStatus},
		} {
			if answer, err := r.Do(t.Context(), q); !errors.Is(err, protocol.ErrUnavailable) {
				t.Errorf("request %d: got %+v, %v, want %v", q.Kind, answer, err, protocol.ErrUnavailable)
			}
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	f := newFleet(t)
	_, err := NewRemote(t.Context(), f.config("a:1", "b:2"))
	wantIs(t, err, []error{protocol.ErrUnavailable}, nil)
	for _, want := range []string{"a:1 (connection refused)", "b:2 (connection refused)", "start a member there, or give the address of one that runs"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	_, err = NewRemote(t.Context(), RemoteConfig{})
	wantIs(t, err, []error{protocol.ErrInvalid}, nil)
}

func TestNobodyAnswersAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a:1")
		c := newClient(t, newRemote(t, f.config("a:1")), Config{})
		mustCommand(t, c, "1")
		f.change(func() { f.members["a:1"].down = true })
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := c.Command(ctx, count("2"))
		wantIs(t, err, []error{protocol.ErrUnavailable, context.DeadlineExceeded}, []error{protocol.ErrUnknownOutcome})
		if !strings.Contains(err.Error(), "a:1") {
			t.Errorf("got %v, want the address in it", err)
		}
	})
}

func TestRefusals(t *testing.T) {
	for _, refusal := range []*protocol.Error{protocol.ErrWrongCluster, protocol.ErrWrongVersion, protocol.ErrOverloaded} {
		f := newFleet(t, "a:1", "b:1")
		f.members["a:1"].refuses = refusal
		f.members["b:1"].refuses = refusal
		_, err := NewRemote(t.Context(), f.config("a:1", "b:1"))
		wantIs(t, err, []error{refusal}, []error{protocol.ErrUnavailable})

		f.members["b:1"].refuses = nil
		c := newClient(t, newRemote(t, f.config("a:1", "b:1")), Config{}) // one that will do
		mustCommand(t, c, "1")

		f.members["b:1"].down = true
		_, err = NewRemote(t.Context(), f.config("a:1", "b:1"))
		wantIs(t, err, []error{protocol.ErrUnavailable}, nil)
		if !strings.Contains(err.Error(), refusal.Text) {
			t.Errorf("got %v, want the refusal told too", err)
		}
	}
	f := newFleet(t, "a:1", "b:1")
	f.members["a:1"].refuses, f.members["b:1"].refuses = protocol.ErrOverloaded, protocol.ErrWrongCluster
	_, err := NewRemote(t.Context(), f.config("a:1", "b:1"))
	wantIs(t, err, []error{protocol.ErrUnavailable}, nil) // each has its own reason
}

func TestStaysWithTheClusterThatAnsweredFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a:1")
		c := newClient(t, newRemote(t, f.config("a:1")), Config{})
		mustCommand(t, c, "1")
		f.change(func() { f.members["a:1"].down = true })
		f.change(func() { f.members["a:1"].down = false; f.cluster = protocol.ClusterID{8} })
		_, err := c.Command(t.Context(), count("2")) // another cluster has the port now
		wantIs(t, err, []error{protocol.ErrWrongCluster}, nil)
	})
}

func TestFollowsTheMembership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a:1", "b:1")
		c := newClient(t, newRemote(t, f.config("a:1")), Config{SessionTimeout: time.Hour})
		mustCommand(t, c, "1")
		// Member by member, all are replaced, also the one that was given.
		names := []string{"a:1", "b:1"}
		for i := range 5 {
			newcomer := fmt.Sprintf("n%d:1", i)
			names = append(names, newcomer)
			f.change(func() { f.members[newcomer] = &fakeMember{} })
			time.Sleep(FollowDefault + time.Second)
			f.change(func() { f.members[names[i]].down, f.members[names[i]].gone = true, true })
			mustCommand(t, c, newcomer)
		}
		for _, gone := range []string{"a:1", "b:1", "n0:1", "n1:1", "n2:1"} {
			if !f.members[gone].gone {
				t.Errorf("%s is still a member: the test proves nothing", gone)
			}
		}
		if f.opened != 1 {
			t.Errorf("got %d sessions, want 1", f.opened)
		}
		r := c.transport.(*Remote)
		time.Sleep(FollowDefault + time.Second)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if got := slices.Sorted(maps.Keys(r.links)); slices.Contains(got, "n0:1") || !slices.Contains(got, "n3:1") {
			t.Errorf("got connections to %v, want none to those that left", got)
		}
	})
}

func TestMemberThatCannotHelpIsLeft(t *testing.T) {
	for _, code := range []protocol.Code{protocol.ErrNoLeader.Code, protocol.ErrUnavailable.Code, protocol.ErrNotServing.Code} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, "a:1", "b:1")
			f.members["a:1"].code = code
			c := newClient(t, newRemote(t, f.config("a:1", "b:1")), Config{})
			mustQuery(t, c)
			f.whom()
			mustQuery(t, c)
			if got, want := f.whom(), []string{"b:1"}; !slices.Equal(got, want) {
				t.Errorf("%s: got %v asked, want %v", code, got, want)
			}
			if code != protocol.ErrNotServing.Code {
				mustCommand(t, c, "1")
			}
		})
	}
}

// What a member that stops answers is no answer of the command: nothing has happened.
func TestACommandGoesElsewhereFromAMemberThatHasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a:1", "b:1")
		c := newClient(t, newRemote(t, f.config("a:1", "b:1")), Config{SessionTimeout: time.Hour})
		mustCommand(t, c, "1")
		f.change(func() { f.members["a:1"].code = protocol.ErrClosed.Code })
		mustCommand(t, c, "2")
		if f.times("2") != 1 {
			t.Errorf("2 was executed %d times, want once", f.times("2"))
		}
	})
}

func TestSilentMemberIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a:1", "b:1")
		c := newClient(t, newRemote(t, f.config("a:1", "b:1")), Config{SessionTimeout: time.Hour})
		mustCommand(t, c, "1")
		f.change(func() { f.members["a:1"].silent = true })
		start := time.Now()
		mustCommand(t, c, "2")
		mustQuery(t, c)
		if got := time.Since(start); got > pinged+100*time.Millisecond {
			t.Errorf("got an answer after %v, want one soon after %v", got, pinged)
		}
		if f.times("2") != 1 {
			t.Errorf("2 was executed %d times, want once", f.times("2"))
		}
	})
}

func TestOneConnectionForManyCallers(t *testing.T) {
	f := newFleet(t, "a:1")
	c := newClient(t, newRemote(t, f.config("a:1")), Config{})
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() { mustCommand(t, c, fmt.Sprint(i)) })
	}
	group.Wait()
	if got, want := f.dials, []string{"a:1"}; !slices.Equal(got, want) {
		t.Errorf("got dials %v, want %v", got, want)
	}
}

func TestRemoteClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a:1", "b:1", "c:1")
		r := newRemote(t, f.config("a:1", "b:1"))
		f.change(func() { f.members["b:1"].slow = true; f.leader = "b:1"; f.members["a:1"].silent = true })
		r.endpoints.Learn("a:1", &protocol.Response{Leader: "b:1"})
		var group sync.WaitGroup
		group.Go(func() { // is dialling
			_, err := r.Do(t.Context(), &protocol.Request{Kind: protocol.RequestCommand, Command: &protocol.Command{}})
			wantIs(t, err, []error{protocol.ErrClosed}, nil)
		})
		group.Go(func() { // waits for an answer
			query := read()
			_, err := r.Do(t.Context(), &protocol.Request{Kind: protocol.RequestQuery, Query: &query})
			if err == nil {
				t.Error("got an answer, want an error")
			}
		})
		synctest.Wait()
		start := time.Now()
		for range 2 {
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		group.Wait()
		if got := time.Since(start); got != 0 {
			t.Errorf("Close took %v, want no time", got)
		}
		_, err := r.Do(t.Context(), &protocol.Request{Kind: protocol.RequestStatus})
		wantIs(t, err, []error{protocol.ErrClosed}, nil)
		w := watching(0)
		_, err = r.Watch(t.Context(), &w)
		wantIs(t, err, []error{protocol.ErrClosed}, nil)
	})
}

// TestExactlyOnceWhileMembersComeAndGo sends commands while members die, fall
// silent, come back, and the leader changes.
func TestExactlyOnceWhileMembersComeAndGo(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(seed, 2))
		addresses := []string{"a:1", "b:1", "c:1", "d:1"}
		f := newFleet(t, addresses...)
		c := newClient(t, newRemote(t, f.config("a:1", "b:1")), Config{SessionTimeout: time.Hour})
		stop := make(chan struct{})
		var group, chaos sync.WaitGroup
		chaos.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(200 * time.Millisecond):
				}
				f.change(func() {
					m := f.members[addresses[random.IntN(4)]]
					*m = fakeMember{conns: m.conns, down: random.IntN(2) == 0, silent: random.IntN(5) == 0}
					f.leader = addresses[random.IntN(4)]
				})
			}
		})
		for i := range 10 {
			group.Go(func() {
				for k := range 20 {
					mustCommand(t, c, fmt.Sprintf("%d.%d", i, k))
					<-time.NewTimer(100 * time.Millisecond).C
				}
			})
		}
		group.Wait()
		close(stop)
		chaos.Wait()
		for name, times := range f.executed {
			if times != 1 {
				t.Errorf("%s: executed %d times", name, times)
			}
		}
		if got := len(f.executed); got != 200 {
			t.Errorf("got %d commands executed, want 200", got)
		}
		f.change(func() {
			for _, m := range f.members {
				m.down, m.silent = false, false
			}
		})
	})
}

// The link to the leader stays though no list of the members has its address: commands
// wait on it. Others that nobody has listed go.
func TestLinkToTheLeaderIsNotPruned(t *testing.T) {
	f := newFleet(t, "a:1", "b:1", "c:1")
	r := newRemote(t, f.config("a:1"))
	var links []Conn
	for _, address := range []string{"a:1", "b:1", "c:1"} {
		c, err := r.connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		links = append(links, c)
	}
	r.endpoints.Learn("a:1", &protocol.Response{Leader: "b:1", Term: 1})
	r.endpoints.Learn("a:1", &protocol.Response{Status: &protocol.Status{Members: []protocol.MemberStatus{{Address: "a:1", Alive: true}}}})
	r.prune()
	for i, want := range []bool{true, true, false} {
		select {
		case <-links[i].Done():
			if want {
				t.Errorf("the link %d is closed", i)
			}
		default:
			if !want {
				t.Errorf("the link %d is open", i)
			}
		}
	}
}
