// Package engine is the door between the store of checkpoints (storage/checkpoint)
// and the database in which it keeps each of them. Badger is one engine, in
// engine/badgerengine; engine/standin fails as that does on simulated disks, and
// engine/flat is a file for members that have no disk.
//
// An engine is trusted with nothing. What makes a checkpoint safe is the store's: it
// compares the sums of all files before an engine sees one, gives a new store the
// files of the one that it begins as, has a store that was closed opened anew and
// compares all that is read with what was written, and writes the pointer only then.
// An engine says what went wrong, as an error or in the background, and that is all.
//
// The suite that all engines pass is storagetest.RunEngine.
package engine

import (
	"errors"

	"github.com/starlinghq/starling/protocol"
)

// Engine makes, opens and removes stores: folders with the ordered keys and values of
// one checkpoint each. Nothing is ever written to one that is complete. Any goroutine
// may call it.
type Engine interface {
	// Create opens a store to be written, in a folder that is there.
	Create(s New) (Database, error)
	// View opens a complete store, and changes nothing in its folder.
	View(s Complete) (View, error)
	// Use says what a file in a store's folder is for.
	Use(name string) Use
	// Hangs reports whether the methods of a database may take as long as the disk
	// does: for ever.
	Hangs() bool
	// Remove removes the folder of a store that is not open, or of a view. It is
	// no error if there is none.
	Remove(folder string) error
}

// New is a store that is to be written.
type New struct {
	Folder string
	// Base are the files of the store that it begins as, which are in the folder
	// already; nil: it begins empty.
	Base []File
	// At is the index of the checkpoint.
	At protocol.Index
	// Bytes is about what will be written.
	Bytes uint64
	// Fault hears, from any goroutine, of what goes wrong in the background:
	// nothing of the store can be relied on then.
	Fault func(error)
}

// Complete is a store to which nothing is written any more.
type Complete struct {
	Folder string
	// Files are those of which Use says that they are needed. Their sums were
	// compared.
	Files []File
	// At is the index of the checkpoint.
	At protocol.Index
	// Links is a folder in which the engine may make folders of its own, with links
	// to the files, whose names begin with ViewPrefix. They are removed at the end
	// of the view, or by Remove.
	Links string
}

// File is a file in a store's folder.
type File struct {
	Name string
	Size int64
}

// ViewPrefix begins the names of folders that belong to a view.
const ViewPrefix = "view-"

// Use is what a file of a store is for.
type Use int

// The uses.
const (
	// Unneeded is a file that a complete store does not need.
	Unneeded Use = iota
	// Copied is a file that is needed. A store that begins as this one changes it,
	// and so has a copy.
	Copied
	// Linked is a file that is needed and never changed, so that a link does for a
	// copy.
	Linked
)

// Database is a store that is being written. One goroutine at a time uses it. It keeps
// key and value.
type Database interface {
	Set(key, value []byte) error
	Remove(key []byte) error
	// Flush makes what was written durable. Nothing is written after it.
	Flush() error
	// Cursor walks over what is there after Flush.
	Cursor() Cursor
	// Close ends the store. After Flush the files that are needed are complete and
	// durable then.
	Close() error
}

// ErrEndless is what Close of an engine that does not hang returns where it stands for
// one that does: the store is never closed.
var ErrEndless = errors.New("the end of a store never comes")

// View is a complete store. Any goroutine may ask it for a cursor.
type View interface {
	Cursor() Cursor
	// Crowded reports that the store, with so many bytes of keys and values, should
	// not be the beginning of another one: it would be read too slowly, or be too
	// large.
	Crowded(bytes uint64) bool
	Close() error
}

// Cursor walks over all keys in order. It belongs to one goroutine. Seek comes first.
// What Next returns is valid until the next call.
type Cursor interface {
	Seek(from []byte)
	Next() (key, value []byte, ok bool, err error)
	Close()
}
