package wal

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// takeRecord applies the record at an offset of segment i, whose header is
// good. It reports true if the log ends before it.
func (r *replay) takeRecord(i int, at int64, h *header) (stop bool, err error) {
	s := r.segments[i]
	payload := r.content.bytes(at+recordBytes, int64(h.length))
	if r.content.err != nil {
		return true, r.content.err
	}
	if sumPayload(payload, s.nonce) != h.payloadSum {
		corrupt, err := r.isCorrupt(i, at, at+h.size())
		if err != nil || !corrupt {
			return true, err
		}
		commit := r.state.Commit // before the record: it may hold what it commits
		r.accept(s, at, h)
		r.openGap(s, at, h.sequence, h.sequence, r.wrong("a record's payload", at, at+h.size()), h.kind == KindEntries && !h.cut)
		r.gap.commit = commit
		return false, nil
	}
	d, err := parseBody(h, payload, r.entries)
	if err != nil {
		return true, err
	}
	if d.entries != nil {
		r.entries = d.entries[:0]
	}
	was := r.state
	r.accept(s, at, h)
	low, err := r.apply(s, at, h, &d)
	if err != nil {
		return true, err
	}
	s.low = min(s.low, low)
	r.count.records++
	r.tell(s, at, h, d.entries, StatusGood)
	if h.sequence > r.durable {
		r.unsynced = append(r.unsynced, record{header: *h, segment: s, at: at, was: was, low: low})
	}
	return false, nil
}

// accept takes what a good header says: the state, how far the log is durable,
// and what the log was before the record.
func (r *replay) accept(s *segment, at int64, h *header) {
	r.accepted = true
	r.resume(s, at, h.sequence, h.before)
	r.state = h.state
	r.raiseDurable(h.durable)
	r.next = h.sequence + 1
	if h.kind != KindEmpty {
		r.durableSequence = h.sequence
	}
}

// resume checks what the log was before a good header, of the record with a
// sequence number or of the segment that begins with it, against what was read,
// and closes a gap.
func (r *replay) resume(s *segment, at int64, sequence protocol.Sequence, before point) {
	if r.beginUnknown {
		r.beginUnknown = false
		// The first record of all says as well as the header where the log began.
		r.headLost = sequence != r.segments[0].first
		r.setBegin(before)
		if before.index > 0 {
			r.addDamage(&gap{sequence: s.first, segment: s.name, text: "the header of the first segment is damaged", records: 1},
				protocol.Range{First: before.index, Last: before.index}, before.sum)
		}
	}
	g := r.gap
	r.gap = nil
	if before == r.last {
		if g != nil {
			r.count.harmless += g.records
			r.noteHarmless(g, "the log is the same before and after them")
		}
		return
	}
	if g == nil {
		g = &gap{sequence: r.next, segment: s.name, at: at, records: 1, commit: r.state.Commit,
			text: fmt.Sprintf("the log reached %d (sum %s), the next record says %d (sum %s)", r.last.index, r.last.sum, before.index, before.sum)}
	}
	// What could not be read may have cut the log, but never below its commit
	// index.
	first := r.last.index + 1
	if !g.appends {
		first = min(r.last.index, g.commit) + 1
	}
	if before.index+1 == first && !g.appends { // cut back to the commit index
		r.noteHarmless(g, fmt.Sprintf("they have cut the log after its committed entry %d, as the next record says", before.index))
		r.cutTo(before)
		return
	}
	r.items = cutItems(r.items, before.index)
	r.addDamage(g, protocol.Range{First: min(first, before.index), Last: before.index}, before.sum)
	r.last = before
}

// openGap notes that records first to last are corrupt.
func (r *replay) openGap(s *segment, at int64, first, last protocol.Sequence, text string, appends bool) {
	if r.gap == nil {
		r.gap = &gap{sequence: first, last: first - 1, segment: s.name, at: at, text: text, appends: appends, commit: r.state.Commit}
	} else {
		r.gap.appends = false
	}
	if first = max(first, r.gap.last+1); first <= last {
		n := int(last + 1 - first)
		r.count.corrupt += n
		r.gap.records += n
		r.gap.last = last
		r.durableSequence = max(r.durableSequence, last)
		r.tell(s, at, &header{sequence: first}, nil, StatusCorrupt)
	}
}

// addDamage marks entries as unreadable, up to where the log ends now. The sound
// part of the log ends before the first of them.
func (r *replay) addDamage(g *gap, entries protocol.Range, reaches protocol.LogSum) {
	if r.damage == nil {
		r.damage = &storage.Damage{Sequence: g.sequence, Segment: g.segment, Offset: g.at, Text: g.text}
	}
	for n := len(r.holes); n > 0 && r.holes[n-1].Last >= entries.First; n-- {
		entries.First = min(entries.First, r.holes[n-1].First)
		r.holes = r.holes[:n-1]
	}
	r.holes = append(r.holes, hole{entries, reaches})
	r.damage.Records += g.records
	r.describeHoles()
	r.truncate(entries.First - 1)
}

// describeHoles says in the damage which entries it is about.
func (r *replay) describeHoles() {
	last := r.holes[len(r.holes)-1]
	r.damage.First, r.damage.Last, r.damage.Reaches = r.holes[0].First, last.Last, last.reaches
}

// truncate drops what is above an index from what is known of the sound part.
func (r *replay) truncate(last protocol.Index) {
	r.configurations.TruncateAfter(last)
	if last >= r.logTerms.PrevIndex {
		r.logTerms.TruncateAfter(last)
	} else {
		r.logTerms = protocol.LogTerms{PrevIndex: r.begin.index, PrevTerm: r.begin.term, PrevSum: r.begin.sum}
	}
}

// apply does what a record says and returns the index down to which it cut.
func (r *replay) apply(s *segment, at int64, h *header, d *body) (protocol.Index, error) {
	switch {
	case h.kind == KindReset:
		r.setBegin(d.cut)
		r.items, r.holes, r.damage = nil, nil, nil
		r.configurations = protocol.NewConfigurations(d.configuration)
		return d.cut.index, nil
	case h.cut:
		if d.cut.index > r.last.index {
			return 0, contradiction(s, h, fmt.Sprintf("it truncates after %d, the log ends at %d", d.cut.index, r.last.index))
		}
		r.cutTo(d.cut)
	}
	low := r.last.index
	if len(d.entries) > 0 {
		if err := r.appendEntries(s, at, h, d.entries); err != nil {
			return 0, err
		}
	}
	return low, nil
}

func (r *replay) appendEntries(s *segment, at int64, h *header, entries []protocol.Entry) error {
	if e := &entries[0]; e.Index != r.last.index+1 || e.Term < r.last.term {
		return contradiction(s, h, fmt.Sprintf("entry %s follows %d@%d", *e, r.last.index, r.last.term))
	}
	sum := r.last.sum
	sound := len(r.holes) == 0
	for i := range entries {
		sum = sum.Next(entries[i].Raw)
		if sound {
			r.logTerms.Append(entries[i].Term)
		}
	}
	if sound {
		if err := addConfigurations(&r.configurations, entries); err != nil {
			return contradiction(s, h, err.Error())
		}
	}
	e := &entries[len(entries)-1]
	r.last = point{e.Index, e.Term, sum}
	r.items = append(r.items, item{first: entries[0].Index, segment: s, at: at, length: h.length})
	return nil
}

// contradiction is a record with good sums that cannot be true: a bug, or
// another program's work.
func contradiction(s *segment, h *header, text string) error {
	return protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: record %d in %s contradicts the log: %s", h.sequence, s.name, text))
}

// cutTo drops the suffix of the log, and with it damage above the point.
func (r *replay) cutTo(p point) {
	r.last = p
	r.items = cutItems(r.items, p.index)
	if p.index < r.begin.index {
		// Only in a log whose head was lost: it begins lower than its first
		// segment says.
		r.setBegin(p)
	}
	r.truncate(p.index)
	kept := r.holes[:0]
	for _, h := range r.holes {
		if h.First > p.index {
			break
		}
		if h.Last > p.index { // the cut says what the log is there
			h.Last, h.reaches = p.index, p.sum
		}
		kept = append(kept, h)
	}
	if r.holes = kept; len(kept) == 0 {
		r.damage = nil
	} else {
		r.describeHoles()
	}
}
