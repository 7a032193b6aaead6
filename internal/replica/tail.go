package replica

import (
	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// The tail keeps at most this much of what is committed, written and applied,
// so that those who keep up never make anybody read the disk.
const (
	tailEntriesMax = 8192
	tailBytes      = 8 << 20 // by default
	// sumsMax is of how many entries below those at least the log sum is still
	// known, if this run has had them: claims about freshness and read indexes lag
	// behind the log, by as much as it grows in some hundred milliseconds.
	sumsMax = 16384
	// tailGrows is the length from which on its array has four times the room.
	tailGrows = 1024
)

// tail is the end of the log, in memory: a contiguous run of entries with
// their log sums. It always holds everything above the commit index.
//
// Slices of it are handed to other goroutines, which only read: so entries are
// never overwritten in place. A truncation caps the slice; the next append
// then moves to a new array.
type tail struct {
	entries []protocol.Entry
	first   protocol.Index  // of entries[0]; where the next one goes if empty
	before  protocol.LogSum // log sum after first-1, if joined
	joined  bool            // false: the entries came with sums, what is before them is on disk only
	bytes   int
	sums    []protocol.LogSum // of the entries up to first-1
}

// newTail makes the tail of a log that was found: its last entries, with their
// sums.
func newTail(logTerms *protocol.LogTerms, entries []protocol.Entry) *tail {
	if len(entries) == 0 {
		return &tail{first: logTerms.LastIndex() + 1, before: logTerms.PrevSum, joined: true}
	}
	t := &tail{first: entries[0].Index, entries: entries[:len(entries):len(entries)], bytes: protocol.RawSize(entries)}
	if t.first == logTerms.FirstIndex() {
		t.before, t.joined = logTerms.PrevSum, true
	}
	return t
}

// last returns the highest index held, or first-1.
func (t *tail) last() protocol.Index { return t.first + protocol.Index(len(t.entries)) - 1 }

// holds reports whether both ends of a range, and so all of it, are in memory.
func (t *tail) holds(first, last protocol.Index) bool {
	return first >= t.first && last <= t.last() && first <= last
}

// slice returns the entries first..last, which must be held.
func (t *tail) slice(first, last protocol.Index) []protocol.Entry {
	if !t.holds(first, last) {
		invariant.Check(false, "entries %d..%d asked of a tail that holds %d..%d", first, last, t.first, t.last())
	}
	a, b := first-t.first, last-t.first+1
	return t.entries[a:b:b]
}

// fit returns the highest index up to last so that first.. fits into bytes; at
// least first.
func (t *tail) fit(first, last protocol.Index, bytes int) protocol.Index {
	i := first
	used := len(t.entries[first-t.first].Raw)
	for i < last {
		used += len(t.entries[i+1-t.first].Raw)
		if used > bytes {
			break
		}
		i++
	}
	return i
}

// sumAt returns the log sum after index i.
func (t *tail) sumAt(i protocol.Index) (protocol.LogSum, bool) {
	if i+1 == t.first {
		return t.before, t.joined
	}
	if n := protocol.Index(len(t.sums)); i < t.first && i+n >= t.first {
		return t.sums[i+n-t.first], true
	}
	if i < t.first || i > t.last() {
		return protocol.LogSum{}, false
	}
	return t.entries[i-t.first].Sum, true
}

// append adds entries after last, and fills in their sums unless they come with them:
// whoever has those has reckoned them from the same log.
func (t *tail) append(entries []protocol.Entry, summed bool) {
	if len(entries) == 0 {
		return
	}
	if entries[0].Index != t.last()+1 {
		invariant.Check(false, "entry %d appended to a tail that ends at %d", entries[0].Index, t.last())
	}
	sum, ok := t.sumAt(t.last())
	if !ok {
		invariant.Check(false, "the log sum at %d is not known", t.last())
	}
	at := len(t.entries)
	if n := at + len(entries); n > cap(t.entries) && n > tailGrows {
		// What is trimmed in front leaves no room behind: an array of about the tail's length would be
		// copied with every few appends.
		t.entries = append(make([]protocol.Entry, 0, 4*n), t.entries...)
	}
	t.entries = append(t.entries, entries...)
	if !summed {
		protocol.SumEntries(sum, t.entries[at:])
	}
	t.bytes += protocol.RawSize(entries)
}

// truncate drops everything above after.
func (t *tail) truncate(after protocol.Index) {
	if after >= t.last() {
		return
	}
	if after+1 < t.first {
		invariant.Check(false, "tail that begins at %d truncated to %d", t.first, after)
	}
	n := int(after + 1 - t.first)
	t.bytes -= protocol.RawSize(t.entries[n:])
	t.entries = t.entries[:n:n]
}

// trim forgets entries at the front beyond the bounds, never one above keep.
func (t *tail) trim(keep protocol.Index, bytesMax int) {
	n := 0
	for len(t.entries)-n > tailEntriesMax || t.bytes > bytesMax {
		if t.first+protocol.Index(n) > keep {
			break
		}
		t.bytes -= len(t.entries[n].Raw)
		n++
	}
	if n == 0 {
		return
	}
	for i := range t.entries[:n] {
		t.sums = append(t.sums, t.entries[i].Sum)
	}
	if len(t.sums) > 2*sumsMax {
		t.sums = append(t.sums[:0], t.sums[len(t.sums)-sumsMax:]...)
	}
	t.before, t.joined = t.entries[n-1].Sum, true
	t.first += protocol.Index(n)
	t.entries = t.entries[n:] // the array goes when append outgrows it
}
