package runtime

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	// sightingsFile is where a member with a directory remembers what it has
	// seen of the others' directories, so that it also knows a restored copy
	// after a restart of its own.
	sightingsFile = "sightings"
	// sightingsMax bounds it: of more members those heard last are remembered.
	sightingsMax      = 4096
	sightingsBytesMax = sightingsMax*(33+3*21) + 64
	// sightingsEvery is how often it is written while nothing but records is
	// added. A restart is written within a second or two.
	sightingsEvery = 10 * time.Second
)

// encode returns the file's content: a line for each member, and a sum, so that
// a flipped bit refuses nobody.
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
	var b bytes.Buffer
	for _, l := range list[:min(len(list), sightingsMax)] {
		fmt.Fprintf(&b, "%s %d %d %d\n", l.id, l.starts, uint64(l.run), uint64(l.sequence))
	}
	fmt.Fprintf(&b, "sum %08x\n", crc32.ChecksumIEEE(b.Bytes()))
	s.fresh, s.changed = false, false
	return b.Bytes()
}

// decode takes what encode wrote.
func (s *sightings) decode(b []byte) error {
	damaged := protocol.ErrCorrupt.With("damaged data: what this member remembers of the others' directories")
	at := bytes.LastIndex(b, []byte("sum "))
	if at < 0 || string(b[at:]) != fmt.Sprintf("sum %08x\n", crc32.ChecksumIEEE(b[:at])) {
		return damaged
	}
	lines := slices.Collect(strings.Lines(string(b[:at])))
	for _, text := range slices.Backward(lines) { // the one heard last comes last, here, too
		var id string
		var starts, run, sequence uint64
		if _, err := fmt.Sscanf(text, "%s %d %d %d\n", &id, &starts, &run, &sequence); err != nil {
			return damaged
		}
		member, err := protocol.ParseMemberID(id)
		if err != nil {
			return damaged
		}
		hello := protocol.Hello{Member: member, Starts: starts, Run: protocol.RunID(run), Sequence: protocol.Sequence(sequence)}
		if err := s.meet(hello); err != nil {
			return damaged // a member that is there twice
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
	if m.cfg.Dir == "" || !m.seen.wanted(m.clock.Now()) {
		return
	}
	if err := vfs.WriteFile(vfs.OS(), filepath.Join(m.cfg.Dir, sightingsFile), m.seen.encode()); err != nil {
		m.logger.Warn("cannot remember what was seen of the others' directories", "err", err)
	}
}
