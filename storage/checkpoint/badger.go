package checkpoint

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/starlinghq/starling/protocol"
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
)

// badgerEngine keeps each store in a Badger database of its own.
type badgerEngine struct{ o Options }

func (e badgerEngine) options(folder string) badger.Options {
	return badger.DefaultOptions(folder).
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
		WithLogger(badgerLogger{e.o.Logger})
}

func (e badgerEngine) open(folder string) (d database, err error) {
	defer catch(&err)
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return nil, err
	}
	db, err := badger.OpenManaged(e.options(folder))
	if err != nil {
		return nil, err
	}
	return &badgerDatabase{db}, nil
}

func (badgerEngine) remove(folder string) error { return os.RemoveAll(folder) }

// catch makes an error of a panic inside Badger, which damaged files can cause:
// also of a fault in one that is mapped and shorter than it was. In goroutines
// of its own nothing can.
func catch(err *error) {
	if r := recover(); r != nil {
		*err = protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: Badger panicked: %v", r))
	}
}

type badgerDatabase struct{ db *badger.DB }

func (d *badgerDatabase) discard(below uint64) error {
	d.db.SetDiscardTs(below)
	return nil
}

func (d *badgerDatabase) close() (err error) {
	defer catch(&err)
	return d.db.Close()
}

func (d *badgerDatabase) batch(at uint64) batch {
	return &badgerBatch{d.db.NewWriteBatchAt(at)}
}

// badgerBatch is not atomic: the pointer is what makes a checkpoint appear.
type badgerBatch struct{ wb *badger.WriteBatch }

func badgerKey(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), itemPrefix), key...)
}

func (b *badgerBatch) set(key, value []byte) (err error) {
	defer catch(&err)
	return b.wb.Set(badgerKey(key), value)
}

func (b *badgerBatch) remove(key []byte) (err error) {
	defer catch(&err)
	return b.wb.Delete(badgerKey(key))
}

func (b *badgerBatch) flush() (err error) {
	defer catch(&err)
	return b.wb.Flush()
}

func (b *badgerBatch) cancel() { b.wb.Cancel() }

// badgerCursor reads a snapshot: what is compacted away meanwhile stays there.
// It belongs to the goroutine that made it.
type badgerCursor struct {
	txn    *badger.Txn
	it     *badger.Iterator
	err    error
	begun  bool
	prefix [1]byte
	faults bool // what SetPanicOnFault was
}

func (d *badgerDatabase) cursor(at uint64) cursor {
	c := &badgerCursor{prefix: [1]byte{itemPrefix}, faults: debug.SetPanicOnFault(true)}
	c.open(d.db, at)
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

// badgerLogger passes on what matters. What Badger says at info and below is
// about its own housekeeping.
type badgerLogger struct{ to *slog.Logger }

func (l badgerLogger) Errorf(format string, args ...any)   { l.log(slog.LevelError, format, args) }
func (l badgerLogger) Warningf(format string, args ...any) { l.log(slog.LevelWarn, format, args) }
func (badgerLogger) Infof(string, ...any)                  {}
func (badgerLogger) Debugf(string, ...any)                 {}

func (l badgerLogger) log(level slog.Level, format string, args []any) {
	l.to.Log(context.Background(), level, "badger: "+fmt.Sprintf(format, args...))
}
