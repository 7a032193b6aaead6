package badgerengine

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// freeBytes reports whether a folder can grow by so many bytes. Free space alone
// does not say, where there are quotas, and Badger writes into mapped sparse files:
// there it would not be an error but the end of the process.
func freeBytes(folder string, n int64) error {
	name := filepath.Join(folder, "room")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for err = unix.EINTR; err == unix.EINTR; { // a signal is no want of room
		err = unix.Fallocate(int(f.Fd()), 0, 0, n)
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		err = nil
	}
	if err != nil {
		err = &os.PathError{Op: "fallocate", Path: name, Err: err}
	}
	return errors.Join(err, f.Close(), os.Remove(name))
}
