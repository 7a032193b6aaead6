package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/vfs"
)

// home is a store that somebody uses.
type home struct {
	number  uint64
	at      protocol.Index // of its checkpoint
	opening marker
	reading marker
	refs    int // guarded by Store.mu

	mu   sync.Mutex  // held while it is opened
	view engine.View // nil: not open. Set once, before anyone who holds it reads it
}

// marker counts on disk how often the process died in one phase of using a
// store, in this boot. No sync is needed: a power cut begins another boot, and
// a death leaves the page cache.
type marker struct {
	fsys vfs.FS // nil: nothing is noted
	name string
	boot string

	mu     sync.Mutex
	inside int
}

// begin notes that the phase begins, as one more death unless end follows.
func (m *marker) begin() error {
	if m.fsys == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inside++; m.inside > 1 {
		return nil
	}
	deaths, err := m.deaths()
	if err == nil {
		err = vfs.WriteFile(m.fsys, m.name, encodeMarker(m.boot, deaths+1))
	}
	if err != nil {
		m.inside--
	}
	return err
}

// end notes that the process has survived. That it cannot be noted does no
// harm before it has happened three times.
func (m *marker) end() {
	if m.fsys == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inside--; m.inside == 0 {
		m.fsys.Remove(m.name)
	}
}

func (m *marker) deaths() (uint32, error) {
	b, err := vfs.ReadFile(m.fsys, m.name, markerBytesMax)
	if errors.Is(err, fs.ErrNotExist) || vfs.Damaged(err) {
		return 0, nil
	}
	return decodeMarker(b, m.boot), err
}

func (s *Store) marker(name string) marker {
	if s.inspects {
		return marker{}
	}
	return marker{fsys: s.fsys, name: s.path(name), boot: s.o.BootID}
}

// hold returns the home of a store with one reference more. The caller holds
// the lock.
func (s *Store) hold(number uint64, at protocol.Index) *home {
	for s.closing[number] { // it was set aside, and is tried again
		s.settled.Wait()
	}
	h := s.homes[number]
	if h == nil {
		h = &home{number: number, at: at, opening: s.marker(openingName(number)), reading: s.marker(readingName(number))}
		s.homes[number] = h
	}
	h.refs++
	return h
}

// release gives a reference back. With the last one a store is closed if no
// pointer names it, and removed; after Close any is closed.
func (s *Store) release(h *home) {
	s.mu.Lock()
	h.refs--
	idle := s.takeIdle()
	s.mu.Unlock()
	if err := s.closeAll(idle); err != nil {
		s.o.Logger.Warn("closing a store of checkpoints", "error", err)
	}
}

// takeIdle takes the stores that nobody uses, for closeAll: those without a
// pointer, or all if this one is closed. The caller holds the lock.
func (s *Store) takeIdle() []*home {
	var idle []*home
	for number, h := range s.homes {
		named := slices.ContainsFunc(s.kept, func(k *kept) bool { return k.store == number })
		if h.refs > 0 || named && !s.closed {
			continue
		}
		delete(s.homes, number)
		s.closing[number] = true
		idle = append(idle, h)
	}
	slices.SortFunc(idle, func(a, b *home) int { return cmp.Compare(a.number, b.number) })
	return idle
}

// closeAll closes idle stores and removes what no pointer names. Both can take
// long: nobody holds the lock meanwhile, since whoever asks what is kept must not
// wait for it.
func (s *Store) closeAll(idle []*home) error {
	var err error
	for _, h := range idle {
		if h.view != nil {
			err = errors.Join(err, h.view.Close())
		}
		s.mu.Lock()
		delete(s.closing, h.number)
		s.settled.Broadcast()
		s.mu.Unlock()
	}
	if len(idle) == 0 {
		return nil
	}
	s.mu.Lock()
	// After a failure a pointer on the disk may name what none names here: the
	// next start sees.
	sweep := s.failed == nil && !s.closed && !s.inspects
	s.mu.Unlock()
	if sweep {
		err = errors.Join(err, s.sweep())
	}
	return err
}

// enter opens a store, if it is not open. One that is damaged is set aside: the
// other one is used from then on. [S] What may pass is no damage.
func (s *Store) enter(ctx context.Context, h *home) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.view != nil {
		return nil
	}
	if err := h.opening.begin(); err != nil {
		return unusable("opening a store of checkpoints", err)
	}
	v, err := s.openView(ctx, h)
	h.opening.end()
	if err == nil {
		h.view = v
		return nil
	}
	if !errors.Is(err, protocol.ErrCorrupt) {
		return err
	}
	s.o.Logger.Error("a store of checkpoints cannot be opened", "store", storeName(h.number), "error", err)
	if s.inspects {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.setAside(h.number); err != nil {
		return err
	}
	return protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: %s cannot be opened and was set aside: %v", storeName(h.number), err))
}

// openView opens what is on the disk of a store, and tries that again, a few times,
// if what hinders may pass. protocol.ErrCorrupt: what is there is damaged.
func (s *Store) openView(ctx context.Context, h *home) (engine.View, error) {
	for try := 0; ; try++ {
		v, err := h.see(s)
		switch {
		case err == nil:
			return v, nil
		case errors.Is(err, context.Canceled):
			return nil, err
		case !passing(err):
			return nil, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: %s: %v", storeName(h.number), err))
		case try == viewTries-1:
			refused := protocol.ErrDirectory.With(fmt.Sprintf(
				"the data directory cannot be used: %s cannot be opened now: %v; nothing was given up: repair what is short or refused and start again; if the disk never gives it back, move the folder away: then another checkpoint is used, or fetched from the other members",
				s.path(storeName(h.number)), err))
			if vfs.Damaged(plainly(err)) {
				refused.Cause = storage.ErrUnreadable
			}
			return nil, refused
		}
		s.o.Logger.Warn("a store of checkpoints cannot be opened now and is tried again", "store", storeName(h.number), "error", err)
		if err := s.pause(ctx, viewPause<<try); err != nil {
			return nil, err
		}
	}
}

// see opens what is on the disk of a store, if that is what was written.
func (h *home) see(s *Store) (engine.View, error) {
	c := engine.Complete{Folder: s.path(storeName(h.number)), At: h.at, Links: s.o.Views}
	var err error
	if c.Files, err = checkSeal(s.fsys, s.engine, c.Folder); err != nil {
		return nil, err
	}
	return s.engine.View(c)
}

// checkSpace returns protocol.ErrNoSpace unless there is room for bytes besides
// the reserve. Badger writes through mapped sparse files, where a full disk is
// not an error but the end.
func (s *Store) checkSpace(bytes, reserve uint64) error {
	free, err := s.fsys.FreeSpace(s.dir)
	if err != nil {
		return unusable("looking for free space", err)
	}
	if free < reserve || free-reserve < bytes {
		return protocol.ErrNoSpace.With(fmt.Sprintf("%d bytes of free space are too few for a checkpoint that writes %d and leaves %d", free, bytes, reserve))
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// rename gives a pointer another name, durably when it returns. An error that is not
// protocol.ErrDiskFailed says that nothing has changed. The caller holds the lock.
func (s *Store) rename(from, to string) error {
	if err := s.fsys.Rename(s.path(from), s.path(to)); err != nil && !vfs.Undone(err) {
		return s.fail(err) // the name may be the one or the other
	} else if err != nil {
		return unusable("giving a pointer of a checkpoint its name", err)
	}
	if err := syncNames(s.fsys, s.dir, s.pause); err != nil {
		return s.fail(err)
	}
	return nil
}

const (
	// namesTries is how often the directory is opened before it counts as one that
	// cannot be synced, and namesPause is the first pause, each twice as long as
	// the last: together a third of a second, for which the store stands still.
	namesTries = 6
	namesPause = 10 * time.Millisecond
)

// syncNames makes the names in a directory durable after one has changed. Where that
// fails nobody knows what the disk has. But a directory that could not even be
// opened was not synced without success: that is tried again.
func syncNames(fsys vfs.FS, dir string, pause func(context.Context, time.Duration) error) error {
	for try := 0; ; try++ {
		err := fsys.SyncDir(dir)
		var p *fs.PathError
		if !passing(err) || !errors.As(err, &p) || p.Op != "open" || try == namesTries-1 {
			return err
		}
		if e := pause(context.Background(), namesPause<<try); e != nil {
			return errors.Join(err, e)
		}
	}
}

// Names.

const (
	storePrefix   = "store-"
	pointerPrefix = "pointer-"
	asidePrefix   = "aside-"
	badPrefix     = "bad-"
	openingPrefix = "opening-"
	readingPrefix = "reading-"
)

func itoa(n uint64) string                    { return strconv.FormatUint(n, 10) }
func numbered(prefix string, n uint64) string { return fmt.Sprintf("%s%08d", prefix, n) }
func storeName(n uint64) string               { return numbered(storePrefix, n) }
func openingName(n uint64) string             { return numbered(openingPrefix, n) }
func readingName(n uint64) string             { return numbered(readingPrefix, n) }
func pointerName(slot int) string             { return pointerPrefix + strconv.Itoa(slot) }
func asideName(p pointer) string {
	return numbered(asidePrefix, p.store) + "-" + itoa(uint64(p.manifest.Index))
}
func badName(p pointer) string {
	return numbered(badPrefix, p.store) + "-" + itoa(uint64(p.manifest.Index))
}

// numberIn returns the number of a store that follows a prefix.
func numberIn(name, prefix string) (uint64, bool) {
	if len(name) < len(prefix)+8 || name[:len(prefix)] != prefix {
		return 0, false
	}
	digits := name[len(prefix):]
	for i := range digits {
		if digits[i] == '-' {
			digits = digits[:i]
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}
