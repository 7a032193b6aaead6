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
	type line struct {
		id protocol.MemberID
		sighting
	}
	list := make([]line, 0, len(s.last))
	for id, last := range s.last { // sorted below
		list = append(list, line{id, last})
	}
	slices.SortFunc(list, func(a, b line) int { return cmp.Or(cmp.Compare(b.heard, a.heard), a.id.Compare(b.id)) })
	out := make([]witness.Sighting, len(list))
	for i, l := range list {
		out[i] = witness.Sighting{Member: l.id, Starts: l.starts, Run: l.run, Sequence: l.sequence}
	}
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
func (m *Member) recallSightings() error {
	if m.cfg.Dir == "" {
		return nil
	}
	b, err := vfs.ReadFile(vfs.OS(), filepath.Join(m.cfg.Dir, sightingsFile), sightingsBytesMax)
	if err == nil {
		err = m.seen.decode(b)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, protocol.ErrCorrupt):
		m.logger.Warn("forgetting what was seen of the others' directories", "err", err)
		return nil
	}
	return err
}

// noteSightings writes what was seen, now and then: not on the way of anything.
func (m *Member) noteSightings() {
	if m.seen.wanted(m.clock.Now()) {
		m.keepSightings()
	}
}

// keepSightings writes what was seen.
func (m *Member) keepSightings() {
	if m.cfg.Dir == "" {
		return
	}
	if err := vfs.WriteFile(vfs.OS(), filepath.Join(m.cfg.Dir, sightingsFile), m.seen.encode()); err != nil {
		m.logger.Warn("cannot remember what was seen of the others' directories", "err", err)
	}
}
