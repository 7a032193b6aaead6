package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// itemPrefix begins each key in Badger, which refuses some keys without it.
const itemPrefix = 1

const (
	// valueLogFileBytes: nothing is written to the value log, but Badger makes
	// a sparse file of twice that.
	valueLogFileBytes = 64 << 20
	// inlineBytes is Badger's largest threshold: below it, and all stored items
	// are, a value stands beside its key and not in the value log, whose sync
	// errors are only logged.
	inlineBytes = 1 << 20
	// layersMax is how many tables of a store may overlap before no other one
	// begins as it. Each incremental checkpoint adds one at least, and each is a
	// step more for who reads a key.
	layersMax = 32
	// spareFiles is how many files Badger opens besides its tables.
	spareFiles = 32
	// endless stands for "never" where Badger asks for a number of tables.
	endless = 1 << 30
)

// badgerEngine keeps each store in a Badger database of its own.
//
// A store that begins as another one has its tables, by hard links: a table never
// changes. But Badger cuts a table to nothing before it removes it, so that it
// must never remove one that is shared: where there are shared ones nothing is
// compacted. A store that has grown crowded is followed by a full one instead.
type badgerEngine struct {
	fsys vfs.FS // with the operating system's names
	o    Options
	// left are folders of views that could not be removed. The next removal of
	// anything tries them again.
	left *leftFolders
}

func (e badgerEngine) options(folder string, l *badgerLogger) badger.Options {
	return badger.DefaultOptions(folder).
		// The folder is this store's own, and the member's directory is locked.
		WithBypassLockGuard(true).
		WithSyncWrites(true).
		WithNumVersionsToKeep(1).
		WithDetectConflicts(false).
		WithMemTableSize(e.o.MemTableBytes).
		WithNumMemtables(2).
		WithNumCompactors(2).
		WithValueThreshold(inlineBytes).
		WithValueLogFileSize(valueLogFileBytes).
		WithBlockCacheSize(e.o.BlockCacheBytes).
		WithCompression(options.None).
		// What Badger does on a wrong checksum is to die; ours come after it.
		WithChecksumVerificationMode(options.NoVerification).
		WithMetricsEnabled(false).
		WithLogger(l)
}

func (e badgerEngine) create(folder, from string, at protocol.Index, bytes uint64, fault func(error)) (d database, err error) {
	defer catch(&err)
	if err := os.Mkdir(folder, 0o750); err != nil {
		return nil, err
	}
	o := e.options(folder, &badgerLogger{to: e.o.Logger, fault: fault})
	tables := 0
	if from != "" {
		if tables, err = cloneStore(e.fsys, from, folder); err != nil {
			return nil, err
		}
		o = o.WithNumCompactors(0).WithNumLevelZeroTables(endless).WithNumLevelZeroTablesStall(endless + 1)
	}
	if err := freeFiles(tables + spareFiles); err != nil {
		return nil, err
	}
	if err := freeBytes(folder, int64(bytes)+4*e.o.MemTableBytes); err != nil {
		return nil, err
	}
	forget := trapped(fault)
	db, err := openBadger(o)
	if err != nil {
		forget()
		return nil, err
	}
	db.SetDiscardTs(uint64(at))
	return &badgerDatabase{fsys: e.fsys, db: db, at: uint64(at), wb: db.NewWriteBatchAt(uint64(at)), forget: forget}, nil
}

func (badgerEngine) hangs() bool { return true }

func (e badgerEngine) remove(folder string) error {
	if err := giveBack(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.o.Logger.Warn("the space of a store that is removed is not free before this process ends", "store", filepath.Base(folder), "error", err)
	}
	if err := e.left.remove(); err != nil { // of others: it does not keep this one
		e.o.Logger.Warn("what was looked at is removed later", "error", err)
	}
	return os.RemoveAll(folder)
}

// freeFiles reports whether so many files can be opened now. Where they cannot,
// Badger ends the process in one place and leaves a store in pieces in others.
func freeFiles(n int) error {
	open := make([]*os.File, 0, n)
	defer func() {
		for _, f := range open {
			_ = f.Close()
		}
	}()
	for range n {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return err
		}
		open = append(open, f)
	}
	return nil
}

// catch makes an error of a panic inside Badger, which damaged files can cause:
// also of a fault in one that is mapped and shorter than it was, and of Badger's
// own end of the process (see trap). In goroutines of its own nothing can.
func catch(err *error) {
	switch r := recover().(type) {
	case nil:
	case surrender:
		*err = r
	default:
		*err = protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: Badger panicked: %v", r))
	}
}

// badgerDatabase is not atomic: the pointer is what makes a checkpoint appear.
type badgerDatabase struct {
	fsys   vfs.FS
	db     *badger.DB
	at     uint64
	wb     *badger.WriteBatch // nil: flushed
	forget func()
}

func badgerKey(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), itemPrefix), key...)
}

func (d *badgerDatabase) set(key, value []byte) (err error) {
	defer catch(&err)
	return d.wb.Set(badgerKey(key), value)
}

func (d *badgerDatabase) remove(key []byte) (err error) {
	defer catch(&err)
	return d.wb.Delete(badgerKey(key))
}

func (d *badgerDatabase) flush() (err error) {
	defer catch(&err)
	wb := d.wb
	d.wb = nil
	return wb.Flush()
}

func (d *badgerDatabase) cursor() cursor { return newBadgerCursor(d.db, d.at) }

// close writes Badger's buffers into tables, and then the sums of those: only then
// does a view see them.
func (d *badgerDatabase) close() (err error) {
	defer catch(&err)
	flushed := d.wb == nil
	if !flushed {
		d.wb.Cancel()
	}
	err = d.db.Close()
	d.forget()
	if err == nil && flushed {
		err = seal(d.fsys, d.db.Opts().Dir)
	}
	return err
}

// badgerView is a database that was opened to be read only, in a folder of its own
// with nothing but links to the tables and their list. So what a writer that died
// has left in the store does not count, and Badger, which removes tables that a
// damaged list does not name, also when it only reads, removes links.
type badgerView struct {
	db     *badger.DB
	folder string
	left   *leftFolders
	at     uint64
}

func (e badgerEngine) view(folder string, at protocol.Index) (_ view, err error) {
	var links string
	defer func() {
		if err != nil && links != "" { // nobody finds the links afterwards
			err = &plain{strings.ReplaceAll(err.Error(), links, folder), err}
		}
	}()
	defer catch(&err)
	folder, err = filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	files, err := checkSeal(e.fsys, folder)
	if err != nil {
		return nil, err
	}
	if err := freeFiles(len(files) + spareFiles); err != nil {
		return nil, err
	}
	links, err = os.MkdirTemp(e.o.viewsIn(filepath.Dir(folder)), viewPrefix)
	if err != nil {
		return nil, err
	}
	v := &badgerView{folder: links, left: e.left, at: uint64(at)}
	defer func() {
		if v.db == nil {
			e.left.add(links)
		}
	}()
	for _, f := range files {
		if err := os.Symlink(filepath.Join(folder, f.name), filepath.Join(links, f.name)); err != nil {
			return nil, err
		}
	}
	defer trapped(func(error) {})()
	db, err := openBadger(e.options(links, &badgerLogger{to: e.o.Logger}).WithReadOnly(true))
	if err != nil {
		return nil, err
	}
	v.db = db
	return v, nil
}

func (v *badgerView) cursor() cursor { return newBadgerCursor(v.db, v.at) }

// close has nothing to say: what it was to read has been read.
func (v *badgerView) close() (err error) {
	defer catch(&err)
	_ = v.db.Close()
	v.left.add(v.folder)
	return nil
}

func (badgerEngine) crowded(v view, d *storage.Description) bool {
	layers, bytes := 0, uint64(0)
	for _, t := range v.(*badgerView).db.Tables() {
		if t.Level == 0 {
			layers++
		}
		bytes += uint64(t.OnDiskSize)
	}
	return layers >= layersMax || bytes > 2*d.Bytes+crowdedBytes
}

// crowdedBytes is what a store may have besides twice its content.
const crowdedBytes = 64 << 20

// badgerCursor reads a snapshot. It belongs to the goroutine that made it.
type badgerCursor struct {
	txn    *badger.Txn
	it     *badger.Iterator
	err    error
	begun  bool
	prefix [1]byte
	faults bool // what SetPanicOnFault was
}

func newBadgerCursor(db *badger.DB, at uint64) cursor {
	c := &badgerCursor{prefix: [1]byte{itemPrefix}, faults: debug.SetPanicOnFault(true)}
	c.open(db, at)
	return c
}

func (c *badgerCursor) open(db *badger.DB, at uint64) {
	defer catch(&c.err)
	c.txn = db.NewTransactionAt(at, false)
	// Values are inline: fetching them ahead, by a goroutine each, costs more.
	c.it = c.txn.NewIterator(badger.IteratorOptions{Prefix: c.prefix[:]})
}

func (c *badgerCursor) seek(from []byte) {
	if c.err != nil {
		return
	}
	defer catch(&c.err)
	c.begun = false
	c.it.Seek(badgerKey(from))
}

func (c *badgerCursor) next() (key, value []byte, ok bool, err error) {
	if c.err != nil {
		return nil, nil, false, c.err
	}
	defer catch(&err)
	if c.begun {
		c.it.Next()
	}
	c.begun = true
	if !c.it.Valid() {
		return nil, nil, false, nil
	}
	item := c.it.Item()
	key = item.Key()[1:]
	err = item.Value(func(v []byte) error {
		value = v
		return nil
	})
	if err != nil {
		return nil, nil, false, protocol.ErrCorrupt.Because(err)
	}
	return key, value, true, nil
}

func (c *badgerCursor) close() {
	defer debug.SetPanicOnFault(c.faults)
	defer catch(&c.err)
	if c.it != nil {
		c.it.Close()
	}
	if c.txn != nil {
		c.txn.Discard()
	}
}
