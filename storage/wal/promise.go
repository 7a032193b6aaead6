package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	promiseFile     = "promise"
	promiseBytesMax = 256 << 10
)

// Promise is that the member of a directory that has no identity yet will not begin
// a cluster: to whom it was said, for people, and for which list of members.
type Promise struct {
	To               string
	Names, Addresses []string
}

// WritePromise writes a promise into a directory, durably. The caller holds the
// directory (LockDir). It is gone when the directory becomes a member's.
func WritePromise(fsys vfs.FS, dir string, p Promise) error {
	var b strings.Builder
	fmt.Fprintf(&b, "to %q\n", p.To)
	for _, name := range p.Names {
		fmt.Fprintf(&b, "name %q\n", name)
	}
	for _, address := range p.Addresses {
		fmt.Fprintf(&b, "address %q\n", address)
	}
	if err := vfs.WriteFile(fsys, filepath.Join(dir, promiseFile), []byte(b.String())); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// ReadPromise returns the promise in a directory, or nil. What is there and cannot
// be read counts as one, for a list that nobody has: [S] a flipped bit must not let a
// second cluster begin. protocol.ErrDirectory: the directory cannot be read.
func ReadPromise(fsys vfs.FS, dir string) (*Promise, error) {
	b, err := vfs.ReadFile(fsys, filepath.Join(dir, promiseFile), promiseBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, protocol.ErrDirectory.Because(err)
	}
	p := Promise{To: "a member that cannot be read any more"}
	for line := range strings.Lines(string(b)) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		text, err := strconv.Unquote(rest)
		switch {
		case err != nil:
			return &Promise{To: p.To}, nil
		case word == "to":
			p.To = text
		case word == "name":
			p.Names = append(p.Names, text)
		case word == "address":
			p.Addresses = append(p.Addresses, text)
		}
	}
	return &p, nil
}

// ForgetPromise takes a promise out of a directory, if there is one.
func ForgetPromise(fsys vfs.FS, dir string) error {
	err := fsys.Remove(filepath.Join(dir, promiseFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return vfs.Refused(err)
	}
	return fsys.SyncDir(dir)
}
