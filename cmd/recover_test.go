package cmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// dir returns the agent's data directory.
func (a *agent) dir() string { return a.args[slices.Index(a.args, "--dir")+1] }

// Two of three voters are lost for good, with their disks. The cluster cannot
// go on; a new one is begun from the best survivor, by hand.
func TestRecoverAfterTheQuorumIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes take a while")
	}
	f := newFlock(t, 3, 1)
	put := func(at, key, value string) string {
		t.Helper()
		out, stderr, code := run(context.Background(), "", "map", "put", "--addr", at, "--timeout", "30s", "-o", "json", "m", key, value)
		if code != 0 {
			t.Fatalf("put: exit code %d, %s%s", code, out, stderr)
		}
		return out
	}
	for i := range 50 {
		put(f.addr("a1"), fmt.Sprintf("k%d", i), "v")
	}
	for _, lost := range []string{"a1", "a3"} {
		f.agents[lost].kill()
		if err := os.RemoveAll(f.agents[lost].dir()); err != nil {
			t.Fatal(err)
		}
	}
	a2, p1 := f.agents["a2"], f.agents["p1"]
	out, stderr, code := run(context.Background(), "", "recover", "--begin-new-cluster", a2.dir())
	if code != 1 || !strings.Contains(stderr, "in use") {
		t.Fatalf("recovering a running member: exit code %d, %s%s", code, out, stderr)
	}
	a2.kill()
	p1.kill()
	out, stderr, code = run(context.Background(), "", "recover", p1.dir(), a2.dir())
	if code != 0 || strings.Count(out, "best") < 1 || !strings.Contains(out, "Nothing was changed") || !strings.Contains(out, a2.dir()) {
		t.Fatalf("survey: exit code %d, %s%s", code, out, stderr)
	}
	out, stderr, code = run(context.Background(), "", "recover", "--begin-new-cluster", p1.dir(), a2.dir())
	if code != 0 || !strings.Contains(out, "the only member of the new cluster") {
		t.Fatalf("exit code %d, %s%s", code, out, stderr)
	}
	chosen, other := a2, p1
	if strings.HasPrefix(out, "p1 ") {
		chosen, other = p1, a2
	}
	if chosen == p1 { // it becomes the first voter whatever it wished
		i := slices.Index(chosen.args, "passive")
		chosen.args[i] = "active"
	}
	chosen.start()
	eventually(t, time.Minute, func() error {
		s, err := status(chosen.addr)
		if err == nil && s.Leader != chosen.name {
			err = fmt.Errorf("%q leads", s.Leader)
		}
		return err
	})
	for i := range 50 {
		out, stderr, code := run(context.Background(), "", "map", "get", "--addr", chosen.addr, "--timeout", "30s", "m", fmt.Sprintf("k%d", i))
		if code != 0 || strings.TrimSpace(out) != "v" {
			t.Fatalf("k%d: exit code %d, %q %s", i, code, out, stderr)
		}
	}
	put(chosen.addr, "after", "v")

	// The other survivor is of the old cluster: it is refused, and joins anew.
	join := func(a *agent) {
		if i := slices.Index(a.args, "--join"); i >= 0 {
			a.args[i+1] = chosen.addr
		} else {
			a.args = append(a.args, "--join", chosen.addr)
		}
	}
	join(other)
	other.start()
	if code := other.wait(); code != 5 || !strings.Contains(other.log.String(), "belongs to cluster") {
		t.Fatalf("a member of the old cluster: exit code %d, %s", code, other.log)
	}
	if err := os.Rename(other.dir(), filepath.Join(t.TempDir(), "old")); err != nil {
		t.Fatal(err)
	}
	other.start()
	eventually(t, time.Minute, func() error {
		out, stderr, code := run(context.Background(), "", "map", "get", "--addr", other.addr, "--consistency", "local", "m", "after")
		if code != 0 || strings.TrimSpace(out) != "v" {
			return fmt.Errorf("%q %q %d", out, stderr, code)
		}
		return nil
	})
}
