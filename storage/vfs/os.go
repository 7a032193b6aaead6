package vfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// OS returns the operating system's file system.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Create(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}
func (osFS) Open(name string) (File, error)      { return openOS(name, os.O_RDONLY) }
func (osFS) OpenWrite(name string) (File, error) { return openOS(name, os.O_RDWR) }

func openOS(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o640)
	if err != nil {
		return nil, osError(renamed(err, name))
	}
	return &osFile{f: f, name: name}, nil
}

func (osFS) Rename(from, to string) error { return osError(renamed(os.Rename(from, to), to)) }
func (osFS) Link(from, to string) error   { return osError(renamed(os.Link(from, to), to)) }
func (osFS) Remove(name string) error     { return osError(os.Remove(name)) }

func (osFS) ReadDir(name string) ([]string, error) {
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (o osFS) MkdirAll(name string) error {
	name = filepath.Clean(name)
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(name)
	if parent != name {
		if err := o.MkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(name, 0o750); err != nil && !errors.Is(err, os.ErrExist) {
		return osError(err)
	}
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		return errors.Join(err, &os.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR})
	}
	return o.SyncDir(parent)
}

func (o osFS) SyncDir(name string) error { return syncDir(o, name) }

func (osFS) OpenDir(name string) (Dir, error) {
	d, err := openDir(name)
	return d, osError(err)
}

// syncDir is SyncDir of any file system.
func syncDir(fsys FS, name string) error {
	d, err := fsys.OpenDir(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

func (osFS) Stat(name string) (Info, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: info.Size(), Dir: info.IsDir()}, nil
}

func (osFS) Lock(name string) (io.Closer, error)   { return lockFile(name) }
func (osFS) FreeSpace(name string) (uint64, error) { return freeSpace(name) }

// osError translates a full disk, and keeps the rest.
func osError(err error) error {
	if err != nil && isNoSpace(err) {
		return &noSpaceError{err}
	}
	return err
}

// noSpaceError is ErrNoSpace with the operating system's words.
type noSpaceError struct{ cause error }

func (e *noSpaceError) Error() string        { return e.cause.Error() }
func (e *noSpaceError) Unwrap() error        { return e.cause }
func (e *noSpaceError) Is(target error) bool { return target == ErrNoSpace }

// osFile is a file with the name that it has now: a change of the name comes before
// anybody else has the file.
type osFile struct {
	f    *os.File
	name string
}

func (o *osFile) renamed(name string) { o.name = name }

// failed is the error of a call.
func (o *osFile) failed(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return osError(renamed(err, o.name))
}

func (o *osFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := o.f.ReadAt(p, at)
	return n, o.failed(err)
}

func (o *osFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := o.f.WriteAt(p, at)
	return n, o.failed(err)
}

func (o *osFile) Sync() error { return o.failed(syncData(o.f)) }

func (o *osFile) Allocate(size int64) error {
	have, err := o.Size()
	if err != nil || have >= size {
		return err
	}
	if done, err := allocate(o.f, have, size); done || err != nil {
		return o.failed(err)
	}
	return o.failed(writeZeros(o.f, have, size))
}

func (o *osFile) Truncate(size int64) error { return o.failed(o.f.Truncate(size)) }

func (o *osFile) Size() (int64, error) {
	info, err := o.f.Stat()
	if err != nil {
		return 0, o.failed(err)
	}
	return info.Size(), nil
}

func (o *osFile) Close() error { return o.failed(o.f.Close()) }

// writeZeros reserves space where the file system knows no other way.
func writeZeros(f *os.File, from, to int64) error {
	zeros := make([]byte, 256<<10)
	for at := from; at < to; {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), to-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
