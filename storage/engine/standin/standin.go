// Package standin is the engine that takes Badger's place on a simulated disk: it has
// Badger's files, its order of calls and its ways to fail, but one goroutine only, so
// that a run is the same each time.
//
// That a table, or its record in the list, cannot be written is only told as a fault,
// and it is tried again under another number, for ever; a record whose sync failed
// stays, of a table that has been deleted; a store with such a record cannot be opened;
// tables without a record are removed at an opening, also one to read; causes are
// texts. Where Badger would be at it for ever, this says engine.ErrEndless.
//
// Not as there: a part of a mapped table that cannot be read is an error, and not the
// end of the process, and nothing is compacted. A test holds the two against each other
// (TestStandInFailsAsBadgerDoes in storage/checkpoint).
package standin

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/vfs"
)

type standIn struct {
	fsys  vfs.FS
	spare uint64
	views int // that were opened
}

// New returns the engine on a file system, for a store whose chunks have a least size
// (0: the default). One goroutine may use it.
func New(fsys vfs.FS, chunkBytes int) engine.Engine {
	if chunkBytes <= 0 {
		chunkBytes = storage.ChunkBytesMin
	}
	return &standIn{fsys: fsys, spare: max(spareBytes, uint64(chunkBytes)/2)}
}

const (
	magic = "STANDIN1"
	// listFile and tableSuffix are the names that Badger gives.
	listFile    = "MANIFEST"
	tableSuffix = ".sst"
	// rewriteFile is what a new list is called until it is complete.
	rewriteFile     = "MANIFEST-REWRITE"
	bufferFile      = "00001.mem"
	listRecordBytes = 16
	// tableBytes is when a table is written, spareBytes what a store may have at least
	// besides twice its content before no other one begins as it: simulated states are
	// small.
	tableBytes = 4 << 10
	spareBytes = 8 << 10
	// flushTries stand for "for ever".
	flushTries = 20
)

func (*standIn) Hangs() bool { return false }

func (*standIn) Use(name string) engine.Use {
	switch {
	case filepath.Ext(name) == tableSuffix:
		return engine.Linked
	case name == listFile:
		return engine.Copied
	}
	return engine.Unneeded
}

func (e *standIn) Create(s engine.New) (engine.Database, error) {
	if free, err := e.fsys.FreeSpace(s.Folder); err != nil {
		return nil, err
	} else if free < s.Bytes {
		return nil, fmt.Errorf("a store of %d bytes: %w", s.Bytes, vfs.ErrNoSpace)
	}
	d := &database{fsys: e.fsys, folder: s.Folder, fault: s.Fault, fresh: map[string][]byte{}}
	if err := d.open(s.Base == nil); err != nil {
		return nil, asText(err)
	}
	return d, nil
}

// asText is all that Badger says of a cause.
func asText(err error) error { return errors.New(err.Error()) }

// tableList is the list of a store's tables: a file to which a record is added for
// each.
type tableList struct {
	file   vfs.File
	end    int64
	tables []uint64
	next   uint64 // number of the next table
}

// newList makes an empty list, under another name first.
func newList(fsys vfs.FS, folder string) error {
	name := filepath.Join(folder, rewriteFile)
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt([]byte(magic), 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name, filepath.Join(folder, listFile)); err != nil {
		return err
	}
	return fsys.SyncDir(folder)
}

// openList reads a list; to write on, its torn end is cut off.
func openList(fsys vfs.FS, folder string, write bool) (*tableList, error) {
	name, open := filepath.Join(folder, listFile), fsys.Open
	if write {
		open = fsys.OpenWrite
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	l := &tableList{file: f, next: 1}
	if err = l.read(); err == nil && write {
		err = f.Truncate(l.end)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func (l *tableList) read() error {
	size, err := l.file.Size()
	if err != nil {
		return err
	}
	b := make([]byte, size)
	if _, err := l.file.ReadAt(b, 0); err != nil {
		return err
	}
	if len(b) < len(magic) || string(b[:len(magic)]) != magic {
		return errors.New("manifest has bad magic")
	}
	l.end = int64(len(magic))
	for b = b[len(magic):]; len(b) >= listRecordBytes; b = b[listRecordBytes:] {
		if xxh3.Hash(b[:8]) != binary.LittleEndian.Uint64(b[8:]) {
			return errors.New("manifest has checksum mismatch")
		}
		id := binary.LittleEndian.Uint64(b)
		l.tables, l.next = append(l.tables, id), max(l.next, id+1)
		l.end += listRecordBytes
	}
	return nil
}

// add adds the record of a table. It may stay when that has failed.
func (l *tableList) add(id uint64) error {
	b := binary.LittleEndian.AppendUint64(nil, id)
	b = binary.LittleEndian.AppendUint64(b, xxh3.Hash(b))
	n, err := l.file.WriteAt(b, l.end)
	l.end += int64(n)
	if err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	l.tables = append(l.tables, id)
	return nil
}

func tableName(id uint64) string { return fmt.Sprintf("%06d%s", id, tableSuffix) }

// revert makes the tables in a folder those of the list.
func (l *tableList) revert(fsys vfs.FS, folder string) error {
	names, err := fsys.ReadDir(folder)
	if err != nil {
		return err
	}
	listed := map[string]bool{}
	for _, id := range l.tables {
		if listed[tableName(id)] = true; !slices.Contains(names, tableName(id)) {
			return fmt.Errorf("file does not exist for table %d", id)
		}
	}
	for _, name := range names {
		if filepath.Ext(name) == tableSuffix && !listed[name] {
			if err := fsys.Remove(filepath.Join(folder, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// content reads all tables of the list, the newer ones over the older.
func (l *tableList) content(fsys vfs.FS, folder string) (map[string][]byte, error) {
	if err := l.revert(fsys, folder); err != nil {
		return nil, err
	}
	items := map[string][]byte{}
	for _, id := range l.tables {
		table, err := flat.Read(fsys, filepath.Join(folder, tableName(id)))
		if err != nil {
			return nil, err
		}
		for _, it := range table {
			if len(it.Value) == 0 {
				delete(items, it.Key)
				continue
			}
			items[it.Key] = it.Value[1:]
		}
	}
	return items, nil
}

// database is a store that is being written.
type database struct {
	fsys   vfs.FS
	folder string
	fault  func(error)
	list   *tableList
	buffer vfs.File
	items  map[string][]byte // all that is there
	// fresh is what no table has yet, of so many bytes: a value follows a byte, and
	// nothing is a key that is gone.
	fresh   map[string][]byte
	bytes   int
	endless bool
}

func (d *database) open(empty bool) (err error) {
	fsys := d.fsys
	if empty {
		if err := newList(fsys, d.folder); err != nil {
			return err
		}
	}
	if d.list, err = openList(fsys, d.folder, true); err != nil {
		return err
	}
	if d.items, err = d.list.content(fsys, d.folder); err == nil {
		d.buffer, err = fsys.Create(filepath.Join(d.folder, bufferFile))
	}
	if err != nil {
		return errors.Join(err, d.list.file.Close())
	}
	return nil
}

func (d *database) Set(key, value []byte) error {
	d.items[string(key)] = value
	return d.put(key, append([]byte{1}, value...))
}

func (d *database) Remove(key []byte) error {
	delete(d.items, string(key))
	return d.put(key, nil)
}

func (d *database) put(key, value []byte) error {
	if d.endless {
		return engine.ErrEndless
	}
	d.fresh[string(key)] = value
	if d.bytes += len(key) + len(value); d.bytes < tableBytes {
		return nil
	}
	return d.spill()
}

// Flush makes the buffer durable. Only what goes wrong here is returned.
func (d *database) Flush() error {
	if d.endless {
		return engine.ErrEndless
	}
	if err := flat.Write(d.buffer, flat.Sorted(d.fresh)); err != nil {
		return asText(err)
	}
	if err := d.buffer.Sync(); err != nil {
		return asText(err)
	}
	return nil
}

// spill makes a table of the buffer, and does not give up.
func (d *database) spill() error {
	for range flushTries {
		err := d.writeTable()
		if err == nil {
			d.fresh, d.bytes = map[string][]byte{}, 0
			return nil
		}
		d.fault(fmt.Errorf("error flushing memtable to disk: %v, retrying", err))
		if errors.Is(err, vfs.ErrStopped) {
			return err // there is nobody any more who would
		}
	}
	d.endless = true
	return engine.ErrEndless
}

func (d *database) writeTable() error {
	id := d.list.next
	d.list.next++
	name := filepath.Join(d.folder, tableName(id))
	f, err := d.fsys.Create(name)
	if err != nil {
		return err
	}
	if err = flat.Write(f, flat.Sorted(d.fresh)); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = d.list.add(id); err != nil {
		_ = d.fsys.Remove(name) // Badger does not look either
	}
	return err
}

func (d *database) Cursor() engine.Cursor { return flat.NewCursor(flat.Sorted(d.items)) }

func (d *database) Close() error {
	if d.endless {
		return engine.ErrEndless
	}
	if len(d.fresh) > 0 {
		if err := d.spill(); err != nil {
			return err
		}
	}
	fsys := d.fsys
	if err := errors.Join(d.buffer.Close(), fsys.Remove(filepath.Join(d.folder, bufferFile))); err != nil {
		d.fault(fmt.Errorf("while deleting file: %v", err))
	}
	if err := errors.Join(d.list.file.Close(), fsys.SyncDir(d.folder)); err != nil {
		return asText(err)
	}
	return nil
}

// view is a complete store, opened in a folder of links, as Badger's.
type view struct {
	flat.View
	e      *standIn
	folder string
	bytes  uint64
}

func (e *standIn) View(s engine.Complete) (engine.View, error) {
	e.views++
	v := &view{e: e, folder: filepath.Join(s.Links, engine.ViewPrefix+strconv.Itoa(e.views))}
	if err := v.open(s); err != nil {
		return nil, errors.Join(err, e.Remove(v.folder))
	}
	return v, nil
}

func (v *view) open(s engine.Complete) error {
	fsys := v.e.fsys
	if err := fsys.MkdirAll(v.folder); err != nil {
		return err
	}
	for _, f := range s.Files {
		clone := vfs.Copy
		if v.e.Use(f.Name) == engine.Linked {
			clone = vfs.LinkOrCopy
		}
		if err := clone(fsys, filepath.Join(s.Folder, f.Name), filepath.Join(v.folder, f.Name)); err != nil {
			return err
		}
		v.bytes += uint64(f.Size)
	}
	list, err := openList(fsys, v.folder, false)
	if err != nil {
		return asText(err)
	}
	items, err := list.content(fsys, v.folder)
	if err != nil {
		return errors.Join(asText(err), list.file.Close())
	}
	v.Items = flat.Sorted(items)
	return list.file.Close()
}

func (v *view) Close() error { return v.e.Remove(v.folder) }

func (v *view) Crowded(bytes uint64) bool { return v.bytes > 2*bytes+v.e.spare }

func (e *standIn) Remove(folder string) error { return vfs.RemoveFolder(e.fsys, folder) }
