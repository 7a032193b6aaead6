// Package badgerengine is the engine that keeps each store in a Badger database of its
// own. It knows Badger's ways: errors that are only logged, ends of the process, calls
// that never return, files that stay mapped.
//
// Badger keeps each of its tables open: by its sizing of tables about 150 files for 1 GB
// and 800 for 10 or 20 GB, for each store, twice while one is written; there are two
// stores, three while one is written, and one more for each that is pinned. Go raises the
// soft limit of open files to the hard one; that should be 4096 at least.
package badgerengine

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/engine"
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
	// crowdedBytes is what a store may have besides twice its content.
	crowdedBytes = 64 << 20
	tableSuffix  = ".sst"
)

// Options of the engine. A zero field means its default.
type Options struct {
	// Logger gets what Badger says at warning and above, but what is a fault of a
	// store, which the store says; default: nothing is logged.
	Logger *slog.Logger
	// MemTableBytes is the size of Badger's write buffers; default 16 MiB, of
	// which it keeps two, at least 8 MiB. Larger ones write fewer, larger files.
	MemTableBytes int64
	// BlockCacheBytes is the size of Badger's cache; default 4 MiB.
	BlockCacheBytes int64
}

const (
	memTableDefault   = 16 << 20
	memTableMin       = 8 << 20 // an item at its limits must fit into one transaction
	blockCacheDefault = 4 << 20
)

// New returns the engine. Badger works on the operating system's files.
func New(o Options) engine.Engine {
	o.Logger = cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	o.MemTableBytes = max(cmp.Or(o.MemTableBytes, memTableDefault), memTableMin)
	o.BlockCacheBytes = cmp.Or(o.BlockCacheBytes, blockCacheDefault)
	return badgerEngine{o, new(leftFolders)}
}

// badgerEngine keeps each store in a Badger database of its own.
//
// A store that begins as another one has its tables, by hard links: a table never
// changes. But Badger cuts a table to nothing before it removes it, so that it
// must never remove one that is shared: where there are shared ones nothing is
// compacted. A store that has grown crowded is followed by a full one instead.
type badgerEngine struct {
	o Options
	// left are folders of views that could not be removed. The next removal of
	// anything tries them again.
	left *leftFolders
}

func (e badgerEngine) options(folder string, l *logger) badger.Options {
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

func (e badgerEngine) Create(s engine.New) (d engine.Database, err error) {
	defer catch(&err)
	o := e.options(s.Folder, &logger{to: e.o.Logger, fault: s.Fault})
	if s.Base != nil {
		o = o.WithNumCompactors(0).WithNumLevelZeroTables(endless).WithNumLevelZeroTablesStall(endless + 1)
	}
	if err := freeFiles(len(s.Base) + spareFiles); err != nil {
		return nil, err
	}
	if err := freeBytes(s.Folder, int64(s.Bytes)+4*e.o.MemTableBytes); err != nil {
		return nil, err
	}
	forget := trapped(s.Fault)
	db, err := openBadger(o)
	if err != nil {
		forget()
		return nil, err
	}
	at := uint64(s.At)
	db.SetDiscardTs(at)
	return &database{db: db, at: at, wb: db.NewWriteBatchAt(at), forget: forget}, nil
}

func (badgerEngine) Hangs() bool { return true }

// Use implements engine.Engine.
func (badgerEngine) Use(name string) engine.Use {
	switch {
	case strings.HasSuffix(name, tableSuffix):
		return engine.Linked
	case name == badger.ManifestFilename || name == badger.KeyRegistryFileName:
		return engine.Copied
	}
	return engine.Unneeded
}

func (e badgerEngine) Remove(folder string) error {
	if err := giveBack(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.o.Logger.Warn("the space of a store that is removed is not free before this process ends", "store", filepath.Base(folder), "error", err)
	}
	if err := e.left.remove(); err != nil { // of others: it does not keep this one
		e.o.Logger.Warn("what was looked at is removed later", "error", err)
	}
	return os.RemoveAll(folder)
}

// retold is an error with another text.
type retold struct {
	text  string
	cause error
}

func (r *retold) Error() string { return r.text }
func (r *retold) Unwrap() error { return r.cause }

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

// database is not atomic: the pointer is what makes a checkpoint appear.
type database struct {
	db     *badger.DB
	at     uint64
	wb     *badger.WriteBatch // nil: flushed
	forget func()
}

func keyOf(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), itemPrefix), key...)
}

func (d *database) Set(key, value []byte) (err error) {
	defer catch(&err)
	return d.wb.Set(keyOf(key), value)
}

func (d *database) Remove(key []byte) (err error) {
	defer catch(&err)
	return d.wb.Delete(keyOf(key))
}

func (d *database) Flush() (err error) {
	defer catch(&err)
	wb := d.wb
	d.wb = nil
	return wb.Flush()
}

func (d *database) Cursor() engine.Cursor { return newCursor(d.db, d.at) }

// Close writes Badger's buffers into tables.
func (d *database) Close() (err error) {
	defer catch(&err)
	if d.wb != nil {
		d.wb.Cancel()
	}
	err = d.db.Close()
	d.forget()
	return err
}

// view is a database that was opened to be read only, in a folder of its own
// with nothing but links to the tables and their list. So what a writer that died
// has left in the store does not count, and Badger, which removes tables that a
// damaged list does not name, also when it only reads, removes links.
type view struct {
	db     *badger.DB
	folder string
	left   *leftFolders
	at     uint64
}

func (e badgerEngine) View(s engine.Complete) (_ engine.View, err error) {
	var folder, links string
	defer func() {
		if err != nil && links != "" { // nobody finds the links afterwards
			err = &retold{strings.ReplaceAll(err.Error(), links, folder), err}
		}
	}()
	defer catch(&err)
	if folder, err = filepath.Abs(s.Folder); err != nil {
		return nil, err
	}
	if err := freeFiles(len(s.Files) + spareFiles); err != nil {
		return nil, err
	}
	links, err = os.MkdirTemp(s.Links, engine.ViewPrefix)
	if err != nil {
		return nil, err
	}
	v := &view{folder: links, left: e.left, at: uint64(s.At)}
	defer func() {
		if v.db == nil {
			e.left.add(links)
		}
	}()
	for _, f := range s.Files {
		if err := os.Symlink(filepath.Join(folder, f.Name), filepath.Join(links, f.Name)); err != nil {
			return nil, err
		}
	}
	defer trapped(func(error) {})()
	db, err := openBadger(e.options(links, &logger{to: e.o.Logger}).WithReadOnly(true))
	if err != nil {
		return nil, err
	}
	v.db = db
	return v, nil
}

func (v *view) Cursor() engine.Cursor { return newCursor(v.db, v.at) }

// Close has nothing to say: what it was to read has been read.
func (v *view) Close() (err error) {
	defer catch(&err)
	_ = v.db.Close()
	v.left.add(v.folder)
	return nil
}

// Crowded implements engine.View.
func (v *view) Crowded(bytes uint64) bool {
	layers, size := 0, uint64(0)
	for _, t := range v.db.Tables() {
		if t.Level == 0 {
			layers++
		}
		size += uint64(t.OnDiskSize)
	}
	return layers >= layersMax || size > 2*bytes+crowdedBytes
}

// cursor reads a snapshot. It belongs to the goroutine that made it.
type cursor struct {
	txn    *badger.Txn
	it     *badger.Iterator
	err    error
	begun  bool
	prefix [1]byte
	faults bool // what SetPanicOnFault was
}

func newCursor(db *badger.DB, at uint64) engine.Cursor {
	c := &cursor{prefix: [1]byte{itemPrefix}, faults: debug.SetPanicOnFault(true)}
	c.open(db, at)
	return c
}

func (c *cursor) open(db *badger.DB, at uint64) {
	defer catch(&c.err)
	c.txn = db.NewTransactionAt(at, false)
	// Values are inline: fetching them ahead, by a goroutine each, costs more.
	c.it = c.txn.NewIterator(badger.IteratorOptions{Prefix: c.prefix[:]})
}

func (c *cursor) Seek(from []byte) {
	if c.err != nil {
		return
	}
	defer catch(&c.err)
	c.begun = false
	c.it.Seek(keyOf(from))
}

func (c *cursor) Next() (key, value []byte, ok bool, err error) {
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

func (c *cursor) Close() {
	defer debug.SetPanicOnFault(c.faults)
	defer catch(&c.err)
	if c.it != nil {
		c.it.Close()
	}
	if c.txn != nil {
		c.txn.Discard()
	}
}
