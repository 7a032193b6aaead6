//go:build linux

package fieldtest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
	usageFile        string   // in which the process says what it takes up
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
	g.process.Env = append(os.Environ(), asVariable+"=guest", usageVariable+"="+g.usageFile)
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

// footprint is what a process takes up.
type footprint struct {
	Goroutines, Heap int // once all garbage is gone
	descriptors      int
}

// tellUsage has this process say in a file what it takes up, each time that it gets SIGUSR1.
func tellUsage(file string) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			b, err := json.Marshal(footprint{Goroutines: runtime.NumGoroutine(), Heap: int(m.HeapAlloc)})
			if err == nil {
				err = os.WriteFile(file+".new", b, 0o600)
			}
			if err == nil {
				err = os.Rename(file+".new", file)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "saying what this process takes up:", err)
			}
		}
	}()
}

// footprint asks the process.
func (g *guest) footprint() (u footprint, err error) {
	_ = os.Remove(g.usageFile)
	if err := g.process.Process.Signal(syscall.SIGUSR1); err != nil {
		return u, err
	}
	err = within(10*time.Second, func() error {
		b, err := os.ReadFile(g.usageFile)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &u)
	})
	open, e := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.process.Process.Pid))
	u.descriptors = len(open)
	return u, errors.Join(err, e)
}

// limit changes a limit of the running process, and returns what puts it back.
func (g *guest) limit(resource int, soft uint64) (back func()) {
	g.t.Helper()
	set := func(soft uint64) (was unix.Rlimit) {
		g.t.Helper()
		pid := g.process.Process.Pid
		err := unix.Prlimit(pid, resource, nil, &was)
		if err == nil {
			err = unix.Prlimit(pid, resource, &unix.Rlimit{Cur: soft, Max: was.Max}, nil)
		}
		if err != nil {
			g.t.Fatal(err)
		}
		return was
	}
	was := set(soft)
	return func() { set(was.Cur) }
}

// stop is SIGTERM; the process must end in time.
func (g *guest) stop(in time.Duration) {
	g.t.Helper()
	_ = g.process.Process.Signal(syscall.SIGTERM)
	g.ends(in)
}

func (g *guest) ends(in time.Duration) {
	g.t.Helper()
	poll := time.NewTicker(beat)
	defer poll.Stop()
	for range in / beat {
		select {
		case <-g.ended:
			return
		case <-poll.C:
		}
	}
	g.t.Fatalf("%s has not ended after %v:\n%s", g.name, in, tail(g.log.String(), 10))
}

// saidAtTheEnd checks how the process has ended.
func (g *guest) saidAtTheEnd(parts ...string) {
	g.t.Helper()
	text := g.log.String()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			g.t.Errorf("%s has not said %q:\n%s", g.name, part, tail(text, 5))
		}
	}
	if code := g.process.ProcessState.ExitCode(); code != 1 {
		g.t.Errorf("%s: exit code %d, want 1", g.name, code)
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

// beat is between two looks at readyz.
const beat = 20 * time.Millisecond

// looks waits until readyz has what is the matter, two seconds at most after it could be
// known. They are counted in looks: where the test itself stands still, for want of a
// processor, so do the members.
func (g *guest) looks(after time.Duration, holds func(readyz string) error) {
	g.t.Helper()
	poll := time.NewTicker(beat)
	defer poll.Stop()
	var err error
	for range (after + truthful) / beat {
		if err = holds(g.readyz()); err == nil {
			return
		}
		<-poll.C
	}
	g.t.Errorf("%s: %v", g.name, err)
}

// says waits until readyz has all parts.
func (g *guest) says(after time.Duration, parts ...string) {
	g.t.Helper()
	g.looks(after, func(readyz string) error {
		for _, part := range parts {
			if !strings.Contains(readyz, part) {
				return fmt.Errorf("readyz says %q, want %q in it", readyz, part)
			}
		}
		return nil
	})
}

// isWell waits until readyz says so, without a but.
func (g *guest) isWell(after time.Duration) {
	g.t.Helper()
	g.looks(after, func(readyz string) error {
		if readyz != "200 ok" {
			return fmt.Errorf("readyz says %q, want 200 ok", readyz)
		}
		return nil
	})
}
