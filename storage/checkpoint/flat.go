package checkpoint

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// flatEngine keeps each store in one file on a vfs, so that it survives what the
// file system survives, and in memory while it is open. It is for members without a
// disk of their own and for simulated ones: each checkpoint writes the whole state.
type flatEngine struct{ fsys vfs.FS }

const (
	flatFile = "data"
	// A record is its length, its sum, and the payload: keys with their values.
	flatHeader    = 4 + 8
	flatRecordMax = 1 << 30
	// flatRecordBytes is when a record is written out.
	flatRecordBytes = 1 << 20
)

// flatDatabase holds all items until they are written, at once.
type flatDatabase struct {
	fsys   vfs.FS
	folder string
	items  map[string][]byte
}

func (e flatEngine) create(folder, from string, _ protocol.Index, _ uint64, _ func(error)) (database, error) {
	if err := e.fsys.MkdirAll(folder); err != nil {
		return nil, err
	}
	d := &flatDatabase{fsys: e.fsys, folder: folder, items: map[string][]byte{}}
	if from == "" {
		return d, nil
	}
	v, err := e.read(from)
	if err != nil {
		return nil, err
	}
	for _, it := range v.items {
		d.items[it.key] = it.value
	}
	return d, nil
}

func (flatEngine) hangs() bool { return false }

func (flatEngine) crowded(view, *storage.Description) bool { return false }

func (e flatEngine) remove(folder string) error {
	err := e.fsys.Remove(filepath.Join(folder, flatFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if e := e.fsys.Remove(folder); err == nil && !errors.Is(e, fs.ErrNotExist) {
		err = e
	}
	return err
}

func (d *flatDatabase) set(key, value []byte) error {
	d.items[string(key)] = value
	return nil
}

func (d *flatDatabase) remove(key []byte) error {
	delete(d.items, string(key))
	return nil
}

func sorted(items map[string][]byte) []flatItem {
	out := make([]flatItem, 0, len(items))
	for key, value := range items {
		out = append(out, flatItem{key, value})
	}
	slices.SortFunc(out, func(a, b flatItem) int { return compareKeys(a, b.key) })
	return out
}

func (d *flatDatabase) flush() error {
	f, err := d.fsys.Create(filepath.Join(d.folder, flatFile))
	if err != nil {
		return err
	}
	err = writeFlat(f, sorted(d.items))
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

func writeFlat(f vfs.File, items []flatItem) error {
	end := int64(0)
	record := make([]byte, flatHeader)
	write := func() error {
		if len(record) == flatHeader {
			return nil
		}
		binary.LittleEndian.PutUint32(record, uint32(len(record)-flatHeader))
		binary.LittleEndian.PutUint64(record[4:], xxh3.Hash(record[flatHeader:]))
		_, err := f.WriteAt(record, end)
		end += int64(len(record))
		record = record[:flatHeader]
		return err
	}
	for _, it := range items {
		record = append(binary.AppendUvarint(record, uint64(len(it.key))), it.key...)
		record = append(binary.AppendUvarint(record, uint64(len(it.value))), it.value...)
		if len(record) < flatRecordBytes {
			continue
		}
		if err := write(); err != nil {
			return err
		}
	}
	return write()
}

func (d *flatDatabase) cursor() cursor { return &flatCursor{items: sorted(d.items)} }

func (*flatDatabase) close() error { return nil }

type flatItem struct {
	key   string
	value []byte
}

func compareKeys(it flatItem, key string) int {
	switch {
	case it.key < key:
		return -1
	case it.key > key:
		return 1
	}
	return 0
}

// flatView has all items of a complete store, in order.
type flatView struct{ items []flatItem }

func (e flatEngine) view(folder string, _ protocol.Index) (view, error) {
	v, err := e.read(folder)
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (e flatEngine) read(folder string) (*flatView, error) {
	items, err := readFlat(e.fsys, filepath.Join(folder, flatFile))
	return &flatView{items}, err
}

// readFlat takes good records off the front of a file. What follows a bad one is
// missing then, which the sums of the chunks show.
func readFlat(fsys vfs.FS, name string) (items []flatItem, err error) {
	b, err := vfs.ReadFile(fsys, name, 1<<40)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	for len(b) >= flatHeader {
		length := le.Uint32(b)
		if length > flatRecordMax || int(length) > len(b)-flatHeader {
			break
		}
		n := int(length)
		if le.Uint64(b[4:]) != xxh3.Hash(b[flatHeader:flatHeader+n]) {
			break
		}
		for p := b[flatHeader : flatHeader+n]; len(p) > 0; { // as it was written, since its sum is good
			var key, value []byte
			key, p, _ = takeBytes(p, flatRecordMax)
			value, p, _ = takeBytes(p, flatRecordMax)
			items = append(items, flatItem{string(key), value})
		}
		b = b[flatHeader+n:]
	}
	return items, nil
}

func (v *flatView) cursor() cursor { return &flatCursor{items: v.items} }

func (*flatView) close() error { return nil }

type flatCursor struct {
	items []flatItem
	place int
}

func (c *flatCursor) seek(from []byte) {
	c.place, _ = slices.BinarySearchFunc(c.items, string(from), compareKeys)
}

func (c *flatCursor) next() (key, value []byte, ok bool, err error) {
	if c.place == len(c.items) {
		return nil, nil, false, nil
	}
	it := c.items[c.place]
	c.place++
	return []byte(it.key), it.value, true, nil
}

func (*flatCursor) close() {}
