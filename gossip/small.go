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

// unfinished returns the member that has given a part of the frame that an index is in, if it can
// be asked for the rest.
func (p *pulling) unfinished(now protocol.Instant, i protocol.Index) *member {
	for k := range p.parts {
		x := &p.parts[k]
		if m := p.members.get(x.from); x.wants == i && m != nil && m.small.on && now >= m.skipUntil && p.find(m.id) < 0 && m.first <= i {
			return m
		}
	}
	return nil
}

// begunAt is from which byte on a frame is wanted of a member.
func (p *pulling) begunAt(from protocol.MemberID, wants protocol.Index) uint32 {
	for k := range p.parts {
		if x := &p.parts[k]; x.from == from && x.wants == wants {
			return x.missing()
		}
	}
	return 0
}

// part takes a part of a frame from a member that was asked for one, and returns the frame when
// it is whole. Its sum, which is checked as that of each frame, is over what all members agree upon.
func (p *pulling) part(now protocol.Instant, m *protocol.FramePart, from protocol.MemberID) *protocol.Frame {
	i := p.find(from)
	if i < 0 || !p.out[i].small || len(m.Data) == 0 || m.Size > partedBytesMax || uint64(m.From)+uint64(len(m.Data)) > uint64(m.Size) {
		return nil
	}
	x := p.partsOf(&p.out[i], m)
	if x == nil {
		return nil
	}
	copy(x.bytes[m.From:], m.Data)
	x.held.add(protocol.Range{First: protocol.Index(m.From) + 1, Last: protocol.Index(m.From) + protocol.Index(len(m.Data))})
	p.failed, p.guesses = 0, 0
	sender := p.members.get(from)
	if sender != nil {
		sender.silences = 0
	}
	over := p.gathered(now, &p.out[i], len(m.Data), m.From+uint32(len(m.Data)) == m.Size)
	whole, gaps := x.bytes, len(x.held.list)-1
	if x.held.covers(protocol.Range{First: 1, Last: protocol.Index(m.Size)}) {
		p.parts = slices.DeleteFunc(p.parts, func(x parted) bool { return x.from == from })
		msg, err := protocol.DecodeMessage(whole)
		if f, ok := msg.(*protocol.Frame); ok && err == nil {
			return f
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
	wants := x.ranges[0].First
	p.parts = slices.DeleteFunc(p.parts, func(x parted) bool { return x.wants <= p.intake.reached() })
	i := slices.IndexFunc(p.parts, func(y parted) bool { return y.from == x.to })
	switch {
	case wants <= p.intake.reached():
		return nil
	case i < 0:
	case p.parts[i].first == m.Index && p.parts[i].sum == m.Sum && len(p.parts[i].bytes) == int(m.Size):
		return &p.parts[i]
	case x.began || m.Index > wants:
		return nil
	default:
		p.parts = slices.Delete(p.parts, i, i+1)
	}
	if len(p.parts) >= partsMax {
		p.parts = slices.Delete(p.parts, 0, 1)
	}
	x.began = true
	p.parts = append(p.parts, parted{from: x.to, first: m.Index, wants: wants, sum: m.Sum, bytes: make([]byte, m.Size)})
	return &p.parts[len(p.parts)-1]
}
