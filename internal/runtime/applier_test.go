package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// hanging is a type with a command that ends its goroutine, or waits until it is let go.
func hanging(table resources.Table[string, string], run func(what string)) (*resources.Type, *resources.Command[string, int]) {
	do := resources.NewCommand("do", func(tx *resources.Tx, what string) (int, error) {
		if err := table.Put(tx, what, what); err != nil {
			return 0, err
		}
		run(what)
		return 1, nil
	})
	ask := resources.NewQuery("ask", func(_ *resources.View, what string) (int, error) {
		run(what)
		return 1, nil
	})
	return resources.NewType("hanging", 1, do, ask), do
}

// withType opens three actives with the type of each, and returns what runs its command
// at a member.
func withType(t *testing.T, run func(member, what string), log *journal) (*cluster, func(ctx context.Context, at, what string) error) {
	t.Helper()
	c := newCluster(t)
	commands := map[string]*resources.Command[string, int]{}
	for _, name := range []string{"a1", "a2", "a3"} {
		typ, do := hanging(resources.NewTable[string, string]("t"), func(what string) { run(name, what) })
		registry, err := resources.NewRegistry(typ)
		if err != nil {
			t.Fatal(err)
		}
		commands[name] = do
		c.start(name, protocol.RoleActive, func(cfg *Config) {
			cfg.Registry = registry
			if log != nil {
				cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
			}
		})
	}
	c.voters(3)
	return c, func(ctx context.Context, at, what string) error {
		_, err := commands[at].Do(ctx, c.client(c.members[at]), "r", what)
		return err
	}
}

// A command that ends its goroutine is answered as one that panics, at every member, and
// all go on with the same state.
func TestACommandThatEndsItsGoroutineStopsNobody(t *testing.T) {
	t.Parallel()
	c, do := withType(t, func(_, what string) {
		if strings.HasPrefix(what, "exit") {
			runtime.Goexit()
		}
	}, nil)
	for i := range 5 {
		if err := do(c.ctx, "a1", fmt.Sprint("exit", i)); !errors.Is(err, protocol.ErrPanicked) {
			t.Fatalf("got %v, want %v", err, protocol.ErrPanicked)
		}
		if err := do(c.ctx, "a1", fmt.Sprint("stays", i)); err != nil {
			t.Fatal(err)
		}
	}
	c.equal()
	argument, err := resources.AppendValue(nil, "exit")
	if err != nil {
		t.Fatal(err)
	}
	q := protocol.Query{Resource: "r", Type: "hanging", Operation: "ask", Argument: argument, Consistency: protocol.Local}
	remote, err := client.NewRemote(c.ctx, client.RemoteConfig{Security: security.Plaintext(), Addresses: []string{c.members["a2"].Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	caller, err := client.New(remote, client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	if result, err := caller.Query(c.ctx, q); err != nil || !errors.Is(result.Err(), protocol.ErrPanicked) {
		t.Errorf("a query that ends its goroutine: got %v, %v, want %v", result.Err(), err, protocol.ErrPanicked)
	}
}

// A command that does not return is named with its entry, its stack and the way out,
// and fails readiness at every member; Close does not wait for it, and a member where
// it returns serves again.
func TestACommandThatHangsIsNamed(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: a command counts as hanging after five seconds")
	}
	free, log := map[string]chan struct{}{"a1": make(chan struct{}), "a2": make(chan struct{}), "a3": make(chan struct{})}, &journal{}
	var begun atomic.Int32
	c, do := withType(t, func(member, what string) {
		if what == "hang" {
			begun.Add(1)
			<-free[member]
		}
	}, log)
	ctx, cancel := context.WithCancel(c.ctx)
	answered := make(chan error, 1)
	go func() { answered <- do(ctx, "a2", "hang") }()
	for _, m := range c.members {
		c.eventually("it is not ready", func() error {
			err := m.Ready()
			if !errors.Is(err, protocol.ErrNotServing) || !strings.Contains(err.Error(), "command hanging.do on \"r\", entry ") || !strings.Contains(err.Error(), "starling recover --refuse ") {
				return fmt.Errorf("%s is ready, or not for that: %v", m.Name(), err)
			}
			return nil
		})
		if s := m.Status(); s.Serving || !strings.Contains(s.Reason, "hanging.do") {
			t.Errorf("%s: serving %v: %s", m.Name(), s.Serving, s.Reason)
		}
	}
	if !log.has("level=ERROR msg=\"a command hangs") || !log.has("applier_test.go") || !log.has("starling recover --begin-new-cluster --although-quorum-is-intact --refuse ") {
		t.Errorf("the stack, or the way out, is not in the log")
	}
	stop, over := context.WithTimeout(c.ctx, 10*time.Second)
	defer over()
	begin := time.Now()
	if _ = c.members["a3"].Shutdown(stop); stop.Err() != nil {
		t.Errorf("the end took %v", time.Since(begin))
	}
	cancel()
	<-answered
	for _, f := range free {
		close(f)
	}
	for _, name := range []string{"a1", "a2"} {
		c.eventually("it is ready again", func() error { return c.members[name].Ready() })
	}
	if err := do(c.ctx, "a1", "again"); err != nil {
		t.Error(err)
	}
}

// Where only the leader hangs, one that has passed the entry takes the lead.
func TestALeaderThatHangsAloneHandsOver(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("-short: a command counts as hanging after five seconds")
	}
	free := make(chan struct{})
	var leads atomic.Pointer[string]
	c, do := withType(t, func(member, what string) {
		if l := leads.Load(); what == "hang" && l != nil && *l == member {
			<-free
		}
	}, nil)
	defer close(free)
	var old string
	c.eventually("somebody leads", func() error {
		for name, m := range c.members {
			if m.published.Load().Leads {
				old = name
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	leads.Store(&old)
	at := map[string]string{"a1": "a2", "a2": "a3", "a3": "a1"}[old]
	if err := do(c.ctx, at, "hang"); err != nil { // the next leader, or the one there is, answers
		t.Logf("the command: %v", err)
	}
	c.eventually("another one leads", func() error {
		for name, m := range c.members {
			if name != old && m.published.Load().Leads {
				return nil
			}
		}
		return errors.New("nobody else leads")
	})
	if err := do(c.ctx, at, "again"); err != nil {
		t.Error(err)
	}
}
