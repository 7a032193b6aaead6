//go:build linux || darwin || freebsd

package vfs

import (
	"errors"
	"io"
	"os"
	"syscall"
)

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func openDir(name string) (Dir, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return osDir{f}, nil
}

// osDir is a directory of the operating system.
type osDir struct{ f *os.File }

func (d osDir) Sync() error  { return osError(d.f.Sync()) }
func (d osDir) Close() error { return d.f.Close() }

// uninterrupted makes a system call again when a signal has interrupted it. Package
// os does that for its own; what is called here directly is flock, statfs, fdatasync
// and fallocate.
func uninterrupted(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}

// lockedFile is a file that is held by a flock. A child of this process has the open file, too, from when it
// is forked until its program is begun: to close the file alone would leave it held for so long.
type lockedFile struct{ *os.File }

func (f lockedFile) Close() error {
	_ = uninterrupted(func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }) // or else Close does it
	return f.File.Close()
}

// lockFile holds a flock, which belongs to the open file: it excludes a second
// holder in this process too, and ends with the last process that has it.
func lockFile(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, osError(err)
	}
	err = uninterrupted(func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) })
	if err != nil {
		f.Close()
		if err == syscall.EWOULDBLOCK {
			err = ErrLocked
		}
		return nil, &os.PathError{Op: "lock", Path: name, Err: err}
	}
	return lockedFile{f}, nil
}

func freeSpace(name string) (uint64, error) {
	var s syscall.Statfs_t
	if err := uninterrupted(func() error { return syscall.Statfs(name, &s) }); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: name, Err: err}
	}
	return uint64(max(int64(s.Bavail), 0)) * uint64(s.Bsize), nil // FreeBSD has fewer than none: what root alone may fill is in use
}
