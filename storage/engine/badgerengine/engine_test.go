package badgerengine

import (
	"os"
	"path/filepath"
	"testing"
)

// A checkpoint is counted on when its pointer is durable; by then all that Badger has
// written for it must be, so Badger syncs its tables and its list of tables by itself:
// nobody else knows their files before they are closed.
func TestBadgerSyncsWhatItWrites(t *testing.T) {
	e := New(Options{}).(badgerEngine)
	o := e.options(t.TempDir(), &logger{})
	if !o.SyncWrites {
		t.Error("Badger does not sync what it writes")
	}
	if o.InMemory || o.ReadOnly {
		t.Errorf("in memory: %t, read only: %t; want a store on disk", o.InMemory, o.ReadOnly)
	}
}

// What had been looked at and cannot be removed now kept each store.
func TestViewThatStaysKeepsNoStore(t *testing.T) {
	dir := t.TempDir()
	e := New(Options{}).(badgerEngine)
	e.left.names = []string{dir + "/."} // which nobody removes
	store := filepath.Join(dir, "store-00000001")
	if err := os.Mkdir(store, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(store); err != nil {
		t.Errorf("a store is removed: %v", err)
	}
}
