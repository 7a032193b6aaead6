package wal

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// What an opening drops or passes over without a loss is said all the same: it may be the
// first sign of a bad disk.

func (r *replay) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// noteTorn says that the log ends before a bad record. Where no record has begun there is
// nothing to say: a file's untouched end is zeros, or what a recycled one held before.
func (r *replay) noteTorn(s *segment, at int64) {
	f := r.content.following(s, at, r.next-1)
	var h header
	head := r.content.rest(at)
	whole := len(head) >= recordBytes && parseHeader(head, s.nonce, r.next-1, &h)
	if !whole && f.records == 0 && !r.looksBegun(head, s.nonce) {
		return
	}
	records, size := f.records, f.end-at
	if !whole {
		records, size = records+1, max(size, min(recordBytes, r.content.size-at))
	}
	r.note("the log is cut after entry %d, at offset %d of %s, before record %d, which is incomplete or damaged: it and what follows, %d records in %d bytes, are dropped; "+
		"no record that is left says that they were synced: a crash while they were being written leaves just that, and is no damage; "+
		"where nothing has crashed the disk has lost them: other members have what was acknowledged, and the disk is to be replaced",
		r.last.index, at, s.name, r.next, records, size)
}

// looksBegun reports whether a bad header is that of the next record: it says its number and
// what the log is before it, or nothing but these is wrong in it. What a recycled file held
// before may say one of the two by chance.
func (r *replay) looksBegun(head []byte, nonce uint64) bool {
	if len(head) < recordBytes {
		return len(head) >= 16 && binary.LittleEndian.Uint64(head[8:]) == uint64(r.next)
	}
	if binary.LittleEndian.Uint64(head[8:]) == uint64(r.next) && parsePoint(head[72:]) == r.last {
		return true
	}
	var h header
	repaired := bytes.Clone(head[:recordBytes])
	binary.LittleEndian.PutUint64(repaired[8:], uint64(r.next))
	putPoint(repaired[72:], r.last)
	return parseHeader(repaired, nonce, r.next-1, &h)
}

// noteIdentity says what is wrong with a copy of the identity, if something is.
func (r *replay) noteIdentity(dir string, flaw error) {
	if flaw != nil {
		r.note("one of the two copies of the identity in %s cannot be used (%v): both are written anew from the other one", dir, flaw)
	}
}

// badHeaders returns the segments whose headers are damaged.
func (r *replay) badHeaders() (bad []*segment) {
	for _, s := range r.segments {
		if !s.good {
			bad = append(bad, s)
		}
	}
	return bad
}

// noteHeaders says which segments have a damaged header. In a damaged log that is part of
// what is repaired.
//
// [S] In a sound one it stays as it is. A header that was written over and not yet synced
// would look good to a start after a kill; the log could begin there, and after a power cut
// the damaged one is back.
func (r *replay) noteHeaders() {
	if r.damage != nil {
		return
	}
	for _, s := range r.badHeaders() {
		r.note("the header of %s, at offset 0, is damaged: the records say what it said, and nothing is lost; it stays so, and each start says it, until the log gives the segment up; if it happens at another place the disk is to be replaced", s.name)
	}
}

// noteHarmless says that damaged records are passed over, since those after them do not
// build on them.
func (r *replay) noteHarmless(g *gap, why string) {
	r.note("%d damaged records from offset %d of %s on are passed over (%s): %s; each start says it until the log gives that segment up; if it happens at another place the disk is to be replaced", g.records, g.at, g.segment, g.text, why)
}
