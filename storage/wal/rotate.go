package wal

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// rotate goes on in a new segment with room for a record of the size. The old
// one is synced first, so that a segment's name proves that everything before
// its first record is durable. If the disk is full it returns
// protocol.ErrNoSpace and nothing has changed.
func (l *Log) rotate(size int64) error {
	if err := l.Sync(); err != nil {
		return err
	}
	return l.beginSegment(&carry{room: size})
}

// carry is what a new segment takes over: room for the next record, and at
// opening the records that were not known to be durable.
type carry struct {
	room    int64
	opening bool
	records []record
}

// record is a record that is copied: its header, where it is, the hard state
// before it, and the index down to which it cut the log.
type record struct {
	header
	segment *segment
	at      int64
	was     protocol.HardState
	low     protocol.Index
}

// beginSegment makes the next segment the current one. In this order: space,
// the header and what is carried over, sync, the name, directory sync. So a
// named segment has a good header unless the disk damaged it, and no record is
// acknowledged in a file that could still lose its name.
func (l *Log) beginSegment(c *carry) error {
	s := &segment{good: true, low: l.last.index}
	s.segmentHeader = segmentHeader{
		first: l.next, durable: l.durable, before: l.last, state: l.state, number: l.number,
	}
	if n := len(l.segments); n > 0 {
		s.number = l.segments[n-1].number + 1
	}
	var nonce [8]byte
	if _, err := io.ReadFull(l.options.Random, nonce[:]); err != nil {
		return l.fail(fmt.Errorf("drawing a nonce: %w", err))
	}
	s.nonce = binary.LittleEndian.Uint64(nonce[:])
	if len(c.records) > 0 {
		first := &c.records[0]
		s.first, s.durable, s.before, s.state = first.sequence, first.sequence-1, first.before, first.was
		s.low = s.before.index
		for i := range c.records {
			s.low = min(s.low, c.records[i].low)
		}
	}
	// If a copied record cuts the log below this point, the configuration here
	// may be another one; then no log ever begins at this segment.
	s.configuration, s.known = l.configurations.At(s.before.index)
	return l.fillSegment(s, c)
}

// fillSegment writes the segment's file and makes it current. Without room for
// anything up to and with the file's name, nothing has changed: the file is not the
// log's before it has that. [S] What fails after the name has changed is final:
// records that go on in the segment before would not exist for whoever finds the new
// one.
func (l *Log) fillSegment(s *segment, c *carry) error {
	head := appendSegmentHeader(nil, &s.segmentHeader)
	need := int64(len(head)) + c.room
	for i := range c.records {
		need += c.records[i].size()
	}
	name, err := l.spares.take(need, c.opening)
	if err != nil {
		return l.noSpace(err)
	}
	if s.file, err = l.fsys.OpenWrite(l.path(name)); err != nil {
		return l.noSpace(err)
	}
	end, moved, err := l.writeSegment(s, head, c.records)
	if err != nil {
		_ = s.file.Close()
		_ = l.fsys.Remove(l.path(name)) // or the next opening takes it for a spare, or removes it
		return l.noSpace(err)
	}
	s.name = segmentName(&s.segmentHeader) + l.suffix
	if err = l.fsys.Rename(l.path(name), l.path(s.name)); err != nil {
		return l.unnamed(s, name, err)
	}
	vfs.Renamed(s.file, l.path(s.name))
	if err = l.fsys.SyncDir(l.path("")); err != nil {
		return l.fail(err)
	}
	l.redirect(moved)
	l.current, l.at, l.dirty = s, end, false
	l.noted, l.telling = s.durable, max(l.telling, s.first-1)
	l.mu.Lock()
	l.segments = append(l.segments, s)
	l.mu.Unlock()
	return nil
}

// unnamed gives up a segment that could not get its name, and keeps the room that it
// has. [S] Only if it is certain that it has no name does the log go on without it.
func (l *Log) unnamed(s *segment, name string, err error) error {
	_ = s.file.Close()
	if there, unknown := vfs.Exists(l.fsys, l.path(s.name)); there || unknown != nil {
		return l.fail(err)
	}
	if strings.HasSuffix(name, vfs.TemporarySuffix) || !l.spares.add(name) {
		_ = l.fsys.Remove(l.path(name))
	}
	return l.noSpace(err)
}

// writeSegment writes a segment's header and the records that it takes over, and
// syncs it. It returns where the next record goes, and what the records' places have
// become.
func (l *Log) writeSegment(s *segment, head []byte, records []record) (int64, map[place]place, error) {
	var err error
	if s.size, err = s.file.Size(); err != nil {
		return 0, nil, err
	}
	if _, err = s.file.WriteAt(head, 0); err != nil {
		return 0, nil, err
	}
	end, moved, err := l.copyRecords(s, int64(len(head)), records)
	if err != nil {
		return 0, nil, err
	}
	return end, moved, s.file.Sync()
}

// copyRecords writes records under the new segment's nonce. What they say is
// durable stays as it was.
func (l *Log) copyRecords(s *segment, at int64, records []record) (int64, map[place]place, error) {
	var in window
	var out []byte
	moved := map[place]place{}
	for i := range records {
		r := &records[i]
		payload, err := in.read(r.segment, r.at+recordBytes, r.length)
		if err != nil {
			return 0, nil, err
		}
		if sumPayload(payload, r.segment.nonce) != r.payloadSum {
			return 0, nil, protocol.ErrCorrupt.With("damaged data: a record changed while it was copied")
		}
		if r.kind == KindEntries {
			moved[place{r.segment, r.at}] = place{s, at + int64(len(out))}
		}
		h := r.header
		h.payloadSum = sumPayload(payload, s.nonce)
		begin := len(out)
		out = append(out, make([]byte, recordBytes)...)
		putHeader(out[begin:], s.nonce, &h)
		out = append(out, payload...)
		out = append(out, make([]byte, int(h.size())-(len(out)-begin))...)
		if len(out) < copyChunk && i+1 < len(records) {
			continue
		}
		if _, err := s.file.WriteAt(out, at); err != nil {
			return 0, nil, err
		}
		at, out = at+int64(len(out)), out[:0]
	}
	return at, moved, nil
}

// window is a part of a segment in memory.
type window struct {
	segment *segment
	at      int64
	content []byte
}

// read returns n bytes of a segment, until the next read.
func (w *window) read(s *segment, at int64, n int) ([]byte, error) {
	if w.segment != s || at < w.at || at+int64(n) > w.at+int64(len(w.content)) {
		size := max(int64(n), min(copyChunk, s.size-at))
		if int64(cap(w.content)) < size {
			w.content = make([]byte, size)
		}
		w.segment, w.at, w.content = s, at, w.content[:size]
		_, err := s.file.ReadAt(w.content, at)
		if err != nil && size > int64(n) { // a bad place may lie behind what is wanted
			w.content = w.content[:n]
			_, err = s.file.ReadAt(w.content, at)
		}
		if err != nil {
			w.segment = nil
			return nil, err
		}
	}
	return w.content[at-w.at : at-w.at+int64(n)], nil
}

// spares are segments made ahead of use: filled with zeros, or used before.
// They are taken by the writer and made by whoever calls Prepare.
type spares struct {
	l       *Log
	making  sync.Mutex // one Prepare at a time
	mu      sync.Mutex // guards names and counter
	names   []string
	counter uint64
	wanted  chan struct{}
	done    chan struct{}
}

func (p *spares) init(l *Log) { p.l = l }

// start begins to prepare in the background.
func (p *spares) start() {
	p.wanted, p.done = make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(p.done)
		for range p.wanted {
			// A full disk is met again, and reported, when the segment is needed;
			// everything else has made the log fail.
			_ = p.l.Prepare()
		}
	}()
	p.want()
}

func (p *spares) want() {
	if p.wanted == nil {
		return
	}
	select {
	case p.wanted <- struct{}{}:
	default:
	}
}

func (p *spares) stop() {
	if p.wanted != nil {
		close(p.wanted)
		<-p.done
		p.wanted = nil
	}
}

// add offers an unused file and reports whether it is kept.
func (p *spares) add(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.names) >= p.l.options.SparesMax {
		return false
	}
	p.names = append(p.names, name)
	return true
}

func (p *spares) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.names)
}

// fresh returns a name that no spare has.
func (p *spares) fresh() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counter++
	return fmt.Sprintf("%s%08x", spareName, p.counter)
}

// take returns the name of a file of at least need bytes.
func (p *spares) take(need int64, opening bool) (string, error) {
	defer p.want()
	size := p.l.options.SegmentBytes
	if need <= size {
		p.mu.Lock()
		if n := len(p.names); n > 0 {
			name := p.names[n-1]
			p.names = p.names[:n-1]
			p.mu.Unlock()
			return name, nil
		}
		p.mu.Unlock()
	}
	// A record larger than a segment leaves room for a few small ones.
	size = max(size, (need+2*segmentAlign-1)&^(segmentAlign-1))
	zeroed := size
	if opening {
		zeroed = min(size, zeroedAtOpen)
	}
	name := p.fresh() + vfs.TemporarySuffix
	return name, p.l.makeFile(name, size, zeroed)
}

// Prepare makes the next segment ahead of its use, if there is none. It may
// take as long as writing a segment takes, may be called by any goroutine, and
// returns protocol.ErrNoSpace if the disk is full.
func (l *Log) Prepare() error {
	p := &l.spares
	p.making.Lock()
	defer p.making.Unlock()
	if err := l.writable(); err != nil || p.count() > 0 {
		return err
	}
	name := p.fresh()
	temporary := name + vfs.TemporarySuffix
	if err := l.makeFile(temporary, l.options.SegmentBytes, l.options.SegmentBytes); err != nil {
		return l.noSpace(err)
	}
	if err := l.fsys.Rename(l.path(temporary), l.path(name)); err != nil {
		_ = l.fsys.Remove(l.path(temporary)) // or at the next opening
		return l.noSpace(err)
	}
	if !p.add(name) {
		return l.fsys.Remove(l.path(name))
	}
	return nil
}

// makeFile creates a file with reserved space, the first part of it written, so
// that a sync after a write has no metadata to touch. Without the space there is
// no file.
func (l *Log) makeFile(name string, size, zeroed int64) error {
	f, err := l.fsys.Create(l.path(name))
	if err != nil {
		return err
	}
	err = f.Allocate(size)
	chunk := make([]byte, min(zeroChunk, zeroed))
	for at := int64(0); at < zeroed && err == nil; at += int64(len(chunk)) {
		_, err = f.WriteAt(chunk[:min(int64(len(chunk)), zeroed-at)], at)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		// Only tidiness: temporary files are deleted at the next opening.
		_ = l.fsys.Remove(l.path(name))
	}
	return err
}
