package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// home is a store, open or about to be.
type home struct {
	number  uint64
	opening marker
	reading marker
	refs    int // guarded by Store.mu

	mu sync.Mutex // held while it is opened
	db database   // nil: not open. Set once, before anyone who holds it reads it
}

// marker counts on disk how often the process died in one phase of using a
// store, in this boot. No sync is needed: a power cut begins another boot, and
// a death leaves the page cache.
type marker struct {
	fsys vfs.FS
	name string
	boot string

	mu     sync.Mutex
	inside int
}

// begin notes that the phase begins, as one more death unless end follows.
func (m *marker) begin() error {
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
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inside--; m.inside == 0 {
		m.fsys.Remove(m.name)
	}
}

func (m *marker) deaths() (uint32, error) {
	b, err := vfs.ReadFile(m.fsys, m.name, markerBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return decodeMarker(b, m.boot), err
}

func (s *Store) marker(name string) marker {
	return marker{fsys: s.fsys, name: s.path(name), boot: s.o.BootID}
}

// hold returns the home of a store with one reference more. The caller holds
// the lock.
func (s *Store) hold(number uint64) *home {
	for s.closing[number] { // it was set aside, and is tried again
		s.settled.Wait()
	}
	h := s.homes[number]
	if h == nil {
		h = &home{number: number, opening: s.marker(openingName(number)), reading: s.marker(readingName(number))}
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
		if h.db != nil {
			err = errors.Join(err, h.db.close())
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
	sweep := s.failed == nil && !s.closed
	s.mu.Unlock()
	if sweep {
		err = errors.Join(err, s.sweep())
	}
	return err
}

// enter opens a store, if it is not open. One that cannot be opened, and has
// checkpoints, is set aside: the other one is used from then on.
func (s *Store) enter(h *home) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.db != nil {
		return nil
	}
	if err := s.checkSpace(spaceToOpen, 0); err != nil {
		return err
	}
	if err := h.opening.begin(); err != nil {
		return diskError(err)
	}
	db, err := s.engine.open(s.path(storeName(h.number)))
	h.opening.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.o.Logger.Error("a store of checkpoints cannot be opened", "store", storeName(h.number), "error", err)
		if err := s.setAside(h.number); err != nil {
			return s.fail(err)
		}
		return protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: %s cannot be opened and was set aside: %v", storeName(h.number), err))
	}
	if err := db.discard(s.oldestIn(h.number)); err != nil {
		db.close()
		return s.fail(err)
	}
	h.db = db
	return nil
}

// setAside gives the pointers of a store other names, so that it is neither
// used nor removed. The caller holds the lock.
func (s *Store) setAside(number uint64) error {
	for i := len(s.kept) - 1; i >= 0; i-- {
		k := s.kept[i]
		if k.store != number {
			continue
		}
		if err := s.rename(pointerName(k.slot), asideName(k.pointer)); err != nil {
			return err
		}
		s.aside = append(s.aside, k.pointer)
		s.kept = slices.Delete(s.kept, i, i+1)
		s.o.Logger.Error("checkpoint set aside", "index", k.description.Index, "store", storeName(number))
	}
	return nil
}

// oldestIn returns the index of the oldest checkpoint of a store that is kept or
// pinned, below which nobody reads: 0 if there is none. The caller holds the
// lock.
func (s *Store) oldestIn(number uint64) uint64 {
	oldest := uint64(0)
	for _, list := range [][]*kept{s.kept, s.retired} {
		for _, k := range list {
			if at := uint64(k.description.Index); k.store == number && (oldest == 0 || at < oldest) {
				oldest = at
			}
		}
	}
	return oldest
}

// checkSpace returns protocol.ErrNoSpace unless there is room for bytes besides
// the reserve. Badger writes through mapped sparse files, where a full disk is
// not an error but the end.
func (s *Store) checkSpace(bytes, reserve uint64) error {
	free, err := s.fsys.FreeSpace(s.dir)
	if err != nil {
		return diskError(err)
	}
	if free < reserve || free-reserve < bytes {
		return protocol.ErrNoSpace.With(fmt.Sprintf("%d bytes of free space are too few for a checkpoint that writes %d and leaves %d", free, bytes, reserve))
	}
	return nil
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// rename is durable when it returns.
func (s *Store) rename(from, to string) error {
	if err := s.fsys.Rename(s.path(from), s.path(to)); err != nil {
		return err
	}
	return s.fsys.SyncDir(s.dir)
}

// Names.

const (
	storePrefix   = "store-"
	pointerPrefix = "pointer-"
	asidePrefix   = "aside-"
	badPrefix     = "bad-"
	openingPrefix = "opening-"
	readingPrefix = "reading-"
	taintedPrefix = "tainted-"
)

func itoa(n uint64) string                    { return strconv.FormatUint(n, 10) }
func numbered(prefix string, n uint64) string { return fmt.Sprintf("%s%08d", prefix, n) }
func storeName(n uint64) string               { return numbered(storePrefix, n) }
func openingName(n uint64) string             { return numbered(openingPrefix, n) }
func readingName(n uint64) string             { return numbered(readingPrefix, n) }
func taintedName(n uint64) string             { return numbered(taintedPrefix, n) }
func pointerName(slot int) string             { return pointerPrefix + strconv.Itoa(slot) }
func asideName(p pointer) string {
	return numbered(asidePrefix, p.store) + "-" + itoa(uint64(p.description.Index))
}
func badName(p pointer) string {
	return numbered(badPrefix, p.store) + "-" + itoa(uint64(p.description.Index))
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
