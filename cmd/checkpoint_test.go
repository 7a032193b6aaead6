package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// dirOf returns the directory of an agent.
func dirOf(a *agent) string {
	for i, arg := range a.args {
		if arg == "--dir" {
			return a.args[i+1]
		}
	}
	return ""
}

func TestInspectsCheckpointsOfAStoppedMember(t *testing.T) {
	a := newAgent(t, "a1", "active", "--bootstrap", "--actives", "1", "--checkpoint-bytes", "65536")
	a.start()
	eventually(t, time.Minute, func() error { _, err := status(a.addr); return err })
	var lines strings.Builder
	for i := range 300 {
		fmt.Fprintf(&lines, "k%d\t%s\n", i, strings.Repeat("v", 1000))
	}
	if _, stderr, code := run(context.Background(), lines.String(), "map", "import", "--addr", a.addr, "--format", "tab", "m"); code != 0 {
		t.Fatalf("import: exit code %d: %s", code, stderr)
	}
	var want starling.Index
	eventually(t, time.Minute, func() error {
		s, err := status(a.addr)
		if want = s.Checkpoint; err == nil && want == 0 {
			err = errors.New("no checkpoint")
		}
		return err
	})
	if out, _, _ := run(context.Background(), "", "status", "--addr", a.addr); !strings.Contains(out, "checkpoint") {
		t.Errorf("status says nothing of checkpoints:\n%s", out)
	}
	if _, stderr, code := run(context.Background(), "", "checkpoint", "inspect", dirOf(a)); code == 0 || !strings.Contains(stderr, "in use") {
		t.Errorf("of a running member: exit code %d, %s", code, stderr)
	}
	if code := a.stop(); code != 0 {
		t.Fatalf("the agent ended with %d", code)
	}
	out, stderr, code := run(context.Background(), "", "checkpoint", "inspect", dirOf(a))
	if code != 0 || !strings.Contains(out, "sound") {
		t.Errorf("inspect: exit code %d, %s, %s", code, out, stderr)
	}
	out, stderr, code = run(context.Background(), "", "checkpoint", "inspect", "-o", "json", dirOf(a))
	var list []struct {
		Index  starling.Index
		Sound  bool
		Digest string
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list) == 0 || list[0].Index < want || !list[0].Sound || len(list[0].Digest) != 32 {
		t.Errorf("inspect -o json: %v, exit code %d: %s%s", err, code, out, stderr)
	}
	out, stderr, code = run(context.Background(), "", "wal", "verify", dirOf(a))
	if text := fmt.Sprintf("goes on from the checkpoint at %d", list[0].Index); code != 0 || !strings.Contains(out, text) {
		t.Errorf("wal verify: exit code %d, %s%s, want %q", code, out, stderr, text)
	}
	out, stderr, code = run(context.Background(), "", "wal", "inspect", dirOf(a))
	if text := fmt.Sprintf("checkpoint %d@", list[0].Index); code != 0 || !strings.Contains(out, text) {
		t.Errorf("wal inspect: exit code %d, %s%s, want %q", code, out, stderr, text)
	}
	if err := wal.WriteQuarantine(vfs.OS(), dirOf(a), storage.Quarantine{At: protocol.Index(list[0].Index), Until: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	out, stderr, code = run(context.Background(), "", "checkpoint", "inspect", dirOf(a))
	if code != 1 || !strings.Contains(out, "of a state in quarantine") || !strings.Contains(stderr, "had diverged") {
		t.Errorf("inspect in quarantine: exit code %d, %s, %s", code, out, stderr)
	}
	if _, stderr, code = run(context.Background(), "", "checkpoint", "inspect", t.TempDir()); code == 0 {
		t.Errorf("of an empty directory: %s", stderr)
	}
}

// A damaged checkpoint is told without a change, set aside by the next start, which
// goes on from the older one, and put back when its files are whole again.
func TestDamagedCheckpointIsSetAsideAndPutBack(t *testing.T) {
	a := newAgent(t, "a1", "active", "--bootstrap", "--actives", "1", "--checkpoint-bytes", "65536")
	a.start()
	eventually(t, time.Minute, func() error { _, err := status(a.addr); return err })
	var lines strings.Builder
	for i := range 300 {
		fmt.Fprintf(&lines, "k%d\t%s\n", i, strings.Repeat("v", 1000))
	}
	inspect := func() (list []struct {
		Index        uint64
		Sound, Aside bool
	}, code int) {
		t.Helper()
		out, stderr, code := run(context.Background(), "", "checkpoint", "inspect", "-o", "json", dirOf(a))
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatalf("%v: %s%s", err, out, stderr)
		}
		return list, code
	}
	for two := false; !two; {
		if _, stderr, code := run(context.Background(), lines.String(), "map", "import", "--addr", a.addr, "--format", "tab", "m"); code != 0 {
			t.Fatalf("import: exit code %d: %s", code, stderr)
		}
		kept, err := checkpoint.Peek(vfs.OS(), filepath.Join(dirOf(a), checkpoint.Folder))
		if err != nil {
			t.Fatal(err)
		}
		two = len(kept) == 2
	}
	if code := a.stop(); code != 0 {
		t.Fatalf("the agent ended with %d", code)
	}
	sound, _ := inspect()
	heal := damageTableOf(t, dirOf(a), func() bool {
		list, _ := inspect()
		return len(list) == 2 && !list[0].Sound && list[1].Sound
	})
	before := storagetest.Tree(t, dirOf(a))
	if list, code := inspect(); code == 0 || len(list) != 2 || list[0].Sound || !list[1].Sound {
		t.Errorf("inspect: exit code %d, %v", code, list)
	}
	if after := storagetest.Tree(t, dirOf(a)); after != before {
		t.Errorf("looking changed the directory:\n%s\nto\n%s", before, after)
	}
	a.start()
	eventually(t, time.Minute, func() error { _, err := status(a.addr); return err })
	if code := a.stop(); code != 0 {
		t.Fatalf("the agent ended with %d", code)
	}
	list, _ := inspect()
	if len(list) < 2 || !list[len(list)-1].Aside || list[len(list)-1].Index != sound[0].Index {
		t.Fatalf("after a start: %v, want the one at %d to be set aside", list, sound[0].Index)
	}
	if _, _, code := run(context.Background(), "", "checkpoint", "put-back", dirOf(a)); code == 0 {
		t.Error("a damaged one was put back")
	}
	heal()
	if _, stderr, code := run(context.Background(), "", "checkpoint", "put-back", dirOf(a)); code != 0 {
		t.Errorf("put-back: exit code %d: %s", code, stderr)
	}
	if list, code := inspect(); code != 0 || len(list) < 2 || list[0].Aside || list[1].Aside {
		t.Errorf("after put-back: exit code %d, %v", code, list)
	}
	a.start()
	eventually(t, time.Minute, func() error { _, err := status(a.addr); return err })
	if code := a.stop(); code != 0 {
		t.Errorf("the agent ended with %d", code)
	}
}

// A state that is not the described one is told, although all its chunks are.
func TestInspectComparesTheDigest(t *testing.T) {
	s, err := checkpoint.NewMemory(checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx := context.Background()
	w, err := s.BeginFull(ctx, 10, 0)
	if err == nil {
		err = w.Write(ctx, []storage.Item{{Space: "", Key: []byte("rm"), Index: 3, Value: []byte("map")}, {Space: "m", Key: []byte("k"), Index: 3, Value: []byte("v")}})
	}
	var d storage.Manifest
	if err == nil {
		d, err = w.Commit(ctx, storagetest.Describe(10))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := readCheckpoint(ctx, s, &d); !errors.Is(err, protocol.ErrCorrupt) {
		t.Errorf("got %v, want %v", err, protocol.ErrCorrupt)
	}
	list := []found{{Manifest: d, fault: protocol.ErrCorrupt}, {Manifest: d, aside: true}, {Manifest: d}}
	for i, want := range []string{"damaged", "set aside", "sound"} {
		if got := list[i].state(); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// damageTableOf flips a bit of a table, of the one for which done says that this
// damages what is wanted: which store belongs to which checkpoint, and which is a
// leftover, is the store's own business. heal takes the damage back.
func damageTableOf(t *testing.T, dir string, done func() bool) (heal func()) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, checkpoint.Folder, "store-*", "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write := func(b []byte) {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		damaged := bytes.Clone(whole)
		damaged[len(damaged)/2] ^= 4
		if write(damaged); done() {
			return func() { write(whole) }
		}
		write(whole)
	}
	t.Fatalf("no table of %v is what is wanted", tables)
	return nil
}
