//go:build linux

package fieldtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/resources"
)

const (
	// outsideVariable has all cases tried, for a minute each, or for as long as it says,
	// as in 5s.
	outsideVariable = "STARLING_OUTSIDE"
	// holdVariable names a file: while it is there, the command of the type that the
	// members have does not return.
	holdVariable = "STARLING_OUTSIDE_HOLD"
	// usageVariable names the file of tellUsage.
	usageVariable = "STARLING_OUTSIDE_USAGE"
	outsideLow    = 64 << 20
	outsideHigh   = 96 << 20
	// truthful is how long readyz may take to say what is the matter, and stuckFor
	// how long a command may take before it is.
	truthful = 2 * time.Second
	stuckFor = 5 * time.Second
)

// holds is a command that returns when a file is gone.
func holds(file string) *resources.Command[string, int] {
	return resources.NewCommand("hold", func(_ *resources.Tx, _ string) (int, error) {
		poll := time.NewTicker(10 * time.Millisecond)
		defer poll.Stop()
		for {
			if _, err := os.Stat(file); err != nil {
				return 0, nil
			}
			<-poll.C
		}
	})
}

// outside is three of them that vote, and some that follow.
type outside struct {
	t      *testing.T
	guests []*guest
	hold   string
	writes int
}

func newOutside(t *testing.T, passives int) *outside {
	o := &outside{t: t, hold: filepath.Join(t.TempDir(), "hold")}
	t.Setenv(holdVariable, o.hold)
	for i := range 3 + passives {
		g := &guest{
			t: t, name: fmt.Sprintf("m%d", i+1), addr: fmt.Sprintf("127.0.250.%d:7600", i+1), http: fmt.Sprintf("127.0.250.%d:7680", i+1),
			usageFile: filepath.Join(t.TempDir(), "usage"), disk: newDisk(t, "ext4", 600), client: http.Client{Timeout: time.Second},
		}
		g.args = []string{"agent", "--name", g.name, "--dir", filepath.Join(g.disk.dir, "data"), "--bind", g.addr, "--http", g.http,
			"--disk-low", fmt.Sprint(outsideLow), "--disk-high", fmt.Sprint(outsideHigh), "--log-level", "debug"}
		if i == 0 {
			g.args = append(g.args, "--bootstrap")
		} else {
			g.args = append(g.args, "--join", o.guests[0].addr)
		}
		if i >= 3 {
			g.args = append(g.args, "--role", "passive")
		}
		g.start()
		t.Cleanup(func() {
			_ = g.process.Process.Kill()
			<-g.ended
			if t.Failed() {
				t.Logf("%s said:\n%s", g.name, tail(g.log.String(), 15))
			}
		})
		o.guests = append(o.guests, g)
		g.isWell(time.Minute)
	}
	o.eventually(func() error {
		voters := 0
		for _, m := range o.status(o.guests[0]).Members {
			if m.Suffrage == "voter" {
				voters++
			}
		}
		if voters != 3 {
			return fmt.Errorf("%d voters", voters)
		}
		return nil
	})
	return o
}

func (o *outside) eventually(what func() error) {
	o.t.Helper()
	if err := within(time.Minute, what); err != nil {
		o.t.Fatal(err)
	}
}

// dial returns a client of one member.
func (o *outside) dial(g *guest) (*starling.Client, context.Context, func()) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	c, err := starling.Dial(ctx, starling.ClientConfig{Addresses: []string{g.addr}})
	if err != nil {
		cancel()
		o.t.Fatalf("dialling %s: %v", g.name, err)
	}
	return c, ctx, func() { _ = c.Close(); cancel() }
}

func (o *outside) status(g *guest) starling.Status {
	c, ctx, done := o.dial(g)
	defer done()
	s, err := c.Status(ctx)
	if err != nil {
		o.t.Fatalf("status of %s: %v", g.name, err)
	}
	return s
}

// put writes at a member, and reads it there.
func (o *outside) put(g *guest) error {
	c, ctx, done := o.dial(g)
	defer done()
	return o.putBy(ctx, c)
}

// putBy writes by a client, and reads it.
func (o *outside) putBy(ctx context.Context, c *starling.Client) error {
	o.writes++
	m, key := starling.NewMap[string, string](c, "outside"), fmt.Sprint(o.writes)
	if err := m.Put(ctx, key, "x"); err != nil {
		return err
	}
	if got, err := m.Get(ctx, key); err != nil || got != "x" {
		return fmt.Errorf("a read of what was written: %q, %w", got, err)
	}
	return nil
}

// leads returns the leader, and another one.
func (o *outside) leads() (leader, other *guest) {
	o.t.Helper()
	o.eventually(func() error {
		s := o.status(o.guests[0])
		for _, g := range o.guests {
			if g.name == s.Leader {
				leader = g
			} else {
				other = g
			}
		}
		if leader == nil {
			return errors.New("nobody leads")
		}
		return nil
	})
	return leader, other
}

// lasts has all go on while something lasts: all live, and writes are made at those that
// are asked.
func (o *outside) lasts(hold time.Duration, at ...*guest) {
	o.t.Helper()
	for end := time.Now().Add(hold); ; {
		for _, g := range at {
			if err := o.soon(func() error { return o.put(g) }); err != nil {
				o.t.Fatalf("a write at %s, and a read of it: %v", g.name, err)
			}
		}
		for _, g := range o.guests {
			if !g.runs() {
				o.t.Fatalf("%s has ended:\n%s", g.name, tail(g.log.String(), 5))
			}
		}
		if time.Now().After(end) {
			return
		}
	}
}

// soon reports whether a call goes well within as many beats as readyz has to tell the
// truth.
func (o *outside) soon(call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	poll := time.NewTicker(beat)
	defer poll.Stop()
	for range truthful / beat {
		select {
		case err := <-done:
			return err
		case <-poll.C:
		}
	}
	return fmt.Errorf("no answer after %d beats; then: %w", truthful/beat, <-done)
}

// sound is how all is before and after each case.
func (o *outside) sound() {
	o.t.Helper()
	for _, g := range o.guests {
		g.isWell(0)
	}
	o.lasts(0, o.guests...)
}

// junk has a member say something in its log at the level debug.
func (o *outside) junk(g *guest, times int) {
	for range times {
		if c, err := net.DialTimeout("tcp", g.addr, time.Second); err == nil {
			_, _ = c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}
}

// Whatever happens outside a member's core, it lives, or stops and says why; readyz tells
// the truth, the others go on, and afterwards all is as before.
func TestNothingOutsideStopsAMember(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes and their file systems")
	}
	o := newOutside(t, 0)
	hold, all := time.Duration(0), false
	if v := os.Getenv(outsideVariable); v != "" {
		hold, all = time.Minute, true
		if d, err := time.ParseDuration(v); err == nil {
			hold = d
		}
	}
	for _, c := range []struct {
		name   string
		always bool // in every run
		try    func(o *outside, hold time.Duration)
	}{
		{"descriptors gone", false, noDescriptors},
		{"log pipe full", true, logPipeFull},
		{"log pipe closed", false, logPipeClosed},
		{"a follower's disk full", false, followerFull},
		{"the leader's disk full", true, leaderFull},
		{"all disks full", false, allFull},
		{"a command that hangs", false, commandHangs},
		{"1,024 idle clients at each member", false, idleClients},
		{"1,024 watches on one client", true, manyWatches},
		{"a follower's disk hangs", false, diskHangs},
		{"a file size limit", false, fileSizeLimit},
		{"a folder moved", false, folderMoved},
		{"a directory deleted", true, directoryDeleted},
	} {
		if !c.always && !all {
			continue
		}
		begin := time.Now()
		o.sound()
		c.try(o, hold)
		t.Logf("%s: %v, %d writes so far", c.name, time.Since(begin).Round(time.Millisecond), o.writes)
	}
}
