package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/dev/strace"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// faultsVariable, if it is not empty, has TestSystemCallsFail try the whole table.
const faultsVariable = "STARLING_CHECKPOINT_FAULTS"

// takeSome is for a process whose system calls fail.
func takeSome(dir string) int {
	return takeSomeWith(func() (*checkpoint.Store, error) { return checkpoint.Open(vfs.OS(), dir, onBadger(), small()) }, os.Stdout)
}

// takeSomeWith takes checkpoints, in spite of what the disk does, and says of each
// what became of it.
func takeSomeWith(open func() (*checkpoint.Store, error), out io.Writer) int {
	s, err := open()
	if err != nil {
		fmt.Fprintln(out, "refused", err)
		return exitSound
	}
	for n := protocol.Index(1); n <= 7; n++ {
		index := n * step
		content := contentAt(index)
		changes := content.Items()
		var w storage.CheckpointWriter
		kept := s.Kept()
		if len(kept) > 0 && kept[0].Index >= index {
			continue
		}
		if len(kept) == 2 && kept[1].Index == index-2*step { // what a snapshot knows
			changes = content.Since(contentAt(kept[1].Index), rand.New(rand.NewPCG(uint64(index), 8)))
			w, err = s.BeginIncremental(context.Background(), index, kept[1])
			if errors.Is(err, protocol.ErrStaleVersion) {
				changes = content.Items()
				w, err = s.BeginFull(context.Background(), index, 0)
			}
		} else {
			w, err = s.BeginFull(context.Background(), index, 0)
		}
		if err == nil {
			if err = w.Write(context.Background(), changes); err == nil {
				_, err = w.Commit(context.Background(), storagetest.Describe(index))
			}
			w.Abort()
		}
		switch {
		case err == nil:
			fmt.Fprintln(out, "durable", index)
		case errors.Is(err, protocol.ErrDirectory) || errors.Is(err, protocol.ErrNoSpace):
			fmt.Fprintln(out, "skipped", index, err)
		case errors.Is(err, protocol.ErrDiskFailed):
			fmt.Fprintln(out, "stopped", index, err)
		default:
			fmt.Fprintln(out, "wrong error", index, err)
			return exitWrongData
		}
	}
	for _, d := range s.Kept() {
		bad, err := wrong(s, d)
		if bad {
			fmt.Fprintln(out, "wrong data of", d.Index)
			return exitWrongData
		}
		fmt.Fprintln(out, "read", d.Index, err)
	}
	fmt.Fprintln(out, "closed", s.Close())
	return exitSound
}

// injection makes system calls of a process fail: of all, the one with a number,
// or those from one on; or those that have to do with one file.
type injection struct {
	call, errno, when string
	file              string // below the directory; empty: any
}

func (i injection) String() string {
	return fmt.Sprintf("%s of %q: %s, number %s", i.call, i.file, i.errno, i.when)
}

// wantStrace skips a test where system calls cannot be made to fail.
func wantStrace(t *testing.T) {
	t.Helper()
	if err := strace.Usable(); err != nil {
		t.Skip(err)
	}
}

// run runs a child whose system calls fail.
func (i injection) run(t *testing.T, what, dir string) (out string, err error) {
	t.Helper()
	return i.logged(t, what, dir, "")
}

// logged is run with the calls that have failed written to a file.
func (i injection) logged(t *testing.T, what, dir, log string) (out string, err error) {
	t.Helper()
	c := child(t, what, dir)
	trace := strace.Trace{Faults: []strace.Fault{{Call: i.call, Error: i.errno, When: i.when}}, Log: log}
	if i.file != "" {
		trace.Paths = []string{filepath.Join(dir, i.file)}
	}
	command := trace.Command(c.Args...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = c.Env
	b, err := cmd.CombinedOutput()
	return string(b), err
}

// meet has checkpoints taken while a system call fails, and looks at what is left:
// the process lives, what it called durable is there, and both kept ones are whole.
func (i injection) meet(t *testing.T) (out string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkpoints")
	out, err := i.run(t, "some", dir)
	if err != nil {
		t.Fatalf("%v: the process ended with %v:\n%s", i, err, out)
	}
	durable, count := protocol.Index(0), 0
	for line := range strings.Lines(out) {
		if at := sawDurable(t, strings.TrimSpace(line)); at > 0 {
			durable, count = at, count+1
		}
	}
	before := storagetest.Tree(t, dir)
	inspected, err := checkpoint.Inspect(vfs.OS(), dir, onBadger(), small())
	if err != nil {
		if count == 0 {
			return out
		}
		t.Fatalf("%v: %v", i, err)
	}
	soundIn(t, i, inspected, durable, count, out)
	if after := storagetest.Tree(t, dir); after != before {
		t.Fatalf("%v: looking changed the directory:\n%s\nto\n%s", i, before, after)
	}
	s, err := checkpoint.Open(vfs.OS(), dir, onBadger(), small())
	if err != nil {
		t.Fatalf("%v: %v", i, err)
	}
	soundIn(t, i, s, durable, count, out)
	if s, err = checkpoint.Open(vfs.OS(), dir, onBadger(), small()); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w, err := s.BeginFull(context.Background(), 1000, 0)
	if err == nil {
		_, err = w.Commit(context.Background(), storagetest.Describe(1000))
	}
	if err != nil {
		t.Fatalf("%v: afterwards none can be taken: %v", i, err)
	}
	return out
}

func soundIn(t *testing.T, i injection, s *checkpoint.Store, durable protocol.Index, count int, out string) {
	t.Helper()
	kept := s.Kept()
	if len(kept) < min(count, 2) || count > 0 && kept[0].Index < durable {
		t.Fatalf("%v: %d are kept, %d were durable, the last at %d:\n%s", i, len(kept), count, durable, out)
	}
	for _, d := range kept {
		if bad, err := wrong(s, d); bad || err != nil {
			t.Fatalf("%v: the one at %d is wrong (%v): %v\n%s", i, d.Index, bad, err, out)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// The counterexample: the list of tables of the store that the older checkpoint is
// in has the record of a table that is gone, and Badger only logs that. Both kept
// checkpoints are whole, and the next one is taken.
func TestFailedSyncOfTheListOfTablesCostsOneCheckpoint(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it takes long, and adds nothing under the race detector")
	}
	wantStrace(t)
	for store := 1; store <= 4; store++ { // full, full, incremental, incremental
		i := injection{"fsync", "EIO", "1", fmt.Sprintf("store-%08d/MANIFEST", store)}
		t.Run(i.String(), func(t *testing.T) {
			t.Parallel()
			if out := i.meet(t); !strings.Contains(out, "skipped") || strings.Contains(out, "stopped") || !strings.Contains(out, "durable 70") {
				t.Errorf("%v: want one that is skipped, and later ones:\n%s", i, out)
			}
		})
	}
}

// Badger's own exits: it cannot make the file of its discard statistics.
func TestBadgerDoesNotEndTheProcess(t *testing.T) {
	wantStrace(t)
	for _, errno := range []string{"EMFILE", "ENOSPC", "EDQUOT"} {
		for _, call := range []string{"openat", "ftruncate"} {
			i := injection{call, errno, "1", "store-00000002/DISCARD"}
			t.Run(i.String(), func(t *testing.T) {
				t.Parallel()
				if out := i.meet(t); !strings.Contains(out, "skipped 20") || !strings.Contains(out, "durable 70") {
					t.Errorf("%v: want the one at 20 to be skipped, and no other:\n%s", i, out)
				}
			})
		}
	}
}

// A disk that refuses msync for good: nothing is taken, and the process ends.
func TestDiskThatRefusesMsyncDoesNotHoldTheEnd(t *testing.T) {
	wantStrace(t)
	t.Parallel()
	out := injection{"msync", "EIO", "1+", ""}.meet(t)
	if !strings.Contains(out, "closed") || strings.Contains(out, "durable") || !strings.Contains(out, "have not ended") {
		t.Errorf("want an end, without any checkpoint:\n%s", out)
	}
}

// A directory that cannot be opened for a moment was not synced without success,
// and what is left of an installation says nothing about pointers.
func TestOnlyAnUnknownPointerStopsTheStore(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: whole processes are run for each call, and those of TestBadgerDoesNotEndTheProcess do the same at once")
	}
	wantStrace(t)
	list := []injection{{"unlinkat", "EIO", "1+", "install"}, {"unlinkat", "EACCES", "1+", "install-spool"}, {"fsync", "EIO", "1+", "pointer-1.tmp"},
		{"openat", "EIO", "2", "pointer-2.tmp"}, {"renameat", "ENOSPC", "1+", "pointer-2"}}
	for n := range 6 {
		list = append(list, injection{"openat", "EMFILE", fmt.Sprint(n + 1), "."})
	}
	for _, i := range list {
		t.Run(i.String(), func(t *testing.T) {
			t.Parallel()
			if out := i.meet(t); strings.Contains(out, "stopped") || !strings.Contains(out, "durable") {
				t.Errorf("%v: want some that are taken, and no end:\n%s", i, out)
			}
		})
	}
}

// The table of calls, errors and places: a file, or the first, second, ... call that
// a thread makes. A few are tried always, all if the environment says so.
func TestSystemCallsFail(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it takes long, and adds nothing under the race detector")
	}
	wantStrace(t)
	all := os.Getenv(faultsVariable) != ""
	table := []struct {
		call   string
		errors []string
	}{
		{"openat", []string{"EMFILE", "ENFILE", "ENOMEM", "EIO"}},
		{"fsync", []string{"EIO", "ENOSPC"}},
		{"fdatasync", []string{"EIO"}},
		{"msync", []string{"EIO"}},
		{"ftruncate", []string{"EIO", "EDQUOT"}},
		{"fallocate", []string{"ENOSPC", "EDQUOT"}},
		{"write", []string{"EIO", "ENOSPC", "EDQUOT"}},
		{"pwrite64", []string{"EIO", "ENOSPC"}},
		{"renameat", []string{"EIO", "EACCES"}},
		{"unlinkat", []string{"EIO", "EACCES"}},
		{"mkdirat", []string{"EIO", "EMLINK"}},
		{"linkat", []string{"EPERM", "EMFILE", "EIO"}},
		{"symlinkat", []string{"EIO"}},
		{"flock", []string{"EINTR", "EAGAIN", "ENOLCK"}},
		{"getdents64", []string{"EIO", "ENOMEM"}},
	}
	for n, line := range table {
		t.Run(line.call, func(t *testing.T) {
			t.Parallel()
			runs, skipped, stopped := 0, 0, 0
			for k, place := range faultPlaces(all) {
				if line.call == "write" && place.file == "" {
					continue // Go's own runtime ends the process when it cannot wake a thread
				}
				errno := line.errors[(n+k)%len(line.errors)]
				out := injection{line.call, errno, place.when, place.file}.meet(t)
				runs++
				if strings.Contains(out, "skipped") {
					skipped++
				}
				if strings.Contains(out, "stopped") {
					stopped++
				}
			}
			t.Logf("%d runs: checkpoints were skipped in %d, and the store stopped in %d", runs, skipped, stopped)
		})
	}
}

type faultPlace struct{ when, file string }

func faultPlaces(all bool) []faultPlace {
	if !all {
		return []faultPlace{{"2", ""}, {"1", "store-00000003"}}
	}
	out := []faultPlace{{"1+", "store-00000002"}, {"1", "."}, {"1", "pointer-1.tmp"}, {"1", "pointer-2.tmp"}}
	for _, n := range []string{"1", "2", "3", "4", "5", "8", "13", "21", "34"} {
		out = append(out, faultPlace{n, ""})
	}
	for _, store := range []string{"store-00000001", "store-00000003"} {
		for _, file := range []string{"", "/MANIFEST", "/MANIFEST-REWRITE", "/KEYREGISTRY", "/LOCK", "/DISCARD", "/00001.mem", "/000001.vlog", "/000001.sst", "/000002.sst"} {
			out = append(out, faultPlace{"1", store + file})
		}
	}
	return out
}
