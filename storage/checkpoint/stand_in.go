package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// standIn takes Badger's place on a simulated disk: it has its files, its order of
// calls and its ways to fail, but one goroutine only, so that a run is the same each
// time. What a table or its record in the list cannot be written for is only told as
// a fault, and tried again under another number, for ever; a record whose sync failed
// stays, of a table that has been deleted; a store with such a record cannot be
// opened; tables without a record are removed at an opening, also one to read; causes
// are texts. Where Badger would be at it for ever, it says errEndless.
//
// Not as there: a part of a mapped table that cannot be read is an error, and not the
// end of the process, and nothing is compacted.
type standIn struct {
	fsys  vfs.FS
	o     Options
	views int // that were opened
}

const (
	standInMagic = "STANDIN1"
	// rewriteFile is what a new list is called until it is complete.
	rewriteFile     = "MANIFEST-REWRITE"
	bufferFile      = "00001.mem"
	listRecordBytes = 16
	// standInTableBytes is when a table is written, standInSpareBytes what a store may
	// have at least besides twice its content before no other one begins as it:
	// simulated states are small.
	standInTableBytes = 4 << 10
	standInSpareBytes = 8 << 10
	// flushTries stand for "for ever".
	flushTries = 20
)

func (*standIn) hangs() bool { return false }

func (e *standIn) create(folder, from string, _ protocol.Index, bytes uint64, fault func(error)) (database, error) {
	if err := e.fsys.MkdirAll(folder); err != nil {
		return nil, err
	}
	if from != "" {
		if _, err := cloneStore(e.fsys, from, folder); err != nil {
			return nil, err
		}
	}
	if free, err := e.fsys.FreeSpace(folder); err != nil {
		return nil, err
	} else if free < bytes {
		return nil, fmt.Errorf("a store of %d bytes: %w", bytes, vfs.ErrNoSpace)
	}
	d := &standInDatabase{e: e, folder: folder, fault: fault, fresh: map[string][]byte{}}
	err := d.open(from == "")
	if err != nil {
		return nil, standInError(err)
	}
	return d, nil
}

// standInError is all that Badger says of a cause.
func standInError(err error) error { return errors.New(err.Error()) }

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
	if _, err = f.WriteAt([]byte(standInMagic), 0); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name, filepath.Join(folder, badger.ManifestFilename)); err != nil {
		return err
	}
	return fsys.SyncDir(folder)
}

// openList reads a list; to write on, its torn end is cut off.
func openList(fsys vfs.FS, folder string, write bool) (*tableList, error) {
	name, open := filepath.Join(folder, badger.ManifestFilename), fsys.Open
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
	if len(b) < len(standInMagic) || string(b[:len(standInMagic)]) != standInMagic {
		return errors.New("manifest has bad magic")
	}
	l.end = int64(len(standInMagic))
	for b = b[len(standInMagic):]; len(b) >= listRecordBytes; b = b[listRecordBytes:] {
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
		table, err := readFlat(fsys, filepath.Join(folder, tableName(id)))
		if err != nil {
			return nil, err
		}
		for _, it := range table {
			if len(it.value) == 0 {
				delete(items, it.key)
				continue
			}
			items[it.key] = it.value[1:]
		}
	}
	return items, nil
}

// standInDatabase is a store that is being written.
type standInDatabase struct {
	e      *standIn
	folder string
	fault  func(error)
	list   *tableList
	buffer vfs.File
	items  map[string][]byte // all that is there
	// fresh is what no table has yet, of so many bytes: a value follows a byte, and
	// nothing is a key that is gone.
	fresh   map[string][]byte
	bytes   int
	flushed bool
	endless bool
}

func (d *standInDatabase) open(empty bool) (err error) {
	fsys := d.e.fsys
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

func (d *standInDatabase) set(key, value []byte) error {
	d.items[string(key)] = value
	return d.put(key, append([]byte{1}, value...))
}

func (d *standInDatabase) remove(key []byte) error {
	delete(d.items, string(key))
	return d.put(key, nil)
}

func (d *standInDatabase) put(key, value []byte) error {
	if d.endless {
		return errEndless
	}
	d.fresh[string(key)] = value
	if d.bytes += len(key) + len(value); d.bytes < standInTableBytes {
		return nil
	}
	return d.spill()
}

// flush makes the buffer durable. Only what goes wrong here is returned.
func (d *standInDatabase) flush() error {
	if d.endless {
		return errEndless
	}
	if err := writeFlat(d.buffer, sorted(d.fresh)); err != nil {
		return standInError(err)
	}
	if err := d.buffer.Sync(); err != nil {
		return standInError(err)
	}
	d.flushed = true
	return nil
}

// spill makes a table of the buffer, and does not give up.
func (d *standInDatabase) spill() error {
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
	return errEndless
}

func (d *standInDatabase) writeTable() error {
	id := d.list.next
	d.list.next++
	name := filepath.Join(d.folder, tableName(id))
	f, err := d.e.fsys.Create(name)
	if err != nil {
		return err
	}
	if err = writeFlat(f, sorted(d.fresh)); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = d.list.add(id); err != nil {
		_ = d.e.fsys.Remove(name) // Badger does not look either
	}
	return err
}

func (d *standInDatabase) cursor() cursor { return &flatCursor{items: sorted(d.items)} }

func (d *standInDatabase) close() error {
	if d.endless {
		return errEndless
	}
	if len(d.fresh) > 0 {
		if err := d.spill(); err != nil {
			return err
		}
	}
	fsys := d.e.fsys
	if err := errors.Join(d.buffer.Close(), fsys.Remove(filepath.Join(d.folder, bufferFile))); err != nil {
		d.fault(fmt.Errorf("while deleting file: %v", err))
	}
	if err := errors.Join(d.list.file.Close(), fsys.SyncDir(d.folder)); err != nil {
		return standInError(err)
	}
	if !d.flushed {
		return nil
	}
	return seal(fsys, d.folder)
}

// standInView is a complete store, opened in a folder of links, as Badger's.
type standInView struct {
	flatView
	e      *standIn
	folder string
	bytes  uint64
}

func (e *standIn) view(folder string, _ protocol.Index) (view, error) {
	files, err := checkSeal(e.fsys, folder)
	if err != nil {
		return nil, err
	}
	e.views++
	v := &standInView{e: e, folder: filepath.Join(e.o.viewsIn(filepath.Dir(folder)), viewPrefix+itoa(uint64(e.views)))}
	if err := v.open(folder, files); err != nil {
		return nil, errors.Join(err, e.remove(v.folder))
	}
	return v, nil
}

func (v *standInView) open(folder string, files []sealed) error {
	fsys := v.e.fsys
	if err := fsys.MkdirAll(v.folder); err != nil {
		return err
	}
	if _, err := cloneFiles(fsys, files, folder, v.folder); err != nil {
		return err
	}
	for _, f := range files {
		v.bytes += uint64(f.size)
	}
	list, err := openList(fsys, v.folder, false)
	if err != nil {
		return standInError(err)
	}
	items, err := list.content(fsys, v.folder)
	if err != nil {
		return errors.Join(standInError(err), list.file.Close())
	}
	v.items = sorted(items)
	return list.file.Close()
}

func (v *standInView) close() error { return v.e.remove(v.folder) }

func (e *standIn) crowded(v view, d *storage.Description) bool {
	return v.(*standInView).bytes > 2*d.Bytes+max(standInSpareBytes, uint64(e.o.ChunkBytes)/2)
}

func (e *standIn) remove(folder string) error {
	names, err := e.fsys.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, name := range names {
		err = errors.Join(err, e.fsys.Remove(filepath.Join(folder, name)))
	}
	if err != nil {
		return err
	}
	return e.fsys.Remove(folder)
}
