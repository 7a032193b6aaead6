package starling_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// kind is one kind of call, at a node or over a client.
type kind struct {
	name string
	call func(ctx context.Context, c starling.Caller) error
	// leaderless says that it needs no leader; remote that a node has no such call.
	leaderless, remote bool
	// says is what the error says without a leader, one of it.
	says []string
}

func kinds() []kind {
	noLeader := []string{"leader", "majority", "opening a session"}
	read := func(opts ...starling.ReadOption) func(context.Context, starling.Caller) error {
		return func(ctx context.Context, c starling.Caller) error {
			_, err := starling.NewMap[string, string](c, "m").Get(ctx, "k", opts...)
			return err
		}
	}
	seat := func(call func(*starling.Client, context.Context) error) func(context.Context, starling.Caller) error {
		return func(ctx context.Context, c starling.Caller) error { return call(c.(*starling.Client), ctx) }
	}
	return []kind{
		{name: "put", says: append(noLeader, "no answer"), call: func(ctx context.Context, c starling.Caller) error {
			return starling.NewMap[string, string](c, "m").Put(ctx, "k", "v")
		}},
		{name: "linearizable read", says: noLeader, call: read()},
		{name: "stale read", says: []string{"nothing bounds the age", "may be", "no answer"}, call: read(starling.MaxStale(time.Nanosecond))},
		{name: "session read", leaderless: true, call: read(starling.OwnWrites)},
		{name: "local read", leaderless: true, call: read(starling.Locally)},
		{name: "read from an index", says: []string{"987654321"}, call: read(starling.AtLeast(987654321))},
		{name: "watch", leaderless: true, call: func(ctx context.Context, c starling.Caller) error {
			for _, err := range starling.NewMap[string, string](c, "m").Watch(ctx, starling.WatchOptions{}) {
				if err != nil {
					return err
				}
			}
			return ctx.Err()
		}},
		{name: "status", leaderless: true, remote: true, call: seat(func(c *starling.Client, ctx context.Context) error {
			_, err := c.Status(ctx)
			return err
		})},
		{name: "transfer", remote: true, says: noLeader, call: seat(func(c *starling.Client, ctx context.Context) error {
			_, err := c.Transfer(ctx, "")
			return err
		})},
		{name: "remove", remote: true, says: noLeader, call: seat(func(c *starling.Client, ctx context.Context) error {
			_, err := c.Remove(ctx, "a3")
			return err
		})},
		{name: "autopilot", remote: true, says: noLeader, call: seat(func(c *starling.Client, ctx context.Context) error {
			_, err := c.Autopilot(ctx)
			return err
		})},
	}
}

// ends are the ways in which a context ends.
var ends = map[string]func(context.Context) (context.Context, context.CancelFunc, error){
	"has passed": func(ctx context.Context) (context.Context, context.CancelFunc, error) {
		ctx, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Second))
		return ctx, cancel, context.DeadlineExceeded
	},
	"was cancelled": func(ctx context.Context) (context.Context, context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel, context.Canceled
	},
	"passes": func(ctx context.Context) (context.Context, context.CancelFunc, error) {
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		return ctx, cancel, context.DeadlineExceeded
	},
	"is cancelled": func(ctx context.Context) (context.Context, context.CancelFunc, error) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(300*time.Millisecond, cancel)
		return ctx, cancel, context.Canceled
	},
}

// checkEnd judges the error of a call whose context has ended.
func checkEnd(t *testing.T, what string, err, ended error, says []string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: got no error, want %v", what, ended)
	case !errors.Is(err, ended):
		t.Errorf("%s: got %v, want an error that is %v", what, err, ended)
	case strings.Contains(err.Error(), "i/o timeout") || strings.Count(err.Error(), ended.Error()) > 1:
		t.Errorf("%s: got %v, want who and what, and the context's error once", what, err)
	case len(says) > 0 && !slices.ContainsFunc(says, func(text string) bool { return strings.Contains(err.Error(), text) }):
		t.Errorf("%s: got %v, want one of %q in it", what, err, says)
	}
	t.Logf("%s: %v", what, err)
}

// silentPort returns the address of a port that takes connections and says nothing.
func silentPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// However a context ends, in whichever call, at a node or over a client: the error
// is the context's, and says what was waited for.
func TestErrorAtTheEndOfAContextSaysWhatWasWaitedFor(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 3})
	for name, c := range map[string]starling.Caller{"node": cluster.Nodes[0], "client": cluster.Client} {
		if err := starling.NewMap[string, string](c, "m").Put(ctx, "k", "v"); err != nil {
			t.Fatal(name, err)
		}
	}
	each := func(do func(where string, c starling.Caller, k kind)) {
		var all sync.WaitGroup
		defer all.Wait()
		for _, k := range kinds() {
			if !k.remote {
				all.Go(func() { do("node: "+k.name, cluster.Nodes[0], k) })
			}
			all.Go(func() { do("client: "+k.name, cluster.Client, k) })
		}
	}
	for _, how := range []string{"has passed", "was cancelled"} {
		each(func(where string, c starling.Caller, k kind) {
			ctx, cancel, ended := ends[how](ctx)
			defer cancel()
			checkEnd(t, where+" "+how, k.call(ctx, c), ended, nil)
		})
	}
	// An index that is never reached, in a cluster that is well.
	for _, how := range []string{"passes", "is cancelled"} {
		each(func(where string, c starling.Caller, k kind) {
			if k.name != "read from an index" {
				return
			}
			ctx, cancel, ended := ends[how](ctx)
			defer cancel()
			err := k.call(ctx, c)
			checkEnd(t, where+" "+how, err, ended, k.says)
			if !errors.Is(err, starling.ErrTooStale) {
				t.Errorf("%s %s: got %v, want %v", where, how, err, starling.ErrTooStale)
			}
		})
	}
	// And without a leader.
	for _, n := range cluster.Nodes[1:] {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !errors.Is(cluster.Nodes[0].Ready(), starling.ErrNoLeader) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the last member goes on leading")
		}
	}
	for _, how := range []string{"passes", "is cancelled"} {
		each(func(where string, c starling.Caller, k kind) {
			if k.leaderless {
				return
			}
			ctx, cancel, ended := ends[how](ctx)
			defer cancel()
			checkEnd(t, where+" without a leader "+how, k.call(ctx, c), ended, k.says)
		})
	}
	// Dialling.
	for how, end := range ends {
		ctx, cancel, ended := end(ctx)
		_, err := starling.Dial(ctx, starling.ClientConfig{Addresses: []string{silentPort(t)}, DialTimeout: time.Minute})
		checkEnd(t, "dial "+how, err, ended, nil)
		cancel()
	}
}
