package vfs

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// uncache works on what is not mapped.
func (o *osFile) uncache() { _ = unix.Fadvise(int(o.f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// syncData is fdatasync: after preallocation there is no metadata to write, and
// a sync touches data only.
func syncData(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = uninterrupted(func() error { return syscall.Fdatasync(int(fd)) })
	})
	if err == nil && failed != nil {
		err = &os.PathError{Op: "fdatasync", Path: f.Name(), Err: failed}
	}
	return err
}

// allocate reports false if the file system cannot.
func allocate(f *os.File, from, to int64) (bool, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = uninterrupted(func() error { return syscall.Fallocate(int(fd), 0, from, to-from) })
	})
	switch {
	case err != nil:
		return false, err
	case failed == syscall.EOPNOTSUPP || failed == syscall.ENOSYS:
		return false, nil
	case failed != nil:
		return false, &os.PathError{Op: "fallocate", Path: f.Name(), Err: failed}
	}
	return true, nil
}

// damageCodes are what reads of bad sectors and damaged file systems return.
var damageCodes = []error{syscall.EIO, syscall.EUCLEAN, syscall.EBADMSG}
