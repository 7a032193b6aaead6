package wal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// [S] Whatever becomes of the file's content, a directory that was refused stays so.
func TestARefusalStaysWhateverItsFileSays(t *testing.T) {
	dir := t.TempDir()
	if got, err := ReadRefusal(vfs.OS(), dir); got != nil || err != nil {
		t.Fatalf("nothing is written: got %+v, %v", got, err)
	}
	want := Refusal{
		Code: protocol.ErrTwin.Code, By: protocol.MemberID{7}, Address: "127.0.0.1:7601",
		When: time.Date(2026, 11, 30, 1, 2, 3, 0, time.UTC), Text: "it runs elsewhere",
	}
	if err := WriteRefusal(vfs.OS(), dir, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRefusal(vfs.OS(), dir)
	if err != nil || got == nil || *got != want || !errors.Is(got.Err(), protocol.ErrTwin) {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
	path := filepath.Join(dir, refusedFile)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range content {
		damaged := bytes.Clone(content)
		damaged[i] ^= 0x41
		for _, b := range [][]byte{damaged, content[:i]} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := ReadRefusal(vfs.OS(), dir)
			if err != nil || got == nil || got.Text == "" || !errors.Is(got.Err(), protocol.ErrTwin) && !errors.Is(got.Err(), protocol.ErrRolledBack) {
				t.Fatalf("%q: got %+v, %v", b, got, err)
			}
		}
	}
}
