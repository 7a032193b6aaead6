package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// writeFactor is how many bytes of disk a byte of an item may take for a while:
// in the write buffer's file, in a table, and in one that is being compacted.
const writeFactor = 3

// Writer takes one checkpoint. It implements storage.CheckpointWriter.
type Writer struct {
	s     *Store
	x     *session
	index protocol.Index
	base  *storage.Manifest // nil: a full one
	ch    *changes          // of base
	done  Progress
	over  bool
}

var _ storage.CheckpointWriter = (*Writer)(nil)

// claim takes the one place for writing.
func (s *Store) claim(index protocol.Index) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return protocol.ErrClosed
	case s.inspects:
		return errInspects
	case s.failed != nil:
		return s.failed
	case s.writing:
		return protocol.ErrInvalid.With("another checkpoint is being written")
	case len(s.kept) > 0 && index <= s.kept[0].manifest.Index:
		return protocol.ErrStaleVersion.With(fmt.Sprintf("a checkpoint at %d is kept, one at %d is not above it", s.kept[0].manifest.Index, index))
	}
	s.writing = true
	return nil
}

func (s *Store) unclaim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = false
}

// BeginFull implements storage.CheckpointStore.
func (s *Store) BeginFull(ctx context.Context, index protocol.Index, bytes uint64) (storage.CheckpointWriter, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.checkSpace(writeFactor*bytes, s.o.SpaceReserve); err != nil {
		return nil, err
	}
	if err := s.claim(index); err != nil {
		return nil, err
	}
	x, err := s.begin(ctx, nil, index, writeFactor*bytes)
	if err != nil {
		s.unclaim()
		return nil, err
	}
	return s.newWriter(x, index), nil
}

func (s *Store) newWriter(x *session, index protocol.Index) *Writer {
	s.writer = &Writer{s: s, x: x, index: index, done: Progress{Work: WorkWrite, Index: index}}
	return s.writer
}

// BeginIncremental implements storage.CheckpointStore.
func (s *Store) BeginIncremental(ctx context.Context, index protocol.Index, base storage.Manifest) (storage.CheckpointWriter, error) {
	if err := s.claim(index); err != nil {
		return nil, err
	}
	w, err := s.beginIncremental(ctx, index, base)
	if err != nil {
		s.unclaim()
		return nil, err
	}
	return w, nil
}

func (s *Store) beginIncremental(ctx context.Context, index protocol.Index, base storage.Manifest) (*Writer, error) {
	k := s.older()
	if k == nil || !k.manifest.SameLog(&base) || k.manifest.Digest != base.Digest {
		return nil, protocol.ErrStaleVersion.With(fmt.Sprintf("the checkpoint at %d is not the older one of two of this log: take a full one", base.Index))
	}
	if err := s.checkSpace(0, s.o.SpaceReserve); err != nil {
		return nil, err
	}
	k, h, err := s.use(ctx, base.Index)
	if err != nil {
		return nil, err
	}
	defer s.release(h)
	if h.view.Crowded(k.manifest.Bytes) {
		return nil, protocol.ErrStaleVersion.With("the store of the older checkpoint has become crowded: take a full one")
	}
	t, err := s.tableOf(ctx, k, h)
	if err != nil {
		return nil, s.readError(k, err)
	}
	x, err := s.begin(ctx, h, index, 0)
	if err != nil {
		return nil, err
	}
	w := s.newWriter(x, index)
	w.base, w.ch = &k.manifest, newChanges(t)
	return w, nil
}

// older returns the older one of two kept checkpoints, nil if there are not two, or it stays.
// [S] Two kept ones never share a store, nor any file of one: what is next takes
// the place of the older, and begins as it or from nothing.
func (s *Store) older() *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) < 2 || stays(s.kept) == s.kept[1] {
		return nil
	}
	return s.kept[1]
}

// Write implements storage.CheckpointWriter.
func (w *Writer) Write(ctx context.Context, items []storage.Item) error {
	if err := w.usable(ctx); err != nil {
		return err
	}
	size := uint64(0)
	for i := range items {
		if err := checkItem(&items[i], w.index, w.base == nil); err != nil {
			return err
		}
		size += uint64(len(items[i].Space) + len(items[i].Key) + len(items[i].Value))
	}
	if err := w.s.checkSpace(writeFactor*size, w.s.o.SpaceReserve); err != nil {
		return err
	}
	changes := make([]change, 0, len(items))
	for i := range items {
		changes = append(changes, w.change(&items[i]))
	}
	if err := w.x.do(ctx, func() error { return w.x.write(changes) }); err != nil {
		return err
	}
	w.done.Done += uint64(len(items))
	w.s.o.OnProgress(w.done)
	return nil
}

// change is what a store hears of an item. It has memory of its own, because a
// session may still be at it when the caller has gone on.
type change struct {
	key, value []byte // value is nil: removed
}

func (w *Writer) change(it *storage.Item) change {
	key := appendStoredKey(make([]byte, 0, len(it.Space)+2+len(it.Key)), it.Space, it.Key)
	if w.ch != nil {
		w.ch.add(key)
	}
	if it.Deleted {
		return change{key: key}
	}
	return change{key, appendStoredValue(make([]byte, 0, indexBytes+len(it.Value)), it.Index, it.Value)}
}

// write is for the session's goroutine.
func (x *session) write(changes []change) error {
	for _, c := range changes {
		var err error
		if c.value == nil {
			err = x.db.Remove(c.key)
		} else {
			err = x.db.Set(c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	switch {
	case w.s.closed:
		return protocol.ErrClosed
	case w.s.failed != nil:
		return w.s.failed
	case w.over:
		return protocol.ErrInvalid.With("the checkpoint is over")
	}
	return nil
}

// Commit implements storage.CheckpointWriter.
func (w *Writer) Commit(ctx context.Context, d storage.Manifest) (storage.Manifest, error) {
	if err := w.usable(ctx); err != nil {
		return d, err
	}
	if err := w.check(&d); err != nil {
		return d, err
	}
	if err := w.x.flush(ctx); err != nil {
		return d, err
	}
	t, err := w.table(ctx)
	if err != nil {
		return d, err
	}
	t.describe(&d)
	if err := d.Validate(); err != nil {
		return d, err
	}
	if err := w.x.publish(ctx, d, t); err != nil {
		return d, err
	}
	w.Abort()
	w.s.outgrown(d.Index)
	return d, nil
}

func (w *Writer) check(d *storage.Manifest) error {
	if d.Index != w.index {
		return protocol.ErrInvalid.With(fmt.Sprintf("the checkpoint was begun at %d and is described at %d", w.index, d.Index))
	}
	d.Items, d.Bytes, d.Chunks = 0, 0, nil
	if w.base != nil && (d.Term < w.base.Term || d.Configuration.Index < w.base.Configuration.Index) {
		return protocol.ErrInvalid.With("the checkpoint's term or configuration is older than that of the one below")
	}
	return d.Validate()
}

// table reads back what was written. Of an incremental checkpoint the chunks that
// have not been touched are known from the one below.
func (w *Writer) table(ctx context.Context) (*table, error) {
	cur := w.x.db.Cursor()
	defer cur.Close()
	p := Progress{Work: WorkVerify, Index: w.index}
	if w.base == nil {
		p.Total = w.done.Done
	}
	progress := func(items uint64) {
		p.Done += items
		w.s.o.OnProgress(p)
	}
	if w.ch != nil {
		return retabulate(ctx, cur, w.s.o.ChunkBytes, w.ch, progress)
	}
	t, err := tabulate(ctx, cur, w.s.o.ChunkBytes, progress)
	if err != nil {
		return nil, err
	}
	if n := t.items(); n != w.done.Done {
		return nil, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: %d items were written, %d can be read back, or a key was written twice", w.done.Done, n))
	}
	return t, nil
}

// Abort implements storage.CheckpointWriter.
func (w *Writer) Abort() {
	if w.over {
		return
	}
	w.over = true
	w.s.writer = nil
	w.s.unclaim()
	w.x.leave()
}

// publish makes what is in a store, and flushed, a kept checkpoint: it ends the
// store, opens it anew and reads all of it, and then its pointer replaces that of
// the older one. After that, and only then, the stores that nobody needs are given
// up.
func (x *session) publish(ctx context.Context, d storage.Manifest, t *table) error {
	if err := x.close(ctx); err != nil {
		return err
	}
	if err := x.lookAgain(ctx, t); err != nil {
		return err
	}
	if err := x.s.point(x.h, d, t); err != nil {
		return err
	}
	if err := x.s.tidy(); err != nil {
		// The checkpoint is there. What is left over is found at the next start.
		x.s.o.Logger.Warn("giving up old checkpoints", "error", err)
	}
	return nil
}

// point writes the pointer.
func (s *Store) point(h *home, d storage.Manifest, t *table) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return protocol.ErrClosed
	}
	stay := stays(s.kept)
	k := &kept{slot: s.freeSlot(), pointer: pointer{store: h.number, manifest: d}, table: t}
	if err := s.checkSpace(uint64(len(d.Chunks)*16), s.o.SpaceReserve/2); err != nil {
		return err
	}
	// The names inside the directory: that of the store's folder among them.
	if err := s.fsys.SyncDir(s.dir); err != nil {
		return unusable("syncing the directory of the checkpoints", err)
	}
	if err := k.pointer.write(s, k.slot); err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(s.kept), func(o *kept) bool { return o == stay })
	s.retire(rest)
	s.kept = []*kept{k}
	if stay != nil {
		s.kept = append(s.kept, stay)
	}
	return nil
}

// write writes a pointer in the place of what is there. The caller holds the lock.
func (p pointer) write(s *Store, slot int) error {
	name := pointerName(slot)
	if err := vfs.WriteBeside(s.fsys, s.path(name), encodePointer(p)); err != nil {
		return unusable("writing the pointer of a checkpoint", err)
	}
	return s.rename(name+vfs.TemporarySuffix, name)
}

// SetConfirmed implements storage.CheckpointStore.
func (s *Store) SetConfirmed(index protocol.Index, confirmed bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.kept, func(k *kept) bool { return k.manifest.Index == index })
	switch {
	case s.closed:
		return protocol.ErrClosed
	case s.inspects:
		return errInspects
	case s.failed != nil:
		return s.failed
	case i < 0:
		return notKept(index)
	case s.kept[i].manifest.Confirmed == confirmed:
		return nil
	}
	marked := s.kept[i].pointer
	marked.manifest.Confirmed = confirmed
	if err := marked.write(s, s.kept[i].slot); err != nil {
		return err
	}
	s.kept[i].manifest.Confirmed = confirmed
	return nil
}

// tidy gives up what the new pointer has replaced.
func (s *Store) tidy() error {
	idle, err := s.giveUp()
	return errors.Join(err, s.closeAll(idle), s.sweep())
}

// giveUp is the part of tidy that needs the lock, and is quick.
func (s *Store) giveUp() (idle []*home, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names, err := s.fsys.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasPrefix(name, badPrefix) {
			if err := s.fsys.Remove(s.path(name)); err != nil {
				return nil, err
			}
		}
	}
	if err := s.settleDoubt(names); err != nil {
		return nil, err
	}
	if err := s.dropAside(); err != nil {
		return nil, err
	}
	return s.takeIdle(), nil
}

// settleDoubt ends the time in which nothing is removed: when no pointer file
// is left that is not one of a kept checkpoint.
func (s *Store) settleDoubt(names []string) error {
	if !s.doubt {
		return nil
	}
	for slot := 1; slot <= slots; slot++ {
		known := slices.ContainsFunc(s.kept, func(k *kept) bool { return k.slot == slot })
		if !known && slices.Contains(names, pointerName(slot)) {
			return nil
		}
	}
	s.doubt = false
	return nil
}
