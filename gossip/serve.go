package gossip

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// A member may send this many WANTs per second, and at once.
	wantsPerSecond, wantsBurst = 400, 100
	// readsMax is how many reads of the disk are under way for pulls, and
	// readsEachMax for one member. One that is not answered within readPatience is forgotten.
	readsMax     = 16
	readsEachMax = 4
	readPatience = 2 * time.Second
	// carrierBytes is what a read may take in addition for the entry before
	// the range, which carries the log sum.
	carrierBytes = 16 << 10
	// A byte of a frame that goes in parts is made for each of them, and counts as much as
	// one that is sent, divided by partedWork.
	partedWork = 8
	// busyPause is what a member that gets too much is asked to wait.
	busyPause = 200 * time.Millisecond
	// othersMax is how many others a BUSY names.
	othersMax = 3
)

// serving is what this member gives to those who pull.
type serving struct {
	base
	log      Log
	needs    *needs
	trust    *trust
	announce announcer

	total bucket // bytes
	reads []reading
}

// reading is a read of the disk for a member.
type reading struct {
	to    protocol.MemberID
	until protocol.Instant
	r     protocol.Range
	bytes int
	form  form
	// before is the log sum before the range, once it is known.
	before protocol.LogSum
	known  bool
}

// form is how an answer goes: as a frame, or, if small, in datagrams, those of a frame that is
// too large for one from a byte of it on.
type form struct {
	small bool
	from  uint32
	bytes int // in datagrams, also of a signed run that is larger
}

// onWant answers a pull from the log in memory, and from the disk for what is
// not. The work is bounded whatever is asked for: by the asker's budget of
// questions and bytes, and by the total.
func (s *serving) onWant(now protocol.Instant, from protocol.MemberID, w *protocol.Want) {
	if !s.self.source() || len(w.Ranges) == 0 {
		return
	}
	b := s.members.budget(from)
	total, share := int64(s.cfg.ServeBytesMax), s.pullShare(now, from)
	if !b.wants.take(now, 1, wantsPerSecond, wantsBurst) ||
		!b.served.take(now, 0, share, share) || !s.total.take(now, 0, total, total) {
		s.members.refuse(now, from)
		return
	}
	left := int(min(w.Bytes, protocol.AppendBytesMax))
	gave, unproven := false, false
	how := form{small: w.Small, from: w.From}
	if how.small {
		left = min(left, smallBytesMax)
	}
	for _, r := range w.Ranges[:min(len(w.Ranges), protocol.RangesMax)] {
		if r.First < max(s.self.First, 1) || r.First > s.self.LastIndex || r.Last < r.First || left <= 0 {
			continue
		}
		r.Last = min(r.Last, s.self.LastIndex)
		provable, bytes, ok := s.trust.repeats(r, left)
		if !ok {
			unproven = true
			continue
		}
		how.bytes = left
		used := s.serve(now, from, provable, bytes, how)
		left -= used
		how.from = 0
		gave = gave || used > 0
	}
	if !gave && unproven {
		s.members.refuse(now, from) // others can prove it: the actives
		return
	}
	// An asker that believes what is not so, hears at once how it is.
	first := w.Ranges[0].First
	if !gave && (first > s.self.LastIndex || first < s.self.First) && s.members.mayAnswer(now, from) {
		s.outbox.send(from, s.announce.have(now))
	}
}

// pullShare is how many bytes per second a member may pull from this one: a quarter
// of all, or, if it does not get level with that, all.
func (s *serving) pullShare(now protocol.Instant, to protocol.MemberID) int64 {
	if s.needs.claimOf(now, to) == claimOrdinary {
		return int64(s.cfg.ServeBytesMax) / 4
	}
	return int64(s.cfg.ServeBytesMax)
}

// serve answers one range, and returns the bytes of the answer (one if the disk is read).
func (s *serving) serve(now protocol.Instant, to protocol.MemberID, r protocol.Range, left int, how form) int {
	entries := s.log.Entries(r.First, r.Last, left)
	before, known := sumBefore(s.log, r.First)
	if len(entries) > 0 && known {
		return s.give(now, to, before, entries, left, how)
	}
	return s.readFor(now, to, r, left, how)
}

// sumBefore returns the log sum before an index, if it is known.
func sumBefore(log Log, i protocol.Index) (protocol.LogSum, bool) {
	if i == 1 {
		return protocol.LogSum{}, true
	}
	return log.SumBefore(i)
}

// give sends entries that were asked for, at most one frame of them or some datagrams, and
// returns their bytes.
func (s *serving) give(now protocol.Instant, to protocol.MemberID, before protocol.LogSum, entries []protocol.Entry, left int, how form) int {
	used, work := 0, 0
	if n := cut(entries, left); how.small {
		used, work = s.giveSmall(to, before, entries[:n:n], how.bytes, how.from)
	} else if f := s.proven(before, entries[:n:n]); f != nil {
		used = protocol.RawSize(f.Entries)
		s.outbox.send(to, f)
	}
	total, share := int64(s.cfg.ServeBytesMax), s.pullShare(now, to)
	s.members.budget(to).served.take(now, int64(used+work), share, share)
	s.total.take(now, int64(used+work), total, total)
	return used
}

// proven makes a frame that was asked for, nil if nobody would take it.
func (s *serving) proven(before protocol.LogSum, entries []protocol.Entry) *protocol.Frame {
	f := s.frame(before, entries)
	f.Flags = protocol.FramePulled
	if !s.trust.prove(f) {
		return nil
	}
	return f
}

// giveSmall sends entries in datagrams, and returns their bytes, and what it has cost besides:
// a large frame is made for each few parts of it.
func (s *serving) giveSmall(to protocol.MemberID, before protocol.LogSum, entries []protocol.Entry, left int, from uint32) (used, work int) {
	for len(entries) > 0 && used < left {
		n := len(entries) // who repeats a signature gives all that it is for
		if !s.cfg.checks() || s.trust.signs() {
			n = cut(entries, s.trust.datagramRoom())
		}
		f := s.proven(before, entries[:n:n])
		if f == nil {
			return used, work
		}
		n = len(f.Entries)
		before, entries = entries[n-1].Sum, entries[n:]
		bytes := protocol.RawSize(f.Entries)
		if protocol.MessageSize(f) <= protocol.DatagramBytesMax-senderBytes {
			s.outbox.send(to, f)
			used += bytes
			continue
		}
		work += bytes / partedWork
		f.Commit = f.Range().Last // the same bytes each time that it is asked for
		for _, part := range protocol.FrameParts(f, from, left-used) {
			s.outbox.send(to, part)
			used += len(part.Data)
		}
		from = 0
	}
	return used, work
}

// readFor has entries read from the disk. The read begins one entry early
// where the log sum before the range is not in memory: that entry carries it.
func (s *serving) readFor(now protocol.Instant, to protocol.MemberID, r protocol.Range, left int, how form) int {
	s.reads = slices.DeleteFunc(s.reads, func(x reading) bool { return now >= x.until })
	each, same := 0, false
	for i := range s.reads {
		if s.reads[i].to == to {
			each++
			same = same || s.reads[i].r.First == r.First
		}
	}
	if len(s.reads) >= readsMax || each >= readsEachMax || same {
		return 0
	}
	x := reading{to: to, until: now.Add(readPatience), r: r, bytes: left, form: how}
	x.before, x.known = sumBefore(s.log, r.First)
	read := RangeRead{To: to, Range: r, Bytes: left}
	if !x.known {
		if r.First <= s.self.First {
			return 0
		}
		read.Range.First--
		read.Bytes += carrierBytes
	}
	s.reads = append(s.reads, x)
	s.outbox.ready.Reads = append(s.outbox.ready.Reads, read)
	return 1
}

// answer gives entries that were read from the disk, with their sums, to the
// member that pulls them.
func (s *serving) answer(now protocol.Instant, to protocol.MemberID, entries []protocol.Entry) {
	if len(entries) == 0 {
		return
	}
	first := entries[0].Index
	i := slices.IndexFunc(s.reads, func(x reading) bool {
		return x.to == to && (x.r.First == first || !x.known && x.r.First == first+1)
	})
	if i < 0 {
		return // too late: whoever asked has asked elsewhere
	}
	x := s.reads[i]
	s.reads = slices.Delete(s.reads, i, i+1)
	for n := len(entries); n > 0 && entries[n-1].Index > s.self.LastIndex; n-- {
		entries = entries[:n-1]
	}
	if len(entries) == 0 || !s.self.source() {
		return
	}
	if !x.known && first == x.r.First-1 {
		x.before, x.known = entries[0].Sum, true
		if entries = entries[1:]; len(entries) == 0 {
			// The entry before was so large that it came alone.
			s.reads = append(s.reads, x)
			s.outbox.ready.Reads = append(s.outbox.ready.Reads, RangeRead{To: to, Range: x.r, Bytes: x.bytes})
			return
		}
	}
	if !x.known {
		return
	}
	s.give(now, to, x.before, entries, x.bytes, x.form)
}

// cannotRead says that the entries from first on, which were to be read for a
// member, cannot be: it is sent to others.
func (s *serving) cannotRead(now protocol.Instant, to protocol.MemberID, first protocol.Index) {
	before := len(s.reads)
	s.reads = slices.DeleteFunc(s.reads, func(x reading) bool {
		return x.to == to && (x.r.First == first || !x.known && x.r.First == first+1)
	})
	if len(s.reads) < before {
		s.members.refuse(now, to)
	}
}
