package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// Write implements storage.Rebuild.
func (r *rebuild) Write(ctx context.Context, found [][]protocol.Entry) error {
	l := r.l
	if err := l.usable(); err != nil {
		return err
	}
	if space, err := l.Space(); err == nil && space.Full { // one that cannot be known stops nothing
		return protocol.ErrNoSpace
	}
	size, err := r.compose(found)
	if err != nil {
		return err
	}
	r.name = r.old.name + vfs.TemporarySuffix
	if err := r.writeFile(ctx, size); err != nil {
		if errors.Is(err, vfs.ErrNoSpace) {
			return protocol.ErrNoSpace.Because(err)
		}
		return fmt.Errorf("writing %s: %w", r.name, err)
	}
	return r.check(ctx)
}

// compose makes the records that take the place of lost ones, and says where each part
// begins. It returns the size of the new file.
func (r *rebuild) compose(found [][]protocol.Entry) (int64, error) {
	at := int64(len(appendSegmentHeader(nil, &r.old.segmentHeader)))
	for k := range r.parts {
		p := &r.parts[k]
		p.at = at
		x := p.lost
		if x == nil {
			at += p.to - p.from
			continue
		}
		var entries []protocol.Entry
		if x.wants() {
			if len(found) == 0 {
				return 0, protocol.ErrInvalid.With("entries are missing")
			}
			entries, found = found[0], found[1:]
		}
		if err := x.leads(entries); err != nil {
			return 0, err
		}
		p.fresh = x.put(r.old.nonce, entries)
		at += int64(len(p.fresh))
	}
	return (at + segmentAlign - 1) &^ (segmentAlign - 1), nil
}

// leads reports whether entries lead from what the log was to what it was after them:
// byte for byte what was lost.
func (x *lost) leads(entries []protocol.Entry) error {
	at := x.join
	for i := range entries {
		e := &entries[i]
		if e.Index != at.index+1 || e.Term < at.term {
			return protocol.ErrInvalid.With(fmt.Sprintf("entry %s does not follow %d@%d", *e, at.index, at.term))
		}
		at = point{e.Index, e.Term, at.sum.Next(e.Raw)}
	}
	if at != x.after {
		return protocol.ErrInvalid.With(fmt.Sprintf("entries %d to %d are not what was lost", x.join.index+1, x.after.index))
	}
	return nil
}

// put writes the records that take the place of lost ones: the very one that was
// there, if its header is left and says that it is, or else one that does what all of
// them did, and such that do nothing.
func (x *lost) put(nonce uint64, entries []protocol.Entry) []byte {
	var out []byte
	if h := x.header; h != nil && x.count() == 1 {
		if payload := x.encode(h.cut, entries); len(payload) == h.length && sumPayload(payload, nonce) == h.payloadSum {
			x.length = h.length
			out = append(append(out, x.raw...), payload...)
			return append(out, make([]byte, h.size()-recordBytes-int64(h.length))...)
		}
	}
	h := header{sequence: x.first, durable: min(x.known, x.first-1), kind: KindState, state: x.state, before: x.before}
	h.cut = x.join != x.before
	switch {
	case len(entries) > 0:
		h.kind = KindEntries
	case h.cut:
		h.kind = KindTruncate
	}
	for ; h.sequence <= x.last; h.sequence++ {
		var payload []byte
		if h.sequence == x.first {
			payload = x.encode(h.cut, entries)
			x.length = len(payload)
		} else {
			h.kind, h.cut, h.before = KindState, false, x.after
		}
		h.length, h.payloadSum = len(payload), sumPayload(payload, nonce)
		begin := len(out)
		out = append(out, make([]byte, recordBytes)...)
		putHeader(out[begin:], nonce, &h)
		out = append(out, payload...)
		out = append(out, make([]byte, int(h.size())-(len(out)-begin))...)
	}
	return out
}

// encode is a payload of entries, cut or not.
func (x *lost) encode(cut bool, entries []protocol.Entry) []byte {
	var b []byte
	if cut {
		b = make([]byte, pointBytes)
		putPoint(b, x.join)
	}
	for i := range entries {
		b = append(b, entries[i].Raw...)
	}
	return b
}

// writeFile writes the new file, durably but for its name, and opens it. What is good
// is copied a piece at a time.
func (r *rebuild) writeFile(ctx context.Context, size int64) error {
	l := r.l
	if err := l.makeFile(r.name, size, 0); err != nil {
		return err
	}
	f, err := l.fsys.OpenWrite(l.path(r.name))
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(appendSegmentHeader(nil, &r.old.segmentHeader), 0); err == nil {
		err = r.writeParts(ctx, f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	r.fresh = &segment{segmentHeader: r.old.segmentHeader, name: r.old.name, size: size, good: true}
	r.fresh.file, err = l.fsys.Open(l.path(r.name))
	if err != nil {
		r.fresh = nil
	}
	return err
}

// writeParts writes all records.
func (r *rebuild) writeParts(ctx context.Context, f vfs.File) error {
	buf := make([]byte, min(copyChunk, r.old.size))
	for k := range r.parts {
		p := &r.parts[k]
		if p.lost != nil {
			if _, err := f.WriteAt(p.fresh, p.at); err != nil {
				return err
			}
			p.fresh = nil
			continue
		}
		for done := int64(0); done < p.to-p.from; {
			piece := buf[:min(int64(len(buf)), p.to-p.from-done)]
			if err := ctx.Err(); err != nil {
				return err
			}
			if n, err := r.old.file.ReadAt(piece, p.from+done); n < len(piece) {
				return cmp.Or(err, io.ErrUnexpectedEOF)
			}
			if _, err := f.WriteAt(piece, p.at+done); err != nil {
				return err
			}
			done += int64(len(piece))
		}
	}
	return nil
}

// check reads the new file as a log that is opened does.
func (r *rebuild) check(ctx context.Context) error {
	wrong := func(what string) error {
		return protocol.ErrCorrupt.With("damaged data: " + r.name + ": " + what + " is not what was written")
	}
	content := make([]byte, r.fresh.size)
	if bad, err := vfs.PatienceUntil(ctx, r.l.fsys).ReadAround(r.fresh.file, content, 0, nil); err != nil {
		return fmt.Errorf("reading %s: %w", r.name, err)
	} else if len(bad) > 0 {
		return wrong("a part")
	}
	if s, _, ok := parseSegmentHeader(content, r.old.nonce); !ok || s.number != r.old.number || s.first != r.old.first {
		return wrong("the header")
	}
	again := *r
	again.content, again.parts = content, nil
	w := again.walk()
	for w.next < w.limit {
		var h header
		if !w.parse(&h) || h.sequence != w.next || h.before != w.before {
			return wrong(fmt.Sprintf("record %d", w.next))
		}
		payload, good := w.payload(&h)
		if !good {
			return wrong(fmt.Sprintf("record %d", w.next))
		}
		if err := w.pass(&h, payload); err != nil {
			return err
		}
	}
	if w.before != r.after {
		return wrong("the end")
	}
	return nil
}

// Switch implements storage.Rebuild. What fails before the new name is there has
// changed nothing; what fails after it leaves a log that nobody knows.
func (r *rebuild) Switch() error {
	l := r.l
	if err := l.writable(); err != nil {
		return err
	}
	k := slices.Index(l.segments, r.old)
	if r.fresh == nil || k < 0 {
		return protocol.ErrNotFound.With(r.old.name + " is no longer a part of the log")
	}
	folder, err := l.fsys.OpenDir(l.path(""))
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := l.fsys.Rename(l.path(r.name), l.path(r.old.name)); err != nil {
		return err
	}
	r.name = ""
	if err := folder.Sync(); err != nil {
		return l.fail(err)
	}
	r.fresh.low = r.old.low
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = slices.Clone(l.segments)
	l.segments[k] = r.fresh
	l.items = r.moved(l.items)
	r.old.dropped = true // closed by its last reader
	r.fresh = nil
	return nil
}

// moved returns where the entries are now.
func (r *rebuild) moved(items []item) []item {
	out := make([]item, 0, len(items))
	p := 0
	for _, i := range items {
		if i.segment != r.old {
			out = append(out, i)
			continue
		}
		for i.at >= r.parts[p].to {
			p++
		}
		if x := r.parts[p].lost; x == nil {
			out = append(out, item{i.first, r.fresh, r.parts[p].at + i.at - r.parts[p].from, i.length})
		} else if i.first == x.join.index+1 {
			out = append(out, item{i.first, r.fresh, r.parts[p].at, x.length})
		}
	}
	return out
}
