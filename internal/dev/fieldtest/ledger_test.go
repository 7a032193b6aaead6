//go:build linux

package fieldtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/dev/strace"
	"github.com/starlinghq/starling/storage/storagetest"
)

// ledger remembers what was written to a few keys, again and again, so that the
// state does not grow. The n-th write to a key has the value n.
type ledger struct {
	acknowledged atomic.Int64

	mu           sync.Mutex
	acked, tried map[string]int64 // the last one
}

func newLedger() *ledger {
	return &ledger{acked: map[string]int64{}, tried: map[string]int64{}}
}

// scribe is one writer of a ledger, with keys of its own.
type scribe struct {
	name  string
	keys  int
	size  int           // of a value, at least
	pause time.Duration // between two writes
}

// begin lets a scribe write over each client until the function that it returns is
// called. What is under way then may still happen.
func (l *ledger) begin(c *cluster, s scribe, over ...*member) (stop func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	c.t.Cleanup(stop)
	for _, m := range over {
		client, err := c.client(m)
		if err != nil {
			c.t.Fatal(err)
		}
		done.Go(func() { l.write(ctx, starling.NewMap[string, string](client, mapName), s, s.name+"-"+m.name) })
	}
	return stop
}

func (l *ledger) write(ctx context.Context, to *starling.Map[string, string], s scribe, prefix string) {
	for i := 0; ctx.Err() == nil; i++ {
		key := fmt.Sprintf("%s-%06d", prefix, i%s.keys)
		l.mu.Lock()
		l.tried[key]++
		n := l.tried[key]
		l.mu.Unlock()
		bounded, cancel := context.WithTimeout(ctx, patience)
		err := to.Put(bounded, key, fmt.Sprintf("%012d%s", n, strings.Repeat(".", s.size)))
		cancel()
		if err == nil {
			l.mu.Lock()
			l.acked[key] = n
			l.mu.Unlock()
			l.acknowledged.Add(1)
		}
		wait(ctx, s.pause)
	}
}

// goesOn waits for so many more acknowledged writes.
func (l *ledger) goesOn(c *cluster, n int64) {
	c.t.Helper()
	begin := l.acknowledged.Load()
	c.eventually(func() error {
		if got := l.acknowledged.Load() - begin; got < n {
			return fmt.Errorf("%d of %d writes were acknowledged", got, n)
		}
		return nil
	})
}

// differences returns what is wrong in what was read: an acknowledged write that is
// not there, or one that nobody made.
func (l *ledger) differences(there map[string]string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var wrong []string
	for key, tried := range l.tried {
		n := int64(0)
		if text, ok := there[key]; ok {
			var err error
			if n, err = strconv.ParseInt(text[:min(12, len(text))], 10, 64); err != nil {
				n = -1
			}
		}
		if n < l.acked[key] || n > tried {
			wrong = append(wrong, fmt.Sprintf("%s is at %d, acknowledged was %d, tried %d", key, n, l.acked[key], tried))
		}
	}
	return wrong
}

// complete fails the test unless a member has all of it.
func (l *ledger) complete(c *cluster, at *member) {
	c.t.Helper()
	there := map[string]string{}
	c.eventually(func() error {
		client, err := c.client(at)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		clear(there)
		for e, err := range starling.NewMap[string, string](client, mapName).Scan(ctx, starling.Range[string]{}) {
			if err != nil {
				return err
			}
			there[e.Key] = e.Value
		}
		return nil
	})
	if wrong := l.differences(there); len(wrong) > 0 {
		c.t.Errorf("%d keys at %s are wrong: %s", len(wrong), at.name, wrong[0])
	}
}

// serveAlike is the end of whatever members went through, when nobody writes any
// more: each serves, all have the same state, `verify` and the exports of each
// member say so too, and nothing acknowledged is lost.
func (c *cluster) serveAlike(l *ledger) {
	c.t.Helper()
	c.settled()
	c.eventually(func() error {
		if out, code := c.command("verify", "--addr", c.members[0].addr); code != 0 {
			return fmt.Errorf("verify ended with %d: %s", code, out)
		}
		return nil
	})
	c.eventually(func() error {
		var first string
		for i, m := range c.members {
			out, code := c.command("map", "export", "--addr", m.addr, "--consistency", "local", mapName)
			switch {
			case code != 0:
				return fmt.Errorf("the export of %s ended with %d: %s", m.name, code, out)
			case i == 0:
				first = out
			case out != first:
				return fmt.Errorf("the exports of %s (%d bytes) and %s (%d bytes) differ", c.members[0].name, len(first), m.name, len(out))
			}
		}
		return nil
	})
	for _, m := range c.members {
		l.complete(c, m)
	}
}

// restartEach stops each member in turn, looks at its checkpoints, and starts it
// again. Looking changes nothing.
func (c *cluster) restartEach() {
	c.t.Helper()
	for _, m := range c.members {
		if m.running() {
			if err := m.stop(); err != nil {
				c.t.Errorf("the stop: %v", err)
			}
		}
		c.inspect(m)
		m.start()
		c.eventually(func() error { _, err := c.status(m); return err })
	}
}

// inspect has the command look at the checkpoints of a member that is stopped.
func (c *cluster) inspect(m *member) {
	c.t.Helper()
	dir := filepath.Join(m.dir, "data")
	t, ok := c.t, true
	before := storagetest.Tree(t, dir)
	out, code := c.command("checkpoint", "inspect", dir)
	if code != 0 {
		ok = false
		t.Errorf("inspect of %s ended with %d:\n%s", m.name, code, out)
	}
	if after := storagetest.Tree(t, dir); after != before {
		ok = false
		t.Errorf("inspect changed the directory of %s:\n%s\nto\n%s", m.name, before, after)
	}
	if !ok {
		t.Logf("%s said at last:\n%s", m.name, tail(m.log.String(), 40))
	}
}

// command runs the command and returns what it printed and its exit code.
func (c *cluster) command(args ...string) (out string, code int) {
	c.t.Helper()
	path, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	x := exec.CommandContext(ctx, path, args...)
	x.Env = append(os.Environ(), asVariable+"=agent")
	b, err := x.CombinedOutput()
	if err != nil && x.ProcessState == nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(string(b)), x.ProcessState.ExitCode()
}

// wantTraces skips a test where system calls cannot be made to fail.
func wantTraces(t *testing.T) {
	t.Helper()
	need(t)
	if err := strace.Usable(); err != nil {
		t.Skip(err)
	}
}
