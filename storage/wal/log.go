package wal

import (
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// item says where a run of entries is: in one record, from first up to the next
// item's first.
type item struct {
	first   protocol.Index
	segment *segment
	at      int64
	length  int
}

// Log is a member's log on a file system. See storage.Log for who may call what.
//
// Invariants: items are in order of first and cover begin+1 to last, except for
// holes. A record that was handed to the file is never written again. durable <
// next, and nothing at or below durable is unsynced.
type Log struct {
	fsys     vfs.FS
	dir      string
	options  Options
	lock     io.Closer
	suffix   string // of the names of its segments: not empty while it is repaired
	number   uint64 // of its first segment
	identity Identity
	opened   storage.Opened

	// The writer's.
	current        *segment
	at             int64 // where the next record goes
	buffer         []byte
	state          protocol.HardState
	last           point
	configurations protocol.Configurations
	next           protocol.Sequence
	dirty          bool // the current segment has unsynced records
	durability
	damaged  *storage.Damage // if set, nothing may be written
	replaced []*segment      // do not exist any more, but their files could not be removed; see dropReplaced

	failure atomic.Pointer[protocol.Error]
	closed  atomic.Bool

	mu       sync.Mutex // guards what follows, for readers
	segments []*segment // in order of number; the last is current
	items    []item
	begin    point
	end      protocol.Index
	holes    []protocol.Range

	preallocated preallocated
	guard        guard
}

var _ storage.Log = (*Log)(nil)

// durability is what the writer knows to be durable of what it has written.
type durability struct {
	noted           protocol.Sequence // what the newest header says is durable
	durableSequence protocol.Sequence // the newest record that is not empty, or that a segment's name vouches for
	durable         protocol.Sequence // the newest record that is known to be synced
	lasting         atomic.Uint64     // durableSequence for other goroutines: see DurableSequence
}

func newLog(fsys vfs.FS, dir string, o Options) *Log {
	l := &Log{fsys: fsys, dir: dir, options: o, next: 1, number: 1}
	l.preallocated.init(l)
	return l
}

// Identity returns whose log it is. Starts counts this opening.
func (l *Log) Identity() Identity { return l.identity }

// Opened implements storage.Log.
func (l *Log) Opened() storage.Opened { return l.opened }

// DurableSequence implements storage.Log.
func (l *Log) DurableSequence() protocol.Sequence { return protocol.Sequence(l.lasting.Load()) }

// synced notes that everything that was written is durable.
func (l *Log) synced() {
	l.durable = l.next - 1
	l.lasting.Store(uint64(l.durableSequence))
}

// usable returns why nothing works any more, or nil.
func (l *Log) usable() error {
	if l.closed.Load() {
		return protocol.ErrClosed
	}
	if failed := l.failure.Load(); failed != nil {
		return failed
	}
	return nil
}

// writable returns why nothing may be written, or nil.
func (l *Log) writable() error {
	if err := l.usable(); err != nil {
		return err
	}
	if l.damaged != nil {
		return l.damaged
	}
	return nil
}

// fail makes the first failure of the disk final. A failed sync has marked
// pages clean that are not on the disk, so that no later call may succeed.
func (l *Log) fail(err error) error {
	l.failure.CompareAndSwap(nil, vfs.Failed(err))
	return l.failure.Load()
}

// Write implements storage.Log.
func (l *Log) Write(w protocol.Write, entries []protocol.Entry) error {
	if err := l.writable(); err != nil {
		return err
	}
	checkWrite(&w, entries, l.state, l.begin.index, l.last)
	h := header{kind: KindState, state: w.State}
	join := l.last
	if w.Truncate && w.After < l.last.index {
		var err error
		if join, err = l.joinOf(&w); err != nil {
			return err
		}
		h.kind, h.cut = KindTruncate, true
	}
	if len(entries) > 0 {
		checkJoin(join.sum, &entries[0])
		h.kind = KindEntries
	}
	at, err := l.append(&h, join, entries)
	if err != nil {
		return err
	}
	return l.take(&h, join, entries, at)
}

// joinOf returns what the log is up to where a write cuts it: as the disk has it, and if
// the disk does not give that, as its owner does.
func (l *Log) joinOf(w *protocol.Write) (point, error) {
	p, err := l.pointAt(w.After)
	var where *storage.Unreadable
	if w.Joined && errors.As(err, &where) {
		return point{w.After, w.AfterTerm, w.AfterSum}, nil
	}
	return p, err
}

// take changes the log in memory after a record was written at the offset.
func (l *Log) take(h *header, join point, entries []protocol.Entry, at int64) error {
	if h.cut {
		l.configurations.TruncateAfter(join.index)
		l.current.low = min(l.current.low, join.index)
		l.last = join
	}
	if len(entries) > 0 {
		l.last = after(entries)
		if err := addConfigurations(&l.configurations, entries); err != nil {
			return err
		}
	}
	if !h.cut && len(entries) == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.cut {
		l.items = cutItems(l.items, join.index)
	}
	if len(entries) > 0 {
		l.items = append(l.items, item{first: entries[0].Index, segment: l.current, at: at, length: h.length})
	}
	l.end = l.last.index
	return nil
}

// cutItems drops the items above an index; the last one kept may go on beyond
// it on disk.
func cutItems(items []item, last protocol.Index) []item {
	for len(items) > 0 && items[len(items)-1].first > last {
		items = items[:len(items)-1]
	}
	return items
}

// append writes a record of the log and returns its offset. The header's kind,
// cut and state are given.
func (l *Log) append(h *header, cut point, entries []protocol.Entry) (int64, error) {
	h.length = protocol.RawSize(entries)
	if h.cut {
		h.length += pointBytes
	}
	return l.writeRecord(h, func(b []byte) []byte {
		if h.cut {
			putPoint(b[len(b):len(b)+pointBytes], cut)
			b = b[:len(b)+pointBytes]
		}
		for i := range entries {
			b = append(b, entries[i].Raw...)
		}
		return b
	})
}

// writeRecord fills in the rest of the header, whose length is given, and
// writes header and payload at once.
func (l *Log) writeRecord(h *header, payload func([]byte) []byte) (int64, error) {
	if h.length > payloadLimit {
		invariant.Check(false, "a record of %d bytes, limit %d", h.length, payloadLimit)
	}
	size := h.size()
	if l.at+size+h.kind.leaves(l.current.size) > l.current.size {
		if err := l.rotate(size + h.kind.leaves(l.options.SegmentBytes)); err != nil {
			return 0, err
		}
	}
	if int64(cap(l.buffer)) < size {
		l.buffer = make([]byte, 0, max(size, 64<<10))
	}
	b := payload(l.buffer[:recordBytes])
	if len(b) != recordBytes+h.length {
		invariant.Check(false, "a payload of %d bytes announced as %d", len(b)-recordBytes, h.length)
	}
	h.sequence, h.durable, h.before = l.next, l.durable, l.last
	h.payloadSum = sumPayload(b[recordBytes:], l.current.nonce)
	b = b[:size]
	clear(b[recordBytes+h.length:])
	putHeader(b, l.current.nonce, h)
	at := l.at
	if _, err := l.current.file.WriteAt(b, at); err != nil {
		return 0, l.fail(err)
	}
	if cap(l.buffer) > bufferKeep {
		l.buffer = nil
	}
	l.at += size
	l.preallocated.filled(at)
	l.state, l.noted, l.dirty = h.state, h.durable, true
	if h.kind != KindEmpty {
		l.durableSequence = h.sequence
	}
	l.next++
	return at, nil
}

// Sync implements storage.Log.
func (l *Log) Sync() error {
	if err := l.writable(); err != nil {
		return err
	}
	if !l.dirty {
		return nil
	}
	if err := l.current.file.Sync(); err != nil {
		return l.fail(err)
	}
	l.dirty = false
	l.synced()
	return nil
}

// Idle implements storage.Log. It writes an empty record if the newest record
// that is not empty is durable and no header says so.
func (l *Log) Idle() error {
	if err := l.writable(); err != nil {
		return err
	}
	if l.durable < l.durableSequence || l.noted >= l.durableSequence {
		return nil
	}
	_, err := l.writeRecord(&header{kind: KindEmpty, state: l.state}, func(b []byte) []byte { return b })
	return err
}

// Settle implements storage.Log. While records that are not empty wait for a
// sync it does nothing.
func (l *Log) Settle() error {
	if err := l.Idle(); err != nil || l.durable < l.durableSequence {
		return err
	}
	return l.Sync()
}

// Reset implements storage.Log. The log goes on in a new segment, so that the
// old ones can be dropped.
func (l *Log) Reset(b storage.Begin, state protocol.HardState) error {
	if err := l.writable(); err != nil {
		return err
	}
	checkReset(&b, l.begin.index, state, l.state)
	to := point{b.Index, b.Term, b.Sum}
	configuration := protocol.EncodeConfiguration(b.Configuration.Configuration)
	h := header{kind: KindReset, cut: true, state: state, length: pointBytes + 8 + len(configuration)}
	_, err := l.writeRecord(&h, func(p []byte) []byte {
		putPoint(p[len(p):len(p)+pointBytes], to)
		p = binary.LittleEndian.AppendUint64(p[:len(p)+pointBytes], uint64(b.Configuration.Index))
		return append(p, configuration...)
	})
	if err != nil {
		return err
	}
	l.current.low = min(l.current.low, b.Index)
	l.last = to
	l.configurations = protocol.NewConfigurations(b.Configuration)
	l.mu.Lock()
	l.items, l.begin, l.end = nil, to, b.Index
	l.mu.Unlock()
	// With a full disk the log goes on in the old segment, which is synced: it
	// has been reset, and must not say that it has not.
	if err := l.rotate(0); err != nil && !errors.Is(err, protocol.ErrNoSpace) {
		return err
	}
	if err := l.Settle(); !errors.Is(err, protocol.ErrNoSpace) {
		return err
	}
	return nil
}

// Close implements storage.Log.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	l.preallocated.stop()
	l.closeFiles()
	if l.lock == nil {
		return nil
	}
	return l.lock.Close()
}

// closeFiles closes what no reader uses; the last reader closes the rest.
func (l *Log) closeFiles() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		s.dropped = true
		if s.readers == 0 {
			s.file.Close()
		}
	}
	l.segments = nil
}

func (l *Log) path(name string) string { return filepath.Join(l.dir, logFolder, name) }

// unsynced is the error of a sync.
type unsynced struct{ error }

func (u *unsynced) Unwrap() error { return u.error }

// later is the error of a file that the log cannot get, or cannot put in its place, now.
// What may pass costs time only. [S] A sync is never made again: one that says that there
// was no room costs its file.
func (l *Log) later(err error) error {
	var lost *unsynced
	if errors.Is(err, vfs.ErrNoSpace) || !errors.As(err, &lost) && vfs.Passes(err) {
		return vfs.Waits(err)
	}
	return l.fail(err)
}

// refused is the error of a start: a full disk, found before anything was changed, says
// so, and everything else is final.
func (l *Log) refused(err error) error {
	if errors.Is(err, vfs.ErrNoSpace) {
		return vfs.Refused(err)
	}
	return l.fail(err)
}
