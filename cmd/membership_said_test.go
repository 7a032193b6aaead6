//go:build unix

package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A command that changes seats says what it did, changes all of that or nothing, and
// is asked of the leader, whoever is at --addr.
func TestSeatCommandsSayWhatTheyDid(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes take a while")
	}
	t.Parallel()
	f := newFlock(t, 3, 0)
	at := f.addr("a1")
	r1 := newAgent(t, "r1", "reserve", "--join", at)
	e1 := newAgent(t, "e1", "passive", "--eligible", "--join", at)
	for _, a := range []*agent{r1, e1} {
		a.start()
		f.add(a)
	}
	for _, name := range f.names { // the leader too
		eventually(t, time.Minute, func() error { _, err := seatOf(f.addr(name), "e1"); return err })
	}
	before := seatsAt(t, at)
	unchanged := func(t *testing.T) {
		t.Helper()
		if now := seatsAt(t, at); !slices.Equal(now.Voters, before.Voters) || len(now.Learners) > 0 || now.Actives != before.Actives {
			t.Errorf("voters %v, learners %v, %d wanted; want %v and %d as before", now.Voters, now.Learners, now.Actives, before.Voters, before.Actives)
		}
	}
	t.Run("a refusal changes nothing", func(t *testing.T) {
		fails(t, exitRefused, "r1 does not wish to be active: start it again with --role active, or with --eligible", "promote", "--addr", at, "r1")
		fails(t, exitNotFound, "no member is called \"nobody\"", "remove", "--addr", at, "nobody")
		unchanged(t)
	})
	t.Run("what is so already is a success", func(t *testing.T) {
		leader := seatsAt(t, at).Leader
		for _, try := range []struct {
			args []string
			want string
		}{
			{[]string{"promote", "a1"}, "a1 is a voter already: nothing had to be changed\n"},
			{[]string{"demote", "e1"}, "e1 has no seat: nothing had to be changed\n"},
			{[]string{"remove", "e1"}, "e1 has no seat: nothing had to be changed\n"},
			{[]string{"transfer", leader}, leader + " leads already: nothing had to be changed\n"},
		} {
			if got := works(t, "", slices.Insert(slices.Clone(try.args), 1, "--addr", at)...); !strings.HasPrefix(got, try.want) || !strings.Contains(got, "voters          a1 a2 a3\n") {
				t.Errorf("%v: got\n%s\nwant %q, and who has a seat", try.args, got, try.want)
			}
		}
		if got := works(t, "", "leave", "--addr", e1.addr); !strings.HasPrefix(got, "e1 has no seat: nothing had to be changed\n") {
			t.Errorf("leave: got\n%s", got)
		}
		works(t, "", "autopilot", "set", "--addr", at, "--actives", "3")
		if now := seatsAt(t, at); now.Version != before.Version {
			t.Errorf("version %d, want %d: nothing was changed", now.Version, before.Version)
		}
	})
	t.Run("under the floor", func(t *testing.T) {
		works(t, "", "autopilot", "set", "--addr", at, "--floor", "3")
		fails(t, exitRefused, "the autopilot's floor is 3", "leave", "--addr", f.addr("a2"))
		fails(t, exitRefused, "nothing has changed: voters a1 a2 a3, 3 wanted", "demote", "--addr", at, "a2")
		fails(t, exitUsage, "which one?", "leave", "--addr", at+","+f.addr("a2"))
		works(t, "", "autopilot", "set", "--addr", at, "--floor", "0")
		unchanged(t)
	})
	t.Run("a learner that does not catch up", func(t *testing.T) {
		e1.signal(syscall.SIGSTOP)
		defer e1.signal(syscall.SIGCONT)
		fails(t, exitUnavailable, "nothing has changed: voters a1 a2 a3, 3 wanted", "promote", "--addr", at, "--timeout", "2s", "e1")
		unchanged(t)
	})
	t.Run("a reserve first", func(t *testing.T) {
		eventually(t, time.Minute, func() error { _, err := seatOf(at, "e1"); return err })
		promoted := func() (string, error) {
			out, stderr, code := run(context.Background(), "", "promote", "--addr", r1.addr+","+at, "--timeout", "30s", "-o", "json", "e1")
			if code != 0 {
				return "", fmt.Errorf("%d: %s", code, stderr)
			}
			return out, nil
		}
		var said activesJSON
		eventually(t, time.Minute, func() error { // it was thought dead, perhaps
			out, err := promoted()
			if err == nil {
				err = json.Unmarshal([]byte(out), &said)
			}
			return err
		})
		if want := []string{"a1", "a2", "a3", "e1"}; !slices.Equal(said.Voters, want) || len(said.Learners) > 0 || said.Actives != 4 || said.Version == 0 || said.Leader == "" {
			t.Errorf("got %+v, want the voters %v and 4 wanted", said, want)
		}
	})
	t.Run("a dead voter", func(t *testing.T) {
		got := works(t, "", "demote", "--addr", f.addr("e1"), "--timeout", "30s", "e1")
		for _, want := range []string{"e1 has no seat any more\n", "voters          a1 a2 a3\n", "learners        -\n", "actives wanted  3\n"} {
			if !strings.Contains(got, want) {
				t.Errorf("got\n%s\nwant %q", got, want)
			}
		}
		dead := "a2"
		if seatsAt(t, at).Leader == dead {
			dead = "a3"
		}
		f.agents[dead].kill()
		eventually(t, time.Minute, func() error {
			s, err := status(f.addr(seatsAt(t, at).Leader))
			for _, m := range s.Members {
				if m.Name == dead && m.Alive {
					err = fmt.Errorf("%s is thought alive", dead)
				}
			}
			return err
		})
		got = works(t, "", "promote", "--addr", at, "--timeout", "30s", "e1")
		if !strings.Contains(got, "e1 is a voter\n") || !strings.Contains(got, "a1 a2 a3 e1\n") {
			t.Errorf("got\n%s", got)
		}
	})
	t.Run("fewer wanted than there are", func(t *testing.T) {
		works(t, "", "autopilot", "set", "--addr", at, "--off", "--actives", "1")
		if got := works(t, "", "demote", "--addr", at, "e1"); !strings.Contains(got, "actives wanted  1, and the autopilot is off\n") {
			t.Errorf("got\n%s", got)
		}
	})
	t.Run("nobody leads", func(t *testing.T) {
		leader := seatsAt(t, at).Leader
		for _, name := range []string{"a1", "a2", "a3"} {
			if a := f.agents[name]; name != leader && a.process != nil {
				a.kill()
			}
		}
		var gone []string
		for _, at := range []string{f.addr(leader), e1.addr} {
			eventually(t, time.Minute, func() error {
				s, err := status(at)
				gone = nil
				for _, m := range s.Members {
					if m.Suffrage != "" && !m.Alive {
						gone = append(gone, m.Name)
					}
				}
				if err == nil && len(gone) != 2 {
					err = fmt.Errorf("%v are not heard, want two voters", gone)
				}
				return err
			})
		}
		lost := strings.Join(gone, " and ") + " are not heard"
		var all sync.WaitGroup
		defer all.Wait()
		for _, args := range [][]string{
			{"promote", "e1"}, {"demote", leader}, {"remove", leader}, {"transfer"}, {"leave"}, {"autopilot", "get"}, {"autopilot", "set", "--floor", "2"},
			{"map", "put", "m", "k", "v"},
		} {
			words := 1
			if args[0] == "autopilot" || args[0] == "map" {
				words = 2
			}
			limit := "3s"
			if args[0] != "map" {
				limit = "1h" // they do not wait for a quorum, and say who is lacking
			}
			for _, addr := range []string{f.addr(leader), e1.addr} {
				all.Go(func() { // each takes its time until it says so
					fails(t, exitUnavailable, "a majority of the voters cannot be reached: of the 3 voters "+lost+", "+leader+" is", slices.Insert(slices.Clone(args), words, "--addr", addr, "--timeout", limit)...)
				})
			}
		}
	})
}

// signal sends a signal to the process.
func (a *agent) signal(s os.Signal) {
	a.t.Helper()
	if err := a.process.Process.Signal(s); err != nil {
		a.t.Fatal(err)
	}
}
