package wal

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// rotate goes on in a new segment with room for a record of the size. The old
// one is synced first, so that a segment's name proves that everything before
// its first record is durable. If there can be no new one now it returns
// protocol.ErrNoSpace, whatever is lacking, and nothing has changed.
func (l *Log) rotate(size int64) error {
	if err := l.Sync(); err != nil {
		return err
	}
	return l.beginSegment(&carry{room: size})
}

// carry is what a new segment takes over: room for the next record, and at
// opening the records that were not known to be durable.
type carry struct {
	room    int64
	opening bool
	records []record
}

// size is how much of a file they take.
func (c *carry) size() int64 {
	n := c.room
	for i := range c.records {
		n += c.records[i].size()
	}
	return n
}

// record is a record that is copied: its header, where it is, the hard state
// before it, and the index down to which it cut the log.
type record struct {
	header
	segment *segment
	at      int64
	was     protocol.HardState
	low     protocol.Index
}

// beginSegment makes the next segment the current one. In this order: space,
// the header and what is carried over, sync, the name, directory sync. So a
// named segment has a good header unless the disk damaged it, and no record is
// acknowledged in a file that could still lose its name.
func (l *Log) beginSegment(c *carry) error {
	s := &segment{good: true, low: l.last.index}
	s.segmentHeader = segmentHeader{
		first: l.next, durable: l.durable, before: l.last, state: l.state, number: l.number,
	}
	if n := len(l.segments); n > 0 {
		s.number = l.segments[n-1].number + 1
	}
	var nonce [8]byte
	if _, err := io.ReadFull(l.options.Random, nonce[:]); err != nil {
		return l.fail(fmt.Errorf("drawing a nonce: %w", err))
	}
	s.nonce = binary.LittleEndian.Uint64(nonce[:])
	if len(c.records) > 0 {
		first := &c.records[0]
		s.first, s.durable, s.before, s.state = first.sequence, first.sequence-1, first.before, first.was
		s.low = s.before.index
		for i := range c.records {
			s.low = min(s.low, c.records[i].low)
		}
	}
	// If a copied record cuts the log below this point, the configuration here
	// may be another one; then no log ever begins at this segment.
	s.configuration, s.known = l.configurations.At(s.before.index)
	return l.fillSegment(s, c)
}

// fillSegment makes the segment's file and the segment current. The steps, and what a
// failure or a crash leaves at each:
//
//  1. The folder is opened, for step 5: it is the one thing that a sync of names can
//     want for. Nothing has changed.
//  2. A file with room is taken, or made. It is not the log's: a preallocated segment or a temporary
//     name counts for nobody who opens the log.
//  3. Header and records are written and synced. The file still is not the log's.
//  4. It gets its name. [S] Only if it is certain that it has none, now and after a
//     crash, does the log go on without it. A system that refuses says so before it
//     begins; any other error leaves it open: then the names are made durable as they
//     are, without that one, or the log ends.
//  5. The name is made durable. [S] From the change on there is no way back, whatever
//     the error: a record that went on in the segment before would not exist for
//     whoever finds the new one.
//
// What fails up to step 4 costs time (protocol.ErrNoSpace, and the log is as it was):
// nothing acknowledged is in the file, the file is given up, and the log goes on with
// the room that it has until somebody tries again. [S] A sync is the exception: one
// that fails, of whatever file, is final, unless it says that there was no room for
// what was written; no sync of that file follows. A crash before step 5 leaves the log
// with or without the new segment, in which there is nothing that the others do not
// have.
func (l *Log) fillSegment(s *segment, c *carry) error {
	refuse := l.later
	if c.opening {
		refuse = l.refused // whoever starts is told at once
	}
	head := appendSegmentHeader(nil, &s.segmentHeader)
	need := int64(len(head)) + c.size()
	folder, err := l.fsys.OpenDir(l.path(""))
	if err != nil {
		return refuse(err)
	}
	defer folder.Close()
	name, err := l.preallocated.take(need, c.opening)
	if err != nil {
		return refuse(err)
	}
	end, moved, err := l.writeSegment(s, name, head, c.records)
	if err != nil {
		_ = l.preallocated.drop(name) // another file is taken the next time, whatever ails this one
		return refuse(err)
	}
	s.name = segmentName(&s.segmentHeader) + l.suffix
	if err = l.fsys.Rename(l.path(name), l.path(s.name)); err != nil {
		if final := l.unnamed(s, name, folder, err); final != nil {
			return final
		}
		return refuse(err)
	}
	vfs.Renamed(s.file, l.path(s.name))
	if err = folder.Sync(); err != nil {
		return l.fail(err)
	}
	l.redirect(moved)
	l.current, l.at, l.dirty = s, end, false
	l.preallocated.filled(0)
	l.noted, l.durableSequence = s.durable, max(l.durableSequence, s.first-1)
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	return nil
}

// unnamed gives up a segment that could not get its name, and keeps the room that it
// has. It returns an error if the segment may have the name.
func (l *Log) unnamed(s *segment, name string, folder vfs.Dir, err error) error {
	_ = s.file.Close()
	if there, unknown := vfs.Exists(l.fsys, l.path(s.name)); there || unknown != nil {
		return l.fail(err)
	}
	if !vfs.Undone(err) {
		if lost := folder.Sync(); lost != nil {
			return l.fail(lost)
		}
	}
	if strings.HasSuffix(name, vfs.TemporarySuffix) || !l.preallocated.add(name) {
		_ = l.preallocated.drop(name)
	}
	return nil
}

// writeSegment writes a segment's header and the records that it takes over into a
// file, and syncs it. It returns where the next record goes, and what the records'
// places have become. The file is closed if there is an error.
func (l *Log) writeSegment(s *segment, name string, head []byte, records []record) (end int64, moved map[place]place, err error) {
	if s.file, err = l.fsys.OpenWrite(l.path(name)); err != nil {
		return 0, nil, err
	}
	defer func() {
		if err != nil {
			_ = s.file.Close()
		}
	}()
	if s.size, err = s.file.Size(); err != nil {
		return 0, nil, err
	}
	if _, err = s.file.WriteAt(head, 0); err != nil {
		return 0, nil, err
	}
	if end, moved, err = l.copyRecords(s, int64(len(head)), records); err != nil {
		return 0, nil, err
	}
	if err = s.file.Sync(); err != nil {
		return 0, nil, &unsynced{err}
	}
	return end, moved, nil
}

// copyRecords writes records under the new segment's nonce. What they say is
// durable stays as it was.
func (l *Log) copyRecords(s *segment, at int64, records []record) (int64, map[place]place, error) {
	in := window{patience: vfs.NewPatience(l.fsys)}
	var out []byte
	moved := map[place]place{}
	for i := range records {
		r := &records[i]
		payload, err := in.read(r.segment, r.at+recordBytes, r.length)
		if err != nil {
			return 0, nil, err
		}
		if sumPayload(payload, r.segment.nonce) != r.payloadSum {
			return 0, nil, protocol.ErrCorrupt.With("damaged data: a record changed while it was copied")
		}
		if r.kind == KindEntries {
			moved[place{r.segment, r.at}] = place{s, at + int64(len(out))}
		}
		h := r.header
		h.payloadSum = sumPayload(payload, s.nonce)
		begin := len(out)
		out = append(out, make([]byte, recordBytes)...)
		putHeader(out[begin:], s.nonce, &h)
		out = append(out, payload...)
		out = append(out, make([]byte, int(h.size())-(len(out)-begin))...)
		if len(out) < copyChunk && i+1 < len(records) {
			continue
		}
		if _, err := s.file.WriteAt(out, at); err != nil {
			return 0, nil, err
		}
		at, out = at+int64(len(out)), out[:0]
	}
	return at, moved, nil
}

// window is a part of a segment in memory.
type window struct {
	patience *vfs.Patience
	segment  *segment
	at       int64
	content  []byte
}

// read returns n bytes of a segment, until the next read.
func (w *window) read(s *segment, at int64, n int) ([]byte, error) {
	if w.segment != s || at < w.at || at+int64(n) > w.at+int64(len(w.content)) {
		size := max(int64(n), min(copyChunk, s.size-at))
		if int64(cap(w.content)) < size {
			w.content = make([]byte, size)
		}
		w.segment, w.at, w.content = s, at, w.content[:size]
		_, err := s.file.ReadAt(w.content, at)
		for err != nil { // a bad place may lie behind what is wanted
			w.content = w.content[:n]
			if _, err = s.file.ReadAt(w.content, at); err != nil && (!vfs.Damaged(err) || !w.patience.Again()) {
				w.segment = nil
				return nil, err
			}
		}
	}
	return w.content[at-w.at : at-w.at+int64(n)], nil
}
