package checkpoint

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/vfs"
)

// slots is how many checkpoints are kept.
const slots = 2

// opening is a store whose start reads what an earlier run left.
type opening struct{ *Store }

// run reads pointers first, then what no pointer names is removed. It is idempotent.
func (s opening) run() error {
	if s.inspects {
		names, err := s.fsys.ReadDir(s.dir)
		if err != nil {
			return err
		}
		return s.readPointers(names)
	}
	if err := s.fsys.MkdirAll(s.dir); err != nil {
		return err
	}
	names, err := s.fsys.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if n, ok := numberIn(name, storePrefix); ok {
			s.next = max(s.next, n)
		}
		if strings.HasSuffix(name, vfs.TemporarySuffix) {
			later(s.o.Logger, s.fsys.Remove(s.path(name)))
		}
		if strings.HasPrefix(name, engine.ViewPrefix) { // of a run that was killed
			later(s.o.Logger, s.engine.Remove(s.path(name)))
		}
	}
	s.next++
	if err := s.readPointers(names); err != nil {
		return err
	}
	if err := s.judgeMarkers(); err != nil {
		return err
	}
	later(s.o.Logger, s.sweep())
	return s.resumeInstall()
}

// later tells that something is left that nobody needs: the next start removes it.
func later(l *slog.Logger, err error) {
	if err != nil {
		l.Warn("something that is not needed cannot be removed now", "error", err)
	}
}

// readPointers fills kept and aside. A damaged pointer is a lost checkpoint; its
// file stays, and nothing is removed, until a new pointer takes its place.
func (s opening) readPointers(names []string) error {
	patience := vfs.NewPatience(s.fsys)
	for slot := 1; slot <= slots; slot++ {
		p, err := s.readPointer(pointerName(slot), patience)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, protocol.ErrCorrupt):
			s.doubt, s.lost = true, append(s.lost, pointerName(slot))
			s.o.Logger.Error("the pointer of a checkpoint is damaged", "file", pointerName(slot), "error", err)
		case err != nil:
			return err
		default:
			s.kept = append(s.kept, &kept{slot: slot, pointer: p})
		}
	}
	s.sortKept()
	for _, name := range names {
		if !strings.HasPrefix(name, asidePrefix) || strings.HasSuffix(name, vfs.TemporarySuffix) {
			continue
		}
		p, err := s.readPointer(name, patience)
		if errors.Is(err, protocol.ErrCorrupt) {
			s.o.Logger.Error("the pointer of a checkpoint that was set aside is damaged", "file", name, "error", err)
			continue // its name still says which store it is
		}
		if err != nil {
			return err
		}
		s.aside = append(s.aside, p)
	}
	return nil
}

// readPointer returns protocol.ErrCorrupt also for a file that the disk does not give.
func (s *Store) readPointer(name string, patience *vfs.Patience) (pointer, error) {
	b, err := patience.ReadFile(s.path(name), pointerBytesMax+1)
	if vfs.Damaged(err) {
		return pointer{}, protocol.ErrCorrupt.Because(err)
	}
	if err != nil {
		return pointer{}, err
	}
	return decodePointer(b)
}

func (s *Store) sortKept() {
	slices.SortFunc(s.kept, func(a, b *kept) int { return cmp.Compare(b.manifest.Index, a.manifest.Index) })
}

// judgeMarkers sets aside the stores that have killed the process three times
// in this boot. Fewer prove nothing: the power may have blipped, or a supervisor
// been impatient.
func (s opening) judgeMarkers() error {
	for _, k := range slices.Clone(s.kept) {
		opening, reading := s.marker(openingName(k.store)), s.marker(readingName(k.store))
		in, err := opening.deaths()
		if err != nil {
			return err
		}
		while, err := reading.deaths()
		if err != nil {
			return err
		}
		if in < deathsMax && while < deathsMax {
			continue
		}
		s.o.Logger.Error("a store of checkpoints has killed this process again and again",
			"store", storeName(k.store), "deaths in open", in, "deaths in reading", while)
		if err := s.setAside(k.store); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes the stores that no pointer names, and their marks: first the
// store, so that markers never outlive their reason by a crash.
func (s *Store) sweep() error {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	stores, marks, err := s.unnamed()
	if err != nil {
		return err
	}
	for _, name := range stores { // one that stays does not keep the others
		err = errors.Join(err, s.engine.Remove(s.path(name)))
	}
	for _, name := range marks {
		if e := s.fsys.Remove(s.path(name)); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// unnamed returns the stores that no pointer names and nobody uses, and the markers
// of such. A name that is unused once stays so: a new store gets a new number.
func (s *Store) unnamed() (stores, marks []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doubt {
		return nil, nil, nil
	}
	names, err := s.fsys.ReadDir(s.dir)
	if err != nil {
		return nil, nil, err
	}
	used := map[uint64]bool{}
	for _, k := range s.kept {
		used[k.store] = true
	}
	for _, name := range names {
		for _, prefix := range []string{asidePrefix, badPrefix} {
			if n, ok := numberIn(name, prefix); ok {
				used[n] = true
			}
		}
	}
	for _, name := range names {
		for _, prefix := range []string{storePrefix, openingPrefix, readingPrefix} {
			n, ok := numberIn(name, prefix)
			switch {
			case !ok || used[n] || s.homes[n] != nil || s.closing[n]:
			case prefix == storePrefix:
				stores = append(stores, name)
			default:
				marks = append(marks, name)
			}
		}
	}
	return stores, marks, nil
}

// stays returns the checkpoint that stays when a newer one is kept, nil if there is none: the newest, or
// the last one that is confirmed. The list is the newest first.
func stays(list []*kept) *kept {
	switch {
	case len(list) == 0:
		return nil
	case len(list) == slots && list[1].manifest.Confirmed && !list[0].manifest.Confirmed:
		return list[1]
	}
	return list[0]
}

// freeSlot returns the place of the next pointer: not that of the checkpoint that stays,
// and rather an empty one. The caller holds the lock.
func (s *Store) freeSlot() int {
	if k := stays(s.kept); k != nil {
		return 1 + slots - k.slot
	}
	return 1
}
