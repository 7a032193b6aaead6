package sim

import (
	"encoding/binary"
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// What a member remembers of the others' directories is in its own, and so is that
// it was refused.

const (
	sightingsFile = "sightings"
	refusedFile   = "refused"
	// sightingBytes is the size of one sighting: an id and three numbers.
	sightingBytes = 16 + 3*8
)

// recalls notes what is to be kept of a sighting.
func (m *member) recalls(id protocol.MemberID, hello protocol.Hello) {
	last, known := m.memory[id]
	if known && last.Run == hello.Run {
		hello.Sequence = max(hello.Sequence, last.Sequence)
	}
	if m.memory[id] = hello; !known || last.Starts != hello.Starts || last.Run != hello.Run || last.Sequence != hello.Sequence {
		m.unkept = true
	}
}

// keepSightings writes what is remembered, as far as there is room.
func (m *member) keepSightings() {
	if !m.unkept {
		return
	}
	var content []byte
	for _, id := range slices.SortedFunc(maps.Keys(m.memory), protocol.MemberID.Compare) {
		h := m.memory[id]
		content = append(content, id[:]...)
		for _, n := range []uint64{h.Starts, uint64(h.Run), uint64(h.Sequence)} {
			content = binary.BigEndian.AppendUint64(content, n)
		}
	}
	content = binary.BigEndian.AppendUint64(content, xxh3.Hash(content))
	if err := m.disk.keep(sightingsFile, content); err == nil {
		m.unkept = false
	} else if !errors.Is(err, vfs.ErrNoSpace) && !m.disk.stopped() && !m.disk.ails() {
		m.s.fail(violated(RuleDurable, "%s cannot keep what it has seen: %v", m.name, err))
	}
}

// loadSightings takes what was kept. A file that has rotted is as good as none.
func (m *member) loadSightings() {
	m.sightings, m.memory, m.unkept = replica.Sightings{}, map[protocol.MemberID]protocol.Hello{}, false
	content, err := vfs.ReadFile(m.disk.fs, filepath.Join(directory, sightingsFile), 1<<20)
	n := len(content) - 8
	if err != nil || n < 0 || n%sightingBytes != 0 || binary.BigEndian.Uint64(content[n:]) != xxh3.Hash(content[:n]) {
		return
	}
	for content = content[:n]; len(content) > 0; content = content[sightingBytes:] {
		h := protocol.Hello{
			Member:   protocol.MemberID(content[:16]),
			Starts:   binary.BigEndian.Uint64(content[16:]),
			Run:      protocol.RunID(binary.BigEndian.Uint64(content[24:])),
			Sequence: protocol.Sequence(binary.BigEndian.Uint64(content[32:])),
		}
		m.sightings.Raise(h)
		m.memory[h.Member] = h
	}
}

// bar writes into the directory that it was refused.
func (m *member) bar() {
	if err := m.disk.keep(refusedFile, []byte{1}); err != nil && !errors.Is(err, vfs.ErrNoSpace) && !m.disk.stopped() {
		m.s.fail(violated(RuleDurable, "%s cannot keep that it was refused: %v", m.name, err))
	}
}

// isBarred reports whether the directory says that it was refused, or cannot be
// asked.
func (d *disk) isBarred() bool {
	barred, err := d.refused()
	return barred || err != nil
}

// refused reports whether the directory says so.
func (d *disk) refused() (bool, error) {
	return vfs.Exists(d.fs, filepath.Join(directory, refusedFile))
}

// keep replaces a small file, durably.
func (d *disk) keep(name string, content []byte) error {
	if err := vfs.WriteFile(d.fs, filepath.Join(directory, name), content); err != nil {
		return err
	}
	return d.fs.SyncDir(directory)
}
