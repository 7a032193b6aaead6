package wal

import (
	"fmt"
	"io"
	"sort"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Read implements storage.Log. The lock is held only to find the records; their
// bytes do not change once they are in the index.
func (l *Log) Read(first, last protocol.Index, bytes int) ([]protocol.Entry, error) {
	if err := l.usable(); err != nil {
		return nil, err
	}
	found, last, err := l.find(first, last, bytes)
	if err != nil {
		return nil, err
	}
	defer l.release(found)
	var out []protocol.Entry
	size := 0
	for i := range found {
		upper := last
		if i+1 < len(found) {
			upper = min(last, found[i+1].first-1)
		}
		entries, err := l.readRecord(&found[i])
		switch {
		case err != nil && len(out) > 0:
			return out, nil // whoever goes on from there meets it first
		case err != nil:
			return nil, l.unreadable(&found[i], err)
		}
		// The record may begin before what is asked for, and may go on beyond
		// where the log was cut.
		skip := int(max(first, found[i].first) - found[i].first)
		if skip >= len(entries) {
			return nil, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: entry %d is not where it should be", first))
		}
		entries = entries[skip:]
		if n := int(upper + 1 - max(first, found[i].first)); n < len(entries) {
			entries = entries[:n]
		}
		for k := range entries {
			size += len(entries[k].Raw)
			if size > bytes && (len(out) > 0 || k > 0) {
				return append(out, entries[:k]...), nil
			}
		}
		if out == nil {
			out = entries
		} else {
			out = append(out, entries...)
		}
	}
	return out, nil
}

// find returns the items that hold first..last, as many as bytes may need, and
// what last is at most. Their segments stay open until release.
func (l *Log) find(first, last protocol.Index, bytes int) ([]item, protocol.Index, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed.Load():
		return nil, 0, protocol.ErrClosed
	case first <= l.begin.index:
		return nil, 0, below(first, l.begin.index)
	case first > l.end || last < first:
		return nil, 0, above(max(first, last+1), l.end)
	}
	last = min(last, l.end)
	for _, hole := range l.holes {
		if hole.First <= first && first <= hole.Last {
			return nil, 0, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: entries %d to %d", hole.First, hole.Last))
		}
		if hole.First > first {
			last = min(last, hole.First-1)
		}
	}
	k := sort.Search(len(l.items), func(i int) bool { return l.items[i].first > first }) - 1
	if k < 0 {
		return nil, 0, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: entry %d", first))
	}
	n, size := k, 0
	for n < len(l.items) && l.items[n].first <= last && (n <= k+1 || size < bytes) {
		if n > k {
			size += l.items[n].length
		}
		n++
	}
	found := make([]item, n-k)
	copy(found, l.items[k:n])
	if n < len(l.items) {
		last = min(last, l.items[n].first-1)
	}
	for i := range found {
		found[i].segment.readers++
	}
	return found, last, nil
}

// release lets go of segments, and closes those that were dropped meanwhile.
func (l *Log) release(found []item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range found {
		s := found[i].segment
		if s.readers--; s.readers == 0 && s.dropped {
			s.file.Close()
		}
	}
}

// readRecord reads the entries of a record and verifies them.
func (l *Log) readRecord(i *item) ([]protocol.Entry, error) {
	buf := make([]byte, recordBytes+i.length)
	if _, err := i.segment.file.ReadAt(buf, i.at); err != nil && err != io.EOF {
		return nil, err
	}
	damaged := func(what string) error {
		return protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: %s of the record with entry %d", what, i.first))
	}
	var h header
	if !parseHeader(buf, i.segment.nonce, 0, &h) || h.length != i.length || h.kind != KindEntries {
		return nil, damaged("header")
	}
	payload := buf[recordBytes:]
	if sumPayload(payload, i.segment.nonce) != h.payloadSum {
		return nil, damaged("payload")
	}
	d, err := parseBody(&h, payload, nil)
	if err != nil {
		return nil, err
	}
	if d.entries[0].Index != i.first {
		return nil, damaged("first index")
	}
	before := h.before.sum
	if h.cut {
		before = d.cut.sum
	}
	protocol.SumEntries(before, d.entries)
	return d.entries, nil
}

// unreadable says where a record is that cannot be read, and what it holds.
func (l *Log) unreadable(i *item, cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.end
	if k := sort.Search(len(l.items), func(k int) bool { return l.items[k].first > i.first }); k < len(l.items) {
		last = l.items[k].first - 1
	}
	return &storage.Unreadable{
		Entries: protocol.Range{First: i.first, Last: max(i.first, last)},
		Segment: i.segment.name, Offset: i.at, Err: cause,
	}
}

// pointAt returns the log's identity up to an index that is held, or begin.
func (l *Log) pointAt(i protocol.Index) (point, error) {
	l.mu.Lock()
	begin := l.begin
	l.mu.Unlock()
	if i == begin.index {
		return begin, nil
	}
	entries, err := l.Read(i, i, 0)
	if err != nil {
		return point{}, err
	}
	return after(entries), nil
}
