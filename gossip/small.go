package gossip

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Answers to pulls, unless they are small, go by stream. Where streams do not get through and
// datagrams do, a member stood still from its first gap on: those that answered were taken for
// silent. So whoever is silent to a pull is asked for an answer of datagrams, few enough that
// they are not lost, for as long as that is what gets through.
const (
	// smallBytesMin and smallBytesMax bound what a member is asked for in datagrams at a
	// time. It doubles while nothing of an answer is lost, and is halved when something is.
	smallBytesMin, smallBytesMax = 4 << 10, 32 << 10
	// smallPatience is how long an answer in datagrams may take to begin.
	smallPatience = 50 * time.Millisecond
	// A member that has answered so is asked as others are next, and every streamTry after that:
	// something that can only have come by stream ends it.
	streamTry = 5 * time.Second
	// partsMax is how many frames are put together from parts at once.
	partsMax = pullsMax
	// partedBytesMax bounds one of them: an entry travels alone if it is large.
	partedBytesMax = protocol.EntryBytesMax + protocol.FrameOverheadMax + protocol.FrameSignatureBytesMax
	// partBytesMin is the least that a part has, but the last of a frame.
	partBytesMin = 1 << 10
	// Whoever has begun a frame is asked for the rest first. Each time has to bring half of the
	// least that is asked for, restsMin times aside, and it may be another frame anewMax times:
	// or one member that gives the same part for ever would keep the others from being asked.
	restsMin, anewMax = 4, 3
)

// smallness is whether a member is asked for datagrams.
type smallness struct {
	on    bool
	bytes int              // to ask for
	tryAt protocol.Instant // when to ask as others are asked
}

// grow takes note of an answer of which nothing was lost, or something.
func (s *smallness) grow(whole bool) {
	if whole {
		s.bytes = min(2*s.bytes, smallBytesMax)
	} else {
		s.bytes = max(s.bytes/2, smallBytesMin)
	}
}

// parted is a frame of which some parts are there.
type parted struct {
	from  protocol.MemberID
	first protocol.Index // of it
	wants protocol.Index // what was asked for
	sum   uint64
	bytes []byte
	held  ranges // of bytes, counted from 1
	rests int    // how often the rest was asked for
	anew  int    // how often another frame for this index was begun before, and given up
}

// missing is the first byte that is missing.
func (x *parted) missing() uint32 {
	if len(x.held.list) == 0 || x.held.list[0].First > 1 {
		return 0
	}
	return uint32(x.held.list[0].Last)
}

// ask decides how a member is asked for what is missing: whether for datagrams, for how many
// bytes, and whether only to see if its streams get here.
func (p *pulling) ask(now protocol.Instant, m *member, x *pull, missing []protocol.Range) {
	x.bytes = pullBytes
	switch {
	case p.self.Needs != 0:
		x.bytes = farBytes
	case !x.guess && p.sparing(m):
		x.bytes = min(pullActiveBytes<<p.fromActives, pullBytes)
	}
	s := &m.small
	if !s.on || m.carrier.streams() {
		return
	}
	x.bulk = p.isBulk(missing)
	if x.bulk && now >= s.tryAt && m.silences <= 0 {
		x.try, s.tryAt = true, now.Add(streamTry)
		return
	}
	x.small, x.bytes = true, s.bytes
}

// isBulk reports whether what is missing is too much for a datagram or two.
func (p *pulling) isBulk(missing []protocol.Range) bool {
	n := 0
	for _, r := range missing {
		n += int(min(r.Last-r.First+1, smallBytesMin))
	}
	return n*p.each() > smallBytesMin
}

// inPieces reports whether what comes of a member is bulk in datagrams: others pull it
// themselves.
func (p *pulling) inPieces(of protocol.MemberID) bool {
	i := p.find(of)
	return i >= 0 && p.out[i].small && p.out[i].bulk
}

// streamed takes note that something came from a member by stream.
func (p *pulling) streamed(from protocol.MemberID) {
	if m := p.members.get(from); m != nil {
		m.small.on = false
	}
}

// gathered takes note of what came in answer to a pull that asked for datagrams, and reports
// whether that is all: the last of it has come, or as much as was asked for.
func (p *pulling) gathered(now protocol.Instant, x *pull, bytes int, last bool) (over bool) {
	x.got += bytes
	x.until = now.Add(max(patienceMin, 2*p.members.rtt))
	return last || x.got >= x.bytes
}

// drags reports whether too little of a frame has come for how often its rest was asked for.
func (x *parted) drags() bool {
	return x.anew > anewMax || x.rests > restsMin+2*int(x.held.count())/smallBytesMin
}

// unfinished returns the member that has given a part of the frame that an index is in, if it can
// be asked for the rest. [S] Nobody is asked so for longer than it gives.
func (p *pulling) unfinished(now protocol.Instant, i protocol.Index) *member {
	for k := 0; k < len(p.parts); k++ {
		x := &p.parts[k]
		m := p.members.get(x.from)
		switch {
		case x.wants != i || m == nil || !m.small.on || p.find(m.id) >= 0:
		case x.drags():
			p.parts = slices.Delete(p.parts, k, k+1)
			p.letDown(now, m, i)
			k--
		case now >= max(m.skipUntil, m.avoidUntil) && !m.distrusted(now) && p.heed.heeds(m.id) && m.first <= i:
			return m
		}
	}
	return nil
}

// letDown prefers others to a member that has given parts which come to nothing.
func (p *pulling) letDown(now protocol.Instant, m *member, i protocol.Index) {
	m.avoidUntil = max(m.avoidUntil, now.Add(avoidFor))
	p.silent(now, m, &pull{small: true, ranges: []protocol.Range{{First: i, Last: i}}})
}

// rest is from which byte on a frame is asked for, of a member that may have begun it.
func (p *pulling) rest(from protocol.MemberID, wants protocol.Index) uint32 {
	for k := range p.parts {
		if x := &p.parts[k]; x.from == from && x.wants == wants {
			x.rests++
			return x.missing()
		}
	}
	return 0
}

// part takes a part of a frame from a member that was asked for one, and returns the frame when
// it is whole. Its sum, which is checked as that of each frame, is over what all members agree upon.
func (p *pulling) part(now protocol.Instant, m *protocol.FramePart, from protocol.MemberID) *protocol.Frame {
	i, end := p.find(from), uint64(m.From)+uint64(len(m.Data))
	switch {
	case i < 0 || !p.out[i].small || len(m.Data) == 0 || m.Size > partedBytesMax || end > uint64(m.Size):
		return nil
	case len(m.Data) < partBytesMin && end < uint64(m.Size):
		return nil // byte by byte it would keep a pull under way, and others from being asked
	}
	x := p.partsOf(&p.out[i], m)
	if x == nil {
		return nil
	}
	copy(x.bytes[m.From:], m.Data)
	sender := p.members.get(from)
	if x.held.add(protocol.Range{First: protocol.Index(m.From) + 1, Last: protocol.Index(end)}) {
		p.failed, p.guesses = 0, 0
		if sender != nil && now >= sender.avoidUntil {
			sender.answered()
		}
	}
	gaps := len(x.held.list) - 1
	over := p.gathered(now, &p.out[i], len(m.Data), end == uint64(m.Size))
	if x.held.covers(protocol.Range{First: 1, Last: protocol.Index(m.Size)}) {
		whole, wants := x.bytes, x.wants
		p.parts = slices.DeleteFunc(p.parts, func(x parted) bool { return x.from == from })
		msg, err := protocol.DecodeMessage(whole)
		if f, ok := msg.(*protocol.Frame); ok && err == nil {
			return f
		}
		if over = true; sender != nil {
			p.letDown(now, sender, wants)
		}
	}
	if !over {
		return nil
	}
	if sender != nil {
		sender.small.grow(gaps == 0)
	}
	p.out = slices.Delete(p.out, i, i+1)
	p.pull(now)
	return nil
}

// partsOf returns where the parts of a frame are put together, one frame of each member; nil if
// this one is of no use. What is begun is given up once in a pull at most, for what the
// pull wants first: or each part could be of another large frame, and cost as much as that.
func (p *pulling) partsOf(x *pull, m *protocol.FramePart) *parted {
	first, anew := x.ranges[0].First, 0
	wants := max(first, m.Index) // what is before it was lost, or is to come
	p.parts = slices.DeleteFunc(p.parts, func(x parted) bool { return x.wants <= p.intake.reached() })
	i := slices.IndexFunc(p.parts, func(y parted) bool { return y.from == x.to })
	switch {
	case first <= p.intake.reached():
		return nil
	case i >= 0 && p.parts[i].first == m.Index && p.parts[i].sum == m.Sum && len(p.parts[i].bytes) == int(m.Size):
		return &p.parts[i]
	case !p.asked(x.to, protocol.Range{First: wants, Last: wants}):
		return nil
	case i < 0:
	case x.began || m.Index > first:
		return nil
	default:
		if p.parts[i].wants == wants {
			anew = p.parts[i].anew + 1
		}
		p.parts = slices.Delete(p.parts, i, i+1)
	}
	if len(p.parts) >= partsMax {
		p.parts = slices.Delete(p.parts, 0, 1)
	}
	x.began = true
	p.parts = append(p.parts, parted{from: x.to, first: m.Index, wants: wants, sum: m.Sum, bytes: make([]byte, m.Size), anew: anew})
	return &p.parts[len(p.parts)-1]
}
