package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// Open opens the log of a directory that has an identity, and counts the start.
//
// Nothing that the process finds is taken for durable unless the log says that
// it was synced: the rest is copied into a new segment and synced first. If an
// acknowledged record is damaged, nothing is changed: the log is returned with
// Opened().Damage, can be read where it is sound, and refuses writes.
//
// Errors: protocol.ErrDirectory (in use, foreign, of another cluster or a newer
// format, or the disk does not give the log's end), protocol.ErrNotFound (no identity), protocol.ErrCorrupt (the hard
// state is lost, or records contradict one another), protocol.ErrNoSpace,
// protocol.ErrDiskFailed.
func Open(fsys vfs.FS, dir string, o Options) (*Log, error) {
	l, r, f, err := load(fsys, dir, o)
	if err != nil {
		return nil, err
	}
	if l.damaged == nil {
		err = l.beginRun(r, f)
	}
	if err == nil {
		err = l.setOpened(r)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	if l.options.Background && l.damaged == nil {
		l.preallocated.start()
	}
	return l, nil
}

// read reads what is in the directory.
func (l *Log) read() (*replay, folder, error) {
	var err error
	var flaw error
	if l.identity, flaw, err = identityIn(l.fsys, l.dir); err != nil {
		return nil, folder{}, err
	}
	if want := l.options.Cluster; !want.IsZero() && want != l.identity.Cluster {
		return nil, folder{}, protocol.ErrDirectory.With(fmt.Sprintf("%s belongs to cluster %s, not %s", l.dir, l.identity.Cluster, want))
	}
	if err := finishRepair(l.fsys, l.dir); err != nil {
		return nil, folder{}, err
	}
	f, err := listFolder(l.fsys, l.dir)
	if err != nil {
		return nil, f, listError(err)
	}
	if len(f.segments) == 0 {
		return nil, f, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: %s has an identity but no log: what the member voted is not known; "+
			"move the directory away and let the member join as a new one", l.dir))
	}
	r, err := l.replay(f)
	if err == nil && r.damage != nil {
		// [S] A damaged log says how far it had come before it is written anew, and
		// what a failed sync has left in memory no later one writes: from the disk.
		// What was synced and not noted yet counts: others have seen it, and would
		// take the directory for an older copy.
		for _, s := range r.segments {
			_ = s.file.Sync() // what it does not write is not read
			vfs.Uncached(s.file)
			s.file.Close()
		}
		r, err = l.replay(f)
	}
	if err != nil {
		return nil, f, err
	}
	r.noteIdentity(l.dir, flaw)
	l.takeOver(r)
	if l.damaged != nil {
		l.lasting.Store(uint64(l.durableSequence))
		survey(l, r)
	}
	return r, f, nil
}

func (l *Log) replay(f folder) (*replay, error) {
	r, err := openSegments(l.fsys, l, f)
	l.segments = r.segments
	if err == nil {
		err = r.run()
	}
	return r, err
}

// takeOver takes over what replay found.
func (l *Log) takeOver(r *replay) {
	l.items, l.begin, l.end = r.items, r.begin, r.last.index
	for _, h := range r.holes {
		l.holes = append(l.holes, h.Range)
	}
	l.state, l.last, l.configurations, l.next = r.state, r.last, r.configurations.Clone(), r.next
	l.damaged = r.damage
	l.durable, l.durableSequence = min(r.durable, r.next-1), r.durableSequence
	l.lasting.Store(uint64(min(l.durable, l.durableSequence)))
}

// beginRun begins the first segment of this run. The start is counted first, so
// that no two runs share a number. On a full disk it makes do with what the log can
// spare; without that it says how much a start takes.
func (l *Log) beginRun(r *replay, f folder) error {
	if err := l.tidy(f); err != nil {
		return l.refused(err)
	}
	l.identity.Starts++
	l.identity.Format = Format
	old := len(l.segments)
	c := &carry{opening: true, room: segmentAlign, records: r.unsynced}
	err := c.countAndBegin(l)
	if errors.Is(err, vfs.ErrNoSpace) {
		if err = r.freePreallocated(l); err == nil {
			err = c.countAndBegin(l)
		}
	}
	if errors.Is(err, vfs.ErrNoSpace) {
		return &protocol.Error{Code: protocol.ErrNoSpace.Code, Text: fmt.Sprintf("a start takes %d KiB: %v", c.startBytes(l)>>10, err), Cause: err}
	}
	if err != nil {
		return err
	}
	l.synced()
	if err := l.retire(r, old); err != nil {
		return err
	}
	// Says that what was copied is durable: without it, damage to it would look
	// torn at the next opening.
	return l.Settle()
}

// countAndBegin counts the start and begins its segment.
func (c *carry) countAndBegin(l *Log) error {
	if err := writeIdentity(l.fsys, l.dir, l.identity); err != nil {
		return l.refused(err)
	}
	return l.beginSegment(c)
}

// startBytes is what countAndBegin takes of a disk: a copy of the identity beside the one
// that it replaces, and the least file for the segment.
func (c *carry) startBytes(l *Log) int64 {
	need := c.size()
	if at, known := l.configurations.At(l.last.index); known {
		need += headerEnd(segmentBytes + len(protocol.EncodeConfiguration(at.Configuration)))
	} else {
		need += headerEnd(segmentBytes)
	}
	return leastFile(need) + segmentAlign
}

// freePreallocated gives back what of the log is no part of it: unused segments, and the end of
// the last one, in which no record counts. Whoever cannot start for want of room would
// give up the latter in a moment. [S] A record that counts stays, durable or not.
func (r *replay) freePreallocated(l *Log) error {
	l.preallocated.giveBack(0)
	if n := len(r.segments); n > 0 {
		return r.segments[n-1].cutFile(l, r.end)
	}
	return nil
}

// cutFile gives back a segment's file from the page after an offset on, if the system
// lets it.
func (s *segment) cutFile(l *Log, end int64) error {
	if end = headerEnd(int(end)); end >= s.size {
		return nil
	}
	f, err := l.fsys.OpenWrite(l.path(s.name))
	if err == nil {
		defer f.Close()
		err = f.Truncate(end)
	}
	switch {
	case err == nil:
		s.size = end
	case !vfs.OfSystem(err):
		return l.fail(err)
	}
	return nil
}

// tidy deletes what an earlier run left half done, and collects preallocated segments.
func (l *Log) tidy(f folder) error {
	for _, name := range identityFiles {
		if err := l.removeIfThere(filepath.Join(l.dir, name+vfs.TemporarySuffix)); err != nil {
			return err
		}
	}
	for _, name := range []string{beginningFile, QuarantineFile + vfs.TemporarySuffix} {
		if err := l.removeIfThere(filepath.Join(l.dir, name)); err != nil {
			return err
		}
	}
	for _, name := range f.temporary {
		if l.preallocated.counts(name) {
			_ = l.preallocated.drop(name)
		} else {
			_ = l.fsys.Remove(l.path(name)) // or it is written anew by who needs the name
		}
	}
	for _, name := range f.preallocated {
		l.preallocated.counts(name)
		info, err := l.fsys.Stat(l.path(name))
		if err != nil {
			return err
		}
		if info.Size != l.options.SegmentBytes || !l.preallocated.add(name) {
			_ = l.preallocated.drop(name)
		}
	}
	// A preallocated segment must not come back under its old name once it is written again.
	return errors.Join(l.fsys.SyncDir(l.path("")), l.fsys.SyncDir(l.dir))
}

func (l *Log) removeIfThere(name string) error {
	there, err := vfs.Exists(l.fsys, name)
	if err != nil || !there {
		return err
	}
	return l.fsys.Remove(name)
}

// retire gives back the space of records that no longer exist: segments that
// the new one replaces, and the unused end of the one before it. Whatever of
// that a crash undoes does not count at the next opening.
func (l *Log) retire(r *replay, old int) error {
	first := l.current.first
	for old > 0 && l.segments[old-1].first >= first {
		s := l.segments[old-1]
		l.mu.Lock()
		l.segments = slices.Delete(l.segments, old-1, old)
		l.mu.Unlock()
		if err := l.recycle(s); err == errStays {
			l.replaced = append(l.replaced, s)
		} else if err != nil {
			return err
		}
		old--
	}
	if old == 0 {
		return nil
	}
	s, end := l.segments[old-1], r.end
	if len(r.unsynced) > 0 {
		if r.unsynced[0].segment != s {
			return nil
		}
		end = r.unsynced[0].at
	} else if r.segments[len(r.segments)-1] != s {
		return nil
	}
	return s.cutFile(l, end) // what cannot be given back now is when the head is dropped
}

// place is where a record is.
type place struct {
	segment *segment
	at      int64
}

// redirect points items at the copies of their records.
func (l *Log) redirect(moved map[place]place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := len(l.items) - 1; k >= 0 && len(moved) > 0; k-- {
		i := &l.items[k]
		from := place{i.segment, i.at}
		if to, ok := moved[from]; ok {
			i.segment, i.at = to.segment, to.at
			delete(moved, from)
		}
	}
}

// survey says in the damage what of the log is good.
func survey(l *Log, r *replay) {
	d := l.damaged
	at := l.begin
	add := func(last protocol.Index) {
		s := storage.Range{After: at.index, Sum: at.sum, Last: at.index, LastSum: at.sum}
		// What cannot be read after all is left out, and fetched with the rest.
		if p, err := l.pointAt(last); err == nil {
			s.Last, s.LastSum = p.index, p.sum
		}
		d.Good = append(d.Good, s)
	}
	for _, h := range r.holes {
		if h.First > l.begin.index {
			add(h.First - 1)
		}
		at = point{index: h.Last, sum: h.reaches}
	}
	if d.EndUnknown {
		return
	}
	d.Good = append(d.Good, storage.Range{After: at.index, Sum: at.sum, Last: l.last.index, LastSum: l.last.sum})
	d.HeadLost = r.headLost
	d.Begin = storage.Begin{Index: l.begin.index, Term: l.begin.term, Sum: l.begin.sum, Configuration: r.configurationAtBegin()}
}

// configurationAtBegin returns the configuration in force where the log begins,
// if anything good says it: with index 0 if not.
func (r *replay) configurationAtBegin() protocol.ConfigurationAt {
	if at, ok := r.configurations.At(r.begin.index); ok {
		return at
	}
	for _, known := range r.learned {
		if known.at >= r.begin.index && known.configuration.Index <= r.begin.index {
			return known.configuration
		}
	}
	return protocol.ConfigurationAt{}
}

// setOpened says what was found.
func (l *Log) setOpened(r *replay) error {
	l.opened = storage.Opened{
		State: r.state, LogTerms: r.logTerms, Configurations: r.configurations,
		Sequence: l.DurableSequence(), Damage: l.damaged, Notes: r.notes,
	}
	out := &l.opened
	if out.LogTerms.LastIndex() == out.LogTerms.PrevIndex {
		out.LastSum = out.LogTerms.PrevSum
		return nil
	}
	tail, err := l.readTail(out.LogTerms.LastIndex())
	if err != nil {
		return err
	}
	e := &tail[len(tail)-1]
	out.Tail, out.LastSum, out.LastTime = tail, e.Sum, e.Time
	return nil
}

// readTail reads the last entries up to an index. They were read before, so what the
// disk does not give it is asked for again.
func (l *Log) readTail(last protocol.Index) ([]protocol.Entry, error) {
	k, size := len(l.items), 0
	first := last
	commit := l.opened.State.Commit
	for k > 0 && (first > commit || (last < first+storage.TailEntriesMax-1 && size < storage.TailBytesMax)) {
		k--
		if l.items[k].first <= last {
			first, size = l.items[k].first, size+l.items[k].length
		}
	}
	first = max(first, l.opened.LogTerms.FirstIndex())
	patience := vfs.NewPatience(l.fsys)
	var tail []protocol.Entry
	for first <= last {
		entries, err := l.Read(first, last, storage.TailBytesMax)
		if vfs.Damaged(err) && patience.Again() {
			continue
		}
		if err != nil {
			return nil, err
		}
		tail = append(tail, entries...)
		first += protocol.Index(len(entries))
	}
	return clipTail(tail, commit), nil
}
