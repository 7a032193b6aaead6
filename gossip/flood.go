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
	base
	log   Log
	links *links
	trust *trust

	done    protocol.Index // everything up to it was pushed, or is history
	last    protocol.Instant
	ever    bool
	flushAt protocol.Instant
	large   int // flushes in a row that were more than a datagram, or too soon
	scratch []*member
}

// pushCommitted pushes what was newly committed: at once after a pause, else
// together with what comes within the flush interval or fills a datagram.
func (p *push) pushCommitted(now protocol.Instant) {
	lastIndex := p.self.LastIndex
	if !p.self.source() || p.self.Commit > lastIndex+pushEntriesMax || !p.reaches() {
		p.done = max(p.done, lastIndex) // catching up: the others know; or there is nobody to push to
		return
	}
	if lastIndex <= p.done {
		return
	}
	due := p.last.Add(p.cfg.Flush)
	if !p.ever || now >= due {
		p.flush(now)
		return
	}
	p.flushAt = due
	size := p.trust.datagramRoom()
	if p.large >= bulkFlushes {
		size = bulkEntriesBytes
	}
	gathered := p.log.Entries(p.done+1, lastIndex, size)
	if n := len(gathered); n > 0 && gathered[n-1].Index < lastIndex {
		p.flush(now)
	}
}

// reaches reports whether there is anybody to whom frames go. Who comes later asks for what
// it lacks.
func (p *push) reaches() bool {
	if p.cfg.Mode == Hybrid {
		return len(p.links.children) > 0
	}
	return len(p.members.passives) > 0
}

// flush makes frames of everything that is committed and not pushed yet.
func (p *push) flush(now protocol.Instant) {
	p.flushAt = never
	lastIndex := p.self.LastIndex
	if p.self.follows() || !p.self.source() || lastIndex <= p.done {
		return
	}
	if lastIndex-p.done > pushEntriesMax {
		p.done = lastIndex - pushEntriesMax
	}
	soon := p.ever && now < p.last.Add(p.cfg.Flush)
	p.last, p.ever = now, true
	entries := p.log.Entries(p.done+1, lastIndex, pushBytesMax)
	before, known := p.log.SumBefore(p.done + 1)
	if len(entries) == 0 || !known {
		p.done = lastIndex // no longer in memory: pulls read the disk
		return
	}
	size := p.trust.datagramRoom()
	if bytes := protocol.RawSize(entries); soon || bytes > size && len(entries) > 1 {
		if p.large++; p.large >= bulkFlushes || bytes > bulkBytes {
			size = bulkEntriesBytes
		}
	} else {
		p.large = 0
	}
	for len(entries) > 0 {
		n := cut(entries, size)
		f := p.frame(before, entries[:n:n])
		p.trust.sign(f, true)
		f.Body = protocol.EncodeFrameBody(f) // once, for all copies
		p.spread(now, f, protocol.MemberID{})
		before, p.done = entries[n-1].Sum, entries[n-1].Index
		entries = entries[n:]
	}
	if p.done < lastIndex {
		p.flushAt = now.Add(p.cfg.Flush)
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

// frame makes a frame of this member's own log.
func (b *base) frame(before protocol.LogSum, entries []protocol.Entry) *protocol.Frame {
	return &protocol.Frame{
		Origin:  b.cfg.ID,
		Before:  before,
		Commit:  max(b.self.Commit, b.self.LastIndex),
		Entries: entries,
	}
}

// spread sends copies of a frame over links, or to random passives, each with
// the configured probability. Where there are few passives, actives leave
// nothing to the coin.
func (p *push) spread(now protocol.Instant, f *protocol.Frame, exclude protocol.MemberID) {
	if p.cfg.Mode == Hybrid {
		p.links.push(now, f, exclude)
		return
	}
	origin := f.Origin == p.cfg.ID
	direct := origin && len(p.members.passives) <= 3*(len(p.members.actives)+1)
	to := p.members.pick(p.scratch[:0], p.members.passives, p.cfg.Fanout, exclude)
	p.scratch = to
	for _, m := range to {
		if !direct && p.rng.Float64() >= p.cfg.Probability {
			continue
		}
		passed := *f
		p.outbox.send(m.id, &passed)
	}
}

// hopLimit is how often a frame may be passed on.
func (p *push) hopLimit() int {
	if p.cfg.HopLimit > 0 {
		return p.cfg.HopLimit
	}
	if p.cfg.Mode == Hybrid {
		n, _ := p.members.flock()
		limit := treeHops(n)
		if p.members.zones {
			limit += zoneWays * zoneHops
		}
		return min(limit, hopsMax-1)
	}
	copies := max(float64(p.cfg.Fanout)*p.cfg.Probability, 1.5)
	hops := math.Ceil(math.Log(float64(len(p.members.passives)+1)) / math.Log(copies))
	return min(2*int(hops)+6, hopsMax-1)
}
