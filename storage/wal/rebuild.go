package wal

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// A running log repairs a segment that it does not write any more by putting another
// file in its place, with the same name and the same nonce, number and first record.
//
// [S] All that the log's rules look at stays as it was. The good records are the same
// bytes; the lost ones have the same sequence numbers, and lead from what the log was
// before them to what the next good header says that it was after them. What they say
// is durable is no more than the last good record said, and their hard state is that
// record's: both only ever grow, and a later segment, whose header is good and durable,
// says more. The nonce is not drawn anew because the file is not used anew: its bytes
// are fresh, so that nothing old in it can look good, the old file is never recycled,
// and two files of one number, between which a crash would leave a choice, never exist.
// Renaming is the switch: a crash leaves the one or the other, and the log opens.
type rebuild struct {
	l     *Log
	old   *segment // held open
	limit protocol.Sequence
	after point // what the log was when the next segment began
	parts []part

	content []byte   // while it is divided, or read again
	name    string   // of the new file, until it has the old one's
	fresh   *segment // the new one, once it is written
}

// part is a run of good records, which is copied, or one of lost ones.
type part struct {
	from, to int64
	lost     *lost
	at       int64  // where it begins in the new file
	fresh    []byte // what it is there, if it was lost
}

// lost are records that cannot be read.
type lost struct {
	first, last protocol.Sequence
	// header is that of the first, if it could be read.
	header *header
	raw    []byte // the same, as it was
	state  protocol.HardState
	known  protocol.Sequence // durable, as the last good header says it
	before point
	join   point // what the first record found cuts the log back to, or before
	after  point
	length int // of the payload that takes the entries' place, once it is written
}

var _ storage.Rebuilder = (*Log)(nil)

// wants reports whether entries have to be found.
func (x *lost) wants() bool { return x.after.index > x.join.index }

// count is how many records there are.
func (x *lost) count() int { return int(x.last + 1 - x.first) }

// EndSegment implements storage.Rebuilder.
func (l *Log) EndSegment(i protocol.Index) error {
	if err := l.writable(); err != nil {
		return err
	}
	if it, ok := l.itemOf(i); !ok || it.segment != l.current {
		return nil
	}
	return l.rotate(0)
}

// itemOf returns where an entry is.
func (l *Log) itemOf(i protocol.Index) (item, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := sort.Search(len(l.items), func(k int) bool { return l.items[k].first > i }) - 1
	if k < 0 || i > l.end {
		return item{}, false
	}
	return l.items[k], true
}

// Rebuild implements storage.Rebuilder. It returns protocol.ErrInvalid for what can
// only be repaired at a start.
func (l *Log) Rebuild(ctx context.Context, i protocol.Index) (storage.Rebuild, error) {
	if err := l.usable(); err != nil {
		return nil, err
	}
	r, err := l.holdForRebuild(i)
	if err != nil {
		return nil, err
	}
	patience := vfs.PatienceUntil(ctx, l.fsys)
	if r.content, _, err = loadSegment(r.old, nil, patience); err == nil {
		err = r.divide()
	}
	r.content = nil // 64 MiB, for as long as the others are asked
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// loadSegment reads a segment's content into a buffer. [S] What the disk refuses to give is
// read around and counts as bytes that are wrong: see vfs.ReadAround.
func loadSegment(s *segment, into []byte, patience *vfs.Patience) ([]byte, []vfs.BadRange, error) {
	if int64(cap(into)) < s.size {
		into = make([]byte, s.size)
	}
	into = into[:s.size]
	bad, err := patience.ReadAround(s.file, into, 0, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", s.name, err)
	}
	return into, bad, nil
}

func notNow(format string, args ...any) error {
	return protocol.ErrInvalid.With("the log cannot be repaired while it runs: " + fmt.Sprintf(format, args...))
}

// holdForRebuild takes the segment with an entry.
func (l *Log) holdForRebuild(i protocol.Index) (*rebuild, error) {
	it, ok := l.itemOf(i)
	if !ok {
		return nil, protocol.ErrNotFound.With(fmt.Sprintf("entry %d is not held", i))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	k := slices.Index(l.segments, it.segment)
	if k < 0 {
		return nil, protocol.ErrNotFound.With(fmt.Sprintf("entry %d is not held", i))
	}
	if k == len(l.segments)-1 {
		return nil, notNow("%s is being written", it.segment.name)
	}
	next := l.segments[k+1]
	for _, s := range []*segment{it.segment, next} {
		if !s.good {
			return nil, notNow("the header of %s was damaged when it was opened", s.name)
		}
	}
	it.segment.readers++
	return &rebuild{l: l, old: it.segment, limit: next.first, after: next.before}, nil
}

// walk is a way through a segment's records.
type walk struct {
	*rebuild
	at     int64
	next   protocol.Sequence
	before point // what the log is there
	state  protocol.HardState
	known  protocol.Sequence
}

// parse decodes the header at the walk's place, or reports false.
func (w *walk) parse(h *header) bool {
	return w.at+recordBytes <= int64(len(w.content)) && parseHeader(w.content[w.at:], w.old.nonce, w.next-1, h) &&
		h.sequence < w.limit && w.at+h.size() <= int64(len(w.content))
}

// payload returns that of the record at the walk's place, or reports false if it is
// damaged.
func (w *walk) payload(h *header) ([]byte, bool) {
	p := w.content[w.at+recordBytes : w.at+recordBytes+int64(h.length)]
	return p, sumPayload(p, w.old.nonce) == h.payloadSum
}

// pass goes on behind a good record.
func (w *walk) pass(h *header, payload []byte) error {
	d, err := parseBody(h, payload, nil)
	if err != nil {
		return err
	}
	w.before = h.before
	if h.cut {
		w.before = d.cut
	}
	if len(d.entries) > 0 {
		protocol.SumEntries(w.before.sum, d.entries)
		w.before = after(d.entries)
	}
	w.state, w.known = h.state, max(w.known, h.durable)
	w.at, w.next = w.at+h.size(), h.sequence+1
	return nil
}

func (r *rebuild) walk() *walk {
	s := r.old
	return &walk{rebuild: r, at: int64(len(appendSegmentHeader(nil, &s.segmentHeader))), next: s.first,
		before: s.before, state: s.state, known: s.durable}
}

// divide finds what is good and what is lost.
func (r *rebuild) divide() error {
	w := r.walk()
	for w.next < w.limit {
		var h header
		from := w.at
		for w.next < w.limit && w.parse(&h) && h.sequence == w.next && h.before == w.before {
			payload, good := w.payload(&h)
			if !good {
				break
			}
			if err := w.pass(&h, payload); err != nil {
				return err
			}
		}
		if w.at > from {
			r.parts = append(r.parts, part{from: from, to: w.at})
		}
		if w.next < w.limit {
			if err := r.lose(w); err != nil {
				return err
			}
		}
	}
	if w.before != r.after {
		return notNow("%s ends at %d, the next one begins after %d", r.old.name, w.before.index, r.after.index)
	}
	return nil
}

// lose takes what is lost at the walk's place, up to the next good header. If what
// that says of the log was cut off since, nobody has the entries that lead there any
// more: then it goes on to where the log was what it still is.
func (r *rebuild) lose(w *walk) error {
	x := &lost{first: w.next, state: w.state, known: w.known, before: w.before, after: r.after, last: r.limit - 1}
	from := w.at
	var h header
	if w.parse(&h) && h.sequence == w.next && h.before == w.before {
		first := h
		x.header, x.raw = &first, slices.Clone(w.content[w.at:w.at+recordBytes])
		x.state, x.known = h.state, max(x.known, h.durable)
		w.at, w.next = w.at+h.size(), w.next+1
	}
	for w.next < r.limit {
		if w.at+recordBytes > int64(len(w.content)) {
			w.at, w.next = int64(len(w.content)), r.limit
			break
		}
		if !w.parse(&h) {
			w.at += recordAlign
			continue
		}
		if h.before == x.before || r.l.still(h.before, place{r.old, w.at}) {
			x.last, x.after = h.sequence-1, h.before
			w.next = h.sequence
			break
		}
		w.at, w.next = w.at+h.size(), h.sequence+1
	}
	w.before = x.after
	if x.last < x.first {
		return notNow("%s has something at byte %d that is no record", r.old.name, from)
	}
	r.parts = append(r.parts, part{from: from, to: w.at, lost: x})
	return r.findJoin(x, from, w.at)
}

// still reports whether what the log was up to a point, when it was written up to a
// place, is what it is now: the entry was not written again behind that.
func (l *Log) still(p point, at place) bool {
	if i, ok := l.itemOf(p.index); ok {
		return i.segment.number < at.segment.number || i.segment == at.segment && i.at < at.at
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return p == l.begin
}

// findJoin finds what the entries among lost records followed: what the log was before
// them, unless one of them cut it. The first entry among them that the log still has
// says where: what is below that was never cut since.
func (r *rebuild) findJoin(x *lost, from, to int64) error {
	x.join = x.before
	r.l.mu.Lock()
	join, held := protocol.Index(0), false
	for _, i := range r.l.items {
		if i.segment == r.old && from <= i.at && i.at < to {
			join, held = i.first-1, true
			break
		}
	}
	r.l.mu.Unlock()
	switch {
	case held:
	case x.after.index < x.before.index:
		join = x.after.index
	default:
		return nil
	}
	if join > x.before.index {
		return notNow("records %d to %d hold entry %d, before them the log ends at %d", x.first, x.last, join+1, x.before.index)
	}
	if join < x.before.index {
		var err error
		if x.join, err = r.l.pointAt(join); err != nil {
			return err
		}
	}
	if x.after != x.before && !r.l.still(x.after, place{r.old, to}) || !x.wants() && x.join != x.after {
		return notNow("what records %d to %d held was cut off again", x.first, x.last)
	}
	return nil
}

// Lost implements storage.Rebuild.
func (r *rebuild) Lost() []storage.Lost {
	var out []storage.Lost
	for _, p := range r.parts {
		if x := p.lost; x != nil && x.wants() {
			out = append(out, storage.Lost{After: x.join.index, Sum: x.join.sum, Last: x.after.index, LastSum: x.after.sum})
		}
	}
	return out
}

// Sound implements storage.Rebuild.
func (r *rebuild) Sound() bool {
	return !slices.ContainsFunc(r.parts, func(p part) bool { return p.lost != nil })
}

// Close implements storage.Rebuild.
func (r *rebuild) Close() {
	l := r.l
	if r.fresh != nil {
		r.fresh.file.Close()
	}
	if r.name != "" {
		// Only tidiness: temporary files are deleted at the next opening.
		_ = l.fsys.Remove(l.path(r.name))
	}
	r.fresh, r.name, r.parts = nil, "", nil
	if r.old != nil {
		l.release([]item{{segment: r.old}})
		r.old = nil
	}
}
