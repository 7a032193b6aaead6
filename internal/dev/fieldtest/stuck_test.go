//go:build linux

package fieldtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// stuckType has a command that returns, or never does.
var (
	stuckDo = resources.NewCommand("do", func(_ *resources.Tx, hang bool) (int, error) {
		if hang {
			select {}
		}
		return 1, nil
	})
	stuckType = resources.NewType("stuck", 1, stuckDo)
)

// command runs the command as a process, with the type or without, and interrupts it
// when it says that it hangs. It returns all that it said, and whether it succeeded.
func command(t *testing.T, as string, args ...string) (said string, ok bool) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	c.Env = append(os.Environ(), asVariable+"="+as)
	out := &interrupts{process: func() { _ = c.Process.Signal(syscall.SIGINT) }} // else it has ended
	c.Stdout, c.Stderr = out, out
	err = c.Run()
	if ctx.Err() != nil {
		t.Fatalf("%v did not end:\n%s", args, out.text.String())
	}
	return out.text.String(), err == nil
}

// interrupts does what somebody does who reads that a command hangs.
type interrupts struct {
	process func()
	text    bytes.Buffer
}

func (i *interrupts) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("a command hangs")) {
		i.process()
	}
	return i.text.Write(p)
}

// find returns what a pattern's group matches.
func find(t *testing.T, pattern, text string) string {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %s in:\n%s", pattern, text)
	}
	return found[1]
}

// Three members with a type of their own stand at two commands that never return. What
// their logs say is done to the letter: the cluster goes on with everything else.
func TestTheWayOutOfCommandsThatHang(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a command counts as hanging after five seconds")
	}
	t.Parallel()
	c := newCluster(t)
	for _, name := range []string{"a1", "a2", "a3"} {
		m := c.add(name, protocol.RoleActive, nil)
		m.agent, m.typed = true, true
	}
	c.begin()
	book := newBook()
	client, err := c.client(c.leader(c.members...))
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string) error {
		return starling.NewMap[string, string](client, mapName).Put(t.Context(), key, "v")
	}
	if err := put("before"); err != nil {
		t.Fatal(err)
	}
	if _, err := stuckDo.Do(t.Context(), client, "r", false); err != nil {
		t.Fatal(err)
	}
	book.note("before", "v")
	c.hang(client)
	log := c.stuck()

	advice := find(t, `(starling recover --begin-new-cluster [^,]* DIR\.\.\.)`, log)
	find(t, `(docs/recover\.md, \\"When a command does not return\\")`, log)
	for _, m := range c.members {
		_ = m.stop() // one that hangs says so at its end
	}
	var dirs []string
	for _, m := range c.members {
		dirs = append(dirs, filepath.Join(m.dir, "data"))
	}
	words := strings.Fields(strings.TrimPrefix(strings.TrimSuffix(advice, " DIR..."), "starling "))
	first := find(t, `--refuse ([0-9]+) `, advice)

	// To look shows the same command; a program without the type says which has it.
	said, ok := command(t, "typed", append([]string{"recover", "--refuse", first}, dirs...)...)
	if !ok || !strings.Contains(said, strings.Join(words, " ")+" ") {
		t.Errorf("to look shows another command than %q:\n%s", advice, said)
	}
	said, ok = command(t, "agent", append(words, dirs...)...)
	if ok || !strings.Contains(said, "cmd.Main") || !strings.Contains(said, `docs/recover.md, "Types of your own"`) {
		t.Errorf("the command without the type:\n%s", said)
	}
	// It stops at the second one, and says what to type then.
	said, ok = command(t, "typed", append(words, dirs...)...)
	if ok || !strings.Contains(said, `starling: context canceled: command stuck.do on "r", entry `) {
		t.Fatalf("it went past the second command that hangs, or does not say where it stood:\n%s", said)
	}
	both := find(t, `--refuse (`+first+`,[0-9]+) `, said)
	for i := range words {
		if words[i] == first {
			words[i] = both
		}
	}
	said, ok = command(t, "typed", append(words, dirs...)...)
	if !ok || strings.Count(said, `command stuck.do on "r"`) != 2 {
		t.Fatalf("with both:\n%s", said)
	}
	c.anew(find(t, `(a[123]) is the only member of the new cluster`, said))
	for _, m := range c.members {
		book.complete(c, m)
	}
	client, err = c.client(c.members[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stuckDo.Do(t.Context(), client, "r", false); err != nil {
		t.Error(err)
	}
}

// hang has two commands in the log that never return.
func (c *cluster) hang(client *starling.Client) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c.t.Cleanup(cancel)
	for range 2 {
		go func() { _, _ = stuckDo.Do(ctx, client, "r", true) }() // never answered
	}
	c.eventually(func() error {
		s, err := client.Status(ctx)
		if err == nil && s.Commit < s.Applied+2 {
			err = fmt.Errorf("applied %d of %d", s.Applied, s.Commit)
		}
		return err
	})
}

// stuck waits until all members say that they are, and returns what one has logged.
func (c *cluster) stuck() (log string) {
	c.t.Helper()
	for _, m := range c.members {
		c.eventually(func() error {
			if log = m.log.String(); !strings.Contains(log, "a command hangs") {
				return fmt.Errorf("%s has not said that a command hangs", m.name)
			}
			return nil
		})
	}
	return log
}

// anew starts the member that begins a new cluster, and then all others, with empty
// directories, to join it.
func (c *cluster) anew(name string) {
	c.t.Helper()
	var begins *member
	for _, m := range c.members {
		if m.bootstrap, m.join = false, nil; m.name == name {
			begins = m
		}
	}
	for addr, client := range c.clients { // they demand the cluster that they know
		_ = client.Close() // nobody there knows its session
		delete(c.clients, addr)
	}
	begins.start()
	for _, m := range c.members {
		if m == begins {
			continue
		}
		dir := filepath.Join(m.dir, "data")
		if err := os.Rename(dir, dir+".old"); err != nil {
			c.t.Fatal(err)
		}
		m.join = []string{begins.addr}
		m.start()
	}
	c.eventually(func() error {
		s, err := c.status(begins)
		if err != nil {
			return err
		}
		if s.Leader == "" || len(s.Members) != len(c.members) {
			return fmt.Errorf("%q leads, %d members", s.Leader, len(s.Members))
		}
		return nil
	})
	c.settled()
}
