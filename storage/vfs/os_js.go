package vfs

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// damageCodes are what reads of bad sectors and damaged file systems return.
var damageCodes = []error{syscall.EIO, syscall.EBADMSG}

// A page in a browser has no files: what package os is asked for there fails, and a
// simulated cluster runs on Memory. Under Node there are some, but nobody can lock one,
// ask for free space, or make a name durable. So no member keeps a directory here: each
// of these is an error, where pretending would lose what was acknowledged.

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func unsupported(op, name string) error {
	return &os.PathError{Op: op, Path: name, Err: errors.ErrUnsupported}
}

func syncData(f *os.File) error { return f.Sync() }

// allocate leaves it to writing zeros.
func allocate(*os.File, int64, int64) (bool, error) { return false, nil }

func openDir(name string) (Dir, error) { return nil, unsupported("sync directory", name) }

func lockFile(name string) (io.Closer, error) { return nil, unsupported("lock", name) }

func freeSpace(name string) (uint64, error) { return 0, unsupported("statfs", name) }
