package protocol

import (
	"math"

	"github.com/zeebo/xxh3"
)

// FramePart is a part of an encoded Frame that is too large for a datagram.
type FramePart struct {
	Index Index // of the frame's first entry
	// Size is how many bytes the frame has, Sum is over them, and From where this part begins.
	Size, From uint32
	Sum        uint64
	Data       []byte
}

// Kind implements Message.
func (*FramePart) Kind() MessageKind { return KindFramePart }

func (m *FramePart) highest() Index { return m.Index }

const (
	// framePartOverheadMax bounds what an encoded FramePart takes beside its data.
	framePartOverheadMax = 1 + 1 + 9 + 5 + 5 + 9 + 5
	// FramePartBytesMax is how much of a frame is in a part, so that it fits into a datagram
	// with what the transport puts in front of it.
	FramePartBytesMax = DatagramBytesMax - framePartOverheadMax - 32
)

// FrameParts returns parts of a frame, from a byte of its encoding on, of about so many bytes
// together; none if there are no more.
func FrameParts(f *Frame, from uint32, bytes int) (parts []*FramePart) {
	whole := AppendMessage(make([]byte, 0, MessageSize(f)), f)
	sum := xxh3.Hash(whole)
	for at := uint64(from); at < uint64(len(whole)) && bytes > 0; at += FramePartBytesMax {
		data := whole[at:min(at+FramePartBytesMax, uint64(len(whole)))]
		bytes -= len(data)
		parts = append(parts, &FramePart{Index: f.Entries[0].Index, Size: uint32(len(whole)), From: uint32(at), Sum: sum, Data: data})
	}
	return parts
}

func (m *FramePart) append(dst []byte) []byte {
	dst = appendArray(dst, 5)
	dst = appendUint(dst, uint64(m.Index))
	dst = appendUint(appendUint(dst, uint64(m.Size)), uint64(m.From))
	return appendBin(appendUint(dst, m.Sum), m.Data)
}

func (m *FramePart) size() int { return framePartOverheadMax + len(m.Data) }

func decodeFramePart(r *reader) Message {
	r.message(5)
	return &FramePart{
		Index: r.index(), Size: uint32(r.uintTo(math.MaxUint32)), From: uint32(r.uintTo(math.MaxUint32)), Sum: r.uint(), Data: r.bin(FramePartBytesMax),
	}
}
