// Package flat is the engine that keeps each store in one file on a storage/vfs, so
// that it survives what the file system survives, and in memory while it is open. It is
// for members without a disk of their own: each checkpoint writes the whole state.
package flat

import (
	"encoding/binary"
	"path/filepath"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/vfs"
)

// File is the name of the file in a store's folder.
const File = "data"

const (
	// A record is its length, its sum, and the payload: keys with their values.
	recordHeader   = 4 + 8
	recordBytesMax = 1 << 30
	// recordBytes is when a record is written out.
	recordBytes  = 1 << 20
	fileBytesMax = 1 << 40
)

type flat struct{ fsys vfs.FS }

// New returns the engine on a file system.
func New(fsys vfs.FS) engine.Engine { return flat{fsys} }

func (e flat) Create(s engine.New) (engine.Database, error) {
	d := &database{fsys: e.fsys, folder: s.Folder, items: map[string][]byte{}}
	if s.Base == nil {
		return d, nil
	}
	items, err := Read(e.fsys, filepath.Join(s.Folder, File))
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		d.items[it.Key] = it.Value
	}
	return d, nil
}

func (e flat) View(s engine.Complete) (engine.View, error) {
	items, err := Read(e.fsys, filepath.Join(s.Folder, File))
	if err != nil {
		return nil, err
	}
	return &View{items}, nil
}

func (flat) Use(name string) engine.Use {
	if name == File {
		return engine.Copied
	}
	return engine.Unneeded
}

func (flat) Hangs() bool { return false }

func (e flat) Remove(folder string) error { return vfs.RemoveFolder(e.fsys, folder) }

// database holds all items until they are written, at once.
type database struct {
	fsys   vfs.FS
	folder string
	items  map[string][]byte
}

func (d *database) Set(key, value []byte) error {
	d.items[string(key)] = value
	return nil
}

func (d *database) Remove(key []byte) error {
	delete(d.items, string(key))
	return nil
}

func (d *database) Flush() error {
	f, err := d.fsys.Create(filepath.Join(d.folder, File))
	if err != nil {
		return err
	}
	err = Write(f, Sorted(d.items))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return d.fsys.SyncDir(d.folder)
}

func (d *database) Cursor() engine.Cursor { return NewCursor(Sorted(d.items)) }

func (*database) Close() error { return nil }

// Item is a key with its value.
type Item struct {
	Key   string
	Value []byte
}

// Sorted returns items in the order of their keys.
func Sorted(items map[string][]byte) []Item {
	out := make([]Item, 0, len(items))
	for key, value := range items {
		out = append(out, Item{key, value})
	}
	slices.SortFunc(out, func(a, b Item) int { return compare(a, b.Key) })
	return out
}

func compare(it Item, key string) int {
	switch {
	case it.Key < key:
		return -1
	case it.Key > key:
		return 1
	}
	return 0
}

// Write writes items to an empty file, and leaves its sync to the caller.
func Write(f vfs.File, items []Item) error {
	end := int64(0)
	record := make([]byte, recordHeader)
	write := func() error {
		if len(record) == recordHeader {
			return nil
		}
		binary.LittleEndian.PutUint32(record, uint32(len(record)-recordHeader))
		binary.LittleEndian.PutUint64(record[4:], xxh3.Hash(record[recordHeader:]))
		_, err := f.WriteAt(record, end)
		end += int64(len(record))
		record = record[:recordHeader]
		return err
	}
	for _, it := range items {
		record = append(binary.AppendUvarint(record, uint64(len(it.Key))), it.Key...)
		record = append(binary.AppendUvarint(record, uint64(len(it.Value))), it.Value...)
		if len(record) < recordBytes {
			continue
		}
		if err := write(); err != nil {
			return err
		}
	}
	return write()
}

// Read takes good records off the front of a file. What follows a bad one is missing
// then, which the sums of the chunks show.
func Read(fsys vfs.FS, name string) (items []Item, err error) {
	b, err := vfs.ReadFile(fsys, name, fileBytesMax)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	for len(b) >= recordHeader {
		length := le.Uint32(b)
		if length > recordBytesMax || int(length) > len(b)-recordHeader {
			break
		}
		n := int(length)
		if le.Uint64(b[4:]) != xxh3.Hash(b[recordHeader:recordHeader+n]) {
			break
		}
		for p := b[recordHeader : recordHeader+n]; len(p) > 0; { // as it was written, since its sum is good
			var key, value []byte
			key, p = take(p)
			value, p = take(p)
			items = append(items, Item{string(key), value})
		}
		b = b[recordHeader+n:]
	}
	return items, nil
}

// take takes bytes with their length off the front; of what is shorter than it says, all.
func take(b []byte) (taken, rest []byte) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return nil, nil
	}
	b = b[size:]
	n = min(n, uint64(len(b)))
	return b[:n:n], b[n:]
}

// View has all items of a complete store, in order.
type View struct{ Items []Item }

// Cursor implements engine.View.
func (v *View) Cursor() engine.Cursor { return NewCursor(v.Items) }

// Crowded implements engine.View.
func (*View) Crowded(uint64) bool { return false }

// Close implements engine.View.
func (*View) Close() error { return nil }

type cursor struct {
	items []Item
	place int
}

// NewCursor returns a cursor over items in order.
func NewCursor(items []Item) engine.Cursor { return &cursor{items: items} }

func (c *cursor) Seek(from []byte) {
	c.place, _ = slices.BinarySearchFunc(c.items, string(from), compare)
}

func (c *cursor) Next() (key, value []byte, ok bool, err error) {
	if c.place == len(c.items) {
		return nil, nil, false, nil
	}
	it := c.items[c.place]
	c.place++
	return []byte(it.Key), it.Value, true, nil
}

func (*cursor) Close() {}
