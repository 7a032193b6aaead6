//go:build linux

package fieldtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
	outsideLow   = 64 << 20
	outsideHigh  = 96 << 20
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

// guest is an agent as a process, with all that is outside its core in the hands of the
// test.
type guest struct {
	t                *testing.T
	name, addr, http string
	disk             *disk
	args             []string
	process          *exec.Cmd
	ended            chan struct{}
	log              syncBuffer
	pipe             *os.File // from which the log is read
	deaf             atomic.Bool
	client           http.Client
}

// start starts the process.
func (g *guest) start() {
	g.t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		g.t.Fatal(err)
	}
	defer write.Close()
	path, err := os.Executable()
	if err != nil {
		g.t.Fatal(err)
	}
	g.process = exec.Command(path, g.args...)
	g.process.Env = append(os.Environ(), asVariable+"=guest")
	g.process.Stdout, g.process.Stderr = write, write
	if err := g.process.Start(); err != nil {
		g.t.Fatal(err)
	}
	g.pipe, g.ended = read, make(chan struct{})
	g.deaf.Store(false)
	p, ended := g.process, g.ended
	go func() { _ = p.Wait(); close(ended) }()
	go g.listen(read, ended)
}

// listen reads the log while it is not deaf.
func (g *guest) listen(from *os.File, ended <-chan struct{}) {
	lines := bufio.NewReader(from)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		if g.deaf.Load() {
			select {
			case <-poll.C:
				continue
			case <-ended:
				g.deaf.Store(false)
			}
		}
		line, err := lines.ReadBytes('\n')
		_, _ = g.log.Write(line)
		if err != nil {
			return
		}
	}
}

func (g *guest) runs() bool {
	select {
	case <-g.ended:
		return false
	default:
		return true
	}
}

// stop is SIGTERM; the process must end in time.
func (g *guest) stop(in time.Duration) {
	g.t.Helper()
	_ = g.process.Process.Signal(syscall.SIGTERM)
	g.ends(in)
}

func (g *guest) ends(in time.Duration) {
	g.t.Helper()
	select {
	case <-g.ended:
	case <-time.After(in):
		g.t.Fatalf("%s has not ended after %v:\n%s", g.name, in, tail(g.log.String(), 10))
	}
}

// readyz returns what the member says of itself.
func (g *guest) readyz() string {
	response, err := g.client.Get("http://" + g.http + "/readyz")
	if err != nil {
		return "error: " + err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSpace(string(body)))
}

// says waits until readyz has what is the matter, two seconds at most after it could
// be known.
func (g *guest) says(after time.Duration, parts ...string) {
	g.t.Helper()
	var got string
	err := within(after+truthful+loaded, func() error {
		got = g.readyz()
		for _, part := range parts {
			if !strings.Contains(got, part) {
				return fmt.Errorf("readyz says %q, want %q in it", got, part)
			}
		}
		return nil
	})
	if err != nil {
		g.t.Errorf("%s: %v", g.name, err)
	}
}

// loaded is what a machine takes that other tests keep busy.
const loaded = 3 * time.Second

// outside is three of them.
type outside struct {
	t      *testing.T
	guests []*guest
	hold   string
	writes int
}

func newOutside(t *testing.T) *outside {
	o := &outside{t: t, hold: filepath.Join(t.TempDir(), "hold")}
	t.Setenv(holdVariable, o.hold)
	for i := range 3 {
		g := &guest{
			t: t, name: fmt.Sprintf("a%d", i+1), addr: fmt.Sprintf("127.0.250.%d:7600", i+1), http: fmt.Sprintf("127.0.250.%d:7680", i+1),
			disk: newDisk(t, "ext4", 600), client: http.Client{Timeout: time.Second},
		}
		g.args = []string{"agent", "--name", g.name, "--dir", filepath.Join(g.disk.dir, "data"), "--bind", g.addr, "--http", g.http,
			"--disk-low", fmt.Sprint(outsideLow), "--disk-high", fmt.Sprint(outsideHigh), "--log-level", "debug"}
		if i == 0 {
			g.args = append(g.args, "--bootstrap")
		} else {
			g.args = append(g.args, "--join", o.guests[0].addr)
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
		g.says(time.Minute, "200 ok")
	}
	o.eventually(func() error {
		voters := 0
		for _, m := range o.status(o.guests[0]).Members {
			if m.Seat == "voter" {
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

// put writes at a member.
func (o *outside) put(g *guest) error {
	c, ctx, done := o.dial(g)
	defer done()
	o.writes++
	return starling.NewMap[string, string](c, "outside").Put(ctx, fmt.Sprint(o.writes), "x")
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
			if err := o.put(g); err != nil {
				o.t.Fatalf("a write at %s: %v", g.name, err)
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

// sound is how all is before and after each case.
func (o *outside) sound() {
	o.t.Helper()
	for _, g := range o.guests {
		g.says(10*time.Second, "200 ok")
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
	o := newOutside(t)
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

func noDescriptors(o *outside, hold time.Duration) {
	g := o.guests[1]
	g.says(0, "200 ok") // by a connection that stays
	open := map[string]bool{}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.process.Process.Pid))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, e := range entries {
		open[e.Name()] = true
	}
	free := 0
	for open[fmt.Sprint(free)] {
		free++
	}
	var old unix.Rlimit
	limit := func(soft uint64) {
		if err := unix.Prlimit(g.process.Process.Pid, unix.RLIMIT_NOFILE, nil, &old); err != nil {
			o.t.Fatal(err)
		}
		if err := unix.Prlimit(g.process.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: soft, Max: old.Max}, nil); err != nil {
			o.t.Fatal(err)
		}
	}
	limit(uint64(free))
	before := old.Cur
	knock, err := net.Dial("tcp", g.addr)
	if err != nil {
		o.t.Fatal(err)
	}
	defer knock.Close()
	g.says(0, "503", "takes no new connections", "ulimit -n")
	o.lasts(hold, o.guests[0], o.guests[2])
	limit(before)
	o.sound()
}

func logPipeFull(o *outside, hold time.Duration) {
	g, _ := o.leads()
	g.deaf.Store(true)
	o.eventually(func() error {
		o.junk(g, 200)
		if n := o.status(g).LogLost; n == 0 {
			return errors.New("no line is lost")
		}
		return nil
	})
	g.says(0, "200 ok")
	o.lasts(hold, o.guests...)
	g.deaf.Store(false)
	o.eventually(func() error {
		o.junk(g, 1)
		if !strings.Contains(g.log.String(), "lines of this log are lost") {
			return fmt.Errorf("what is lost is not said:\n%s", tail(g.log.String(), 3))
		}
		return nil
	})
	o.sound()
}

func logPipeClosed(o *outside, hold time.Duration) {
	g, _ := o.leads()
	_ = g.pipe.Close()
	o.eventually(func() error {
		o.junk(g, 10)
		if n := o.status(g).LogLost; n == 0 {
			return errors.New("no line is lost")
		}
		return nil
	})
	o.lasts(hold, o.guests...)
	o.sound()
	g.stop(15 * time.Second) // it ends as told, and starts again with a log
	g.start()
	o.sound()
}

// full fills a disk until its member knows, which gives back what it can first.
func (o *outside) full(g *guest) {
	o.t.Helper()
	o.eventually(func() error {
		g.disk.fill(8 << 20)
		if got := g.readyz(); !strings.HasPrefix(got, "200 ok, but") {
			return fmt.Errorf("readyz of %s says %q", g.name, got)
		}
		return nil
	})
}

func followerFull(o *outside, hold time.Duration) {
	_, g := o.leads()
	o.full(g)
	g.says(0, "200 ok, but it would take no writes if it led: the disk of "+g.name, "--disk-low", "64 MiB")
	o.lasts(hold, o.guests...)
	g.disk.empty()
	o.sound()
}

func leaderFull(o *outside, hold time.Duration) {
	g, other := o.leads()
	o.full(g)
	o.eventually(func() error {
		if s := o.status(other); s.Leader == g.name || s.Leader == "" {
			return fmt.Errorf("%q leads", s.Leader)
		}
		return nil
	})
	g.says(0, "200 ok, but it would take no writes if it led")
	o.lasts(hold, o.guests...)
	g.disk.empty()
	o.sound()
}

func allFull(o *outside, hold time.Duration) {
	for _, g := range o.guests {
		o.full(g)
	}
	leader, _ := o.leads()
	leader.says(0, "200 ok, but writes are refused: the disk of "+leader.name, "until there is 96 MiB (--disk-high)")
	for _, g := range o.guests {
		if err := o.put(g); !errors.Is(err, starling.ErrNoSpace) {
			o.t.Errorf("a write at %s: got %v, want %v", g.name, err, starling.ErrNoSpace)
		}
		c, ctx, done := o.dial(g)
		if _, err := starling.NewMap[string, string](c, "outside").Delete(ctx, "1"); err != nil {
			o.t.Errorf("a delete at %s: %v", g.name, err)
		}
		done()
	}
	o.lasts(hold)
	for _, g := range o.guests {
		g.disk.empty()
	}
	o.sound()
}

func commandHangs(o *outside, hold time.Duration) {
	if err := os.WriteFile(o.hold, nil, 0o600); err != nil {
		o.t.Fatal(err)
	}
	leader, other := o.leads()
	command := holds(o.hold)
	resources.NewType("holding", 1, command)
	c, _, done := o.dial(other)
	ctx, cancel := context.WithCancel(context.Background())
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = command.Do(ctx, c, "r", "x")
	}()
	for _, g := range o.guests {
		g.says(stuckFor, "503", "command holding.hold on \"r\", entry ", "starling recover --refuse ")
	}
	o.lasts(hold)
	leader.stop(12 * time.Second)
	cancel()
	<-answered
	done()
	if err := os.Remove(o.hold); err != nil {
		o.t.Fatal(err)
	}
	leader.start()
	o.sound()
}

func directoryDeleted(o *outside, hold time.Duration) {
	_, g := o.leads()
	if err := os.RemoveAll(filepath.Join(g.disk.dir, "data")); err != nil {
		o.t.Fatal(err)
	}
	g.ends(truthful + loaded)
	if text := g.log.String(); g.process.ProcessState.ExitCode() != 1 || !strings.Contains(text, "was deleted while the member ran") {
		o.t.Errorf("exit code %d, it said:\n%s", g.process.ProcessState.ExitCode(), tail(text, 5))
	}
	var rest []*guest
	for _, x := range o.guests {
		if x != g {
			rest = append(rest, x)
		}
	}
	o.guests = rest
	o.lasts(hold, rest...)
	o.sound()
}
