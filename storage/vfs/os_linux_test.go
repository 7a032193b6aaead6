package vfs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/storage/vfs"
)

// A signal that interrupts a system call is no fault of the disk: each call that is
// made directly is made again. strace interrupts the first three of each.
func TestInterruptedCallsAreMadeAgain(t *testing.T) {
	if dir := os.Getenv("STARLING_INTERRUPTED"); dir != "" {
		interrupted(t, dir)
		return
	}
	if out, err := exec.Command("strace", "-f", "-o", os.DevNull, "-e", "inject=sync:error=EIO", "true").CombinedOutput(); err != nil {
		t.Skipf("strace cannot make system calls fail here: %v: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range []string{"statfs", "fdatasync", "fallocate", "flock"} {
		log := filepath.Join(t.TempDir(), "calls")
		cmd := exec.Command("strace", "-f", "--quiet=all", "-o", log, "-e", "trace="+call, "-e", "inject="+call+":error=EINTR:when=1..3",
			self, "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "STARLING_INTERRUPTED="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s interrupted: %v\n%s", call, err, out)
		}
		calls, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(calls), "EINTR"); n < 3 {
			t.Errorf("%s was interrupted %d times, want 3: the test tests nothing", call, n)
		}
	}
}

// interrupted does what makes each of the calls.
func interrupted(t *testing.T, dir string) {
	fsys, name := vfs.OS(), filepath.Join(dir, "file")
	lock, err := fsys.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	f, err := fsys.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Allocate(1 << 16); err != nil {
		t.Error(err)
	}
	if err := f.Sync(); err != nil {
		t.Error(err)
	}
	if free, err := fsys.FreeSpace(dir); err != nil || free == 0 {
		t.Errorf("%d bytes are free: %v", free, err)
	}
}

// Whatever the file system has no word for counts as written.
func TestWrittenCoversWhatWasWritten(t *testing.T) {
	const size, end = 8 << 20, 1 << 20
	for name, fsys := range map[string]vfs.FS{"memory": vfs.NewMemory(1), "the system's": vfs.OS()} {
		dir := t.TempDir()
		if err := fsys.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
		f, err := fsys.Create(filepath.Join(dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := f.Allocate(size); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{1}, end-1); err != nil {
			t.Fatal(err)
		}
		got := vfs.Written(f, size)
		t.Logf("%s: %d bytes", name, got)
		if got < end || got > size || name == "memory" && got != end {
			t.Errorf("%s: got %d, want %d, or %d where that is not known", name, got, end, size)
		}
	}
}

// Counterexample: while a directory is given back another goroutine starts a program. Its child has the locked file, too,
// until the program begins, and the next start finds the directory in use.
func TestALockEndsForChildrenThatAreBeingForked(t *testing.T) {
	fsys, name := vfs.OS(), filepath.Join(t.TempDir(), "lock")
	lock, err := fsys.Lock(name)
	if err != nil {
		t.Fatal(err)
	}
	child, err := syscall.Dup(int(lock.(interface{ Fd() uintptr }).Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(child)
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := fsys.Lock(name)
	if err != nil {
		t.Fatalf("a lock that was given back is held: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}
