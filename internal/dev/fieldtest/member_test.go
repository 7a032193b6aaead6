//go:build linux

package fieldtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/dev/strace"
	"github.com/starlinghq/starling/internal/runtime"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
)

// memberVariable holds the configuration of a member's process.
const memberVariable = "STARLING_FIELD_MEMBER"

// Members of these tests have small segments and checkpoints that come often,
// because the command's are made for large disks, and quick elections, because
// there are many.
const (
	segmentBytes    = 256 << 10
	diskLow         = 4 << 20 // more than is on its way to a disk when it is full
	checkpointBytes = 100 << 10
	retainEntries   = 100
	election        = 300 * time.Millisecond
	heartbeat       = 60 * time.Millisecond
)

// options are what differs between members.
type options struct {
	Name, Dir, Bind string
	Role            protocol.Role
	Bootstrap       bool
	Join            []string
	Every           time.Duration // between checkpoints; 0: the default
}

// memberMain is a member as a process: all of it but the command's flags.
func memberMain() int {
	var o options
	err := json.Unmarshal([]byte(os.Getenv(memberVariable)), &o)
	if err == nil {
		err = runMember(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 1
	}
	return 0
}

func runMember(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	registry, err := resources.NewRegistry(kvmap.Type, counter.Type)
	if err != nil {
		return err
	}
	m, err := runtime.Open(ctx, runtime.Config{
		Config: config.Config{
			Name: o.Name, Dir: o.Dir, Bind: o.Bind, Role: o.Role, Bootstrap: o.Bootstrap, Join: o.Join, Actives: 3, Insecure: true,
			DiskLow: diskLow, Election: election, Heartbeat: heartbeat, CheckpointBytes: checkpointBytes, CheckpointEvery: o.Every,
			Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		},
		SegmentBytes: segmentBytes, RetainEntries: retainEntries, Security: security.Plaintext(), Registry: registry,
	})
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		bounded, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return m.Shutdown(bounded)
	case <-m.Done():
		return m.Err()
	}
}

// syncBuffer is a bytes.Buffer for two goroutines.
type syncBuffer struct {
	mu          sync.Mutex
	b           bytes.Buffer
	checkpoints int // that were taken or installed
	begun       int // fetches of one
	halfOpen    int // stores of which Badger keeps something until the process ends
	races       int // that the race detector saw, where it is built in
}

// Write appends, and forgets the older half of what is too long to read.
func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpoints += bytes.Count(p, []byte("kept at ")) + bytes.Count(p, []byte("msg=installed"))
	s.begun += bytes.Count(p, []byte("installing the one at "))
	s.races += bytes.Count(p, []byte("WARNING: DATA RACE"))
	for _, text := range []string{"Badger gave up", "while opening memtables", "cannot create memtable", "While opening memtable"} {
		s.halfOpen += bytes.Count(p, []byte(text))
	}
	if s.b.Len() > 256<<10 {
		s.b.Next(s.b.Len() / 2)
	}
	return s.b.Write(p)
}

func (s *syncBuffer) begunFetches() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

func (s *syncBuffer) takenCheckpoints() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checkpoints
}

func (s *syncBuffer) halfOpened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.halfOpen
}

func (s *syncBuffer) seenRaces() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.races
}

// forget forgets what was written.
func (s *syncBuffer) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

// String returns what was written last.
func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// member is a member's process, started any number of times.
type member struct {
	t          *testing.T
	name, addr string
	dir        string
	disk       *disk // under dir; nil: the machine's
	role       protocol.Role
	bootstrap  bool
	join       []string
	host       string        // the network namespace; empty: the tests' own
	agent      bool          // the command itself, with its defaults
	typed      bool          // the command with a type of its own
	actives    int           // that a cluster begun by it aims at; 0: the default
	extra      []string      // flags of the command
	every      time.Duration // between checkpoints
	noSync     bool          // every sync is left out
	trace      *strace.Trace // what its next process meets
	counts     string        // the file in which its process says how many goroutines it has; empty: none
	log        *syncBuffer

	process *exec.Cmd
	ended   chan struct{}
}

// start starts the process and waits for nothing.
func (m *member) start() {
	m.t.Helper()
	path, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	var args []string
	env := append(os.Environ(), asVariable+"=member")
	if m.agent {
		env = append(os.Environ(), asVariable+"=agent")
		if m.typed {
			env = append(os.Environ(), asVariable+"=typed")
		}
		args = m.flags()
	} else {
		env = append(env, memberVariable+"="+m.config())
	}
	if m.noSync {
		env = append(env, noSyncVariable+"=1")
	}
	if m.counts != "" {
		env = append(env, countsVariable+"="+m.counts)
	}
	if m.trace != nil {
		command := m.trace.Command(append([]string{path}, args...)...)
		path, args = command[0], command[1:]
	}
	if m.host != "" {
		path, args = "ip", append([]string{"netns", "exec", m.host, path}, args...)
	}
	c := exec.Command(path, args...)
	c.Env, c.Stdout, c.Stderr = env, m.log, m.log
	fmt.Fprintf(m.log, "--- %s starts\n", m.name)
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan struct{})
	m.process, m.ended = c, ended
	go func() {
		_ = c.Wait() // how it ended is in its state
		close(ended)
	}()
}

func (m *member) config() string {
	b, err := json.Marshal(options{
		Name: m.name, Dir: filepath.Join(m.dir, "data"), Bind: m.addr, Role: m.role, Bootstrap: m.bootstrap, Join: m.join, Every: m.every,
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

func (m *member) flags() []string {
	args := []string{"agent", "--name", m.name, "--dir", filepath.Join(m.dir, "data"), "--bind", m.addr, "--http", "none", "--insecure"}
	if m.role == protocol.RolePassive {
		args = append(args, "--role", "passive")
	}
	if m.bootstrap {
		args = append(args, "--bootstrap")
		if m.actives > 0 {
			args = append(args, "--actives", strconv.Itoa(m.actives))
		}
	}
	for _, a := range m.join {
		args = append(args, "--join", a)
	}
	return append(args, m.extra...)
}

// signal sends a signal to a running process.
func (m *member) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.process.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		m.t.Fatalf("%s: %v", m.name, err)
	}
}

// stop is SIGINT, and waits until the process is gone. It returns how it ended.
func (m *member) stop() error {
	m.t.Helper()
	m.signal(syscall.SIGINT)
	select {
	case <-m.ended:
	case <-time.After(patience):
		m.signal(syscall.SIGQUIT) // and says where it hangs
		<-m.ended
		m.t.Errorf("%s had not stopped after %v:\n%s", m.name, patience, tail(m.log.String(), 400))
	}
	state := m.process.ProcessState
	m.process = nil
	if !state.Success() {
		return fmt.Errorf("%s: %v: %s", m.name, state, tail(m.log.String(), 3))
	}
	return nil
}

// kill is SIGKILL, and waits until the process is gone.
func (m *member) kill() {
	if m.process == nil {
		return
	}
	_ = m.process.Process.Kill() // an error means that it has ended by itself
	<-m.ended
	m.process = nil
}

// running reports whether the process has not ended.
func (m *member) running() bool {
	if m.process == nil {
		return false
	}
	select {
	case <-m.ended:
		return false
	default:
		return true
	}
}
