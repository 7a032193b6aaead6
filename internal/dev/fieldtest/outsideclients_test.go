//go:build linux

package fieldtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

const (
	// crowd is how many clients, or watches, there are in these cases: as many as a
	// member has slots for clients.
	crowd = 1024
	// whole of them are clients as users have them, with a session.
	whole = 32
	// What a member may take up afterwards beyond what it did before: there are always
	// some that come and go, and a tail of the log in memory.
	moreGoroutines, moreDescriptors, moreHeap = 32, 32, 16 << 20
)

// takes asks all what they take up.
func (o *outside) takes() []footprint {
	o.t.Helper()
	var all []footprint
	for _, g := range o.guests {
		u, err := g.footprint()
		if err != nil {
			o.t.Fatalf("%s: %v", g.name, err)
		}
		all = append(all, u)
	}
	return all
}

// grown is what members took up before, and what they have written down since: from with
// to last, while nothing else came or went.
func grown(before, with, last []footprint) []footprint {
	all := slices.Clone(before)
	for i := range all {
		all[i].Heap += max(0, last[i].Heap-with[i].Heap)
	}
	return all
}

// asBefore waits until all take up about what they did.
func (o *outside) asBefore(before []footprint) {
	o.t.Helper()
	o.eventually(func() error {
		for i, now := range o.takes() {
			was := before[i]
			if now.Goroutines > was.Goroutines+moreGoroutines || now.descriptors > was.descriptors+moreDescriptors || now.Heap > was.Heap+moreHeap {
				return fmt.Errorf("%s takes up %+v, before it was %+v", o.guests[i].name, now, was)
			}
		}
		return nil
	})
}

// silent connects as a client does, and says nothing more.
func (o *outside) silent(g *guest) *wire.ClientConn {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := wire.DialClient(ctx, g.addr, wire.ClientConfig{Dial: security.Plaintext().Dial})
	if err != nil {
		o.t.Fatalf("a connection to %s: %v", g.name, err)
	}
	return c
}

// idlers are clients that say nothing: some as users have them, with a session, and many
// that have only shaken hands.
type idlers struct {
	clients []*starling.Client
	silent  []*wire.ClientConn
}

// idle fills the slots of all members.
func (o *outside) idle() (x idlers) {
	o.t.Helper()
	for _, g := range o.guests {
		for range whole {
			c, err := starling.Dial(context.Background(), starling.ClientConfig{Addresses: []string{g.addr}})
			if err != nil {
				o.t.Fatal(err)
			}
			x.clients = append(x.clients, c)
		}
		for range crowd - whole {
			x.silent = append(x.silent, o.silent(g))
		}
	}
	o.all(x)
	return x
}

// all has all clients with a session write and read.
func (o *outside) all(x idlers) {
	o.t.Helper()
	for _, c := range x.clients {
		if err := o.soon(func() error { return o.bounded(func(ctx context.Context) error { return o.putBy(ctx, c) }) }); err != nil {
			o.t.Errorf("a client that was idle: %v", err)
		}
	}
}

func (x idlers) close() {
	for _, c := range x.clients {
		_ = c.Close()
	}
	for _, c := range x.silent {
		_ = c.Close()
	}
}

// Each member has as many clients as it has slots, and they say nothing: who comes takes
// the place of one that has no session, and what they take up comes back when they go.
// Members that have them stop in time.
func idleClients(o *outside, hold time.Duration) {
	before := o.takes()
	x := o.idle()
	with := o.takes()
	o.t.Logf("with so many clients each they take up %+v, before it was %+v", with, before)
	for _, g := range o.guests {
		g.isWell(0)
	}
	o.lasts(hold, o.guests...)
	for _, g := range o.guests {
		g.isWell(0)
	}
	o.all(x) // the newcomers have not driven them out
	gone := 0
	for _, c := range x.silent {
		if c.Err() != nil {
			gone++
		}
	}
	if gone == 0 {
		o.t.Error("more came than there are slots, and none of those who were idle has gone")
	}
	before = grown(before, with, o.takes())
	x.close()
	o.asBefore(before)
	x = o.idle()
	for _, g := range o.guests {
		g.stop(stopFor)
		g.start()
		g.isWell(startFor)
	}
	o.all(x) // by themselves at the members that were started anew
	x.close()
	o.everySlotTaken()
	o.asBefore(before)
	o.sound()
}

// stopFor is how long a member may take to end that was told to: ten seconds, and what a
// process takes.
const stopFor = 12 * time.Second

// bounded gives a call a context that ends.
func (o *outside) bounded(call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return call(ctx)
}

// everySlotTaken has all slots of one member in use: one more client is told so, those
// that are there go on, and so do the other members.
func (o *outside) everySlotTaken() {
	_, g := o.leads()
	c, ctx, done := o.dial(g)
	defer done()
	w := o.watch(c, "")
	defer w.Close()
	var conns []*wire.ClientConn
	for range crowd - 1 {
		conn := o.silent(g)
		conns = append(conns, conn)
		w, err := conn.Watch(ctx, &protocol.Watch{Resource: "outside", Type: "map"})
		if err == nil {
			_, err = w.Next(ctx) // the member has it
		}
		if err != nil {
			o.t.Fatal(err)
		}
	}
	brief, cancel := context.WithTimeout(ctx, truthful)
	defer cancel()
	if more, err := starling.Dial(brief, starling.ClientConfig{Addresses: []string{g.addr}}); !errors.Is(err, starling.ErrOverloaded) {
		o.t.Errorf("one more client of %s: got %v, %v, want %v", g.name, more, err, starling.ErrOverloaded)
	}
	g.isWell(0)
	if err := o.putBy(ctx, c); err != nil {
		o.t.Errorf("a client that is there: %v", err)
	}
	if told, err := w.Next(ctx); err != nil || len(told.Changes) != 1 {
		o.t.Errorf("a watch that is there is told %+v, %v, want one change", told, err)
	}
	for _, other := range o.guests {
		if other != g {
			o.lasts(0, other)
		}
	}
	for _, conn := range conns {
		if err := conn.Err(); err != nil {
			o.t.Errorf("a client with a watch has lost its connection: %v", err)
		}
		_ = conn.Close()
	}
}

// watch watches what stands below a key of the map of these tests, and returns when it has
// begun: the first word says where.
func (o *outside) watch(c *starling.Client, below string) resources.WatchStream {
	o.t.Helper()
	var w resources.WatchStream
	err := o.bounded(func(ctx context.Context) (err error) {
		if w, err = c.Watch(ctx, protocol.Watch{Resource: "outside", Type: "map", Prefix: kvmap.AppendKey(nil, below)}); err == nil {
			_, err = w.Next(ctx)
		}
		return err
	})
	if err != nil {
		o.t.Fatalf("a watch: %v", err)
	}
	return w
}

// tally counts what the watches of one client are told.
type tally struct {
	told atomic.Int64
	done sync.WaitGroup
}

// follow counts the changes that one watch tells, until it ends.
func (y *tally) follow(ctx context.Context, w resources.WatchStream) {
	y.done.Go(func() {
		for {
			c, err := w.Next(ctx)
			if err != nil {
				return
			}
			y.told.Add(int64(len(c.Changes)))
		}
	})
}

// One client has so many watches. It is told of each change once by each, its calls go on,
// and so do they when the members are started anew; one watch beyond the limit of a client
// is refused, and nothing else.
func manyWatches(o *outside, hold time.Duration) {
	before := o.takes()
	var addresses []string
	for _, g := range o.guests {
		addresses = append(addresses, g.addr)
	}
	c, err := starling.Dial(context.Background(), starling.ClientConfig{Addresses: addresses})
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var y tally
	var open []resources.WatchStream
	watches := func(n int) {
		for len(open) < n {
			w := o.watch(c, "watched")
			open = append(open, w)
			y.follow(ctx, w)
		}
	}
	want := int64(0)
	told := func() {
		o.t.Helper()
		if err := o.bounded(func(ctx context.Context) error {
			want += int64(len(open))
			return starling.NewMap[string, string](c, "outside").Put(ctx, "watched", fmt.Sprint(want))
		}); err != nil {
			o.t.Fatalf("a write by the client that watches: %v", err)
		}
		o.eventually(func() error {
			if got := y.told.Load(); got != want {
				return fmt.Errorf("%d watches were told %d changes, want %d", len(open), got, want)
			}
			return nil
		})
	}
	watches(crowd)
	told()
	with := o.takes()
	o.t.Logf("with so many watches they take up %+v, before it was %+v", with, before)
	for _, g := range o.guests {
		g.isWell(0)
	}
	o.lasts(hold, o.guests...)
	told()
	before = grown(before, with, o.takes())
	for _, g := range o.guests {
		g.stop(stopFor)
		g.start()
		g.isWell(startFor)
		told()
	}
	watches(protocol.WatchesPerCallerMax)
	err = o.bounded(func(ctx context.Context) error {
		_, err := c.Watch(ctx, protocol.Watch{Resource: "outside", Type: "map"})
		return err
	})
	if !errors.Is(err, starling.ErrTooLarge) {
		o.t.Errorf("one watch more than a client may have: got %v, want %v", err, starling.ErrTooLarge)
	}
	told()
	if err := o.bounded(func(ctx context.Context) error { return o.putBy(ctx, c) }); err != nil {
		o.t.Errorf("another call of that client: %v", err)
	}
	for _, g := range o.guests {
		g.isWell(0)
	}
	_ = c.Close()
	y.done.Wait()
	o.asBefore(before)
	o.sound()
}
