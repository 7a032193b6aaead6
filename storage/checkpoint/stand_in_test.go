package checkpoint_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/internal/strace"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/vfs"
)

// trouble is one call that fails, of Badger's and of what stands for it.
type trouble struct {
	badger injection
	call   vfs.Op
	name   string
	errno  syscall.Errno
	ever   bool // from then on, all
}

// troubles are the ways to fail that checkpoints once failed to survive.
func troubles() (list []trouble) {
	for store := 1; store <= 4; store++ { // full, full, incremental, incremental
		in := fmt.Sprintf("store-%08d/", store)
		one := func(call, errno, file string, op vfs.Op, name string, no syscall.Errno) {
			list = append(list, trouble{badger: injection{call, errno, "1", in + file}, call: op, name: in + name, errno: no})
		}
		one("fsync", "EIO", "MANIFEST", vfs.OpSync, "MANIFEST", syscall.EIO)
		one("write", "EIO", "MANIFEST", vfs.OpWrite, "MANIFEST", syscall.EIO)
		one("openat", "EMFILE", "00001.mem", vfs.OpCreate, "00001.mem", syscall.EMFILE)
		one("openat", "EMFILE", "DISCARD", vfs.OpCreate, "00001.mem", syscall.EMFILE) // Badger's own exit
		one("openat", "EMFILE", fmt.Sprintf("%06d.sst", (store+1)/2), vfs.OpCreate, "*.sst", syscall.EMFILE)
		one("openat", "EIO", "sums", vfs.OpCreate, "sums", syscall.EIO)
		one("fdatasync", "EIO", "sums", vfs.OpSync, "sums", syscall.EIO)
		if store <= 2 {
			one("fsync", "EIO", "MANIFEST-REWRITE", vfs.OpSync, "MANIFEST-REWRITE", syscall.EIO)
		}
	}
	for slot := 1; slot <= 2; slot++ {
		name := fmt.Sprintf("pointer-%d.tmp", slot)
		for _, c := range []struct {
			call string
			op   vfs.Op
		}{{"openat", vfs.OpCreate}, {"fdatasync", vfs.OpSync}} {
			list = append(list, trouble{badger: injection{c.call, "EIO", "1", name}, call: c.op, name: name, errno: syscall.EIO})
		}
	}
	return append(list, trouble{badger: injection{"msync", "EIO", "1+", ""}, call: vfs.OpSync, name: "*.sst", errno: syscall.EIO, ever: true})
}

// outcome says what came of each checkpoint, at the end, and at the opening after.
func outcome(out string) string {
	var words []string
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case f[0] == "durable" || f[0] == "skipped" || f[0] == "stopped" || f[0] == "read":
			words = append(words, f[0]+" "+f[1])
		case f[0] == "refused" || f[0] == "wrong":
			words = append(words, f[0])
		case f[0] == "closed" && strings.Contains(line, "do not end"):
			words = append(words, "left behind")
		case f[0] == "kept":
			words = append(words, strings.TrimSpace(line))
		}
	}
	return strings.Join(words, ", ")
}

// after opens what is left, and says what is kept and can be read.
func after(t *testing.T, s *checkpoint.Store, err error) string {
	t.Helper()
	if err != nil {
		return fmt.Sprintln("refused", err)
	}
	defer s.Close()
	text := "kept"
	for _, d := range s.Kept() {
		if bad, err := wrong(s, d); bad || err != nil {
			t.Errorf("the one at %d is wrong (%v): %v", d.Index, bad, err)
		}
		text += fmt.Sprint(" ", d.Index)
	}
	return text + "\n"
}

// onBadger has the script run by a process whose calls fail. Calls are counted for each
// thread, so that more may have failed than are meant: then it is run again. False: it
// was never the one.
func (x trouble) onBadger(t *testing.T) (string, bool) {
	for range 20 {
		root := t.TempDir()
		dir, log := filepath.Join(root, "checkpoints"), filepath.Join(root, "failed")
		out, err := x.badger.logged(t, "some", dir, log)
		if err != nil {
			t.Fatalf("%v: the process ended with %v:\n%s", x.badger, err, out)
		}
		failed, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(failed, []byte(strace.Injected)); n == 1 || x.ever && n > 0 {
			s, err := checkpoint.Open(vfs.OS(), dir, small())
			return outcome(out + after(t, s, err)), true
		}
	}
	return "", false
}

// onStandIn has it run on a disk in memory.
func (x trouble) onStandIn(t *testing.T) string {
	disk := vfs.NewMemory(1)
	disk.SetCapacity(1 << 40)
	open := func() (*checkpoint.Store, error) { return checkpoint.OpenStandIn(disk, "/c", small()) }
	calls := 1
	if x.ever {
		calls = 1000
	}
	for range calls {
		disk.FailCall(vfs.Trouble{Op: x.call, Name: x.name, Err: x.errno})
	}
	var out strings.Builder
	takeSomeWith(open, &out)
	if n := len(disk.Troubles()); n == calls {
		t.Errorf("%v of %s: no call has met it", x.call, x.name)
	}
	disk.CallsWork()
	disk.Crash()
	s, err := open()
	return outcome(out.String() + after(t, s, err))
}

// What the simulated clusters use in Badger's place comes to the same end, call by
// call: what is durable, skipped or stopped, what is left behind, and what is there
// afterwards.
func TestStandInFailsAsBadgerDoes(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: whole processes are run for each call")
	}
	wantStrace(t)
	t.Parallel()
	var compared atomic.Int64
	t.Run("calls", func(t *testing.T) {
		for _, x := range troubles() {
			t.Run(x.badger.String(), func(t *testing.T) {
				t.Parallel()
				want, once := x.onBadger(t)
				if !once {
					t.Skip("more calls have failed each time")
				}
				compared.Add(1)
				if got := x.onStandIn(t); got != want {
					t.Errorf("Badger has\n%s\nand %v of %s\n%s", want, x.call, x.name, got)
				}
			})
		}
	})
	if all := len(troubles()); int(compared.Load()) < all*3/4 {
		t.Errorf("%d of %d calls were compared: not enough", compared.Load(), all)
	}
}
