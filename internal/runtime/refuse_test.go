package runtime

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// What a member does with requests of a client that does not ask before it
// sends: the same answer at once from every member, in its process and over its
// port, whatever its neighbours have in flight; and nothing of it goes on to the
// leader, whose end of the link would break.
func TestRefusedRequestsHurtNobody(t *testing.T) {
	c := newCluster(t)
	var odd atomic.Int32
	watched := func(cfg *Config) {
		cfg.twist = func(_ *Member, list []replica.Send) []replica.Send {
			for _, s := range list {
				f, ok := s.Message.(*protocol.Forward)
				if !ok {
					continue
				}
				command, err := protocol.DecodeCommand(f.Command)
				if err == nil {
					err = command.Validate()
				}
				if err != nil {
					odd.Add(1)
				}
			}
			return list
		}
	}
	for _, name := range []string{"a1", "a2", "p1"} {
		role := protocol.RoleActive
		if name == "p1" {
			role = protocol.RolePassive
		}
		c.start(name, role, watched, func(cfg *Config) { cfg.Actives = 2 })
	}
	c.voters(2)

	long, huge := strings.Repeat("n", protocol.NameBytesMax+1), strings.Repeat("n", 2<<20)
	command := func(resource, typ, operation string, argument int) *protocol.Request {
		return &protocol.Request{Kind: protocol.RequestCommand, Command: &protocol.Command{
			Session: 1, Sequence: 1, Resource: resource, Type: typ, Version: 1, Operation: operation, Argument: make([]byte, argument),
		}}
	}
	query := func(resource string, argument int, level protocol.Consistency) *protocol.Request {
		return &protocol.Request{Kind: protocol.RequestQuery, Query: &protocol.Query{
			Resource: resource, Type: "map", Operation: "get", Argument: make([]byte, argument), Consistency: level, MaxAge: -1,
		}}
	}
	watch := func(resource, typ string, prefix int) *protocol.Request {
		return &protocol.Request{Kind: protocol.RequestWatch, Watch: &protocol.Watch{Resource: resource, Type: typ, Prefix: make([]byte, prefix)}}
	}
	cases := map[string]struct {
		request *protocol.Request
		want    *protocol.Error
	}{
		"no resource":               {command("", "map", "put", 0), protocol.ErrInvalid},
		"bad resource":              {command("bad name", "map", "put", 0), protocol.ErrInvalid},
		"long resource":             {command(long, "map", "put", 0), protocol.ErrTooLarge},
		"huge resource":             {command(huge, "map", "put", 0), protocol.ErrTooLarge},
		"long type":                 {command("m", long, "put", 0), protocol.ErrTooLarge},
		"bad operation":             {command("m", "map", "pu t", 0), protocol.ErrInvalid},
		"large argument":            {command("m", "map", "put", protocol.CommandBytesMax+1), protocol.ErrTooLarge},
		"huge argument":             {command("m", "map", "put", 3<<20), protocol.ErrTooLarge},
		"unknown type":              {command("m", "nap", "put", 0), protocol.ErrUnknownType},
		"unknown operation":         {command("m", "map", "pet", 0), protocol.ErrUnknownOperation},
		"query, bad resource":       {query("bad name", 0, protocol.Local), protocol.ErrInvalid},
		"query, large argument":     {query("m", protocol.CommandBytesMax+1, protocol.Linearizable), protocol.ErrTooLarge},
		"query, negative age":       {query("m", 0, protocol.MaxStale), protocol.ErrInvalid},
		"query, unknown level":      {query("m", 0, 17), protocol.ErrInvalid},
		"watch, bad resource":       {watch("bad name", "map", 0), protocol.ErrInvalid},
		"watch, long resource":      {watch(long, "map", 0), protocol.ErrTooLarge},
		"watch, long prefix":        {watch("m", "map", protocol.KeyBytesMax+1), protocol.ErrTooLarge},
		"watch, unknown type":       {watch("m", "nap", 0), protocol.ErrUnknownType},
		"a kind from the future":    {&protocol.Request{Kind: 99}, protocol.ErrUnsupported},
		"the longest name there is": {command(long[1:], "nap", "put", 0), protocol.ErrUnknownType},
	}
	for name, m := range c.members {
		conn, err := wire.DialClient(c.ctx, m.Addr(), wire.ClientConfig{Dial: security.Plaintext().Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var stop atomic.Bool
		var neighbour sync.WaitGroup
		neighbour.Go(func() {
			for n := 0; !stop.Load(); n++ {
				c.neighbour(conn, fmt.Sprint(name, n))
			}
		})
		for what, one := range cases {
			over, here := one.request, *one.request
			var errs [2]error
			if here.Kind == protocol.RequestWatch {
				_, errs[0] = m.Watch(c.ctx, here.Watch)
				stream, err := conn.Watch(c.ctx, over.Watch)
				if err != nil {
					t.Fatal(err)
				}
				_, errs[1] = stream.Next(c.ctx)
				_ = stream.Close()
			} else {
				for k, do := range []func() (*protocol.Response, error){
					func() (*protocol.Response, error) { return m.Do(c.ctx, &here) },
					func() (*protocol.Response, error) { return conn.Do(c.ctx, over) },
				} {
					errs[k] = c.settled(do)
				}
			}
			for k, err := range errs {
				if !errors.Is(err, one.want) {
					t.Errorf("%s, %s, %s: got %v, want %s", name, [...]string{"in the process", "over its port"}[k], what, err, one.want.Code)
				}
			}
		}
		stop.Store(true)
		neighbour.Wait()
		if err := conn.Err(); err != nil {
			t.Errorf("%s has closed the connection: %v", name, err)
		}
	}
	if n := odd.Load(); n != 0 {
		t.Errorf("%d commands went to the leader that it cannot take", n)
	}
}

// neighbour makes a call that has nothing to do with the others on its
// connection, and must never fail.
func (c *cluster) neighbour(conn *wire.ClientConn, what string) {
	err := c.settled(func() (*protocol.Response, error) {
		return conn.Do(c.ctx, &protocol.Request{Kind: protocol.RequestQuery, Query: &protocol.Query{
			Resource: "m", Type: "map", Operation: "size", Consistency: protocol.Linearizable,
		}})
	})
	if err != nil && c.ctx.Err() == nil {
		c.t.Errorf("the neighbour's call %s: %v", what, err)
	}
}

// settled makes a call until no election is in its way: on a busy machine there
// may be one, and that is no refusal.
func (c *cluster) settled(do func() (*protocol.Response, error)) error {
	for {
		response, err := do()
		if err == nil {
			err = response.Result.Err()
		}
		passes := errors.Is(err, protocol.ErrNoLeader) || errors.Is(err, protocol.ErrNotLeader) || errors.Is(err, protocol.ErrUnknownOutcome)
		if !passes || c.ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-c.ctx.Done():
		}
	}
}
