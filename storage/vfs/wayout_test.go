package vfs_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// What a member says of an error of the operating system: the cause once, whose fault
// it is, and what can be done.
func TestTextsSayTheCauseOnceAndAWayOut(t *testing.T) {
	failed := func(err error) error { return vfs.Failed(err) }
	later := func(err error) error { return vfs.Later("taking a checkpoint", err) }
	for _, test := range []struct {
		errno     syscall.Errno
		make      func(error) error
		code      *protocol.Error
		want, not string
	}{
		{syscall.EIO, failed, protocol.ErrDiskFailed, "the disk failed; the member has stopped: write /d/log/1.wal: input/output error; the kernel's log", "limit of"},
		{syscall.EMFILE, failed, protocol.ErrDiskFailed, "raise the limit of open files", "the disk failed"},
		{syscall.ENOMEM, failed, protocol.ErrDiskFailed, "no memory left", "the disk failed"},
		{syscall.EACCES, failed, protocol.ErrDiskFailed, "chown", "the disk failed"},
		{syscall.EINTR, failed, protocol.ErrDiskFailed, "passes by itself; then start the member again", "the disk failed"},
		{syscall.ENOSPC, failed, protocol.ErrDiskFailed, "make room on it, or raise the quota", "the disk failed"},
		{syscall.EROFS, failed, protocol.ErrDiskFailed, "mount it anew", "limit of"},
		{syscall.EIO, vfs.Refused, protocol.ErrDirectory, "the data directory cannot be used: write /d/log/1.wal: input/output error; ", "the disk failed"},
		{syscall.EIO, vfs.Explained, protocol.ErrDirectory, "the data directory cannot be used: write", "the disk failed"},
		{syscall.EACCES, vfs.Refused, protocol.ErrDirectory, "chown -R); then start again: nothing was changed", "the disk failed"},
		{syscall.ENOLCK, vfs.Refused, protocol.ErrDirectory, "use a local one", "the disk failed"},
		{syscall.EDQUOT, later, protocol.ErrNoSpace, "raise the quota", "leader"},
		{syscall.ENOSPC, vfs.Full, protocol.ErrNoSpace, "the disk of this member is full: write /d/log/1.wal: no space left on device; make room", "leader"},
		{syscall.EMFILE, vfs.Waits, protocol.ErrNoSpace, "the log cannot go on in a new file: write /d/log/1.wal: too many open files; the disk is sound: raise the limit of open files (ulimit -n, LimitNOFILE); it goes on by itself", "full"},
		{syscall.EFBIG, vfs.Waits, protocol.ErrNoSpace, "the log cannot go on in a new file: write /d/log/1.wal: file too large; the disk is sound: raise the limit of the size of a file (ulimit -f, LimitFSIZE); it goes on by itself", "full"},
		{syscall.EFBIG, failed, protocol.ErrDiskFailed, "a write to the member's directory failed; the member has stopped: write /d/log/1.wal: file too large; the disk is sound: raise the limit of the size of a file (ulimit -f, LimitFSIZE); then start the member again", "the disk failed"},
		{syscall.EIO, vfs.Waits, protocol.ErrNoSpace, "the kernel's log says more", "full"},
		{syscall.EMFILE, later, protocol.ErrDirectory, "taking a checkpoint: write /d/log/1.wal: too many open files; the disk is sound", "start"},
		{syscall.ENOSPC, later, protocol.ErrNoSpace, "make room", "leader"},
	} {
		cause := &os.PathError{Op: "write", Path: "/d/log/1.wal", Err: test.errno}
		err := test.make(cause)
		text := err.Error()
		if !errors.Is(err, test.code) || !errors.Is(err, test.errno) {
			t.Errorf("%v: the error is not %v and its cause", err, test.code.Code)
		}
		if !strings.Contains(text, test.want) || strings.Contains(text, test.not) || strings.Count(text, test.errno.Error()) != 1 {
			t.Errorf("got %q, want %q once and not %q", text, test.want, test.not)
		}
		for _, again := range []error{vfs.Failed(vfs.Failed(err)), vfs.Explained(fmt.Errorf("opening: %w", err))} {
			if strings.Count(again.Error(), test.errno.Error()) != 1 || strings.Count(again.Error(), "; the member has stopped") > 1 || strings.Count(again.Error(), "start") > 2 {
				t.Errorf("said twice: %q", again)
			}
		}
	}
}

// The names of files are those that somebody finds afterwards.
func TestErrorsNameFilesAsTheyAreNow(t *testing.T) {
	dir := t.TempDir()
	if err := vfs.WriteFile(vfs.OS(), dir+"/none/pointer", nil); err == nil || strings.Contains(err.Error(), vfs.TemporarySuffix) || !strings.Contains(err.Error(), "/none/pointer:") {
		t.Errorf("got %v, want the name without %s", err, vfs.TemporarySuffix)
	}
	f, err := vfs.OS().Create(dir + "/old")
	if err != nil {
		t.Fatal(err)
	}
	if err := vfs.OS().Rename(dir+"/old", dir+"/new"); err != nil {
		t.Fatal(err)
	}
	vfs.Renamed(f, dir+"/new")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil || !strings.Contains(err.Error(), "/new:") {
		t.Errorf("got %v, want the new name", err)
	}
}

// What a system refuses it has not begun; what a disk or a server of files fails in the
// midst of may have been done.
func TestRefusalIsToldFromAFailure(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		syscall.EACCES: true, syscall.EMFILE: true, syscall.ENOSPC: true, syscall.EROFS: true, syscall.ENOENT: true,
		syscall.EIO: false, syscall.EINTR: false, syscall.ETIMEDOUT: false, syscall.ESTALE: false, syscall.ENXIO: false, syscall.ENODEV: false,
	} {
		if got := vfs.Undone(&os.LinkError{Op: "rename", Old: "a", New: "b", Err: errno}); got != want {
			t.Errorf("%v: undone %t, want %t", errno, got, want)
		}
	}
}

// What passes may go well later; what is gone, or read only, does not come back to who
// has it open.
func TestWhatPassesIsToldFromWhatDoesNot(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		syscall.EMFILE: true, syscall.ENOMEM: true, syscall.EPERM: true, syscall.EDQUOT: true, syscall.EINTR: true, syscall.EIO: true,
		syscall.EROFS: false, syscall.ENXIO: false, syscall.ENODEV: false, syscall.ENOENT: false, syscall.EBADF: false,
	} {
		if got := vfs.Passes(&os.PathError{Op: "open", Path: "a", Err: errno}); got != want {
			t.Errorf("%v: passes %t, want %t", errno, got, want)
		}
	}
}
