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

	"github.com/starlinghq/starling/internal/witness"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// dir returns the agent's data directory.
func (a *agent) dir() string { return a.args[slices.Index(a.args, "--dir")+1] }

// Two of three voters are lost for good, with their disks. The cluster cannot
// go on; a new one is begun from the best survivor, by hand.
func TestRecoverAfterTheQuorumIsLost(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes take a while")
	}
	t.Parallel()
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
	if code != 0 || !strings.Contains(out, "the only member of the new cluster") || !strings.Contains(out, "None of them may run now, or ever be started again") {
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

	// The other survivor is of the old cluster, and says so: it joins anew.
	join := func(a *agent) {
		if i := slices.Index(a.args, "--join"); i >= 0 {
			a.args[i+1] = chosen.addr
		} else {
			a.args = append(a.args, "--join", chosen.addr)
		}
	}
	join(other)
	other.start()
	eventually(t, time.Minute, func() error {
		if !strings.Contains(other.log.String(), "another cluster answers at an address of --join") {
			return fmt.Errorf("a member of the old cluster says %s", other.log)
		}
		return nil
	})
	other.kill()
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

// The directories of all voters, or of a majority: nothing is begun, because they
// go on when they are started. If they were put back to different days they do
// not, and the best one begins a new cluster.
func TestRecoverLooksAtAllDirectoriesTogether(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes take a while")
	}
	t.Parallel()
	f := newFlock(t, 3, 0)
	dirs := map[string]string{}
	for name, a := range f.agents {
		dirs[name] = a.dir()
	}
	copyTo := func(from string) string {
		t.Helper()
		to := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	all := func(do func(*agent)) {
		for _, name := range f.names {
			do(f.agents[name])
		}
	}
	all((*agent).kill)
	yesterday := map[string]string{"a2": copyTo(dirs["a2"]), "a3": copyTo(dirs["a3"])}
	all((*agent).start)
	eventually(t, time.Minute, func() error { // it is written down within a second or so
		list, err := witness.Read(vfs.OS(), dirs["a1"])
		for name, dir := range yesterday {
			id, _ := wal.ReadIdentity(vfs.OS(), dir)
			if !slices.ContainsFunc(list, func(x witness.Watermark) bool { return x.Member == id.Member && x.Starts > id.Starts }) {
				return fmt.Errorf("a1 has not seen the new start of %s: %v, %v", name, list, err)
			}
		}
		return err
	})
	all((*agent).kill)

	says := func(code int, args []string, want ...string) {
		t.Helper()
		out, stderr, got := run(context.Background(), "", append([]string{"recover"}, args...)...)
		for _, text := range want {
			if !strings.Contains(out+stderr, text) {
				t.Errorf("recover %v: no %q in\n%s%s", args, text, out, stderr)
			}
		}
		if got != code {
			t.Errorf("recover %v: exit code %d, want %d\n%s%s", args, got, code, out, stderr)
		}
	}
	begin := func(flag string, dirs ...string) []string {
		return slices.DeleteFunc(append([]string{"--begin-new-cluster", flag}, dirs...), func(s string) bool { return s == "" })
	}
	voters := "The voters of the old cluster were a1 at " + f.addr("a1") + ", "
	intact := []string{"The quorum is intact", "a1 and a2 as they are: nothing is lost"}
	a1, a2, a3 := dirs["a1"], dirs["a2"], dirs["a3"]
	says(0, []string{a1, a2}, append(intact, "Nothing was changed.")...)
	says(5, begin("", a1, a2), append(intact, "Nothing was begun", "--although-quorum-is-intact")...)
	says(5, begin("", a3, a2, a1), "a majority is here and sound", "nothing is lost")
	says(0, []string{"-o", "json", a1, a2, a3}, `"intact":true,"refusing":false`)
	says(0, []string{a2}, "no majority is here, only a2", voters, "None of them may run now", "recover --begin-new-cluster "+a2)
	says(2, []string{"--although-quorum-is-intact", a1}, "goes with --begin-new-cluster")
	says(0, []string{a1, yesterday["a2"], a3}, "is here and sound", "("+yesterday["a2"]+"): a1 refuses it")

	refusing := []string{"as they are they can never go on", "a1 refuses it, because it has seen start", "The way out is a new cluster"}
	says(0, []string{a1, yesterday["a2"], yesterday["a3"]}, append(refusing, "recover --begin-new-cluster "+a1, voters)...)
	for _, dir := range []string{yesterday["a2"], yesterday["a3"]} {
		if err := wal.WriteRefusal(vfs.OS(), dir, wal.Refusal{Code: protocol.ErrRolledBack.Code, Text: "a1 says that it was put back"}); err != nil {
			t.Fatal(err)
		}
	}
	says(0, []string{yesterday["a3"], yesterday["a2"]}, "its directory was refused: a1 says that it was put back")
	says(0, begin("", a1, yesterday["a2"], yesterday["a3"]), "a1 is the only member of the new cluster", voters)
	says(0, begin("--although-quorum-is-intact", a2, a3), "is the only member of the new cluster", voters)
	f.agents["a1"].start()
	eventually(t, time.Minute, func() error {
		s, err := status(f.addr("a1"))
		if err == nil && s.Leader != "a1" {
			err = fmt.Errorf("%q leads", s.Leader)
		}
		return err
	})
}
