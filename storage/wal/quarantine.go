package wal

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	// QuarantineFile says in a directory that the state of its member had diverged.
	QuarantineFile     = "quarantine"
	quarantineBytesMax = 256
)

// WriteQuarantine writes into a directory that its member is in quarantine, durably; the zero
// value, that it is not.
func WriteQuarantine(fsys vfs.FS, dir string, q storage.Quarantine) error {
	name := filepath.Join(dir, QuarantineFile)
	if q.At == 0 {
		if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else if err := vfs.WriteFile(fsys, name, encodeQuarantine(q)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

func encodeQuarantine(q storage.Quarantine) []byte {
	text := fmt.Sprintf("at %d\nuntil %d\ndigest %x\n", q.At, q.Until, q.Digest)
	return fmt.Appendf(nil, "%ssum %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

// ReadQuarantine returns what a directory says of a quarantine of its member; zero: there is none.
// It takes no lock and changes nothing. What is there and cannot be read counts as one that
// began with the log: [S] a flipped bit must not have a bad state served.
// protocol.ErrDirectory: the directory cannot be read.
func ReadQuarantine(fsys vfs.FS, dir string) (q storage.Quarantine, err error) {
	b, err := vfs.NewPatience(fsys).ReadFile(filepath.Join(dir, QuarantineFile), quarantineBytesMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return q, nil
	case err != nil && !vfs.Damaged(err):
		return q, protocol.ErrDirectory.Because(err)
	}
	digest := q.Digest[:]
	_, scanned := fmt.Sscanf(string(b), "at %d\nuntil %d\ndigest %x\n", &q.At, &q.Until, &digest)
	copy(q.Digest[:], digest)
	if err != nil || scanned != nil || q.At == 0 || string(b) != string(encodeQuarantine(q)) {
		return storage.Quarantine{At: 1}, nil
	}
	return q, nil
}
