package gossip

import (
	"math"

	"github.com/starlinghq/starling/protocol"
)

const (
	// hopsMax is the end of the hop counter.
	hopsMax = 255
	// senderBytes is left for what the transport puts in front of a message.
	senderBytes = 32
	// datagramEntriesBytes is how many bytes of entries fit into a datagram.
	datagramEntriesBytes = protocol.DatagramBytesMax - protocol.FrameOverheadMax - senderBytes
	// bulkEntriesBytes is how much a frame on a stream carries when bulk is
	// pushed (one entry alone may be larger).
	bulkEntriesBytes = 64 << 10
	// When more than one datagram gathers within the flush interval, bulkFlushes
	// times in a row or in one go bulkBytes, frames go by stream: larger ones,
	// fewer of them.
	bulkFlushes = 3
	bulkBytes   = bulkEntriesBytes
	// pushEntriesMax and pushBytesMax bound what one flush pushes. Older
	// entries are left to pulls.
	pushEntriesMax = protocol.AppendEntriesMax
	pushBytesMax   = protocol.AppendBytesMax
)

// push is what an active has pushed of its committed log.
type push struct {
	done    protocol.Index // everything up to it was pushed, or is history
	last    protocol.Instant
	ever    bool
	flushAt protocol.Instant
	large   int // flushes in a row that were more than a datagram, or too soon
	scratch []*member
}

// pushTip pushes what was newly committed: at once after a pause, else
// together with what comes within the flush interval or fills a datagram.
func (c *Core) pushTip(now protocol.Instant) {
	p := &c.push
	tip := c.self.Tip
	if !c.source() || c.self.Commit > tip+pushEntriesMax {
		p.done = max(p.done, tip) // catching up: the others know
		return
	}
	if tip <= p.done {
		return
	}
	due := p.last.Add(c.cfg.Flush)
	if !p.ever || now >= due {
		c.flush(now)
		return
	}
	p.flushAt = due
	size := c.datagramRoom()
	if p.large >= bulkFlushes {
		size = bulkEntriesBytes
	}
	gathered := c.log.Entries(p.done+1, tip, size)
	if n := len(gathered); n > 0 && gathered[n-1].Index < tip {
		c.flush(now)
	}
}

// flush makes frames of everything that is committed and not pushed yet.
func (c *Core) flush(now protocol.Instant) {
	p := &c.push
	p.flushAt = never
	tip := c.self.Tip
	if c.follows() || !c.source() || tip <= p.done {
		return
	}
	if tip-p.done > pushEntriesMax {
		p.done = tip - pushEntriesMax
	}
	soon := p.ever && now < p.last.Add(c.cfg.Flush)
	p.last, p.ever = now, true
	entries := c.log.Entries(p.done+1, tip, pushBytesMax)
	before, known := c.log.SumBefore(p.done + 1)
	if len(entries) == 0 || !known {
		p.done = tip // no longer in memory: pulls read the disk
		return
	}
	size := c.datagramRoom()
	if bytes := protocol.RawSize(entries); soon || bytes > size && len(entries) > 1 {
		if p.large++; p.large >= bulkFlushes || bytes > bulkBytes {
			size = bulkEntriesBytes
		}
	} else {
		p.large = 0
	}
	for len(entries) > 0 {
		n := cut(entries, size)
		f := c.frame(before, entries[:n:n])
		c.sign(f, true)
		f.Body = protocol.EncodeFrameBody(f) // once, for all copies
		c.spread(now, f, protocol.MemberID{})
		before = sumAfter(before, entries[:n])
		p.done = entries[n-1].Index
		entries = entries[n:]
	}
	if p.done < tip {
		p.flushAt = now.Add(c.cfg.Flush)
	}
}

// cut returns how many of the entries, at least one, make a frame of about
// size bytes. A frame of more entries than AppendEntriesMax, however small, is
// refused by whoever gets it.
func cut(entries []protocol.Entry, size int) int {
	n := 0
	for n < min(len(entries), protocol.AppendEntriesMax) {
		size -= len(entries[n].Raw)
		if size < 0 && n > 0 {
			break
		}
		n++
	}
	return n
}

// sumAfter returns the log sum after a run.
func sumAfter(before protocol.LogSum, entries []protocol.Entry) protocol.LogSum {
	for i := range entries {
		before = before.Next(entries[i].Raw)
	}
	return before
}

// frame makes a frame of this member's own log.
func (c *Core) frame(before protocol.LogSum, entries []protocol.Entry) *protocol.Frame {
	return &protocol.Frame{
		Origin:  c.cfg.ID,
		Before:  before,
		Commit:  max(c.self.Commit, c.self.Tip),
		Entries: entries,
	}
}

// spread sends copies of a frame over links, or to random passives, each with
// the configured probability. Where there are few passives, actives leave
// nothing to the coin.
func (c *Core) spread(now protocol.Instant, f *protocol.Frame, exclude protocol.MemberID) {
	if c.cfg.Mode == Hybrid {
		c.pushLinks(now, f, exclude)
		return
	}
	origin := f.Origin == c.cfg.ID
	direct := origin && len(c.members.passives) <= 3*(len(c.members.actives)+1)
	to := c.pick(c.push.scratch[:0], c.members.passives, c.cfg.Fanout, exclude)
	c.push.scratch = to
	for _, m := range to {
		if !direct && c.rng.Float64() >= c.cfg.Probability {
			continue
		}
		passed := *f
		c.send(m.id, &passed)
	}
}

// hopLimit is how often a frame may be passed on.
func (c *Core) hopLimit() int {
	if c.cfg.HopLimit > 0 {
		return c.cfg.HopLimit
	}
	if c.cfg.Mode == Hybrid {
		n, _ := c.flock()
		limit := treeHops(n)
		if c.members.zones {
			limit += zoneWays * zoneHops
		}
		return min(limit, hopsMax-1)
	}
	copies := max(float64(c.cfg.Fanout)*c.cfg.Probability, 1.5)
	hops := math.Ceil(math.Log(float64(len(c.members.passives)+1)) / math.Log(copies))
	return min(2*int(hops)+6, hopsMax-1)
}

// onFrame takes a frame: whoever sees one for the first time passes it on,
// whether or not it can check it yet. Duplicates are told by index.
func (c *Core) onFrame(now protocol.Instant, from protocol.MemberID, f *protocol.Frame) {
	if !sane(f) {
		return
	}
	if c.follows() && !c.heeds(from) {
		c.heed.unasked++
		return
	}
	if c.follows() && !c.genuine(now, from, f) {
		return
	}
	c.learnHolders(from, f)
	if !c.follows() {
		return
	}
	pulled := f.Flags&protocol.FramePulled != 0
	asked := pulled && c.pulling.asked(from, f.Range())
	if !asked && c.avoided(now, f.Origin) {
		return
	}
	r := f.Range()
	fresh := r.Last > c.given && c.seen.add(r)
	if !pulled && c.treed() {
		c.arrived(now, from, f, fresh)
	}
	if fresh && !pulled && int(f.Hop)+1 < c.hopLimit() {
		passed := *f
		passed.Hop++
		c.spread(now, &passed, from)
	}
	if !c.takes() {
		return
	}
	if r.Last > c.given && r.Last-c.given <= windowMax {
		c.buffer.add(from, f)
		c.deliver()
	}
	c.evidence(now, r.Last, c.grace())
	if asked {
		c.pulling.weigh(f.Entries)
		c.pulled(now, from, r)
	}
}

// sane reports whether a frame can be a piece of a committed log at all.
func sane(f *protocol.Frame) bool {
	n := len(f.Entries)
	if n == 0 || f.Origin.IsZero() {
		return false
	}
	first := f.Entries[0].Index
	if first == 0 || first > protocol.IndexMax || f.Commit < first+protocol.Index(n)-1 {
		return false
	}
	for i := range f.Entries {
		if f.Entries[i].Index != first+protocol.Index(i) {
			return false
		}
	}
	return protocol.TermsFit(f.Entries[0].Term, f.Entries)
}

// learnHolders notes who must hold what, going by a frame: its origin made it
// from its own log, and who passed it on got what lies before in all
// likelihood.
func (c *Core) learnHolders(from protocol.MemberID, f *protocol.Frame) {
	r := f.Range()
	if m := c.members.get(f.Origin); m != nil {
		m.tip = max(m.tip, r.Last)
	}
	if m := c.members.get(from); m != nil && f.Flags&protocol.FramePulled == 0 {
		m.likely = max(m.likely, r.First-1)
	}
}

// deliver hands out the frames that join what was handed out before.
func (c *Core) deliver() {
	if !c.takes() || c.given > c.self.Tip && len(c.ready.Runs) == 0 {
		return // what was handed out was not taken: Tick begins again
	}
	for {
		w, ok := c.buffer.next(c.given)
		if !ok {
			return
		}
		f := w.frame
		c.ready.Runs = append(c.ready.Runs, Run{
			From: w.from, Origin: f.Origin, Before: f.Before, Entries: f.Entries, Commit: f.Commit,
		})
		c.given = w.r.Last
	}
}
