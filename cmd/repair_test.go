package cmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// flipByte damages one byte of a file.
func flipByte(t *testing.T, path string, at int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// damageLog flips a bit of an entry in the middle of a log that was synced.
func damageLog(t *testing.T, dir string) {
	t.Helper()
	var all []wal.Record
	if _, err := wal.Inspect(vfs.OS(), dir, func(r wal.Record) {
		if r.Kind == wal.KindEntries {
			all = append(all, r)
		}
	}); err != nil {
		t.Fatal(err)
	}
	r := all[len(all)/2]
	names, err := filepath.Glob(filepath.Join(dir, "*", r.Segment))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	const header = 104
	flipByte(t, names[0], r.Offset+header+3)
}

func verifyLog(t *testing.T, dir string) (said string, code int) {
	t.Helper()
	out, stderr, code := run(context.Background(), "", "wal", "verify", dir)
	return out + stderr, code
}

func putKeys(t *testing.T, f *flock, n int) {
	t.Helper()
	for i := range n {
		out, stderr, code := run(context.Background(), "", "map", "put", "--addr", f.addr("a1"), "--timeout", "30s", "m", fmt.Sprintf("k%d", i), "v")
		if code != 0 {
			t.Fatalf("put: exit code %d, %s%s", code, out, stderr)
		}
	}
}

// A member with a damaged log, as processes and by hand: verify says so, it waits
// while it is alone and tells, Ctrl-C ends it, and with the others it repairs.
func TestADamagedMemberRepairsItself(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes take a while")
	}
	t.Parallel()
	f := newFlock(t, 3, 0)
	putKeys(t, f, 30)
	f.settled()
	for _, name := range f.names {
		f.agents[name].kill()
	}
	a3 := f.agents["a3"]
	damageLog(t, a3.dir())
	if said, code := verifyLog(t, a3.dir()); code != 1 || !strings.Contains(said, "damaged") {
		t.Fatalf("wal verify: exit code %d, %s", code, said)
	}
	a3.start()
	eventually(t, time.Minute, func() error {
		s, err := status(a3.addr)
		if err == nil && (s.Serving || !strings.Contains(s.Reason, "damaged") || !strings.Contains(s.Reason, "no other member answers")) {
			err = fmt.Errorf("serving %v: %s", s.Serving, s.Reason)
		}
		return err
	})
	if _, stderr, code := run(context.Background(), "", "map", "get", "--addr", a3.addr, "--timeout", "1s", "m", "k1"); code == 0 {
		t.Errorf("a read at a member that repairs its log: exit code 0, %s", stderr)
	}
	if code := a3.stop(); code != 0 {
		t.Errorf("interrupted while it waits: exit code %d, %s", code, a3.log)
	}
	for _, name := range f.names {
		f.agents[name].start()
	}
	f.settled()
	if !strings.Contains(a3.log.String(), "the log is repaired") {
		t.Errorf("nothing is told of it: %s", a3.log)
	}
	a3.kill()
	if said, code := verifyLog(t, a3.dir()); code != 0 {
		t.Errorf("wal verify of the repaired log: exit code %d, %s", code, said)
	}
}

// What cannot be healed is refused, and what the refusal says to do works: the
// member comes back as a new one, under its name.
func TestAMemberThatIsLostComesBackAsANewOne(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes take a while")
	}
	t.Parallel()
	f := newFlock(t, 3, 0)
	putKeys(t, f, 20)
	f.settled()
	a3 := f.agents["a3"]
	before, err := status(a3.addr)
	if err != nil {
		t.Fatal(err)
	}
	a3.kill()
	for _, name := range []string{"identity-1", "identity-2"} {
		flipByte(t, filepath.Join(a3.dir(), name), 40)
	}
	a3.start()
	if code := a3.wait(); code == 0 || !strings.Contains(a3.log.String(), "starling remove a3") || !strings.Contains(a3.log.String(), "move the directory away") {
		t.Fatalf("both copies of the identity are damaged: exit code %d, %s", code, a3.log)
	}
	if err := os.Rename(a3.dir(), filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	a3.log = new(syncBuffer)
	a3.start()
	if code := a3.wait(); code == 0 || !strings.Contains(a3.log.String(), "is in use") || !strings.Contains(a3.log.String(), "starling remove a3") {
		t.Fatalf("a name that a lost member has: exit code %d, %s", code, a3.log)
	}
	if out, stderr, code := run(context.Background(), "", "remove", "--addr", f.addr("a1"), "--timeout", "30s", "a3"); code != 0 {
		t.Fatalf("remove: exit code %d, %s%s", code, out, stderr)
	}
	eventually(t, time.Minute, func() error { // the old one is forgotten by all, then the new one may have the name
		if a3.process == nil {
			a3.start()
		}
		select {
		case <-a3.ended:
			a3.process = nil
			return fmt.Errorf("it does not join: %s", a3.log)
		default:
		}
		s, err := status(a3.addr)
		if err != nil {
			return err
		}
		for _, m := range s.Members {
			if m.Name == "a3" && m.Suffrage == "voter" {
				return nil
			}
		}
		return fmt.Errorf("it has no seat: %+v", s.Members)
	})
	if after := f.settled(); after.ID == before.ID {
		t.Error("it came back under its old id")
	}
}
