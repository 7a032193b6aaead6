package badgerengine

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// Badger leaves things behind where something fails: two goroutines, and all that
// they refer to, when it cannot open a database, and every file that it could not
// sync when it closes one, mapped, so that the disk does not get its blocks back when
// the file is removed. A member takes checkpoints for years.
//
// What cannot be had back is what Badger makes before it looks for the files of its
// write buffer, or ends the process where that fails (see trap): it hands nothing out
// then. Some ten goroutines and a write buffer stay until the process ends, for each
// time that the folder of a store, or one of two files in it, could not be opened just
// then.

// openBadger opens a database, or leaves nothing of it behind.
func openBadger(o badger.Options) (*badger.DB, error) {
	db, err := badger.OpenManaged(o)
	if err == nil {
		return db, nil
	}
	if db != nil {
		dismiss(db)
	}
	return nil, err
}

// dismiss ends the goroutines of a database that could not be opened, which Badger
// has not ended and has no method for: the one that watches over its caches, and has
// the database, and that of its buffers.
func dismiss(db *badger.DB) {
	fields := reflect.ValueOf(db).Elem()
	if closers := fields.FieldByName("closers"); closers.IsValid() {
		call(closers.FieldByName("cacheHealth"), "Signal")
	}
	call(fields.FieldByName("allocPool"), "Release")
}

// call calls an exported method of what an unexported field points to.
func call(field reflect.Value, method string) {
	if !field.IsValid() || field.Kind() != reflect.Pointer || field.IsNil() {
		return
	}
	if m := reflect.NewAt(field.Type().Elem(), field.UnsafePointer()).MethodByName(method); m.IsValid() {
		m.Call(nil)
	}
}

// leftFolders are folders that are to be removed. Any goroutine may add one.
type leftFolders struct {
	mu    sync.Mutex
	names []string
}

// add removes a folder, or notes it.
func (l *leftFolders) add(name string) {
	if os.RemoveAll(name) != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.names = append(l.names, name)
	}
}

// remove tries all again.
func (l *leftFolders) remove() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var failed error
	l.names = slices.DeleteFunc(l.names, func(name string) bool {
		err := os.RemoveAll(name)
		failed = errors.Join(failed, err)
		return err == nil
	})
	return failed
}
