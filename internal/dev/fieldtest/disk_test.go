//go:build linux

package fieldtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctls that have all that writes to a file system wait, and go on.
const (
	freezeCall = 0xc0045877 // _IOWR('X', 119, int)
	thawCall   = 0xc0045878 // _IOWR('X', 120, int)
)

// The ioctl that shuts a file system down; ext4 and xfs share the number. With
// this flag it does not even write its journal.
const (
	shutdownCall    = 0x8004587d // _IOR('X', 125, uint32)
	shutdownNoFlush = 2
)

// disk is a file system in a file, mounted over a loop device.
type disk struct {
	t       *testing.T
	kind    string
	image   string
	dir     string // where it is mounted
	mounted bool
}

// newDisk makes a file system and mounts it. The test is skipped if that cannot
// be had here.
func newDisk(t *testing.T, kind string, megabytes int64) *disk {
	t.Helper()
	need(t, "mount", "umount", "mkfs."+kind)
	base := t.TempDir()
	d := &disk{t: t, kind: kind, image: filepath.Join(base, "image"), dir: filepath.Join(base, "mounted")}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(d.image)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(f.Truncate(megabytes<<20), f.Close())
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-q", d.image}
	if kind == "ext4" {
		args = []string{"-q", "-m", "0", d.image} // nothing is kept back for root
	}
	if err := tool("mkfs."+kind, args...); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if d.mounted {
			// Lazily: a process that hangs must not keep it.
			_ = unix.Unmount(d.dir, unix.MNT_DETACH)
		}
	})
	if err := tool("mount", "-t", kind, "-o", "loop", d.image, d.dir); err != nil {
		t.Skipf("no loop mounts here: %v", err)
	}
	d.mounted = true
	return d
}

// cut is the end of the power: what is not on the disk now never will be.
func (d *disk) cut() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	flag := uint32(shutdownNoFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdownCall, uintptr(unsafe.Pointer(&flag))); errno != 0 {
		return fmt.Errorf("shutting %s down: %w", d.kind, errno)
	}
	return nil
}

// hang has the disk answer no write any more, until the result is called, which the end of
// the test does as well.
func (d *disk) hang() (goOn func()) {
	d.t.Helper()
	thaw, err := d.freeze()
	if err != nil {
		d.t.Fatal(err)
	}
	goOn = sync.OnceFunc(func() {
		if err := thaw(); err != nil {
			d.t.Error(err)
		}
	})
	d.t.Cleanup(goOn)
	return goOn
}

func (d *disk) freeze() (thaw func() error, err error) {
	f, err := os.Open(d.dir)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetInt(int(f.Fd()), freezeCall, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { return errors.Join(unix.IoctlSetInt(int(f.Fd()), thawCall, 0), f.Close()) }, nil
}

// slow has the disk answer for a while and stand still for a while, in turns, until the
// result is called.
func (d *disk) slow(answers, stands time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for wait(ctx, answers) {
			thaw, err := d.freeze()
			if err == nil {
				wait(ctx, stands)
				err = thaw()
			}
			if err != nil {
				d.t.Error(err)
				return
			}
		}
	})
	return sync.OnceFunc(func() { cancel(); done.Wait() })
}

// again is the power's return: the file system is mounted anew, which replays
// its journal. All processes that used it are gone.
func (d *disk) again() {
	d.t.Helper()
	if err := tool("umount", d.dir); err != nil {
		d.t.Fatal(err)
	}
	d.mounted = false
	if err := tool("mount", "-t", d.kind, "-o", "loop", d.image, d.dir); err != nil {
		d.t.Fatal(err)
	}
	d.mounted = true
}

// flush makes everything on the file system durable.
func (d *disk) flush() {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		d.t.Fatal(err)
	}
}

// free returns the bytes that are left.
func (d *disk) free() int64 {
	d.t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		d.t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// fill takes space until so many bytes are left, of 0 bytes the very last.
func (d *disk) fill(left int64) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "ballast"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		d.t.Fatal(err)
	}
	size := info.Size()
	for step := d.free() - left; step >= 4096; {
		err := unix.Fallocate(int(f.Fd()), 0, size, step)
		switch {
		case err == nil:
			size += step
			step = min(step, d.free()-left)
		case errors.Is(err, syscall.ENOSPC):
			step /= 2 // the rest is needed for the file's own map
		case !errors.Is(err, syscall.EINTR):
			d.t.Fatal(err)
		}
	}
}

// empty gives the space back.
func (d *disk) empty() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "ballast")); err != nil {
		d.t.Fatal(err)
	}
}
