package cmd

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/internal/dev/freeport"
	"github.com/starlinghq/starling/internal/wire"
)

// refused starts an agent that must end by itself, with an exit code and a text
// that names the cause and the way out.
func refused(t *testing.T, a *agent, code int, texts ...string) {
	t.Helper()
	a.start()
	if got := a.wait(); got != code {
		t.Errorf("%s: exit code %d, want %d:\n%s", a.name, got, code, a.log)
	}
	for _, want := range texts {
		if !strings.Contains(a.log.String(), want) {
			t.Errorf("%s says\n%s\nwant %q", a.name, a.log, want)
		}
	}
}

// fails runs a command that must fail.
func fails(t *testing.T, code int, text string, args ...string) {
	t.Helper()
	out, stderr, got := run(context.Background(), "", args...)
	if got != code || !strings.Contains(stderr, text) {
		t.Errorf("%q: exit code %d, want %d; says %q %q, want %q", args, got, code, out, stderr, text)
	}
}

// works runs a command that must succeed and returns what it prints.
func works(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, stderr, code := run(context.Background(), stdin, args...)
	if code != 0 {
		t.Fatalf("%q: exit code %d: %s", args, code, stderr)
	}
	return out
}

func TestBadInputOfAMember(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	f := newFlock(t, 1, 0)
	first := f.agents["a1"]
	dir := first.args[6]
	works(t, "", "map", "put", "--addr", first.addr, "colors", "sky", "blue")

	t.Run("a used port", func(t *testing.T) {
		a := newAgent(t, "b1", "active", "--bootstrap")
		a.args[8] = first.addr
		refused(t, a, exitFailure, first.addr, "another process has the port", "--bind")
		a = newAgent(t, "b1", "active", "--bootstrap")
		a.args[10] = first.http
		refused(t, a, exitFailure, first.http, "another process has the port", "--http")
	})
	t.Run("a directory in use", func(t *testing.T) {
		a := newAgent(t, "a1", "active", "--bootstrap")
		a.args[6] = dir
		refused(t, a, exitFailure, dir, "in use")
	})
	t.Run("a foreign directory", func(t *testing.T) {
		a := newAgent(t, "b1", "active", "--bootstrap")
		file := filepath.Join(a.args[6], "photos", "cat.jpg")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("cat"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, a, exitFailure, a.args[6], "photos")
		if b, err := os.ReadFile(file); err != nil || string(b) != "cat" {
			t.Errorf("the foreign file is now %q, %v", b, err)
		}
	})
	t.Run("a file for a directory", func(t *testing.T) {
		a := newAgent(t, "b1", "active", "--bootstrap")
		if err := os.WriteFile(a.args[6], []byte("cat"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, a, exitFailure, a.args[6], "is a file")
	})
	t.Run("a name taken", func(t *testing.T) {
		refused(t, newAgent(t, "a1", "passive", "--join", first.addr), exitRefused, `"a1" is in use`, "--name")
	})
	t.Run("join to nobody", func(t *testing.T) {
		nobody := freeport.Address(t)
		refused(t, newAgent(t, "b1", "passive", "--join", nobody, "--start-timeout", "1s"), exitUnavailable, nobody, "--join")
	})
	t.Run("garbage and oversize frames", func(t *testing.T) { garbage(t, first.addr) })
	t.Run("unknown resource and wrong type", func(t *testing.T) {
		fails(t, exitNotFound, "", "map", "get", "--addr", first.addr, "nothing", "key")
		fails(t, exitNotFound, "", "queue", "pop", "--addr", first.addr, "no-jobs")
		fails(t, exitRefused, "colors", "counter", "add", "--addr", first.addr, "colors", "1")
		fails(t, exitRefused, "colors", "queue", "push", "--addr", first.addr, "colors", "x")
		fails(t, exitRefused, "name", "map", "put", "--addr", first.addr, "no/such/name", "k", "v")
	})
	t.Run("over the limits", func(t *testing.T) {
		fails(t, exitRefused, "the limit is 4096", "map", "put", "--addr", first.addr, "colors", strings.Repeat("k", 5000), "v")
		fails(t, exitRefused, "limit", "map", "put", "--addr", first.addr, "colors", "k", strings.Repeat("v", 600<<10))
		fails(t, exitRefused, "limit", "map", "put", "--addr", first.addr, "colors", "k", strings.Repeat("v", 5<<20))
		works(t, "", "counter", "set", "--addr", first.addr, "c", "9223372036854775807")
		fails(t, exitRefused, "overflow", "counter", "add", "--addr", first.addr, "c", "1")
	})
	t.Run("a condition not met", func(t *testing.T) {
		fails(t, exitNotFound, "version", "map", "put", "--addr", first.addr, "--if-version", "1", "colors", "sky", "red")
		fails(t, exitNotFound, "version", "map", "put", "--addr", first.addr, "--if-version", "0", "colors", "sky", "red")
		fails(t, exitNotFound, "no key", "map", "delete", "--addr", first.addr, "colors", "grass")
	})
	if got, want := works(t, "", "map", "get", "--addr", first.addr, "colors", "sky"), "blue\n"; got != want {
		t.Errorf("after all that: got %q, want %q", got, want)
	}
	if code := first.stop(); code != 0 {
		t.Errorf("Ctrl-C: exit code %d:\n%s", code, first.log)
	}
	t.Run("a newer directory", func(t *testing.T) { newerDirectory(t, first) })
	t.Run("a damaged log", func(t *testing.T) { damagedLog(t, first) })
}

// garbage sends what no client would.
func garbage(t *testing.T, addr string) {
	oversize := append([]byte(wire.Magic), 0xff, 0xff, 0xff, 0xff, 1, 1)
	for name, b := range map[string][]byte{
		"text":      []byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
		"zeros":     make([]byte, 1<<16),
		"oversize":  oversize,
		"cut short": []byte(wire.Magic)[:3],
	} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		c.Write(b) // the member may have closed already
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				t.Errorf("%s: the member keeps the connection", name)
			}
		}
		c.Close()
	}
	if _, err := status(addr); err != nil {
		t.Errorf("after garbage: %v", err)
	}
}

// newerDirectory makes a copy of a directory look as if a later release had
// written it.
func newerDirectory(t *testing.T, of *agent) {
	a := newAgent(t, "a1", "active", "--bootstrap")
	a.args[6] = filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(a.args[6], os.DirFS(of.args[6])); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"identity-1", "identity-2"} {
		path := filepath.Join(a.args[6], name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(b[8:], 99)
		n := len(b) - 8
		binary.LittleEndian.PutUint64(b[n:], xxh3.Hash(b[:n]))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, a, exitFailure, "newer", "99")
	fails(t, exitFailure, "newer", "wal", "inspect", a.args[6])
}

// damagedLog flips one bit of an acknowledged record.
func damagedLog(t *testing.T, a *agent) {
	dir := a.args[6]
	works(t, "", "wal", "verify", dir)
	if !strings.Contains(works(t, "", "wal", "inspect", "--records", dir), "sound") {
		t.Error("inspect does not say whether the log is sound")
	}
	segments, err := filepath.Glob(filepath.Join(dir, "log", "*"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := false
	for _, path := range segments {
		b, err := os.ReadFile(path)
		if err != nil || damaged {
			continue
		}
		if i := bytes.Index(b, []byte("blue")); i >= 0 {
			b[i] ^= 1
			damaged = true
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !damaged {
		t.Fatalf("no record with the value in %v", segments)
	}
	fails(t, exitFailure, "damaged", "wal", "verify", dir)
	a.args = append(a.args, "--start-timeout", "5s")
	a.start()
	code := a.wait()
	if code != exitFailure && code != exitUnavailable {
		t.Errorf("exit code %d, want %d or %d", code, exitFailure, exitUnavailable)
	}
	if !strings.Contains(a.log.String(), "damaged") {
		t.Errorf("the agent does not say that its log is damaged:\n%s", a.log)
	}
}

func TestNoQuorum(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	f := newFlock(t, 3, 1)
	works(t, "", "map", "put", "--addr", f.addr("a1"), "colors", "sky", "blue")
	f.settled()
	f.agents["a1"].kill()
	f.agents["a2"].kill()
	for _, name := range []string{"a3", "p1"} {
		addr := f.addr(name)
		fails(t, exitUnavailable, "", "map", "put", "--addr", addr, "--timeout", "1s", "colors", "sky", "red")
		fails(t, exitUnavailable, "leader", "map", "get", "--addr", addr, "--timeout", "1s", "colors", "sky")
		fails(t, exitUnavailable, "leader", "map", "export", "--addr", addr, "--timeout", "1s", "colors")
		fails(t, exitUnavailable, "leader", "map", "export", "--addr", addr, "--timeout", "1s", "--format", "tab", "colors")
		if _, stderr, code := run(context.Background(), "sky\tred\n", "map", "import", "--addr", addr, "--timeout", "1s", "--format", "tab", "colors"); code != exitUnavailable || !strings.Contains(stderr, "line 1") {
			t.Errorf("import at %s: got exit code %d, %s", name, code, stderr)
		}
		works(t, "", "map", "get", "--addr", addr, "--timeout", "0", "--consistency", "local", "colors", "sky")
		if got, want := works(t, "", "map", "get", "--addr", addr, "--consistency", "local", "colors", "sky"), "blue\n"; got != want {
			t.Errorf("local read at %s: got %q, want %q", name, got, want)
		}
		works(t, "", "status", "--addr", addr)
	}
	fails(t, exitUnavailable, "no member answers", "status", "--addr", f.addr("a1"))
	f.agents["a1"].start()
	works(t, "", "map", "put", "--addr", f.addr("p1"), "--timeout", "1m", "colors", "grass", "green")
	f.agents["a2"].start()
	f.settled()
}

// A member with a directory stays in its own cluster, whoever answers at --join.
func TestAForeignClusterAtJoinIsSaid(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	one, two := newFlock(t, 1, 1), newFlock(t, 1, 0)
	p := one.agents["p1"]
	if code := p.stop(); code != 0 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}
	one.agents["a1"].kill()
	two.agents["a1"].kill()
	// The other cluster's member is now where ours was.
	impostor := two.agents["a1"]
	impostor.args[8] = one.addr("a1")
	impostor.addr = one.addr("a1")
	impostor.start()
	eventually(t, time.Minute, func() error { _, err := status(impostor.addr); return err })
	p.start()
	eventually(t, time.Minute, func() error {
		if said := p.log.String(); !strings.Contains(said, "another cluster answers at an address of --join") || !strings.Contains(said, one.addr("a1")) {
			return fmt.Errorf("it says %q", said)
		}
		return nil
	})
	if code := p.stop(); code != 0 {
		t.Errorf("Ctrl-C: exit code %d:\n%s", code, p.log)
	}
}

func TestAnInterruptEndsAMemberThatWaits(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	// A member that waits for a cluster that is not there.
	a := newAgent(t, "a1", "active", "--join", freeport.Address(t))
	a.start()
	eventually(t, 30*time.Second, func() error {
		if !strings.Contains(a.log.String(), "the start waits for its cluster") {
			return fmt.Errorf("it says %q", a.log)
		}
		return nil
	})
	if code := a.stop(); code != 0 {
		t.Errorf("Ctrl-C while starting: exit code %d:\n%s", code, a.log)
	}
}
