// Package vfs is the file system under the log: the operating system's, or one
// in memory that tests and the simulator break.
//
// It says only what a log needs, and is explicit about durability: what WriteAt
// wrote is durable after File.Sync, and a name that was created, renamed or
// removed is durable after FS.SyncDir of its directory. Until then a power cut
// may undo any of it, in any order.
package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// Errors. An absent file is fs.ErrNotExist; what else an operating system
// returns is passed on.
var (
	// ErrNoSpace: the disk is full; the operation has changed nothing, or, for
	// a write, possibly a part of its range.
	ErrNoSpace = errors.New("no space left on device")
	// ErrLocked: another process, or another holder in this one, has the lock.
	ErrLocked = errors.New("locked by another holder")
)

// Info is what Stat says.
type Info struct {
	Size int64
	Dir  bool
}

// FS is a file system. Names are paths with the separators of the operating
// system. Its methods may be called by any goroutine.
type FS interface {
	// Create makes a file, or empties an existing one, for reading and writing.
	Create(name string) (File, error)
	// Open opens an existing file for reading.
	Open(name string) (File, error)
	// OpenWrite opens an existing file for reading and writing.
	OpenWrite(name string) (File, error)

	// Rename gives a file another name in the same directory, replacing what
	// had it. Either the old or the new name survives a crash.
	Rename(from, to string) error
	Remove(name string) error
	// ReadDir returns the names in a directory, sorted.
	ReadDir(name string) ([]string, error)
	// MkdirAll makes a directory and its parents, and makes the new names
	// durable.
	MkdirAll(name string) error
	// SyncDir makes the names in a directory durable. It is OpenDir and Dir.Sync.
	SyncDir(name string) error
	// OpenDir opens a directory to make its names durable later. Whoever changes a
	// name on which something depends opens it before: of all that a SyncDir does, the
	// opening alone can want for something, and may then fail after the change.
	OpenDir(name string) (Dir, error)
	Stat(name string) (Info, error)

	// Lock takes an exclusive lock on a file, which it creates, or returns
	// ErrLocked at once. The lock ends with the process.
	Lock(name string) (io.Closer, error)
	// FreeSpace returns how many bytes may still be written where name is.
	FreeSpace(name string) (uint64, error)
}

// File is an open file. ReadAt may be called by any goroutine, also while
// another one writes elsewhere in the file; the rest by one at a time.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Sync makes the content durable, and of the file's metadata what reading
	// it back needs. After an error nothing is known of what was written, and a
	// second Sync that succeeds proves nothing.
	Sync() error
	// Allocate reserves space so that writing below size cannot run out of it,
	// and makes the file at least so long, reading as zeros. It returns
	// ErrNoSpace if there is not enough.
	Allocate(size int64) error
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// Dir is an open directory. It may be used by one goroutine at a time.
type Dir interface {
	// Sync makes the names in the directory durable. After an error nobody knows which
	// are, and a second Sync that succeeds proves nothing.
	Sync() error
	Close() error
}

// Exists reports whether there is something of that name.
func Exists(fsys FS, name string) (bool, error) {
	_, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// ReadFile returns the content of a file of at most limit bytes; of a longer
// one the first limit.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	buf := make([]byte, min(size, limit))
	n, err := f.ReadAt(buf, 0)
	if err == io.EOF {
		err = nil
	}
	return buf[:n], err
}

// Damaged reports whether an error of a read says that what is on the disk there is
// bad: a sector that the disk gives up, or what a file system calls damage. It may
// still pass; see Patience. Any other error of an operating system is want of
// something, and says nothing about the data.
func Damaged(err error) bool {
	for _, code := range damageCodes {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

// WriteFile replaces a file so that, whatever happens, either the old or the
// new content is there: it writes a temporary file (name + TemporarySuffix),
// syncs it and renames it. The name is durable only after SyncDir.
func WriteFile(fsys FS, name string, content []byte) error {
	if err := WriteBeside(fsys, name, content); err != nil {
		return err
	}
	return fsys.Rename(name+TemporarySuffix, name)
}

// WriteBeside is the part of WriteFile that changes nothing yet.
func WriteBeside(fsys FS, name string, content []byte) error {
	f, err := fsys.Create(name + TemporarySuffix)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(content, 0); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// Renamed has the errors of an open file name it by the name that it has now, where
// the operating system goes on with the one by which it was opened.
func Renamed(f File, name string) {
	if n, ok := f.(interface{ renamed(name string) }); ok {
		n.renamed(name)
	}
}

// TemporarySuffix ends the name of a file that is not complete yet. Whoever
// opens a directory deletes such files.
const TemporarySuffix = ".tmp"
