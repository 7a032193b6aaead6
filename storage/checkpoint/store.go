package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/vfs"
)

// Store is the store of one member's checkpoints. It implements
// storage.CheckpointStore, which says who may call what.
type Store struct {
	fsys   vfs.FS
	dir    string
	o      Options
	engine engine.Engine

	mu      sync.Mutex
	kept    []*kept // newest first, at most two
	retired []*kept // given up while they are pinned
	aside   []pointer
	homes   map[uint64]*home // stores that somebody uses, or may soon
	closing map[uint64]bool  // stores that are being closed
	next    uint64           // the number of the next store
	left    int              // sessions that nobody waits for
	doubt   bool             // a pointer file is damaged: nobody knows what it names
	lost    []string         // damaged pointer files that were found at the start
	failed  error            // the first failed write
	closed  bool
	writing bool // a writer or the end of an installation holds the place
	writer  *Writer
	install *Install
	pause   func(ctx context.Context, d time.Duration) error
	// inspects says that nothing on the disk may be changed.
	inspects bool

	settled  sync.Cond  // closing or left has become smaller
	sweeping sync.Mutex // one sweep at a time
}

// kept is a checkpoint that can be used.
type kept struct {
	slot int // of its pointer file
	pointer
	table *table // nil: not yet made. Guarded by Store.mu
	pins  int    // guarded by Store.mu
	// making lets one reader make the table while others wait for it.
	making sync.Mutex
}

var _ storage.CheckpointStore = (*Store)(nil)

// Open opens the checkpoints in a directory, each of them in a database of the engine,
// and makes the directory if it is absent. Pointers, links and sums go through fsys; an
// engine that goes its own way, as Badger, needs one with the operating system's names.
//
// It opens no database yet: whatever kills the process there is met by the first
// use of a checkpoint, and counted. It returns protocol.ErrDirectory for a newer
// format or a directory that cannot be read.
func Open(fsys vfs.FS, dir string, e engine.Engine, o Options) (*Store, error) {
	s := newStore(fsys, dir, e, o)
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

// NewMemory returns an empty store that is gone with the process.
func NewMemory(o Options) (*Store, error) {
	if o.BootID == "" {
		o.BootID = "memory"
	}
	fsys := vfs.NewMemory(0)
	return Open(fsys, "/checkpoints", flat.New(fsys), o)
}

// Inspect opens the checkpoints in a directory to look at them: nothing on the disk
// is changed, whatever is found, and nothing can be taken. Folders with links are
// made in o.Views, or where the operating system has temporary files.
func Inspect(fsys vfs.FS, dir string, e engine.Engine, o Options) (*Store, error) {
	if o.Views == "" {
		o.Views = os.TempDir()
	}
	s := newStore(fsys, dir, e, o)
	s.inspects = true
	if err := s.start(); err != nil {
		return nil, err
	}
	return s, nil
}

func newStore(fsys vfs.FS, dir string, e engine.Engine, o Options) *Store {
	o = o.withDefaults(dir)
	s := &Store{fsys: fsys, dir: dir, o: o, engine: e, homes: map[uint64]*home{}, closing: map[uint64]bool{}, pause: pauseOf(fsys)}
	s.settled.L = &s.mu
	return s
}

// start reads what is there, and tries that again, a few times, if what hinders may
// pass.
func (s *Store) start() error {
	for try := 0; ; try++ {
		err := opening{s}.run()
		var p *protocol.Error
		switch {
		case err == nil || errors.As(err, &p):
			return err
		case !passing(err) || try == viewTries-1:
			return vfs.Refused(err)
		}
		s.o.Logger.Warn("the checkpoints cannot be looked at now and are tried again", "error", err)
		if e := s.pause(context.Background(), viewPause<<try); e != nil {
			return errors.Join(err, e)
		}
		s.kept, s.aside, s.lost, s.doubt = nil, nil, nil, false
	}
}

// Lost returns the names of pointer files that were damaged when the store was opened:
// what checkpoints they named nobody knows.
func (s *Store) Lost() []string { return s.lost }

// Kept implements storage.CheckpointStore.
func (s *Store) Kept() []storage.Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]storage.Manifest, 0, len(s.kept))
	for _, k := range s.kept {
		out = append(out, k.manifest)
	}
	return out
}

// use returns a kept checkpoint with its store, opened. The caller releases it.
func (s *Store) use(ctx context.Context, index protocol.Index) (*kept, *home, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, nil, protocol.ErrClosed
	}
	k := s.find(index)
	if k == nil {
		s.mu.Unlock()
		return nil, nil, notKept(index)
	}
	h := s.hold(k.store, k.manifest.Index)
	s.mu.Unlock()
	if err := s.enter(ctx, h); err != nil {
		s.release(h)
		return nil, nil, err
	}
	return k, h, nil
}

// Iterate implements storage.CheckpointStore.
func (s *Store) Iterate(ctx context.Context, index protocol.Index, fn func(storage.Item) error) error {
	k, h, err := s.use(ctx, index)
	if err != nil {
		return err
	}
	defer s.release(h)
	if err := h.reading.begin(); err != nil {
		return unusable("reading a checkpoint", err)
	}
	defer h.reading.end()
	t, err := s.read(ctx, k, h, fn)
	if err != nil {
		return s.readError(k, err)
	}
	s.mu.Lock()
	k.table = t
	s.mu.Unlock()
	return nil
}

// read goes through a whole checkpoint, compares each chunk with the
// manifest, and then calls fn, which may be nil, for its items.
func (s *Store) read(ctx context.Context, k *kept, h *home, fn func(storage.Item) error) (*table, error) {
	d := &k.manifest
	cur := h.view.Cursor()
	defer cur.Close()
	cur.Seek(nil)
	t := &table{}
	p := Progress{Work: WorkRead, Index: d.Index, Total: d.Items}
	var last []byte
	err := scan(ctx, cur, s.o.ChunkBytes, func(c *chunk, _ []byte) (bool, error) {
		r := rowOf(c)
		if n := len(t.rows); n >= len(d.Chunks) || r.sum != d.Chunks[n] {
			return false, corrupt("a chunk of a checkpoint is not what was written")
		}
		t.rows = append(t.rows, r)
		if fn != nil {
			// The cutter reuses its memory: last must outlive the chunk.
			end, err := decodeChunk(c.data, d.Index, last, func(it storage.Item, _, _ []byte) error { return fn(it) })
			if err != nil {
				return false, err
			}
			last = append(last[:0], end...)
		}
		p.Done += c.items
		s.o.OnProgress(p)
		return true, nil
	})
	if err == nil && len(t.rows) != len(d.Chunks) {
		err = corrupt("a checkpoint has lost chunks")
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// readError tells of a checkpoint that was found damaged, unless it was given up
// meanwhile.
func (s *Store) readError(k *kept, err error) error {
	if !errors.Is(err, protocol.ErrCorrupt) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.kept, k) && !slices.Contains(s.retired, k) {
		return notKept(k.manifest.Index)
	}
	s.o.Logger.Error("checkpoint is damaged", "index", k.manifest.Index, "store", storeName(k.store), "error", err)
	return err
}

// tableOf returns the table of a kept checkpoint, which it makes by reading all
// of it if nobody has yet.
func (s *Store) tableOf(ctx context.Context, k *kept, h *home) (*table, error) {
	k.making.Lock()
	defer k.making.Unlock()
	s.mu.Lock()
	t := k.table
	s.mu.Unlock()
	if t != nil {
		return t, nil
	}
	if err := h.reading.begin(); err != nil {
		return nil, unusable("reading a checkpoint", err)
	}
	defer h.reading.end()
	t, err := s.read(ctx, k, h, nil)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	k.table = t
	s.mu.Unlock()
	return t, nil
}

// ReadChunk implements storage.CheckpointStore. The first chunk that is read
// after a start costs reading all, unless the checkpoint has been iterated over.
func (s *Store) ReadChunk(ctx context.Context, index protocol.Index, n int) ([]byte, error) {
	k, h, err := s.use(ctx, index)
	if err != nil {
		return nil, err
	}
	defer s.release(h)
	if n < 0 || n >= len(k.manifest.Chunks) {
		return nil, protocol.ErrNotFound.With("the checkpoint has no such chunk")
	}
	t, err := s.tableOf(ctx, k, h)
	if err != nil {
		return nil, s.readError(k, err)
	}
	cur := h.view.Cursor()
	defer cur.Close()
	cur.Seek(t.rows[n].first)
	var out []byte
	err = scan(ctx, cur, s.o.ChunkBytes, func(c *chunk, _ []byte) (bool, error) {
		if c.sum() != k.manifest.Chunks[n] {
			return false, corrupt("a chunk of a checkpoint is not what was written")
		}
		out = slices.Clone(c.data)
		return false, nil
	})
	if err == nil && out == nil {
		err = corrupt("a checkpoint has lost chunks")
	}
	if err != nil {
		return nil, s.readError(k, err)
	}
	return out, nil
}

// Bad implements storage.CheckpointStore.
func (s *Store) Bad(index protocol.Index) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return protocol.ErrClosed
	}
	i := slices.IndexFunc(s.kept, func(k *kept) bool { return k.manifest.Index == index })
	if i < 0 {
		// One that was given up, and is pinned, is only read by others, who
		// compare each chunk.
		s.retired = slices.DeleteFunc(s.retired, func(k *kept) bool { return k.manifest.Index == index })
		return notKept(index)
	}
	if s.inspects {
		return errInspects
	}
	k := s.kept[i]
	if err := s.rename(pointerName(k.slot), badName(k.pointer)); err != nil {
		return err
	}
	s.kept = slices.Delete(s.kept, i, i+1)
	s.o.Logger.Error("checkpoint given up", "index", index, "store", storeName(k.store))
	return nil
}

// Close implements storage.CheckpointStore.
func (s *Store) Close() error {
	if w := s.writer; w != nil {
		w.Abort()
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.dropPins()
	if s.install != nil {
		s.install.close()
	}
	idle := s.takeIdle()
	s.mu.Unlock()
	err := s.closeAll(idle)
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(err, s.settle())
}

// closeWait is how long Close waits for stores that are being closed or were left
// behind.
const closeWait = 5 * time.Second

// settle waits for what others are closing. The disk may never answer: what is left
// behind then is nothing that a pointer names. The caller holds the lock.
func (s *Store) settle() error {
	over := false
	timer := time.AfterFunc(closeWait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		over = true
		s.settled.Broadcast()
	})
	defer timer.Stop()
	for !over && len(s.closing)+s.left > 0 {
		s.settled.Wait()
	}
	if n := len(s.closing) + s.left; n > 0 {
		return protocol.ErrDirectory.With(fmt.Sprintf("%d stores of checkpoints below %s do not end, since the disk does not answer; nothing in them is needed", n, s.dir))
	}
	return nil
}

// fail keeps the first change of a pointer's name of which nobody knows whether the
// disk has it. The caller holds the lock.
func (s *Store) fail(err error) error {
	err = vfs.Failed(err)
	if s.failed == nil {
		s.failed = err
		s.o.Logger.Error("it is not known which checkpoint the disk names", "error", err)
	}
	return err
}

// errInspects is for who wants to change what is only looked at.
var errInspects = protocol.ErrInvalid.With("the checkpoints are only looked at: open them to change them")

func notKept(index protocol.Index) error {
	return protocol.ErrNotFound.With("no checkpoint is kept at index " + itoa(uint64(index)))
}
