package runtime

import (
	"cmp"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/witness"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	sightingsFile     = witness.File
	sightingsMax      = witness.Max
	sightingsBytesMax = witness.BytesMax
	// sightingsEvery is how often it is written while nothing but records is
	// added. A restart is written within a second or two.
	sightingsEvery = 10 * time.Second
)

// encode returns the file's content.
func (s *sightings) encode() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]witness.Sighting, 0, len(s.heard))
	for id := range s.heard { // sorted below
		last := s.seen.Seen(id)
		out = append(out, witness.Sighting{Member: id, Starts: last.Starts, Run: last.Run, Sequence: last.Sequence})
	}
	slices.SortFunc(out, func(a, b witness.Sighting) int { return cmp.Compare(s.heard[b.Member], s.heard[a.Member]) })
	s.fresh, s.changed = false, false
	return witness.Encode(out)
}

// decode takes what encode wrote.
func (s *sightings) decode(b []byte) error {
	list, err := witness.Decode(b)
	if err != nil {
		return err
	}
	for _, x := range slices.Backward(list) { // the one heard last comes last, here, too
		hello := protocol.Hello{Member: x.Member, Starts: x.Starts, Run: x.Run, Sequence: x.Sequence}
		if err := s.meet(hello); err != nil {
			return err // a member that is there twice: Decode has looked
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh, s.changed = false, false
	return nil
}

// wanted reports whether the file should be written.
func (s *sightings) wanted(now protocol.Instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fresh && (!s.changed || now < s.written.Add(sightingsEvery)) {
		return false
	}
	s.written = now
	return true
}

// recallSightings reads what an earlier run remembered. A damaged file is no
// reason not to start: it is a second line of defence, and begun anew.
func (d *directories) recallSightings() error {
	if d.m.cfg.Dir == "" {
		return nil
	}
	b, err := vfs.ReadFile(vfs.OS(), filepath.Join(d.m.cfg.Dir, sightingsFile), sightingsBytesMax)
	if err == nil {
		err = d.seen.decode(b)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, protocol.ErrCorrupt):
		d.m.logger.Warn("forgetting what was seen of the others' directories", "err", err)
		return nil
	}
	return err
}

// noteSightings writes what was seen, now and then: not on the way of anything.
func (d *directories) noteSightings() {
	if d.seen.wanted(d.m.clock.Now()) {
		d.keepSightings()
	}
}

// keepSightings writes what was seen.
func (d *directories) keepSightings() {
	if d.m.cfg.Dir == "" {
		return
	}
	if err := vfs.WriteFile(d.m.cfg.logDisk, filepath.Join(d.m.cfg.Dir, sightingsFile), d.seen.encode()); err != nil {
		d.m.logger.Warn("cannot remember what was seen of the others' directories", "err", err)
	}
}
