package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

// timedCommands is how each command with a time limit is called, and its exit code at
// a member without a quorum, if that is not exitUnavailable.
var timedCommands = map[string]timedCommand{
	"status": {local: true}, "members": {local: true}, "verify": {code: exitFailure},
	"map get": {args: "m k"}, "map put": {args: "m k v"}, "map delete": {args: "m k"}, "map scan": {args: "m"}, "map len": {args: "m"},
	"map watch": {args: "m", endless: true}, "map import": {args: "--format tab m", stdin: "k\tv\n"}, "map export": {args: "m"},
	"queue push": {args: "q v"}, "queue pop": {args: "q"}, "queue peek": {args: "q"}, "queue len": {args: "q"},
	"counter get": {args: "c"}, "counter add": {args: "c 1"}, "counter set": {args: "c 1"}, "counter cas": {args: "c 1 2"},
	"counter watch": {args: "c", endless: true},
	"resource list": {}, "resource delete": {args: "m"},
	"autopilot get": {}, "autopilot set": {args: "--actives 3"},
	"promote": {args: "a2"}, "demote": {args: "a2"}, "remove": {args: "a2"}, "transfer": {}, "leave": {}, "impose": {args: "--yes a2"},
}

type timedCommand struct {
	args, stdin string
	code        int
	local       bool // any member that answers will do
	endless     bool // so, and it has work as long as nobody stops it
}

// deaf takes connections and never says anything.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// withoutQuorum is the address of a member whose two fellow voters are gone.
func withoutQuorum(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := starling.OpenLocal(ctx, starling.LocalConfig{Actives: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := starling.NewMap[string, string](c.Client, "m").Put(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes[1:] {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, time.Minute, func() error {
		if s := c.Nodes[0].Status(); s.Leader != "" {
			return errors.New("a leader is known")
		}
		return nil
	})
	return c.Nodes[0].Addr()
}

// Every command with a time limit keeps it, at a member without a quorum and at an
// address that takes connections and never answers.
func TestEveryTimeLimitIsKept(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: the library of the command line has a flag for help that all programs of a process share, which the race detector sees")
	}
	const limit, patience = 1500 * time.Millisecond, 12 * time.Second
	lonely, silent := withoutQuorum(t), deaf(t)
	var all sync.WaitGroup
	defer all.Wait()
	left := maps.Clone(timedCommands)
	defer func() {
		for name := range left {
			t.Errorf("there is no command %q with a time limit", name)
		}
	}()
	walk((&Program{}).app().Commands, func(c *cli.Command) {
		if len(c.Subcommands) > 0 || findFlag(c.Flags, "timeout") == nil {
			return
		}
		name := strings.TrimPrefix(c.HelpName, "starling ")
		call, ok := timedCommands[name]
		delete(left, name)
		if !ok {
			t.Errorf("%s has a time limit, and this test does not know how to call it", name)
			return
		}
		for where, addr := range map[string]string{"without a quorum": lonely, "without an answer": silent} {
			want := exitUnavailable
			if where == "without a quorum" {
				if call.endless {
					continue
				}
				if want = cmp.Or(call.code, exitUnavailable); call.local {
					want = exitOK
				}
			}
			all.Go(func() {
				args := slices.Concat(strings.Fields(name), []string{"--addr", addr, "--timeout", limit.String()}, strings.Fields(call.args))
				ended := make(chan string, 1)
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				go func() {
					out, stderr, code := run(ctx, call.stdin, args...)
					if code == want {
						ended <- ""
						return
					}
					ended <- fmt.Sprintf("exit code %d, want %d: %s%s", code, want, stderr, out)
				}()
				select {
				case wrong := <-ended:
					if wrong != "" {
						t.Errorf("%s %s: %s", name, where, wrong)
					}
				case <-time.After(patience):
					t.Errorf("%s %s: goes on after %v, with a limit of %v", name, where, patience, limit)
				}
			})
		}
	})
}
