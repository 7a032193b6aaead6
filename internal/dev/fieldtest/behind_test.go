//go:build linux

package fieldtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
)

// mostly stops a process for 80 % of the time, until the end of the test or of
// what is returned.
func (m *member) mostly() (stop func()) { return m.rhythm(100*time.Millisecond, 400*time.Millisecond) }

// rhythm lets a process run and stops it, in turns.
func (m *member) rhythm(runs, stands time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	process := m.process.Process
	done.Go(func() {
		for wait(ctx, runs) {
			if process.Signal(syscall.SIGSTOP) != nil {
				return
			}
			wait(ctx, stands)
			if process.Signal(syscall.SIGCONT) != nil {
				return
			}
		}
	})
	stop = func() { cancel(); done.Wait() }
	m.t.Cleanup(stop)
	return stop
}

// wait waits, and reports whether ctx has not ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// begun returns how many fetches of a checkpoint a member's log tells of.
func (m *member) begun() int { return m.log.begunFetches() }

// level waits until a member serves, for so long, and returns how long that took.
func (c *cluster) level(m *member, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	err := within(limit, func() error {
		s, err := c.status(m)
		if err == nil && !s.Serving {
			err = fmt.Errorf("%s", s.Reason)
		}
		return err
	})
	return time.Since(began), err
}

// fillKeys writes values of a size over a number of keys, once each.
func (c *cluster) fillKeys(to *member, prefix string, keys, size int) {
	c.t.Helper()
	client, err := c.client(to)
	if err != nil {
		c.t.Fatal(err)
	}
	var group sync.WaitGroup
	const writers = 64
	for w := range writers {
		group.Go(func() {
			for i := w; i < keys; i += writers {
				c.eventually(func() error {
					return starling.NewMap[string, string](client, mapName).Put(context.Background(), fmt.Sprint(prefix, i), noise(uint64(i), size))
				})
			}
		})
	}
	group.Wait()
}

// noise is what a value is filled with.
func noise(seed uint64, size int) string {
	r := rand.New(rand.NewPCG(seed, 1))
	var b strings.Builder
	for b.Len() < size {
		fmt.Fprintf(&b, "%016x", r.Uint64())
	}
	return b.String()[:size]
}

// keepWriting writes values of a size over a number of keys, at a rate, until it is
// stopped, and counts them.
func (c *cluster) keepWriting(to *member, prefix string, keys, size, perSecond int) (count *atomic.Int64, stop func()) {
	c.t.Helper()
	client, err := c.client(to)
	if err != nil {
		c.t.Fatal(err)
	}
	count = new(atomic.Int64)
	ctx, cancel := context.WithCancel(context.Background())
	const writers = 64
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			tick := time.NewTicker(time.Second * writers / time.Duration(perSecond))
			defer tick.Stop()
			for n := w; ctx.Err() == nil; n += writers {
				if starling.NewMap[string, string](client, mapName).Put(ctx, fmt.Sprint(prefix, n%keys), noise(uint64(n), size)) == nil {
					count.Add(1)
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	stop = func() { cancel(); done.Wait() }
	c.t.Cleanup(stop)
	return count, stop
}

// A passive that runs a fifth of the time gets level while others write, in one
// fetch: what it fetches is kept for it, and the log that it needs when it has it.
// No other test of the package runs beside, and not much is written: a fifth of what
// those of other packages leave has to be more. BehindAtFullSize writes at full rates.
func TestMemberThatIsStoppedMostOfTheTimeGetsLevel(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a fifth of a process under the race detector takes less than is written")
	}
	c := newCluster(t)
	const every = 100 * time.Millisecond // checkpoints
	for _, name := range []string{"a1", "a2", "a3"} {
		c.add(name, protocol.RoleActive, nil).every = every
	}
	c.begin()
	c.fillKeys(c.members[0], "calm", 600, 50_000)
	_, stop := c.keepWriting(c.members[0], "busy", 50, 10_000, 40)
	defer stop()
	before := 0
	c.eventually(func() error {
		s, err := c.status(c.members[0])
		if before = int(s.Checkpoint); err == nil && s.First <= 100 {
			err = fmt.Errorf("the log begins at %d, a checkpoint is at %d", s.First, s.Checkpoint)
		}
		return err
	})
	p := c.add("p1", protocol.RolePassive, nil)
	p.every = every
	p.start()
	defer p.mostly()()
	took, err := c.level(p, patience)
	if err != nil {
		t.Fatalf("after %v: %v", took, err)
	}
	s, err := c.status(c.members[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("level after %v, in %d fetches; checkpoints at %d before it and at %d after it", took, p.begun(), before, s.Checkpoint)
	if int(s.Checkpoint) <= before {
		t.Error("no checkpoint was taken meanwhile: the test tests nothing")
	}
	if got := p.begun(); got < 1 || got > 2 {
		t.Errorf("%d fetches were begun, want one, or two", got)
	}
}

// The sizes and rates at which members did not get level once. It takes ten minutes
// and prints what a joiner takes without writes, and with them, which is twice that
// at most, in two fetches at most.
//
//	STARLING_BEHIND=1 go test ./internal/dev/fieldtest -run BehindAtFullSize -v -timeout 60m
func TestBehindAtFullSize(t *testing.T) {
	if os.Getenv("STARLING_BEHIND") == "" {
		t.Skip("takes ten minutes; set STARLING_BEHIND=1")
	}
	for _, x := range []struct {
		name             string
		flags            []string
		calm, calmBytes  int // keys that nobody touches
		keys, size, rate int // writes
		voter, stopped   bool
	}{
		{"checkpoints every 2 s", []string{"--checkpoint-every", "2s"}, 120_000, 1000, 100, 20, 100, false, false},
		{"default flags, 14 MB/s", nil, 0, 0, 32_000, 8 << 10, 1700, false, false},
		{"a voter that was dead for 30 s", []string{"--checkpoint-every", "5s", "--checkpoint-bytes", "8388608"}, 0, 0, 26_000, 8 << 10, 500, true, false},
		{"stopped for 80 % of the time", nil, 0, 0, 26_000, 8 << 10, 500, false, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newCluster(t)
			for _, name := range []string{"a1", "a2", "a3"} {
				m := c.add(name, protocol.RoleActive, nil)
				m.agent, m.extra = true, x.flags
			}
			c.begin()
			leader := c.leader(c.members...)
			if x.calm > 0 {
				c.fillKeys(leader, "calm", x.calm, x.calmBytes)
			}
			if x.size > 100 {
				c.fillKeys(leader, "busy", x.keys, x.size)
			}
			// A joiner needs a checkpoint only where the log has lost its head.
			marks := func() {
				before, err := c.status(leader)
				if err != nil {
					t.Fatal(err)
				}
				_, stop := c.keepWriting(leader, "busy", x.keys, x.size, x.rate)
				defer stop()
				_ = within(30*time.Second, func() error {
					s, err := c.status(leader)
					if err == nil && (s.First <= before.Applied-min(before.Applied, 10_000) || s.First <= 1) {
						err = fmt.Errorf("the log begins at %d", s.First)
					}
					return err
				})
			}
			late := c.members[0]
			if late == leader {
				late = c.members[1]
			}
			join := func(name string) (time.Duration, int, error) {
				m := late
				if !x.voter {
					m = c.add(name, protocol.RolePassive, nil)
					m.agent, m.extra = true, append([]string{"--start-timeout", "10m"}, x.flags...)
				}
				before := m.begun()
				m.start()
				if x.stopped {
					defer m.mostly()()
				}
				took, err := c.level(m, 5*time.Minute)
				for _, line := range strings.Split(m.log.String(), "\n") {
					for _, what := range []string{"msg=behind", "msg=pressed", "msg=checkpoint", "msg=installed", "building the state"} {
						if strings.Contains(line, what) {
							t.Log(line)
						}
					}
				}
				return took, m.begun() - before, err
			}
			away := func() {
				if x.voter {
					was, err := c.status(late)
					if err != nil {
						t.Fatal(err)
					}
					late.kill()
					delete(c.clients, late.addr)
					_, stop := c.keepWriting(leader, "busy", x.keys, x.size, x.rate)
					wait(context.Background(), 30*time.Second)
					c.eventually(func() error { // it needs a checkpoint
						s, err := c.status(leader)
						if err == nil && s.First <= was.Applied {
							err = fmt.Errorf("the log begins at %d", s.First)
						}
						return err
					})
					stop()
				}
			}
			marks()
			away()
			calm, fetches, err := join("p1")
			t.Logf("without writes: level after %.1f s, %d fetches begun, %v", calm.Seconds(), fetches, err)
			if !x.voter {
				c.members[3].kill()
			}
			away()
			count, stop := c.keepWriting(leader, "busy", x.keys, x.size, x.rate)
			wait(context.Background(), 2*time.Second)
			before := count.Load()
			busy, fetches, err := join("p2")
			rate := float64(count.Load()-before) / busy.Seconds()
			s, _ := c.status(leader)
			t.Logf("with %.0f writes/s, %.1f MB/s: level after %.1f s, %d fetches begun, %v; the leader has the log from %d to %d, a checkpoint at %d",
				rate, rate*float64(x.size)/1e6, busy.Seconds(), fetches, err, s.First, s.Applied, s.Checkpoint)
			stop()
			if err != nil || fetches > 2 {
				t.Errorf("got %v after %d fetches", err, fetches)
			}
			if busy > 2*calm {
				t.Errorf("level after %v with writes and %v without, want twice that at most", busy, calm)
			}
		})
	}
}
