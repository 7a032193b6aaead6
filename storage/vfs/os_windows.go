package vfs

import (
	"errors"
	"io"
	"os"
	"syscall"
	"unsafe"
)

const (
	errorHandleDiskFull = syscall.Errno(39)
	errorDiskFull       = syscall.Errno(112)
	errorSharing        = syscall.Errno(32)
	errorCRC            = syscall.Errno(23)
	errorSectorNotFound = syscall.Errno(27)
	errorReadFault      = syscall.Errno(30)
	errorDevice         = syscall.Errno(1117)
	errorDiskCorrupt    = syscall.Errno(1393)
)

// damageCodes are what reads of bad sectors and damaged file systems return.
var damageCodes = []error{errorCRC, errorSectorNotFound, errorReadFault, errorDevice, errorDiskCorrupt, syscall.EIO}

func isNoSpace(err error) bool {
	return errors.Is(err, errorDiskFull) || errors.Is(err, errorHandleDiskFull)
}

func syncData(f *os.File) error { return f.Sync() }

func allocate(*os.File, int64, int64) (bool, error) { return false, nil }

// openDir opens nothing: a directory cannot be flushed here, names are
// journalled with the file's metadata.
func openDir(string) (Dir, error) { return osDir{}, nil }

// osDir is a directory that cannot be flushed.
type osDir struct{}

func (osDir) Sync() error  { return nil }
func (osDir) Close() error { return nil }

// lockFile opens the file without sharing it.
func lockFile(name string) (io.Closer, error) {
	path, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(path, syscall.GENERIC_READ|syscall.GENERIC_WRITE, 0, nil,
		syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		if err == errorSharing {
			err = ErrLocked
		}
		return nil, &os.PathError{Op: "lock", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

func freeSpace(name string) (uint64, error) {
	path, err := syscall.UTF16PtrFromString(name)
	if err != nil {
		return 0, err
	}
	var free uint64
	proc := syscall.NewLazyDLL("kernel32.dll").NewProc("GetDiskFreeSpaceExW")
	if ok, _, err := proc.Call(uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&free)), 0, 0); ok == 0 {
		return 0, &os.PathError{Op: "GetDiskFreeSpaceEx", Path: name, Err: err}
	}
	return free, nil
}
