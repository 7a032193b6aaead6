package protocol

import "fmt"

const (
	entryFields = 5
	// entryBytesMin is the smallest encoded entry: the array's head, four
	// one-byte integers, and an empty byte string of two.
	entryBytesMin = 1 + 4 + 2
)

// EncodeEntries encodes a run into one buffer, sets each entry's Raw, and makes
// Data alias it; what Data was before may be reused. It returns the buffer,
// which is what DecodeEntries reads. Nobody may change it afterwards.
//
// It panics on an entry of an unknown kind or over EntryBytesMax (see
// EntrySize): every other member would refuse it, and a log that holds it
// could not be replicated.
func EncodeEntries(entries []Entry) []byte {
	size := 0
	for i := range entries {
		n := EntrySize(&entries[i])
		if n > EntryBytesMax || !entries[i].Kind.Known() {
			panic(fmt.Sprintf("protocol: entry %s of %d bytes encoded, limit %d", entries[i], n, EntryBytesMax))
		}
		size += n
	}
	buf := make([]byte, 0, size)
	for i := range entries {
		e := &entries[i]
		begin := len(buf)
		buf = append(buf, codeFixArray|entryFields)
		buf = appendUint(buf, uint64(e.Index))
		buf = appendUint(buf, uint64(e.Term))
		buf = appendInt(buf, int64(e.Time))
		buf = append(buf, byte(e.Kind))
		buf = appendBin(buf, e.Data)
		e.Raw = buf[begin:len(buf):len(buf)]
		if n := len(e.Data); n > 0 {
			e.Data = e.Raw[len(e.Raw)-n:]
		}
	}
	return buf
}

// EntrySize returns how many bytes an entry takes when encoded.
func EntrySize(e *Entry) int {
	return 2 + sizeUint(uint64(e.Index)) + sizeUint(uint64(e.Term)) + sizeInt(int64(e.Time)) +
		sizeBinHeader(len(e.Data)) + len(e.Data)
}

// DecodeEntry takes one entry off the front of src and returns what follows
// it. Raw and Data alias src; Data is nil if there is none. Its kind may be one that
// this code does not know: see FormatLevel.Has.
func DecodeEntry(src []byte) (e Entry, rest []byte, err error) {
	n := decodeEntry(&e, src)
	if n == 0 {
		return Entry{}, nil, entryFault(src)
	}
	return e, src[n:], nil
}

// DecodeEntries decodes a run of concatenated entries, all of src. Raw and Data
// alias src. Indexes must be contiguous and terms must not decrease. An empty
// src is an empty run.
func DecodeEntries(src []byte) ([]Entry, error) { return DecodeEntriesInto(nil, src) }

// DecodeEntriesInto is DecodeEntries into the storage of dst, whose content is
// overwritten.
func DecodeEntriesInto(dst []Entry, src []byte) ([]Entry, error) {
	dst = dst[:0]
	for len(src) > 0 {
		k := len(dst)
		if k == cap(dst) {
			dst = growEntries(dst, src)
		}
		dst = dst[:k+1]
		e := &dst[k]
		n := decodeEntry(e, src)
		if n == 0 {
			return nil, entryFault(src)
		}
		if k > 0 && !e.follows(&dst[k-1]) {
			return nil, ErrMalformed.With(fmt.Sprintf("malformed entries: %s follows %s", *e, dst[k-1]))
		}
		src = src[n:]
	}
	return dst, nil
}

// follows reports whether e can stand directly after prev in a log.
func (e *Entry) follows(prev *Entry) bool { return e.Index == prev.Index+1 && e.Term >= prev.Term }

// growEntries makes room for as many entries as would follow if all were as
// large as the first of src, within bounds: a hostile run of tiny entries
// earns its memory step by step.
func growEntries(dst []Entry, src []byte) []Entry {
	var first Entry
	n := decodeEntry(&first, src)
	if n == 0 {
		n = len(src)
	}
	room := min(len(src)/n, AppendEntriesMax) + 1
	if len(dst) > 0 {
		room = max(room, min(len(dst), len(src)/entryBytesMin+1))
	}
	out := make([]Entry, len(dst), len(dst)+room)
	copy(out, dst)
	return out
}

// decodeEntry decodes one entry from the front of src into e and returns its
// size; 0 if it is malformed.
func decodeEntry(e *Entry, src []byte) int {
	if len(src) < entryBytesMin || src[0] != codeFixArray|entryFields {
		return 0
	}
	at := 1
	index, n := parseUint(src[at:])
	at += n
	if n == 0 || index == 0 {
		return 0
	}
	term, n := parseUint(src[at:])
	at += n
	if n == 0 {
		return 0
	}
	time, n := parseInt(src[at:])
	at += n
	if n == 0 || at >= len(src) || src[at] == 0 || EntryKind(src[at]) > EntryKindMax {
		return 0
	}
	kind := EntryKind(src[at])
	at++
	begin, end := parseBin(src[at:])
	if end == 0 || end > len(src)-at || at+end > EntryBytesMax {
		return 0
	}
	e.Index, e.Term, e.Time, e.Kind = Index(index), Term(term), ClusterTime(time), kind
	e.Raw = src[: at+end : at+end]
	e.Data = nil
	if begin < end {
		e.Data = e.Raw[at+begin:]
	}
	e.Sum = LogSum{}
	return at + end
}

// entryFault says why decodeEntry refused. It is apart so that the good case
// pays nothing for it.
func entryFault(src []byte) error {
	r := reader{src: src}
	r.array(entryFields)
	if r.index() == 0 && r.err == nil {
		r.fail("an entry with index 0")
	}
	r.term()
	r.int()
	if k := r.uint(); r.err == nil && (k == 0 || k > uint64(EntryKindMax)) {
		return ErrMalformed.With(fmt.Sprintf("malformed entry: kind %d", k))
	}
	r.bin(EntryBytesMax)
	if r.err == nil {
		r.fail("an entry over its limit")
	}
	return r.err
}
