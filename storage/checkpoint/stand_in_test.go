package checkpoint_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/internal/dev/strace"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine/standin"
	"github.com/starlinghq/starling/storage/vfs"
)

// trouble is one call that fails, of Badger's and of what stands for it.
type trouble struct {
	badger injection
	call   vfs.Op
	name   string
	errno  syscall.Errno
	// before is how many calls of the stand-in match before the first that stands for
	// one of Badger's.
	before int
	ever   bool // from then on, all
}

// troubles are the ways to fail that checkpoints once failed to survive.
func troubles() (list []trouble) {
	for store := 1; store <= 4; store++ { // full, full, incremental, incremental
		in := fmt.Sprintf("store-%08d/", store)
		one := func(call, errno, file string, op vfs.Op, name string, no syscall.Errno) {
			x := trouble{badger: injection{call, errno, "1", in + file}, call: op, name: in + name, errno: no}
			if store > 2 && name == "MANIFEST" {
				x.before = 1 // the copy of the list, which is another system call there
			}
			list = append(list, x)
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
		name := fmt.Sprintf("%s%d.tmp", pointerPrefix, slot)
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

const pointerPrefix = "pointer-"

// runsMax is how often a script is run on Badger until the call that is meant has failed,
// and no other.
const runsMax = 20

// onBadger has the script run by a process whose calls fail, and returns which of the
// calls that match did: strace counts them for each thread, so that it may be more than
// the one that is meant. Where one call of Badger's stands for one of the stand-in's that
// is as good: the same ones can fail there. Elsewhere it is run again. None: it was never
// the one.
func (x trouble) onBadger(t *testing.T) (out string, failed []int) {
	for range runsMax {
		root := t.TempDir()
		dir, log := filepath.Join(root, "checkpoints"), filepath.Join(root, "calls")
		out, err := x.badger.logged(t, "some", dir, log)
		if err != nil {
			t.Fatalf("%v: the process ended with %v:\n%s", x.badger, err, out)
		}
		calls, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		failed := injectedIn(string(calls))
		if n := len(failed); n == 1 || n > 0 && (x.ever || x.oneForOne()) {
			s, err := checkpoint.Open(vfs.OS(), dir, onBadger(), small())
			return outcome(out + after(t, s, err)), failed
		}
	}
	return "", nil
}

// oneForOne reports whether each call of Badger's is one of the stand-in's: of a write or
// a sync, or where the store makes both. Files are opened more often there.
func (x trouble) oneForOne() bool {
	return x.call == vfs.OpSync || x.call == vfs.OpWrite || strings.HasPrefix(x.name, pointerPrefix)
}

// injectedIn returns which calls of a log of strace were made to fail, from 1, in the
// order in which they began. One that another thread interrupts has two lines.
func injectedIn(log string) (failed []int) {
	began := map[string]int{} // by thread
	calls := 0
	for line := range strings.Lines(log) {
		thread, call, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(strings.TrimSpace(call), "<...") {
			calls++
			began[thread] = calls
		}
		if strings.Contains(call, strace.Injected) {
			failed = append(failed, began[thread])
		}
	}
	return failed
}

// onStandIn has it run on a disk in memory.
func (x trouble) onStandIn(t *testing.T, failed []int) string {
	disk := vfs.NewMemory(1)
	disk.SetCapacity(1 << 40)
	open := func() (*checkpoint.Store, error) {
		return checkpoint.Open(disk, "/c", standin.New(disk, 0), small())
	}
	calls := 1000
	if x.ever {
		for range calls {
			disk.FailCall(vfs.Trouble{Op: x.call, Name: x.name, Err: x.errno})
		}
	} else {
		calls = len(failed)
		slices.Sort(failed)
		for _, n := range slices.Backward(failed) { // the disk counts for the first of two that match
			disk.FailCall(vfs.Trouble{Op: x.call, Name: x.name, N: x.before + n, Err: x.errno})
		}
	}
	var out strings.Builder
	takeSomeWith(open, &out)
	if n := len(disk.Troubles()); n == calls || n > 0 && !x.ever {
		t.Errorf("%v of %s: %d of %d were met by no call: %v", x.call, x.name, n, calls, failed)
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
				want, failed := x.onBadger(t)
				if failed == nil {
					t.Skip("more calls have failed each time")
				}
				compared.Add(1)
				if got := x.onStandIn(t, failed); got != want {
					t.Errorf("Badger has\n%s\nand %v of %s, numbers %v,\n%s", want, x.call, x.name, failed, got)
				}
			})
		}
	})
	if all := len(troubles()); int(compared.Load()) < all*3/4 {
		t.Errorf("%d of %d calls were compared: not enough", compared.Load(), all)
	}
}
