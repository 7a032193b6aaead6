package wal

import (
	"cmp"
	"fmt"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// Status is what a record turned out to be.
type Status string

// The statuses.
const (
	StatusGood Status = "good"
	// StatusTorn: never acknowledged; it and all after it do not count.
	StatusTorn Status = "torn"
	// StatusCorrupt: acknowledged, and damaged since.
	StatusCorrupt Status = "corrupt"
)

// Record is one record, for people. Of a bad one only Segment, Offset, Sequence
// and Status are known.
type Record struct {
	Segment           string
	Offset            int64
	Status            Status
	Sequence, Durable protocol.Sequence
	Kind              Kind
	// Cut says that the record drops a suffix of the log first.
	Cut         bool
	State       protocol.HardState
	First, Last protocol.Index // of its entries; 0: none
	LastTerm    protocol.Term
	Bytes       int // of the payload
	// Entries are those of the record. They must not be changed, nor kept after the visit.
	Entries []protocol.Entry
}

// SegmentReport is one segment, for people.
type SegmentReport struct {
	Name          string
	Bytes         int64
	Good          bool // its header is
	First         protocol.Sequence
	Durable       protocol.Sequence
	PreviousIndex protocol.Index
	PreviousTerm  protocol.Term
	State         protocol.HardState
	Configuration protocol.ConfigurationAt
}

// Place is a part of a segment that the disk does not give, in bytes.
type Place struct {
	Segment       string
	Offset, Bytes int64
	Err           error
}

// Report is what is in a directory.
type Report struct {
	Identity Identity
	Segments []SegmentReport
	// Records and Entries count what is part of the log, entries that were
	// overwritten later included. Corrupt are acknowledged records that are
	// damaged, Harmless those of them whose loss changes nothing, Torn and Gone
	// records that do not count: after a torn one, and copied by a later run.
	Records, Entries, Corrupt, Harmless, Torn, Gone int
	// BadHeaders counts damaged segment headers.
	BadHeaders  int
	First, Last protocol.Index // held; First > Last: none
	FirstTerm   protocol.Term
	LastTerm    protocol.Term
	LastSum     protocol.LogSum
	State       protocol.HardState
	// Durable is what the log knows to be synced, Sequence the last record.
	Durable, Sequence protocol.Sequence
	// DurableSequence is what the member says of its log, at the least, when it is started
	// (storage.Log.DurableSequence).
	DurableSequence protocol.Sequence
	Configurations  []protocol.ConfigurationAt
	// Damage is nil if nothing that was acknowledged is lost.
	Damage *storage.Damage
	// Notes are what the next start drops, passes over or repairs without a loss that the log
	// could know of, as that start says it.
	Notes []string
	// Unreadable is what the disk does not give. What of it the log needs is damage.
	Unreadable   []Place
	Preallocated int
	Temporary    int
	Unexpected   []string
}

// tell shows a record to the visitor.
func (r *replay) tell(s *segment, at int64, h *header, entries []protocol.Entry, status Status) {
	r.count.entries += len(entries)
	if r.visit == nil {
		return
	}
	rec := Record{Segment: s.name, Offset: at, Status: status, Sequence: h.sequence, Durable: h.durable,
		Kind: h.kind, Cut: h.cut, State: h.state, Bytes: h.length, Entries: entries}
	if n := len(entries); n > 0 {
		rec.First, rec.Last, rec.LastTerm = entries[0].Index, entries[n-1].Index, entries[n-1].Term
	}
	r.visit(rec)
}

// Inspect reads a directory without changing or locking it, and shows every
// record to visit, in order. Its error says why the report is incomplete;
// damage is in the report.
func Inspect(fsys vfs.FS, dir string, visit func(Record)) (Report, error) {
	var p Report
	var flaw, err error
	if p.Identity, flaw, err = identityIn(fsys, dir); err != nil {
		return p, err
	}
	l := newLog(fsys, dir, Options{}.withDefaults())
	f, err := listFolder(fsys, dir)
	if err != nil {
		return p, initError(err)
	}
	p.Preallocated, p.Temporary, p.Unexpected = len(f.preallocated), len(f.temporary), f.unexpected
	r, err := openSegments(fsys, l, f)
	defer func() {
		for _, s := range r.segments {
			s.file.Close()
		}
	}()
	if err != nil {
		return p, err
	}
	r.visit = visit
	if visit == nil {
		r.visit = func(Record) {}
	}
	err = r.run()
	r.noteIdentity(dir, flaw)
	p.fill(r)
	q, unread := ReadQuarantine(fsys, dir)
	switch {
	case q.SinceUnknown():
		p.Notes = append(p.Notes, "the member goes on with its quarantine: its state had diverged, and since when cannot be read; it serves nobody before it has another one")
	case q.At != 0:
		p.Notes = append(p.Notes, fmt.Sprintf("the member goes on with its quarantine: a majority had another state at %d; it serves nobody before it has that, and has applied %d", q.At, q.Until))
	}
	return p, cmp.Or(err, unread)
}

func (p *Report) fill(r *replay) {
	for _, s := range r.segments {
		p.Segments = append(p.Segments, SegmentReport{Name: s.name, Bytes: s.size, Good: s.good, First: s.first, Durable: s.durable,
			PreviousIndex: s.before.index, PreviousTerm: s.before.term, State: s.state, Configuration: s.configuration})
	}
	c := r.count
	p.Records, p.Entries, p.Corrupt, p.Harmless = c.records, c.entries, c.corrupt, c.harmless
	p.Torn, p.Gone, p.BadHeaders, p.Notes = c.torn, c.gone, len(r.badHeaders()), r.notes
	p.First, p.Last, p.LastTerm, p.LastSum = r.logTerms.FirstIndex(), r.last.index, r.last.term, r.last.sum
	p.FirstTerm, _ = r.logTerms.TermAt(min(p.First, r.logTerms.LastIndex()))
	p.State, p.Damage, p.Unreadable = r.state, r.damage, r.places
	p.Durable, p.Sequence, p.DurableSequence = min(r.durable, r.next-1), r.next-1, r.durableSequence
	p.Configurations = r.configurations.All()
}

// Verify is Inspect for a verdict: the error is the damage if there is any.
func Verify(fsys vfs.FS, dir string) (Report, error) {
	p, err := Inspect(fsys, dir, nil)
	if err == nil && p.Damage != nil {
		err = p.Damage
	}
	return p, err
}
