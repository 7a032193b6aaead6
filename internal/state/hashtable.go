package state

import (
	"sync/atomic"

	"github.com/starlinghq/starling/internal/invariant"
)

// hashTable finds a record by its key: extendible hashing over small segments
// that are probed linearly. One goroutine writes; any number read at the same
// time without a lock.
//
// A reader that holds an old directory or an old segment still finds all that
// it may ask for: records that were there before it began are in both the old
// and the new one, and a record is taken out only when nobody can want it.
// Growing and shrinking move one segment or two, never the whole table, so no
// write pauses.
type hashTable struct {
	dir atomic.Pointer[directory]
	// deepest is how many segments have the depth of the directory; writer only.
	deepest int
}

type directory struct {
	depth uint // the top depth bits of a hash choose the segment
	segs  []atomic.Pointer[segment]
}

const (
	segmentMin = 8
	segmentMax = 1024
	// segmentMerge is how many records two segments have at most that become
	// one: less than half of what splits it again.
	segmentMerge = segmentMax / 4
	// tagFree marks a slot never used, where a probe ends, tagGone one whose
	// record was taken out. Hashes avoid both values.
	tagFree = 0
	tagGone = 1
)

type segment struct {
	depth uint // how many top bits all hashes in it share
	live  int  // records; writer only
	used  int  // slots that are not free; writer only
	slots []slot
}

type slot struct {
	tag atomic.Uint64
	rec atomic.Pointer[Record]
}

func (t *hashTable) init() {
	d := &directory{segs: make([]atomic.Pointer[segment], 1)}
	d.segs[0].Store(&segment{slots: make([]slot, segmentMin)})
	t.dir.Store(d)
	t.deepest = 1
}

func tagOf(hash uint64) uint64 { return max(hash, tagGone+1) }

func (d *directory) position(hash uint64) uint64 {
	if d.depth == 0 {
		return 0
	}
	return hash >> (64 - d.depth)
}

// get returns the record of a key, or nil.
func (t *hashTable) get(key string, hash uint64) *Record {
	d := t.dir.Load()
	s := d.segs[d.position(hash)].Load()
	mask, tag := uint64(len(s.slots)-1), tagOf(hash)
	for i := hash & mask; ; i = (i + 1) & mask {
		switch s.slots[i].tag.Load() {
		case tagFree:
			return nil
		case tag:
			// The slot may have been freed and taken again since the tag
			// was read: only the key decides.
			if r := s.slots[i].rec.Load(); r != nil && r.key == key {
				return r
			}
		}
	}
}

// put adds a record whose key is not in the table.
func (t *hashTable) put(r *Record) {
	for {
		d := t.dir.Load()
		s := d.segs[d.position(r.hash)].Load()
		if (s.used+1)*4 <= len(s.slots)*3 {
			s.put(r)
			return
		}
		t.grow(d, s, r.hash)
	}
}

func (s *segment) put(r *Record) {
	mask := uint64(len(s.slots) - 1)
	for i := r.hash & mask; ; i = (i + 1) & mask {
		switch s.slots[i].tag.Load() {
		case tagFree:
			s.used++
		case tagGone:
		default:
			continue
		}
		s.live++
		// The record first: whoever sees the tag must find it.
		s.slots[i].rec.Store(r)
		s.slots[i].tag.Store(tagOf(r.hash))
		return
	}
}

// remove takes a record out.
func (t *hashTable) remove(r *Record) {
	d := t.dir.Load()
	s := d.segs[d.position(r.hash)].Load()
	mask := uint64(len(s.slots) - 1)
	for i := r.hash & mask; ; i = (i + 1) & mask {
		if s.slots[i].rec.Load() == r {
			s.slots[i].tag.Store(tagGone)
			s.slots[i].rec.Store(nil)
			s.live--
			if s.live*8 <= len(s.slots) && (len(s.slots) > segmentMin || s.depth > 0) {
				t.shrink(r.hash)
			}
			return
		}
		if s.slots[i].tag.Load() == tagFree { // asked first: the arguments of Check are allocated
			invariant.Check(false, "a record taken out of the table is in it: %q", r.key)
		}
	}
}

// grow replaces a full segment by a clean one, a larger one, or two.
func (t *hashTable) grow(d *directory, s *segment, hash uint64) {
	size := roomFor(s.live)
	if size <= segmentMax {
		t.replace(d, s, hash, &segment{depth: s.depth, slots: make([]slot, size)})
		return
	}
	if s.depth == d.depth {
		d = d.double()
		t.dir.Store(d)
		t.deepest = 0
	}
	t.split(d, s, hash)
}

// roomFor returns the slots that a segment of so many records begins with: it is
// less than five eighths full.
func roomFor(records int) int {
	size := segmentMin
	for records*8 >= size*5 {
		size *= 2
	}
	return size
}

// shrink gives back the room of a segment that has become nearly empty: it
// becomes one with its buddy as long as both together have few records, or else
// a smaller one.
func (t *hashTable) shrink(hash uint64) {
	for {
		d := t.dir.Load()
		s := d.segs[d.position(hash)].Load()
		buddy := d.buddy(s, hash)
		if buddy == nil || buddy.depth != s.depth || s.live+buddy.live > segmentMerge {
			if size := roomFor(s.live); size < len(s.slots) {
				t.replace(d, s, hash, &segment{depth: s.depth, slots: make([]slot, size)})
			}
			return
		}
		t.merge(d, s, buddy, hash)
	}
}

// buddy returns the segment, or one of those, whose hashes differ from those of s
// in the last bit that these share; nil for a segment that has all.
func (d *directory) buddy(s *segment, hash uint64) *segment {
	if s.depth == 0 {
		return nil
	}
	return d.segs[d.position(hash^1<<(64-s.depth))].Load()
}

// merge makes one segment of two buddies.
func (t *hashTable) merge(d *directory, s, buddy *segment, hash uint64) {
	next := &segment{depth: s.depth - 1, slots: make([]slot, roomFor(s.live+buddy.live))}
	for _, from := range []*segment{s, buddy} {
		from.copyTo(func(*Record) *segment { return next })
	}
	first, n := d.covered(next, hash)
	for i := range n {
		d.segs[first+i].Store(next)
	}
	if s.depth < d.depth {
		return
	}
	if t.deepest -= 2; t.deepest == 0 {
		d, t.deepest = d.halve()
		t.dir.Store(d)
	}
}

func (d *directory) double() *directory {
	out := &directory{depth: d.depth + 1, segs: make([]atomic.Pointer[segment], 2*len(d.segs))}
	for i := range out.segs {
		out.segs[i].Store(d.segs[i/2].Load())
	}
	return out
}

// halve returns a directory of half the size, for segments that are all less deep
// than this one, and how many of them have its depth.
func (d *directory) halve() (out *directory, deepest int) {
	out = &directory{depth: d.depth - 1, segs: make([]atomic.Pointer[segment], len(d.segs)/2)}
	for i := range out.segs {
		s := d.segs[2*i].Load()
		out.segs[i].Store(s)
		if s.depth == out.depth {
			deepest++
		}
	}
	return out, deepest
}

func (t *hashTable) replace(d *directory, s *segment, hash uint64, next *segment) {
	s.copyTo(func(*Record) *segment { return next })
	first, n := d.covered(s, hash)
	for i := range n {
		d.segs[first+i].Store(next)
	}
}

func (t *hashTable) split(d *directory, s *segment, hash uint64) {
	invariant.Check(s.depth < 63, "hashes of keys differ: %d keys share 63 bits", s.live)
	var half [2]*segment
	for i := range half {
		half[i] = &segment{depth: s.depth + 1, slots: make([]slot, segmentMax)}
	}
	s.copyTo(func(r *Record) *segment { return half[r.hash>>(63-s.depth)&1] })
	first, n := d.covered(s, hash)
	for i := range n {
		d.segs[first+i].Store(half[i/(n/2)])
	}
	if s.depth+1 == d.depth {
		t.deepest += 2
	}
}

// covered returns the part of the directory that leads to a segment.
func (d *directory) covered(s *segment, hash uint64) (first, n uint64) {
	n = 1 << (d.depth - s.depth)
	return d.position(hash) &^ (n - 1), n
}

func (s *segment) copyTo(into func(*Record) *segment) {
	for i := range s.slots {
		if r := s.slots[i].rec.Load(); r != nil {
			into(r).put(r)
		}
	}
}
