package wal

import (
	"bytes"
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// [S] A quarantine that was written outlives a power cut, and so does its end; what cannot be read
// of it counts as one from the beginning.
func TestAQuarantineStaysWhateverItsFileSays(t *testing.T) {
	disk := vfs.NewMemory(1)
	if err := disk.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	wants := func(what string, want storage.Quarantine) {
		t.Helper()
		if got, err := ReadQuarantine(disk, "/d"); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", what, got, err, want)
		}
	}
	put := func(q storage.Quarantine) {
		t.Helper()
		if err := WriteQuarantine(disk, "/d", q); err != nil {
			t.Fatal(err)
		}
		disk.Crash()
	}
	wants("nothing is written", storage.Quarantine{})
	put(storage.Quarantine{})
	wants("the end of none", storage.Quarantine{})
	for _, q := range []storage.Quarantine{{At: 7, Until: 9}, {At: 1}, {At: 1 << 60, Until: 1 << 61}} {
		put(q)
		wants("written", q)
	}
	name := filepath.Join("/d", QuarantineFile)
	content := encodeQuarantine(storage.Quarantine{At: 15, Until: 20})
	for i := range content {
		damaged := bytes.Clone(content)
		damaged[i] ^= 0x01
		for _, b := range [][]byte{damaged, content[:i], append(bytes.Clone(content), 'x')} {
			if err := vfs.WriteFile(disk, name, b); err != nil {
				t.Fatal(err)
			}
			wants(string(b), storage.Quarantine{At: 1})
		}
	}
	put(storage.Quarantine{At: 15, Until: 20})
	if err := disk.FailReads(name, 0, 1, syscall.EIO); err != nil {
		t.Fatal(err)
	}
	wants("a bad sector", storage.Quarantine{At: 1})
	disk.ReadsWork()
	disk.FailCall(vfs.Trouble{Op: vfs.OpOpen, N: 1, Err: syscall.EMFILE})
	if got, err := ReadQuarantine(disk, "/d"); !errors.Is(err, protocol.ErrDirectory) {
		t.Errorf("for want of descriptors: got %+v, %v", got, err)
	}
	put(storage.Quarantine{})
	wants("it is over", storage.Quarantine{})
}
