package vfs

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// uncache works on what is not mapped.
func (o *osFile) uncache() { _ = unix.Fadvise(int(o.f.Fd()), 0, 0, unix.FADV_DONTNEED) }

// extentsMax is how many written parts of a file are looked at for its end.
const extentsMax = 64

// Written moves the file's own position, which nothing else uses. What was read since counts as
// written, and so does what was read ahead: whoever wants to know asks first.
func (o *osFile) Written() (end int64, known bool) {
	raw, err := o.f.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		var failed error
		for range extentsMax {
			if end, failed = unix.Seek(int(fd), end, unix.SEEK_HOLE); failed != nil {
				return
			}
			var next int64
			if next, failed = unix.Seek(int(fd), end, unix.SEEK_DATA); failed != nil {
				known = failed == unix.ENXIO // there is no more
				return
			}
			end = next
		}
	})
	return end, known && err == nil
}

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
