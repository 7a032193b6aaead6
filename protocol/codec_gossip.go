package protocol

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/zeebo/xxh3"
)

const (
	// FrameOverheadMax bounds what an encoded Frame takes beside the Raw bytes
	// of its entries: kind, flags, hop, and the body's sum, head, origin, log
	// sum, commit index and entry count. A signature comes in addition.
	FrameOverheadMax = 1 + 1 + 2 + frameSumBytes + 1 + 18 + 18 + 9 + 3 + 2

	// frameSumBytes is the head of a body: a byte string of 8.
	frameSumBytes = 2 + 8
	rangeBytesMin = 1 + 1 + 1
	idBytesMin    = 1
	// othersMax limits the members that a BUSY points at.
	othersMax = 16
)

// EncodeFrameBody returns the body of a frame, with its sum, from Origin,
// Before, Commit, Entries, Chain and Signature. Whoever makes a frame calls it once and keeps the
// result in Body; relays send the Body that they received.
func EncodeFrameBody(f *Frame) []byte {
	return appendFrameBody(make([]byte, 0, FrameOverheadMax+FrameSignatureBytesMax+RawSize(f.Entries)), f)
}

func appendFrameBody(dst []byte, f *Frame) []byte {
	begin := len(dst)
	dst = append(dst, codeBin8, 8, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = appendArray(dst, 6)
	dst = appendID(dst, f.Origin)
	dst = appendSum(dst, f.Before)
	dst = appendUint(dst, uint64(f.Commit))
	dst = appendEntries(dst, f.Entries)
	if f.Signature.IsZero() {
		dst = appendNil(dst)
	} else {
		dst = appendBin(dst, f.Chain[:])
	}
	dst = appendSignature(dst, &f.Signature)
	body := dst[begin:]
	binary.BigEndian.PutUint64(body[2:], xxh3.Hash(body[frameSumBytes:]))
	return dst
}

func (m *Frame) append(dst []byte) []byte {
	dst = append(dst, byte(m.Flags))
	dst = appendUint(dst, uint64(m.Hop))
	if m.Body != nil {
		return append(dst, m.Body...)
	}
	return appendFrameBody(dst, m)
}

// decodeFrame reads a frame. The body's sum is checked before anything else in it.
func decodeFrame(r *reader) Message {
	m := &Frame{
		Flags: FrameFlags(r.uintTo(uint64(FrameTaint | FrameCross | FramePulled))),
		Hop:   uint8(r.uintTo(0xff)),
	}
	m.Body = r.src[:len(r.src):len(r.src)]
	sum := r.bin(8)
	if len(sum) != 8 || binary.BigEndian.Uint64(sum) != xxh3.Hash(r.src) {
		r.fail("a frame that fails its own sum")
		return m
	}
	more := r.grows(6)
	m.Origin, m.Before, m.Commit = r.member(), r.sum(), r.index()
	m.Entries = r.entries()
	m.Chain, m.Signature = r.chain(), r.signature()
	r.skip(more)
	if len(m.Entries) == 0 {
		r.fail("a frame without entries")
	}
	return m
}

func (m *Frame) size() int {
	if m.Body != nil {
		return 1 + 1 + 2 + len(m.Body)
	}
	return FrameOverheadMax + FrameSignatureBytesMax + RawSize(m.Entries)
}

func (m *Want) append(dst []byte) []byte {
	dst = appendArray(dst, 5)
	dst = appendRanges(dst, m.Ranges)
	dst = appendUint(dst, m.Bytes)
	dst = appendBool(dst, m.Eager)
	return appendUint(appendBool(dst, m.Small), uint64(m.From))
}

func (m *Want) size() int { return 1 + 1 + 5 + len(m.Ranges)*18 + 9 + 1 + 1 + 5 }

func decodeWant(r *reader) Message {
	r.message(3)
	m := &Want{Ranges: r.ranges(RangesMax), Bytes: r.uint(), Eager: r.bool()}
	if r.more > 0 {
		r.more--
		m.Small = r.bool()
	}
	if r.more > 0 {
		r.more--
		m.From = uint32(r.uintTo(math.MaxUint32))
	}
	return m
}

func (m *Prune) append(dst []byte) []byte { return appendUint(appendArray(dst, 1), uint64(m.Index)) }

func decodePrune(r *reader) Message {
	r.message(1)
	return &Prune{Index: r.index()}
}

func (m *Graft) append(dst []byte) []byte { return appendUint(appendArray(dst, 1), uint64(m.From)) }

func decodeGraft(r *reader) Message {
	r.message(1)
	return &Graft{From: r.index()}
}

func (m *Busy) append(dst []byte) []byte {
	dst = appendArray(dst, 2)
	dst = appendUint(dst, uint64(max(m.RetryAfter, 0)))
	return appendIDs(dst, m.Others)
}

func (m *Busy) size() int { return 1 + 1 + 9 + 5 + len(m.Others)*18 }

func decodeBusy(r *reader) Message {
	r.message(2)
	return &Busy{RetryAfter: r.nanos(), Others: readAll(r, othersMax, idBytesMin, (*reader).member)}
}

func (m *SumQuestion) append(dst []byte) []byte {
	return appendUint(appendArray(dst, 1), uint64(m.Index))
}

func decodeSumQuestion(r *reader) Message {
	r.message(1)
	return &SumQuestion{Index: r.index()}
}

func (m *SumAnswer) append(dst []byte) []byte {
	dst = appendArray(dst, 4)
	dst = appendUint(dst, uint64(m.Index))
	dst = appendBool(dst, m.Known)
	dst = appendSum(dst, m.Sum)
	return appendSignature(dst, &m.Signature)
}

func (m *SumAnswer) size() int { return 1 + 1 + 9 + 1 + 18 + signatureSize(&m.Signature) }

func decodeSumAnswer(r *reader) Message {
	r.message(4)
	return &SumAnswer{Index: r.index(), Known: r.bool(), Sum: r.sum(), Signature: r.signature()}
}

func (m *Have) append(dst []byte) []byte {
	dst = appendArray(dst, 14)
	dst = appendUint(dst, uint64(m.Applied))
	dst = appendUint(dst, uint64(m.LastIndex))
	dst = appendUint(dst, uint64(m.First))
	dst = appendUint(dst, uint64(m.Commit))
	dst = appendRanges(dst, m.Holes)
	dst = appendUint(dst, uint64(m.Term))
	dst = appendID(dst, m.Leader)
	dst = appendArray(dst, len(m.Checkpoints))
	for _, i := range m.Checkpoints {
		dst = appendUint(dst, uint64(i))
	}
	dst = appendUint(dst, uint64(m.Load))
	dst = appendUint(dst, m.Nonce)
	dst = appendUint(dst, m.AnswerTo)
	dst = m.appendClaim(dst)
	return appendSignature(appendBehind(dst, &m.Behind), &m.Signature)
}

// appendClaim writes the freshness claim, and where the log differs: most members
// have one of the two to say, or nothing.
func (m *Have) appendClaim(dst []byte) []byte {
	n := 0
	if m.FreshKnown {
		n += 3
	}
	if m.Diverged != 0 {
		n++
	}
	if n == 0 {
		return append(dst, codeNil)
	}
	dst = appendArray(dst, n)
	if m.FreshKnown {
		dst = appendUint(dst, uint64(m.FreshIndex))
		dst = appendUint(dst, m.FreshSum)
		dst = appendUint(dst, uint64(max(m.FreshAge, 0)))
	}
	if m.Diverged != 0 {
		dst = appendUint(dst, uint64(m.Diverged))
	}
	return dst
}

func (r *reader) claim(m *Have) {
	if r.isNil() {
		return
	}
	n := r.arrayTo(4, 1)
	if n == 3 || n == 4 {
		m.FreshKnown, m.FreshIndex, m.FreshSum, m.FreshAge = true, r.index(), r.uint(), r.nanos()
		n -= 3
	}
	if n == 1 {
		if m.Diverged = r.index(); r.err == nil && m.Diverged == 0 {
			r.fail("a log that differs nowhere")
		}
		n--
	}
	if n != 0 || !m.FreshKnown && m.Diverged == 0 {
		r.fail("an array of another length")
	}
}

func appendBehind(dst []byte, b *Behind) []byte {
	if *b == (Behind{}) {
		return append(dst, codeNil)
	}
	dst = appendArray(dst, 4)
	dst = appendUint(dst, uint64(b.Needs))
	dst = appendUint(dst, uint64(b.Installing))
	dst = appendUint(dst, uint64(b.Left))
	return appendBool(dst, b.Pressed)
}

func (r *reader) behind() (b Behind) {
	if r.isNil() {
		return b
	}
	r.array(4)
	b = Behind{Needs: r.index(), Installing: r.index(), Left: uint32(r.uintTo(math.MaxUint32)), Pressed: r.bool()}
	if r.err == nil && b.Needs == 0 {
		r.fail("a member that is behind and needs nothing")
	}
	return b
}

// behindBytesMax bounds what Behind takes in a Have.
const behindBytesMax = 1 + 2*9 + 5 + 1

func (m *Have) size() int {
	return 1 + 1 + 4*9 + 5 + len(m.Holes)*18 + 9 + 18 + 1 + len(m.Checkpoints)*9 + 2 + 2*9 + 4*9 + behindBytesMax + signatureSize(&m.Signature)
}

func decodeHave(r *reader) Message {
	r.message(14)
	m := &Have{
		Applied: r.index(), LastIndex: r.index(), First: r.index(), Commit: r.index(), Holes: r.ranges(HolesMax),
		Term: r.term(), Leader: r.member(), Checkpoints: r.checkpoints(),
		Load: uint8(r.uintTo(0xff)), Nonce: r.uint(), AnswerTo: r.uint(),
	}
	r.claim(m)
	m.Behind, m.Signature = r.behind(), r.signature()
	return m
}

func (r *reader) checkpoints() []Index {
	var out []Index
	for range r.arrayTo(CheckpointsMax, 1) {
		out = append(out, r.index())
	}
	return out
}

func appendRanges(dst []byte, ranges []Range) []byte {
	dst = appendArray(dst, len(ranges))
	for _, g := range ranges {
		dst = appendArray(dst, 2)
		dst = appendUint(dst, uint64(g.First))
		dst = appendUint(dst, uint64(g.Last))
	}
	return dst
}

func (r *reader) ranges(limit int) []Range {
	var out []Range
	for range r.arrayTo(limit, rangeBytesMin) {
		r.array(2)
		g := Range{First: r.index(), Last: r.index()}
		if r.err == nil && (g.First == 0 || g.Last < g.First) {
			r.fail(fmt.Sprintf("a range from %d to %d", g.First, g.Last))
		}
		out = append(out, g)
	}
	return out
}
