package checkpoint_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/dev/strace"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// manyCheckpoints is how many takeMany tries to take.
const manyCheckpoints = 16

// takeMany takes full checkpoints, whatever becomes of them, and says what the
// process has in the end that it should not have.
func takeMany(dir string) int {
	s, err := checkpoint.Open(vfs.OS(), dir, onBadger(), small())
	if err != nil {
		fmt.Println("refused", err)
		return exitSound
	}
	begin := runtime.NumGoroutine()
	failed := 0
	for n := protocol.Index(1); n <= manyCheckpoints; n++ {
		w, err := s.BeginFull(context.Background(), n*step, 0)
		within(10*time.Second, func() bool { // Badger tries a flush that has failed again each second
			if err != nil && strings.Contains(err.Error(), "have not ended") {
				w, err = s.BeginFull(context.Background(), n*step, 0)
				return false
			}
			return true
		})
		if err == nil {
			if err = w.Write(context.Background(), contentAt(step).Items()); err == nil {
				_, err = w.Commit(context.Background(), storagetest.Describe(n*step))
			}
			w.Abort()
		}
		if err != nil {
			failed++
			fmt.Println("failed", err)
		}
	}
	if err := s.Close(); err != nil {
		fmt.Println("closed", err)
	}
	more := 0
	within(3*time.Second, func() bool { // goroutines that were told to end do so in a while
		more = runtime.NumGoroutine() - begin
		return more <= 0
	})
	maps, _ := os.ReadFile("/proc/self/maps") // elsewhere than on Linux there is no such file
	mapped := 0
	for line := range strings.Lines(string(maps)) {
		if strings.Contains(line, dir+"/") && strings.HasSuffix(strings.TrimSpace(line), "(deleted)") {
			mapped++
		}
	}
	fmt.Printf("%d failed, %d goroutines more, %d removed files still mapped\n", failed, max(0, more), mapped)
	return exitSound
}

// within polls until something is so, or for a while.
func within(limit time.Duration, so func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !so() && time.Now().Before(end); {
		<-tick.C
	}
}

// Badger keeps goroutines of what it could not open, and maps of what it could not
// close: a member that takes checkpoints for years would run out of memory, and of
// disk for files that are not there.
func TestFailedCheckpointsLeaveNothingInTheProcess(t *testing.T) {
	wantStrace(t)
	for _, test := range []struct {
		fault strace.Fault
		paths string // in each of the stores
	}{
		{strace.Fault{Call: "msync", Error: "EIO", When: "3+5"}, ""},
		{strace.Fault{Call: "openat", Error: "EIO"}, "KEYREGISTRY"},
		{strace.Fault{Call: "openat", Error: "ENOMEM"}, "000001.vlog"},
		{strace.Fault{Call: "openat", Error: "EMFILE"}, "000001.sst"},
		{strace.Fault{Call: "unlinkat", Error: "EACCES"}, "00001.mem"},
	} {
		t.Run(strings.TrimSpace(test.fault.Call+" "+test.paths), func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			dir = filepath.Join(dir, "checkpoints")
			trace := strace.Trace{Faults: []strace.Fault{test.fault}}
			for n := 1; n <= manyCheckpoints && test.paths != ""; n += 2 {
				trace.Paths = append(trace.Paths, filepath.Join(dir, fmt.Sprintf("store-%08d", n), test.paths))
			}
			c := child(t, "many", dir)
			command := trace.Command(c.Args...)
			cmd := exec.Command(command[0], command[1:]...)
			cmd.Env = c.Env
			out, err := cmd.CombinedOutput()
			last := string(out)[strings.LastIndex(strings.TrimSpace(string(out)), "\n")+1:]
			var failed, goroutines, mapped int
			if _, e := fmt.Sscanf(last, "%d failed, %d goroutines more, %d removed files still mapped", &failed, &goroutines, &mapped); err != nil || e != nil {
				t.Errorf("%v %s: %v: %s", test.fault, test.paths, err, out)
				return
			}
			if failed < manyCheckpoints/8 || goroutines > 0 || mapped > 0 {
				t.Errorf("%v %s: got %s", test.fault, test.paths, out)
			}
			s, err := checkpoint.Open(vfs.OS(), dir, onBadger(), small()) // which tidies up after a process that has ended
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "view-*")); err != nil || len(left) > 0 {
				t.Errorf("%v %s: folders of views are left: %v, error %v", test.fault, test.paths, left, err)
			}
		})
	}
}
