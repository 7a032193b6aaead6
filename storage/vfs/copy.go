package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
)

// WriteSynced makes a file, or replaces an existing one, and syncs it. Its name is
// durable only after SyncDir. A crash may leave a part of the content: WriteFile is for
// files that somebody has.
func WriteSynced(fsys FS, name string, content io.Reader) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(f, 0), content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Copy makes a file with the content of another one, and syncs it.
func Copy(fsys FS, from, to string) error {
	source, err := fsys.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	size, err := source.Size()
	if err != nil {
		return err
	}
	return WriteSynced(fsys, to, io.NewSectionReader(source, 0, size))
}

// LinkOrCopy gives a file that nobody changes a second name, or copies it where the file
// system has no hard links.
func LinkOrCopy(fsys FS, from, to string) error {
	if linker, ok := fsys.(Linker); ok {
		if err := linker.Link(from, to); err == nil || errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return Copy(fsys, from, to)
}

// RemoveFolder removes a folder with the files in it. It is no error if there is none.
func RemoveFolder(fsys FS, folder string) error {
	names, err := fsys.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, name := range names {
		err = errors.Join(err, fsys.Remove(filepath.Join(folder, name)))
	}
	if err != nil {
		return err
	}
	return fsys.Remove(folder)
}
