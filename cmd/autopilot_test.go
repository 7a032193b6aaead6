package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

func TestAutopilotIsToldWhatToGoBy(t *testing.T) {
	addr := local(t)
	eventually(t, 30*time.Second, func() error { // the policy is asked once in a while
		got := works(t, "", "autopilot", "get", addr)
		for _, want := range []string{"autopilot        on\n", "actives wanted   1\n", "floor            -\n", "passives wanted  -\n", "stable after     1s (default)\n",
			"failed after     30s (default)\n", "voters           a1\n", "leader           a1\n", "last word        1 voters of 1 wanted\n"} {
			if !strings.Contains(got, want) {
				return fmt.Errorf("got\n%swant %q", got, want)
			}
		}
		return nil
	})
	got := works(t, "", "autopilot", "set", addr, "--failed-after", "1m", "--stable", "5s", "--floor", "1", "--passives", "2")
	for _, want := range []string{"autopilot        on\n", "floor            1\n", "passives wanted  2\n", "stable after     5s\n", "failed after     1m0s\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%swant %q", got, want)
		}
	}
	var off map[string]any
	if err := json.Unmarshal([]byte(works(t, "", "autopilot", "set", addr, "--off", "--actives", "3", "-o", "json")), &off); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"on": false, "actives": 3.0, "floor": 1.0, "passives": 2.0, "stable_ms": 5000.0, "failed_after_ms": 60000.0, "leader": "a1"} {
		if off[key] != want {
			t.Errorf("%s: got %v, want %v in %v", key, off[key], want, off)
		}
	}
	eventually(t, 30*time.Second, func() error {
		if got := works(t, "", "autopilot", "get", addr); !strings.Contains(got, "last word        switched off") {
			return fmt.Errorf("got\n%s", got)
		}
		return nil
	})
	if got := works(t, "", "autopilot", "set", addr, "--on", "--failed-after", "0s"); !strings.Contains(got, "30s (default)") || !strings.Contains(got, "5s\n") {
		t.Errorf("got\n%s", got)
	}
	eventually(t, 30*time.Second, func() error {
		if got := works(t, "", "autopilot", "get", addr); !strings.Contains(got, "1 voters of 3 wanted: ") {
			return fmt.Errorf("got\n%s", got)
		}
		return nil
	})
	works(t, "", "autopilot", "set", addr, "--state-bytes", "1024")
	if got := works(t, "", "autopilot", "get", addr); !strings.Contains(got, "state at most    1024 bytes\n") {
		t.Errorf("got\n%s", got)
	}
	works(t, "", "map", "put", addr, "m", "k", strings.Repeat("v", 500))
	fails(t, exitUnavailable, "its limit is 1024: delete something, or raise the limit (starling autopilot set --state-bytes)", "map", "put", addr, "m", "l", strings.Repeat("v", 500))
	if got := works(t, "", "status", addr); !strings.Contains(got, "633 of 1024 bytes") {
		t.Errorf("got\n%s", got)
	}
	works(t, "", "map", "delete", addr, "m", "k")
	works(t, "", "map", "put", addr, "m", "l", strings.Repeat("v", 500))
	works(t, "", "autopilot", "set", addr, "--state-bytes", "0")
	works(t, "", "map", "put", addr, "m", "k", strings.Repeat("v", 500))
	fails(t, exitUsage, "--state-bytes is 5, not from 1024", "autopilot", "set", addr, "--state-bytes", "5")
	fails(t, exitUsage, "change what?", "autopilot", "set", addr)
	fails(t, exitUsage, "not both", "autopilot", "set", addr, "--on", "--off")
	fails(t, exitUsage, "--actives is 0", "autopilot", "set", addr, "--actives", "0")
	fails(t, exitUsage, "takes no arguments", "autopilot", "get", addr, "extra")
	fails(t, exitUsage, "from 1s to 168h", "autopilot", "set", addr, "--failed-after", "10ms")
	fails(t, exitUsage, "from 0s to 168h", "autopilot", "set", addr, "--stable", "-1s")
	fails(t, exitUsage, "from 0 to 100000", "autopilot", "set", addr, "--passives", "-1")
	fails(t, exitUsage, "--floor is 65, not from 0 to 64", "autopilot", "set", addr, "--floor", "65")
	fails(t, exitUsage, "--actives is 65, not from 1 to 64", "autopilot", "set", addr, "--actives", "65")
}

// writer adds to a counter without a pause, and remembers how often it was told
// that it had, and how long it had to wait at most.
type writer struct {
	stop  context.CancelFunc
	done  sync.WaitGroup
	mu    sync.Mutex
	acked int64
	// unknown are those of which nobody knows whether they happened.
	unknown int64
	last    time.Time
	longest time.Duration
}

func startWriter(t *testing.T, addresses ...string) *writer {
	t.Helper()
	client, err := starling.Dial(context.Background(), starling.ClientConfig{Addresses: addresses})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &writer{stop: cancel, last: time.Now()}
	counter := starling.NewCounter(client, "writes")
	w.done.Add(1)
	go func() {
		defer w.done.Done()
		defer client.Close()
		for ctx.Err() == nil {
			_, err := counter.Add(ctx, 1)
			w.note(err, time.Now())
		}
	}()
	t.Cleanup(func() { cancel(); w.done.Wait() })
	return w
}

func (w *writer) note(err error, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.unknown++
		return
	}
	w.acked++
	w.longest = max(w.longest, now.Sub(w.last))
	w.last = now
}

// count returns how many writes were acknowledged so far.
func (w *writer) count() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.acked
}

// pause returns for how long nothing was written at most since it was asked
// last, the present moment included.
func (w *writer) pause() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	longest := max(w.longest, time.Since(w.last))
	w.longest = 0
	return longest
}

// An active dies for good, twice, once while it leads: an eligible passive takes
// its seat, by itself, while somebody writes. Who comes back finds out that it
// has no seat any more, and stands by. Another one that comes back and wishes to
// be passive gives its seat away.
func TestDeadActivesAreReplacedWhileWritesRun(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes that are killed take a while")
	}
	t.Parallel()
	// Nobody is replaced sooner than that. Writes do not wait for it, only for an
	// election, so they stop for less.
	const failedAfter = 8 * time.Second
	f := newFlock(t, 3, 0)
	e1 := newAgent(t, "e1", "passive", "--eligible", "--join", f.addr("a1"))
	f.add(e1)
	e1.start()
	works(t, "", "autopilot", "set", "--addr", f.addr("a1"), "--failed-after", failedAfter.String())
	var all []string
	for _, name := range f.names {
		eventually(t, time.Minute, func() error { _, err := seatOf(f.addr(name), "e1"); return err })
		all = append(all, f.addr(name))
	}
	w := startWriter(t, all...)

	// other returns a voter that does not lead, and who leads.
	other := func(at string) (voter, leader string) {
		t.Helper()
		eventually(t, time.Minute, func() error {
			s, err := status(f.addr(at))
			if err != nil {
				return err
			}
			voter, leader = "", s.Leader
			for _, m := range s.Members {
				if m.Suffrage == "voter" && m.Name != leader && m.Alive {
					voter = m.Name
				}
			}
			if voter == "" || leader == "" {
				return fmt.Errorf("%+v", s)
			}
			return nil
		})
		return voter, leader
	}
	// takes waits until one has the seat of another.
	takes := func(at, transferee, dead string) {
		t.Helper()
		began := time.Now()
		eventually(t, failedAfter+time.Minute, func() error {
			s, err := status(f.addr(at))
			if err != nil {
				return err
			}
			if !slices.Contains(s.Actives, transferee) || slices.Contains(s.Actives, dead) || len(s.Actives) != 3 {
				return fmt.Errorf("actives %v, want %s in the place of %s", s.Actives, transferee, dead)
			}
			return nil
		})
		pause := w.pause()
		t.Logf("%s took the seat of %s after %v; writes stopped for %v at most", transferee, dead, time.Since(began).Round(time.Millisecond), pause.Round(time.Millisecond))
		if pause >= failedAfter {
			t.Errorf("writes stopped for %v while %s was replaced, want less than %v", pause, dead, failedAfter)
		}
	}
	// standsBy waits until a member knows that it has no seat.
	standsBy := func(name string) {
		t.Helper()
		eventually(t, time.Minute, func() error {
			s, err := status(f.addr(name))
			if err == nil && (s.Role != "passive" || !s.Serving || slices.Contains(s.Actives, name)) {
				err = fmt.Errorf("%s is %s (%s), serving %t (%s), actives %v, term %d, log from %d, commit %d, applied %d", name, s.Role, s.RaftRole, s.Serving, s.Reason, s.Actives, s.Term, s.First, s.Commit, s.Applied)
			}
			return err
		})
	}

	w.pause()
	dead, _ := other("e1")
	f.agents[dead].kill()
	takes("e1", "e1", dead)
	f.agents[dead].start()
	standsBy(dead)

	_, leader := other("e1")
	f.agents[leader].kill()
	at := "e1"
	if leader == at {
		at = dead
	}
	takes(at, dead, leader)
	f.agents[leader].start()
	standsBy(leader)

	// A voter comes back as one that wishes to be passive, and cannot be asked
	// again: the one that stands by takes its seat.
	tired, _ := other(dead)
	if code := f.agents[tired].stop(); code != 0 {
		t.Errorf("%s ended with exit code %d", tired, code)
	}
	role := slices.Index(f.agents[tired].args, "--role") + 1
	f.agents[tired].args[role] = "passive"
	f.agents[tired].args = slices.DeleteFunc(f.agents[tired].args, func(arg string) bool { return arg == "--eligible" || arg == "--bootstrap" })
	f.agents[tired].start()
	takes(dead, leader, tired)
	standsBy(tired)
	if got := works(t, "", "autopilot", "get", "--addr", f.addr(dead)); !strings.Contains(got, "3 voters of 3 wanted") {
		t.Errorf("got\n%s", got)
	}

	w.stop()
	w.done.Wait()
	f.settled()
	var total int64
	if _, err := fmt.Sscan(works(t, "", "counter", "get", "--addr", f.addr("e1"), "writes"), &total); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d writes acknowledged, %d without an answer, %d counted", w.acked, w.unknown, total)
	if total < w.acked || total > w.acked+w.unknown || w.acked < 100 {
		t.Errorf("counted %d, want %d to %d, and 100 at least", total, w.acked, w.acked+w.unknown)
	}
}

// seatsAt is what the leader says of the seats, asked at one member.
func seatsAt(t *testing.T, at string) (s autopilotJSON) {
	t.Helper()
	if err := json.Unmarshal([]byte(works(t, "", "autopilot", "get", "--addr", at, "-o", "json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}
