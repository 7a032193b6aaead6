package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
)

// never is a bound that no test waits for: what goes on in spite of it went on
// because of what was known.
const never = 1000 * time.Hour

// trio starts three voters and returns them.
func (c *cluster) trio() []*Member {
	c.t.Helper()
	var all []*Member
	for _, name := range []string{"a1", "a2", "a3"} {
		all = append(all, c.start(name, protocol.RoleActive))
	}
	c.voters(3)
	return all
}

// leading waits until one of some members leads, and says which.
func (c *cluster) leading(of []*Member) (leader *Member) {
	c.t.Helper()
	c.eventually("a leader", func() error {
		for _, m := range of {
			if p := m.published.Load(); p != nil && p.Leads {
				leader = m
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return leader
}

func without(all []*Member, gone *Member) (rest []*Member) {
	for _, m := range all {
		if m != gone {
			rest = append(rest, m)
		}
	}
	return rest
}

// hang stops a member's loop, as if its process were frozen: its kernel goes on
// taking connections and bytes. The function returned lets it go on.
func hang(m *Member) (release func()) {
	gate, hangs := make(chan struct{}), make(chan struct{})
	m.mailbox.put(func(in *mail) {
		in.calls = append(in.calls, func() {
			close(hangs)
			<-gate
		})
	})
	<-hangs
	return sync.OnceFunc(func() { close(gate) })
}

// A client that is writing goes on with the new leader because it hears of it,
// whether the old one has died or hangs: all its time limits are a thousand hours.
// Each write takes effect once.
func TestWritesGoOnWithTheNextLeaderWithoutATimeLimit(t *testing.T) {
	for _, how := range []string{"killed", "hangs"} {
		t.Run(how, func(t *testing.T) {
			c := newCluster(t)
			all := c.trio()
			var addresses []string
			for _, m := range all {
				addresses = append(addresses, m.Addr())
			}
			remote, err := client.NewRemote(c.ctx, client.RemoteConfig{
				Security:  security.Plaintext(),
				Addresses: addresses, DialTimeout: never, PingTimeout: never, BackOff: time.Millisecond,
			})
			if err != nil {
				t.Fatal(err)
			}
			caller, err := client.New(remote, client.Config{RetryMax: never})
			if err != nil {
				t.Fatal(err)
			}
			defer caller.Close()
			var written atomic.Int64
			ctx, stop := context.WithCancel(c.ctx)
			defer stop()
			var writers sync.WaitGroup
			for range 4 {
				writers.Go(func() {
					for ctx.Err() == nil {
						if _, err := counter.Add.Do(c.ctx, caller, "n", 1); err != nil {
							t.Error(err)
							return
						}
						written.Add(1)
					}
				})
			}
			more := func(n int64) {
				c.eventually("more writes", func() error {
					if got := written.Load(); got < n {
						return fmt.Errorf("%d of %d writes", got, n)
					}
					return nil
				})
			}
			more(50)
			old := c.leading(all)
			if how == "killed" {
				old.Kill()
			} else {
				defer hang(old)()
			}
			began, before := time.Now(), written.Load()
			next := c.leading(without(all, old))
			elected := time.Since(began)
			more(before + 20) // four were under way; the others came after
			t.Logf("%s led after %v, twenty more writes were acknowledged after %v", next.Name(), elected, time.Since(began))
			stop()
			writers.Wait()
			got, err := counter.Get.Do(c.ctx, c.client(next), "n", struct{}{})
			if err != nil || got != written.Load() {
				t.Errorf("got %d, %v, want %d: each write once", got, err, written.Load())
			}
		})
	}
}

// The same for what a survivor has forwarded to the leader that hangs: it does not
// wait for the link, which lives, nor for a number of election timeouts.
func TestForwardedWriteGoesOnWithTheNextLeader(t *testing.T) {
	c := newCluster(t)
	all := c.trio()
	old := c.leading(all)
	survivor := without(all, old)[0]
	caller, err := client.New(survivor, client.Config{RetryMax: never})
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	if _, err := counter.Add.Do(c.ctx, caller, "n", 1); err != nil {
		t.Fatal(err)
	}
	defer hang(old)()
	if _, err := counter.Add.Do(c.ctx, caller, "n", 1); err != nil {
		t.Fatal(err)
	}
	if got, err := counter.Get.Do(c.ctx, caller, "n", struct{}{}); err != nil || got != 2 {
		t.Errorf("got %d, %v, want 2", got, err)
	}
}

// A query that blocks is no reason to take its member for dead, and one that
// nobody waits for stops: over real sockets, with a bound that is passed many
// times.
func TestBlockedQueryIsWaitedForAndStopsWithItsCaller(t *testing.T) {
	gate := make(chan struct{})
	var begun, ended atomic.Int32
	blocked := resources.NewQuery("blocked", func(v *resources.View, _ struct{}) (string, error) {
		begun.Add(1)
		defer ended.Add(1)
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for {
			select {
			case <-gate:
				return "done", nil
			case <-look.C:
			}
			if err := v.Err(); err != nil {
				return "", err
			}
		}
	})
	registry, err := resources.NewRegistry(counter.Type, resources.NewType("slow", 1, blocked))
	if err != nil {
		t.Fatal(err)
	}
	c := newCluster(t)
	m := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives, cfg.Registry = 1, registry })
	const bound = 20 * time.Millisecond
	remote, err := client.NewRemote(c.ctx, client.RemoteConfig{Security: security.Plaintext(), Addresses: []string{m.Addr()}, PingTimeout: bound * 10})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := client.New(remote, client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	for _, one := range []resources.Caller{caller, c.client(m)} {
		for _, level := range []resources.ReadOption{resources.Linearizable, resources.OwnWrites, resources.Local} {
			ctx, cancel := context.WithTimeout(c.ctx, bound)
			if _, err := blocked.Do(ctx, one, "s", struct{}{}, level); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
			}
			cancel()
		}
	}
	c.eventually("all queries to stop", func() error {
		if b, e := begun.Load(), ended.Load(); b != e {
			return fmt.Errorf("%d of %d have ended", e, b)
		}
		return nil
	})
	before := begun.Load()
	time.AfterFunc(bound*50, func() { close(gate) })
	if got, err := blocked.Do(c.ctx, caller, "s", struct{}{}); got != "done" || err != nil {
		t.Errorf("got %q, %v, want an answer", got, err)
	}
	if got := begun.Load() - before; got != 1 {
		t.Errorf("the query ran %d times, want once", got)
	}
}
