package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
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

// unwatched is a member that lets clients in and says how it is. It refuses all else, or says nothing of it.
type unwatched struct{ refuse error }

func (unwatched) Welcome(protocol.Hello, net.Addr) error      { return nil }
func (unwatched) Receive(protocol.MemberID, protocol.Message) {}

func (u unwatched) Serve(q *protocol.Request, to *wire.Responder) {
	switch {
	case q.Kind == protocol.RequestStatus:
		_ = to.Respond(&protocol.Response{Status: &protocol.Status{Cluster: protocol.ClusterID{7}}})
	case u.refuse != nil:
		_ = to.Fail(u.refuse)
	}
}

// listen has it take connections.
func (u unwatched) listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := wire.NewServer(wire.ServerConfig{Hello: func() protocol.Hello {
		return protocol.Hello{Cluster: protocol.ClusterID{7}, Member: protocol.MemberID{1}}
	}, Handler: u})
	var serving sync.WaitGroup
	serving.Go(func() { srv.Serve(l) })
	t.Cleanup(func() {
		_ = srv.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// A watch that no member takes ends with --timeout, also where a member lets in whoever asks for it, and then refuses the
// watch again and again, or says nothing of it.
func TestAWatchThatNoMemberTakesEnds(t *testing.T) {
	const limit = 300 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for what, u := range map[string]unwatched{"refuses": {protocol.ErrNotServing}, "says nothing": {}} {
		addr := u.listen(t)
		for _, watch := range []string{"map watch m", "map watch --after 5 m", "map watch --list m", "counter watch c"} {
			if u.refuse != nil && strings.Contains(watch, "--list") {
				continue // the read before it says so at once
			}
			words := strings.Fields(watch)
			_, said, code := run(ctx, "", slices.Concat(words[:2], []string{"--addr", addr, "--timeout", limit.String()}, words[2:])...)
			if code != exitUnavailable || !strings.Contains(said, " within "+limit.String()) || u.refuse != nil && !strings.Contains(said, u.refuse.Error()) {
				t.Errorf("%s, where a member %s: exit code %d, it says %q, want %d and what was not done in time", watch, what, code, said, exitUnavailable)
			}
		}
	}
}

// What has settled may say nothing for as long as it likes, and so may whoever reads; until then each step has the limit.
func TestALimitIsForTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = time.Second
		steps := func(pauses ...time.Duration) func(ctx context.Context) iter.Seq2[int, error] {
			return func(ctx context.Context) iter.Seq2[int, error] {
				return func(yield func(int, error) bool) {
					for i, pause := range pauses {
						pausing, cancel := context.WithTimeout(ctx, pause)
						<-pausing.Done()
						cancel()
						if err := ctx.Err(); err != nil {
							yield(i, err)
							return
						}
						if !yield(i, nil) {
							return
						}
					}
				}
			}
		}
		const short, long = limit * 9 / 10, 100 * limit
		for what, one := range map[string]struct {
			limit  time.Duration
			begin  func(context.Context) iter.Seq2[int, error]
			settle int // with which step; -1: none
			want   int // steps
			late   bool
		}{
			"a beginning that is late":       {limit, steps(long, short), 0, 0, true},
			"one that is not":                {limit, steps(short, long, long), 0, 3, false},
			"each step has the limit":        {limit, steps(short, short, short, long), 2, 4, false},
			"a step that is late":            {limit, steps(short, short, long, short), 2, 2, true},
			"nothing settles":                {limit, steps(short, short, long), -1, 2, true},
			"there is no limit":              {0, steps(long, long), -1, 2, false},
			"a step back when it is settled": {limit, steps(short, short, long, long), 1, 4, false},
		} {
			got, late := 0, false
			for _, err := range inTime(t.Context(), one.limit, "nothing came", one.begin, func(i *int) bool { return *i == one.settle }) {
				if late = err != nil; late {
					if !errors.Is(err, context.DeadlineExceeded) || exitCode(err) != exitUnavailable || !strings.Contains(err.Error(), "nothing came within 1s") {
						t.Errorf("%s: got %v, exit code %d", what, err, exitCode(err))
					}
					break
				}
				got++
				time.Sleep(long) // the reader
			}
			if got != one.want || late != one.late {
				t.Errorf("%s: got %d steps, late is %v, want %d and %v", what, got, late, one.want, one.late)
			}
		}
	})
}
