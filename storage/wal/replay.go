package wal

import (
	"cmp"
	"fmt"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// replay reads a log from its first segment to its last and decides what of it
// counts. It changes nothing on the disk.
//
// The rules: a record whose sequence number a later segment begins at or below
// does not exist. Of the others, a bad one at or below what any good header, or
// a segment's name, says is durable, is corrupt: a gap opens that ends at the
// next good header, which says what the log was before it. Any other bad record
// is torn, and the log ends there; but if the disk does not give its bytes, nobody
// knows, and the log cannot be used.
type replay struct {
	segments []*segment
	begins   []int64             // where the records of each segment begin
	limits   []protocol.Sequence // where the next segment begins; 0: none
	content  content             // of the segment that is read
	patience *vfs.Patience
	places   []Place
	known    protocol.Sequence // see durableAnywhere
	visit    func(Record)

	items           []item
	begin, last     point
	beginUnknown    bool
	headLost        bool // the log may have begun lower than it seems
	state           protocol.HardState
	logTerms        protocol.LogTerms
	configurations  protocol.Configurations
	next            protocol.Sequence
	durable         protocol.Sequence
	durableSequence protocol.Sequence // as in Log; damaged records count
	unsynced        []record          // with sequence numbers above durable
	end             int64             // after the last record that counts, in its segment
	entries         []protocol.Entry

	// learned is what good segment headers say of configurations.
	learned []learned

	gap    *gap
	holes  []hole
	damage *storage.Damage
	torn   bool
	count  counts
	notes  []string // see storage.Opened.Notes
	// accepted says that the segment being read gave a good header.
	accepted bool
}

// hole is a run of entries that cannot be trusted, and the log sum after it.
type hole struct {
	protocol.Range
	reaches protocol.LogSum
}

// learned is the configuration in force at an index.
type learned struct {
	at            protocol.Index
	configuration protocol.ConfigurationAt
}

type counts struct {
	records, entries, corrupt, torn, gone, harmless int
}

// gap is a run of corrupt records that no good header has followed yet.
type gap struct {
	sequence protocol.Sequence // of its first record
	last     protocol.Sequence // of those counted
	segment  string
	at       int64
	text     string
	// appends: the one record in it can only have appended.
	appends bool
	records int
	// commit was known before it: nothing up to there can have been cut.
	commit protocol.Index
}

// openSegments opens the files and reads the headers.
func openSegments(fsys vfs.FS, l *Log, f folder) (*replay, error) {
	r := &replay{next: 1, patience: vfs.NewPatience(fsys)}
	for i := range f.segments {
		s := &segment{segmentHeader: f.segments[i].segmentHeader, name: f.segments[i].file}
		file, err := fsys.Open(l.path(s.name))
		if err != nil {
			return r, protocol.ErrDirectory.Because(err)
		}
		s.file = file
		r.segments = append(r.segments, s)
		begin, err := s.readHeader(r.patience)
		if err != nil {
			return r, err
		}
		r.begins = append(r.begins, begin)
		r.limits = append(r.limits, 0)
	}
	limit := protocol.Sequence(0)
	for i := len(r.segments) - 1; i >= 0; i-- {
		r.limits[i] = limit
		if limit == 0 || r.segments[i].first < limit {
			limit = r.segments[i].first
		}
	}
	return r, nil
}

// readHeader reads a segment's header, and returns where records begin, or may
// begin if the header is bad.
func (s *segment) readHeader(patience *vfs.Patience) (int64, error) {
	var err error
	if s.size, err = s.file.Size(); err != nil {
		return 0, protocol.ErrDirectory.Because(err)
	}
	b := make([]byte, min(s.size, segmentBytes+configurationBytesMax))
	if _, err := patience.ReadAround(s.file, b, 0, nil); err != nil {
		return 0, protocol.ErrDiskFailed.Because(err)
	}
	h, end, ok := parseSegmentHeader(b, s.nonce)
	if !ok {
		return s.firstRecord(b), nil
	}
	if h.number != s.number || h.first != s.first {
		return 0, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: %s holds segment %d, whose first record is %d", s.name, h.number, h.first))
	}
	s.segmentHeader, s.good = h, true
	return end, nil
}

// firstRecord returns where records begin by the first one at the front of a segment, or may
// begin if it is not there.
func (s *segment) firstRecord(b []byte) int64 {
	var h header
	for at := segmentAlign; at+recordBytes <= len(b); at += segmentAlign {
		if parseHeader(b[at:], s.nonce, s.first-1, &h) && h.sequence == s.first {
			return int64(at)
		}
	}
	return segmentBytes
}

// run reads all segments.
func (r *replay) run() error {
	for i := range r.segments {
		if err := r.readSegment(i); err != nil {
			return err
		}
		if r.torn {
			break
		}
	}
	if n := len(r.segments); n > 0 && !r.segments[n-1].good && !r.accepted {
		if bad := r.content.bad; len(bad) > 0 {
			return withheld("the header and all records of the last segment, "+r.segments[n-1].name, bad[0].Err)
		}
		return protocol.ErrCorrupt.With(fmt.Sprintf(
			"damaged data: the header and all records of the last segment, %s, are damaged: what this member voted is not known; "+
				"move the directory away and let the member join as a new one", r.segments[n-1].name))
	}
	if r.gap != nil {
		// Something says that these records were durable, and nothing is left to
		// say what they led to.
		r.addDamage(r.gap, protocol.Range{First: r.state.Commit + 1, Last: max(r.last.index, r.state.Commit+1)}, protocol.LogSum{})
		r.damage.EndUnknown = true
	}
	r.noteHeaders()
	return nil
}

// withheld refuses a log whose end the disk does not give. [S] What it does not give
// may be a vote, or what was acknowledged, and it may give it tomorrow: nothing is
// given up.
func withheld(what string, err error) error {
	return protocol.ErrDirectory.With(fmt.Sprintf("the data directory cannot be used: %s, cannot be read: %v; nothing was changed: "+
		"start again when the disk gives it back; if it never does, what this member voted is not known: move the directory away and let the member join as a new one", what, err))
}

// wrong says what is the matter with a part of the content that is bad.
func (r *replay) wrong(what string, from, to int64) string {
	for _, b := range r.content.bad {
		if b.From < to && from < b.To {
			return fmt.Sprintf("%s cannot be read: %v", what, b.Err)
		}
	}
	return what + " is damaged"
}

func (r *replay) readSegment(i int) error {
	s, c := r.segments[i], &r.content
	c.reset(s, r.patience)
	err := r.readRecords(i)
	c.finish()
	for _, b := range c.bad {
		r.places = append(r.places, Place{Segment: s.name, Offset: b.From, Bytes: b.To - b.From, Err: b.Err})
	}
	if c.err != nil { // whatever was concluded meanwhile
		return c.err
	}
	return err
}

func (r *replay) readRecords(i int) error {
	s, limit := r.segments[i], r.limits[i]
	r.accepted = false
	r.startSegment(i)
	at := r.begins[i]
	r.end = at
	var h header
	for {
		gone := func() bool { return limit != 0 && r.next >= limit }
		if gone() {
			if r.visit != nil {
				n, _ := r.content.count(at, s.nonce)
				r.count.gone += n
			}
			return nil
		}
		if !r.parse(s, at, &h) {
			if corrupt, err := r.isCorrupt(i, at, at+recordBytes); err != nil || !corrupt {
				return err
			}
			r.openGap(s, at, r.next, r.next, r.wrong("a record's header", at, at+recordBytes), false)
			if at = r.scan(s, at+recordAlign); at < 0 {
				return nil
			}
			continue
		}
		if h.sequence > r.next { // records are missing
			if corrupt, err := r.isCorrupt(i, at, at+recordBytes); err != nil || !corrupt {
				return err
			}
			r.openGap(s, at, r.next, h.sequence-1, fmt.Sprintf("records %d to %d are missing", r.next, h.sequence-1), false)
			if r.next = h.sequence; gone() {
				continue
			}
		}
		stop, err := r.takeRecord(i, at, &h)
		if stop || err != nil {
			return err
		}
		at += h.size()
		r.end = at
	}
}

// startSegment takes what a segment's header says.
func (r *replay) startSegment(i int) {
	s := r.segments[i]
	if i == 0 {
		r.next = s.first
		r.beginUnknown = !s.good && s.first > 1
		r.setBegin(s.before)
		if s.known {
			r.configurations = protocol.NewConfigurations(s.configuration)
		}
	}
	r.raiseDurable(s.first - 1)
	r.durableSequence = max(r.durableSequence, s.first-1)
	if !s.good {
		s.low = r.last.index
		return
	}
	r.accepted = true
	r.next = max(r.next, s.first)
	r.resume(s, 0, s.first, s.before)
	r.learnConfiguration(s)
	r.state = s.state
	r.raiseDurable(s.durable)
	s.low = s.before.index
}

// learnConfiguration takes the configuration from a later segment's header if
// nothing before it says one: where dropping the head was cut short, the first
// segment left may begin above a cut, and know only a configuration that was
// cut off.
func (r *replay) learnConfiguration(s *segment) {
	if s.known {
		r.learned = append(r.learned, learned{s.before.index, s.configuration})
	}
	if _, known := r.configurations.At(s.before.index); !known && s.known && len(r.holes) == 0 {
		r.configurations = protocol.NewConfigurations(s.configuration)
	}
}

func (r *replay) setBegin(p point) {
	r.begin, r.last = p, p
	r.logTerms = protocol.LogTerms{PrevIndex: p.index, PrevTerm: p.term, PrevSum: p.sum}
}

func (r *replay) raiseDurable(d protocol.Sequence) {
	if d <= r.durable {
		return
	}
	r.durable = d
	k := 0
	for k < len(r.unsynced) && r.unsynced[k].sequence <= d {
		k++
	}
	r.unsynced = r.unsynced[k:]
}

// parse decodes the record header at an offset of the segment that is read.
func (r *replay) parse(s *segment, at int64, h *header) bool {
	return parseHeader(r.content.bytes(at, recordBytes), s.nonce, r.next-1, h) && at+h.size() <= r.content.size
}

// scan returns the offset of the next good header at or after at, or -1.
func (r *replay) scan(s *segment, at int64) int64 {
	var h header
	for ; at+recordBytes <= r.content.size; at += recordAlign {
		if r.parse(s, at, &h) {
			return at
		}
	}
	return -1
}

// isCorrupt decides about the bad record r.next, which lies, as far as is known, from
// at to an offset of segment i. If it is torn, the log ends before it. [S] Only bytes
// that were read can be torn: a sector that cannot be read holds many records, and
// the notes that say that they are durable.
func (r *replay) isCorrupt(i int, at, to int64) (bool, error) {
	known, err := r.durableAnywhere(i, at)
	if err = cmp.Or(err, r.content.err); err != nil {
		return false, err
	}
	if r.next <= known {
		return true, nil
	}
	for _, b := range r.content.bad {
		if b.From < to && at < b.To {
			return false, withheld(fmt.Sprintf("what follows record %d, the last of %s", r.next-1, r.segments[i].name), b.Err)
		}
	}
	r.torn = true
	r.noteTorn(r.segments[i], at)
	if r.visit != nil {
		if n, zero := r.content.count(at, r.segments[i].nonce); !zero {
			r.count.torn += n
			r.tell(r.segments[i], at, &header{sequence: r.next}, nil, StatusTorn)
		}
	}
	return false, nil
}

// durableAnywhere returns the highest sequence number that any good header from
// here on says is durable, or that the name of a segment proves to be. It reads
// the rest of the log, but only once: no later header can say more.
func (r *replay) durableAnywhere(i int, at int64) (protocol.Sequence, error) {
	if r.known > 0 {
		return max(r.known, r.durable), nil
	}
	known := max(r.durable, r.content.following(r.segments[i], at, r.next-1).durable)
	var later content
	for _, s := range r.segments[i+1:] {
		known = max(known, s.first-1)
		if s.good {
			known = max(known, s.durable)
		}
		later.reset(s, r.patience)
		known = max(known, later.following(s, segmentBytes, s.first-1).durable)
		if later.err != nil {
			return 0, later.err
		}
	}
	r.known = known
	return known, nil
}
