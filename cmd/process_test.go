package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/dev/freeport"
)

// runVariable makes this test binary the command itself, so that tests have
// real processes without another build.
const runVariable = "STARLING_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(runVariable) != "" {
		os.Unsetenv(runVariable)
		os.Exit(Main())
	}
	// Most of their time the tests of processes wait, for an election or for somebody to be
	// missed: more run side by side than there are processors, unless a flag says how many.
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(nextDir()) // it is in the system's directory for what is temporary
	os.Exit(code)
}

// command returns the command as a process that is not started.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, args...)
	c.Env = append(os.Environ(), runVariable+"=1")
	return c
}

// agent is a member as a process of its own.
type agent struct {
	t                *testing.T
	name, addr, http string
	args             []string
	binary           string // empty: this one
	process          *exec.Cmd
	ended            chan error
	log              *syncBuffer
}

// syncBuffer is a bytes.Buffer for two goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newAgent returns an agent that is not started, with a directory and ports of
// its own.
func newAgent(t *testing.T, name, role string, more ...string) *agent {
	a := &agent{t: t, name: name, addr: freeport.Address(t), http: freeport.Address(t), log: new(syncBuffer)}
	a.args = append([]string{"agent", "--name", name, "--role", role, "--dir", filepath.Join(t.TempDir(), name),
		"--bind", a.addr, "--http", a.http}, more...)
	t.Cleanup(func() {
		if a.process != nil {
			a.kill()
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, a.log)
		}
	})
	return a
}

// start starts the process and does not wait for anything.
func (a *agent) start() {
	a.t.Helper()
	a.process = command(a.t, a.args...)
	if a.binary != "" {
		a.process.Path, a.process.Args[0] = a.binary, a.binary
	}
	a.process.Stdout, a.process.Stderr = a.log, a.log
	if err := a.process.Start(); err != nil {
		a.t.Fatal(err)
	}
	p, ended := a.process, make(chan error, 1)
	go func() { ended <- p.Wait() }()
	a.ended = ended
}

// kill is SIGKILL.
func (a *agent) kill() {
	a.process.Process.Kill() // an error means that it has ended already
	<-a.ended
	a.process = nil
}

// stop is Ctrl-C; it returns the exit code.
func (a *agent) stop() int {
	a.t.Helper()
	if err := a.process.Process.Signal(os.Interrupt); err != nil {
		a.t.Fatal(err)
	}
	return a.wait()
}

// wait returns the exit code when the process has ended.
func (a *agent) wait() int {
	a.t.Helper()
	select {
	case <-a.ended:
	case <-time.After(time.Minute):
		a.process.Process.Signal(syscall.SIGQUIT)
		<-a.ended
		a.process = nil
		a.t.Fatalf("%s does not end:\n%s", a.name, a.log)
	}
	code := a.process.ProcessState.ExitCode()
	a.process = nil
	return code
}

// status asks a member for its status.
func status(addr string) (s starling.Status, err error) {
	out, stderr, code := run(context.Background(), "", "status", "--addr", addr, "--timeout", "3s", "-o", "json")
	if code != 0 {
		return s, fmt.Errorf("status of %s: exit code %d: %s", addr, code, strings.TrimSpace(stderr))
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// eventually polls until what is nil; its last error fails the test.
func eventually(t *testing.T, patience time.Duration, what func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		err := what()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", patience, err)
		}
		<-poll.C
	}
}

// flock is a cluster of processes: a1, a2, a3, p1, p2.
type flock struct {
	t      *testing.T
	agents map[string]*agent
	names  []string
}

// newFlock starts a cluster and waits until all actives vote and all passives
// are seen.
func newFlock(t *testing.T, actives, passives int) *flock {
	t.Helper()
	f := &flock{t: t, agents: map[string]*agent{}}
	first := newAgent(t, "a1", "active", "--bootstrap", "--actives", fmt.Sprint(actives))
	f.add(first)
	first.start()
	eventually(t, time.Minute, func() error { _, err := status(first.addr); return err })
	for i := 2; i <= actives; i++ {
		f.add(newAgent(t, fmt.Sprintf("a%d", i), "active", "--join", first.addr))
	}
	for i := 1; i <= passives; i++ {
		f.add(newAgent(t, fmt.Sprintf("p%d", i), "passive", "--join", first.addr))
	}
	for _, name := range f.names[1:] {
		f.agents[name].start()
	}
	eventually(t, time.Minute, func() error {
		s, err := status(first.addr)
		if err != nil {
			return err
		}
		voters := 0
		for _, m := range s.Members {
			if m.Suffrage == "voter" {
				voters++
			}
		}
		if voters != actives || len(s.Passives) != passives {
			return fmt.Errorf("%d of %d voters, passives %v", voters, actives, s.Passives)
		}
		return nil
	})
	return f
}

func (f *flock) add(a *agent) {
	f.agents[a.name] = a
	f.names = append(f.names, a.name)
	slices.Sort(f.names)
}

// addr returns the address of a member.
func (f *flock) addr(name string) string { return f.agents[name].addr }

// settled waits until all members have applied the same and have the same
// digest, and returns their status.
func (f *flock) settled() starling.Status {
	f.t.Helper()
	var last starling.Status
	eventually(f.t, time.Minute, func() error {
		for i, name := range f.names {
			s, err := status(f.addr(name))
			if err != nil {
				return err
			}
			if i > 0 && (s.Applied != last.Applied || s.Digest != last.Digest) {
				return fmt.Errorf("%s has applied %d with digest %s, %s %d with %s", last.Name, last.Applied, last.Digest, s.Name, s.Applied, s.Digest)
			}
			last = s
		}
		return nil
	})
	return last
}
