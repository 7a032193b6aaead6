package wal

import (
	"errors"
	"slices"

	"github.com/starlinghq/starling/storage/vfs"
)

// restoreHeader makes the damaged header of segment i from what the log was before it, if that
// is known. [S] It says no more than the name of the segment and the records before it do; and
// it takes the bytes before the first record, no others.
func (r *replay) restoreHeader(i int) {
	s := r.segments[i]
	if r.gap != nil || len(r.holes) > 0 || i == 0 && s.first > 1 {
		return
	}
	h := s.segmentHeader
	h.durable, h.before, h.state = s.first-1, r.last, r.state
	h.configuration, h.known = r.configurations.At(r.last.index)
	if s.restored = int64(len(appendSegmentHeader(nil, &h))) == r.begins[i]; s.restored {
		s.segmentHeader = h
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

// writeHeaders writes the damaged headers of a sound log anew. What a system refuses to write stays
// as it is: nothing hangs on it. [S] A sync that fails is final: a later start would take the
// header for durable, and let the log begin there.
func writeHeaders(l *Log, bad []*segment) error {
	for _, s := range bad {
		if !s.restored || !slices.Contains(l.segments, s) {
			continue
		}
		err := s.writeHeader(l)
		switch lost := (*unsynced)(nil); {
		case err == nil:
			s.good = true
		case errors.As(err, &lost) || !vfs.OfSystem(err):
			return l.fail(err)
		}
	}
	return nil
}

// writeHeader writes a segment's header over the one that is there.
func (s *segment) writeHeader(l *Log) error {
	f, err := l.fsys.OpenWrite(l.path(s.name))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.WriteAt(appendSegmentHeader(nil, &s.segmentHeader), 0); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return &unsynced{err}
	}
	return nil
}
