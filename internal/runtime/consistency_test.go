package runtime

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
)

// deafen loses all messages to a member from those that lost names; nil heals.
func deafen(m *Member, lost func(protocol.MemberID) bool) {
	m.mailbox.mu.Lock()
	defer m.mailbox.mu.Unlock()
	m.mailbox.deaf = lost
}

func everybody(protocol.MemberID) bool { return true }

// pair is a lone active and a passive, which has what the active has.
func (c *cluster) pair() (a, p *Member) {
	a = c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 })
	p = c.start("p1", protocol.RolePassive)
	c.put(c.client(a), "k", "old")
	c.equal()
	return a, p
}

func (c *cluster) read(caller resources.Caller, opts ...resources.ReadOption) (string, resources.Info, error) {
	var info resources.Info
	item, err := kvmap.Get.Do(c.ctx, caller, "m", kvmap.KeyRequest("k"), append(opts, resources.WithInfo(&info))...)
	return string(item.Value), info, err
}

// [S] A member that hears nobody does not answer a read at the level MaxStale
// from a state that has become too old: it says how old it is.
func TestStateThatBecameTooOldIsNotServed(t *testing.T) {
	c := newCluster(t)
	a, p := c.pair()
	caller := c.client(p)
	const d = 400 * time.Millisecond
	c.eventually("a fresh read", func() error {
		value, info, err := c.read(caller, resources.MaxStale(d), resources.NoForwarding)
		if err == nil && (value != "old" || !info.AgeKnown || info.Age > d || info.Index == 0) {
			t.Fatalf("got %q, %+v", value, info)
		}
		return err
	})
	deafen(p, everybody)
	c.put(c.client(a), "k", "new")
	acknowledged := time.Now()
	// What it has may be served for as long as it is young enough, not longer.
	c.eventually("an error", func() error {
		began := time.Now()
		value, info, err := c.read(caller, resources.MaxStale(d), resources.NoForwarding)
		if err == nil && began.Sub(acknowledged) > d {
			t.Fatalf("%q, %v old, was served %v after it was overwritten", value, info.Age, began.Sub(acknowledged))
		}
		if err == nil {
			return errors.New("served")
		}
		if !errors.Is(err, protocol.ErrTooStale) || !strings.Contains(err.Error(), "may be ") || !strings.Contains(err.Error(), "400ms was asked for") ||
			!info.AgeKnown || info.Age <= d {
			t.Fatalf("got %v, %+v; want an ErrTooStale with the age", err, info)
		}
		return nil
	})
	// Nor if the leader may be asked, and cannot be.
	if value, _, err := c.read(caller, resources.MaxStale(d)); !errors.Is(err, protocol.ErrTooStale) || !strings.Contains(err.Error(), "level local") {
		t.Errorf("got %q, %v, want %v and the way out", value, err, protocol.ErrTooStale)
	}
	if value, info, err := c.read(caller, resources.Local); value != "old" || err != nil || info.Age <= d {
		t.Errorf("local: got %q, %+v, %v, want what there is", value, info, err)
	}
	deafen(p, nil)
	c.eventually("a fresh read again", func() error {
		value, _, err := c.read(caller, resources.MaxStale(d))
		if err == nil && value != "new" {
			t.Fatalf("got %q", value)
		}
		return err
	})
}

// An age that no state can prove is what the leader is asked for, and with 0 the
// read is linearizable.
func TestReadThatNoStateSatisfiesAsksTheLeader(t *testing.T) {
	c := newCluster(t)
	a, p := c.pair()
	writer, reader := c.client(a), c.client(p)
	for i := range 20 {
		c.put(writer, "k", strconv.Itoa(i))
		for _, d := range []time.Duration{0, time.Nanosecond} {
			if got, info, err := c.read(reader, resources.MaxStale(d)); got != strconv.Itoa(i) || err != nil || !info.AgeKnown {
				t.Fatalf("after %d: got %q, %+v, %v", i, got, info, err)
			}
		}
	}
	if _, _, err := c.read(reader, resources.MaxStale(-1)); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("an age below 0: got %v, want %v", err, protocol.ErrInvalid)
	}
}

// [S] A member that is behind what a session has seen does not answer it.
func TestSessionDoesNotReadBackwardsAtAMemberThatIsBehind(t *testing.T) {
	c := newCluster(t)
	a, p := c.pair()
	deafen(p, everybody)
	writer := c.client(a)
	c.put(writer, "k", "new")
	_, info, err := c.read(writer)
	if err != nil {
		t.Fatal(err)
	}
	query := func() protocol.Result {
		t.Helper()
		q := protocol.Query{Resource: "m", Type: "map", Operation: "get", Consistency: protocol.Session, Seen: protocol.Index(info.Index)}
		var err error
		if q.Argument, err = resources.AppendValue(nil, kvmap.KeyRequest("k")); err != nil {
			t.Fatal(err)
		}
		response, err := p.Do(c.ctx, &protocol.Request{Kind: protocol.RequestQuery, Query: &q})
		if err != nil {
			t.Fatal(err)
		}
		return response.Result
	}
	behind := query()
	if want := fmt.Sprintf("not caught up with %d", info.Index); behind.Code != protocol.ErrTooStale.Code || !strings.Contains(behind.Text, want) {
		t.Errorf("got %+v, want %v and %q", behind, protocol.ErrTooStale.Code, want)
	}
	// One that waits is answered as soon as the member has caught up.
	waiting := make(chan protocol.Result, 1)
	go func() { waiting <- query() }()
	c.eventually("a read that waits", func() error {
		if p.levels.waiting.Load() == 0 {
			return errors.New("nobody waits")
		}
		return nil
	})
	deafen(p, nil)
	if got := <-waiting; got.Code != protocol.OK && got.Code != protocol.ErrTooStale.Code || got.Code == protocol.OK && got.Index < info.Index {
		t.Errorf("got %+v", got)
	}
	if value, _, err := c.read(c.client(p), resources.AtLeast(info.Index)); value != "new" || err != nil {
		t.Errorf("got %q, %v, want what was written", value, err)
	}
}

// remote dials as a client elsewhere does.
func (c *cluster) remote(names ...string) *client.Client {
	c.t.Helper()
	var addresses []string
	for _, name := range names {
		addresses = append(addresses, c.members[name].Addr())
	}
	r, err := client.NewRemote(c.ctx, client.RemoteConfig{Security: security.Plaintext(), Addresses: addresses})
	if err != nil {
		c.t.Fatal(err)
	}
	cl, err := client.New(r, client.Config{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// A watcher, and a session, at a passive that is killed go on at another member:
// every write is told once, and nothing is read backwards.
func TestWatchAndSessionOutliveTheirPassive(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 })
	for _, name := range []string{"p1", "p2", "p3"} {
		c.start(name, protocol.RolePassive)
	}
	writer := c.client(c.members["a1"])
	c.put(writer, "k", "0")
	c.equal()
	caller := c.remote("p1")
	stream, err := caller.Watch(c.ctx, protocol.Watch{Resource: "m", Type: "map"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := stream.Next(c.ctx); err != nil {
		t.Fatal(err)
	}
	const n, kill = 300, 100
	killed := make(chan struct{})
	written := make(chan error, 1)
	go func() {
		for i := range n {
			if i == kill {
				<-killed
			}
			if _, err := kvmap.Put.Do(c.ctx, writer, "m", kvmap.PutRequest{Key: []byte("k"), Value: []byte(strconv.Itoa(i + 1))}); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for seen := 0; seen < n; {
		changes, err := stream.Next(c.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range changes.Changes {
			seen++
			if got, want := string(change.Value), strconv.Itoa(seen); got != want {
				t.Fatalf("change %d is %s: a gap or a duplicate", seen, got)
			}
			if seen == kill/2 {
				if served := c.members["p1"].machine.Stats().Watchers; served == 0 {
					t.Fatal("the watch is not at the passive that was dialled")
				}
				c.kill("p1")
				close(killed)
			}
			value, _, err := c.read(caller, resources.OwnWrites)
			if got, bad := strconv.Atoi(value); err != nil || bad != nil || got < seen {
				t.Fatalf("after change %d a session reads %q, %v: backwards", seen, value, err)
			}
		}
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	delete(c.members, "p1")
}

// roaming sends each request to another member.
type roaming []*Member

func (r roaming) any() *Member { return r[rand.IntN(len(r))] }

func (r roaming) Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error) {
	return r.any().Do(ctx, q)
}

func (r roaming) Watch(ctx context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	return r.any().Watch(ctx, w)
}

func (r roaming) Close() error { return nil }

// ledger knows which writes were acknowledged when.
type ledger struct {
	mu   sync.Mutex
	at   []time.Time
	high []protocol.Index // the highest index acknowledged so far
}

func (l *ledger) acknowledged(i protocol.Index) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.high); n > 0 {
		i = max(i, l.high[n-1])
	}
	l.at, l.high = append(l.at, time.Now()), append(l.high, i)
}

// before returns the highest index acknowledged before an instant.
func (l *ledger) before(t time.Time) protocol.Index {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := sort.Search(len(l.at), func(i int) bool { return !l.at[i].Before(t) })
	if n == 0 {
		return 0
	}
	return l.high[n-1]
}

// levelLab reads at random members while they are written to, stopped and cut
// off.
type levelLab struct {
	*cluster
	ledger  ledger
	members roaming
	left    atomic.Int64 // reads
	counts  sync.Map     // how many reads ended how
	wrong   chan string
}

func (l *levelLab) count(what string) {
	n, _ := l.counts.LoadOrStore(what, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

func (l *levelLab) fail(format string, args ...any) {
	select {
	case l.wrong <- fmt.Sprintf(format, args...):
	default:
	}
}

// read makes one read in a session, and checks what was promised.
func (l *levelLab) read(random *rand.Rand, caller *client.Client, seen *atomic.Uint64) {
	var opts []resources.ReadOption
	d := time.Duration(random.IntN(400)) * time.Millisecond / time.Duration(1+random.IntN(20))
	session, stale := false, false
	switch draw := random.IntN(10); {
	case draw < 5:
		opts, session = append(opts, resources.OwnWrites), true
	case draw < 8:
		opts, stale = append(opts, resources.MaxStale(d), resources.NoForwarding), true
	case draw < 9:
		opts, stale = append(opts, resources.MaxStale(d)), true
	default:
		opts = append(opts, resources.Local)
	}
	ctx, cancel := context.WithTimeout(l.ctx, 100*time.Millisecond)
	defer cancel()
	var info resources.Info
	had, began := protocol.Index(seen.Load()), time.Now()
	_, err := counter.Get.Do(ctx, caller, "hits", struct{}{}, append(opts, resources.WithInfo(&info))...)
	switch {
	case errors.Is(err, protocol.ErrTooStale):
		l.count("too stale")
		return
	case err != nil:
		l.count("unavailable")
		return
	}
	if session && info.Index < had {
		l.fail("a session that had seen %d read at %d", had, info.Index)
	}
	if info.AgeKnown {
		if want := l.ledger.before(began.Add(-info.Age)); info.Index < want {
			l.fail("read at %d, said to be %v old; %d was acknowledged before that (session %v, stale %v)", info.Index, info.Age, want, session, stale)
		}
	}
	if stale {
		if want := l.ledger.before(began.Add(-d)); info.Index < want {
			l.fail("read at %d at MaxStale(%v); %d was acknowledged before that", info.Index, d, want)
		}
	}
	for {
		old := seen.Load()
		if info.Index <= protocol.Index(old) || seen.CompareAndSwap(old, uint64(info.Index)) {
			break
		}
	}
	l.count(map[bool]string{true: "session", false: "other"}[session])
}

// trouble stops loops, and cuts links, until ctx ends.
func (l *levelLab) trouble(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		m := l.members[random.IntN(len(l.members))]
		span, cancel := context.WithTimeout(ctx, time.Duration(20+random.IntN(400))*time.Millisecond)
		switch random.IntN(4) {
		case 0: // the whole loop stands still
			m.mailbox.put(func(in *mail) { in.calls = append(in.calls, func() { <-span.Done() }) })
		case 1:
			deafen(m, everybody)
		case 2: // one way, from some
			lost := l.members[random.IntN(len(l.members))].ID()
			deafen(m, func(from protocol.MemberID) bool { return from == lost })
		}
		<-span.Done()
		cancel()
		deafen(m, nil)
	}
}

// [S] Reads at random members under writes, pauses and cuts: a session never
// reads backwards, no age told is below the true one, and no read at MaxStale
// is older than it may be.
func TestLevelsKeepTheirPromisesUnderPausesAndCuts(t *testing.T) {
	t.Parallel()
	reads := int64(20_000)
	if text := os.Getenv("STARLING_READS"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		reads = n
	} else if testing.Short() {
		reads = 5_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d (real members: it decides what is tried, not what happens)", seed)
	c := newCluster(t)
	l := &levelLab{cluster: c, wrong: make(chan string, 1)}
	for _, name := range []string{"a1", "a2", "a3", "p1", "p2", "p3"} {
		role := protocol.RolePassive
		if name[0] == 'a' {
			role = protocol.RoleActive
		}
		l.members = append(l.members, c.start(name, role))
	}
	c.voters(3)
	l.left.Store(reads)
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	var writers, readers sync.WaitGroup
	random := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	for range 2 {
		writers.Go(func() {
			caller, err := client.New(l.members, client.Config{})
			if err != nil {
				t.Error(err)
				return
			}
			defer caller.Close()
			for ctx.Err() == nil {
				var info resources.Info
				if _, err := counter.Add.Do(ctx, caller, "hits", 1, resources.WithInfo(&info)); err == nil {
					l.ledger.acknowledged(info.Index)
				}
			}
		})
	}
	writers.Go(func() { l.trouble(ctx, random(1)) })
	for s := range 4 {
		caller, err := client.New(l.members, client.Config{})
		if err != nil {
			t.Fatal(err)
		}
		seen := new(atomic.Uint64)
		for k := range 8 {
			readers.Go(func() {
				for r := random(uint64(10 + 8*s + k)); l.left.Add(-1) >= 0 && len(l.wrong) == 0 && ctx.Err() == nil; {
					l.read(r, caller, seen)
				}
			})
		}
		defer caller.Close()
	}
	readers.Wait()
	cancel()
	writers.Wait()
	var told []string
	l.counts.Range(func(what, n any) bool {
		told = append(told, fmt.Sprintf("%s %d", what, n.(*atomic.Int64).Load()))
		return true
	})
	slices.Sort(told)
	t.Logf("%d writes; reads: %v", len(l.ledger.at), told)
	select {
	case wrong := <-l.wrong:
		t.Fatal(wrong)
	default:
	}
	if c.ctx.Err() != nil || len(l.ledger.at) == 0 {
		t.Fatalf("%d writes, %d reads left: not enough has happened", len(l.ledger.at), l.left.Load())
	}
}
