package standin

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/vfs"
)

// The counterexample of ADR 19 at the door: the end of a store is without an error,
// its list has the record of a table that is gone, and it cannot be opened any more.
func TestStandInKeepsTheRecordOfADeletedTable(t *testing.T) {
	disk := vfs.NewMemory(1)
	if err := disk.MkdirAll("/c/store"); err != nil {
		t.Fatal(err)
	}
	e := New(disk, 0)
	var heard []error
	db, err := e.Create(engine.New{Folder: "/c/store", At: 1, Fault: func(err error) { heard = append(heard, err) }})
	if err != nil {
		t.Fatal(err)
	}
	disk.FailCall(vfs.Trouble{Op: vfs.OpSync, Name: "MANIFEST", Err: syscall.EIO})
	if err := errors.Join(db.Set([]byte("k"), []byte("v")), db.Flush(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if len(heard) != 1 || !strings.Contains(heard[0].Error(), "input/output error, retrying") {
		t.Errorf("heard %v, want one fault", heard)
	}
	_, err = e.View(engine.Complete{Folder: "/c/store", Files: []engine.File{{Name: listFile}}, At: 1, Links: "/c"})
	if err == nil || strings.Contains(err.Error(), syscall.EIO.Error()) || !strings.Contains(err.Error(), "file does not exist for table 1") {
		t.Errorf("got error %v, want that a table does not exist", err)
	}
}
