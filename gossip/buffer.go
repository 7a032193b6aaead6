package gossip

import (
	"slices"
	"sort"

	"github.com/starlinghq/starling/protocol"
)

const (
	// bufferFramesMax and windowMax bound the reassembly buffer besides its
	// bytes: how many frames wait, and how far ahead of the last index they may be.
	bufferFramesMax = 4096
	windowMax       = 1 << 17
	// frameCost is what a waiting frame costs beside its entries' bytes.
	frameCost = 256
)

// waiting is a frame that waits for what precedes it, or for the role to take
// it.
type waiting struct {
	from  protocol.MemberID
	frame *protocol.Frame
	r     protocol.Range
	bytes int
}

// buffer reassembles the log from frames that come in any order.
//
// Invariants: frames is sorted by where they begin; held is the union of their
// ranges, above what was dropped; no frame lies within another.
type buffer struct {
	frames   []waiting
	held     ranges
	bytes    int
	bytesMax int
}

// add keeps a frame unless everything in it is held. When the buffer is over
// its bounds the frames farthest ahead go first: they are needed last.
func (b *buffer) add(from protocol.MemberID, f *protocol.Frame) {
	r := f.Range()
	if b.held.covers(r) {
		return
	}
	w := waiting{from: from, frame: f, r: r, bytes: protocol.RawSize(f.Entries) + frameCost*len(f.Entries)}
	full := b.bytes+w.bytes > b.bytesMax || len(b.frames) >= bufferFramesMax
	if n := len(b.frames); full && n > 0 && r.First >= b.frames[n-1].r.First {
		return
	}
	at := sort.Search(len(b.frames), func(i int) bool { return b.frames[i].r.First > r.First })
	b.frames = slices.Insert(b.frames, at, w)
	b.bytes += w.bytes
	if b.held.add(r) && !full {
		return
	}
	for len(b.frames) > 1 && (b.bytes > b.bytesMax || len(b.frames) > bufferFramesMax) {
		last := len(b.frames) - 1
		b.bytes -= b.frames[last].bytes
		b.frames[last] = waiting{}
		b.frames = b.frames[:last]
	}
	b.reckon()
}

// full reports whether another pull's worth of frames would not fit, and where
// the frame farthest ahead begins.
func (b *buffer) full() (far protocol.Index, full bool) {
	n := len(b.frames)
	if n == 0 || b.bytes+pullBytes <= b.bytesMax && n < bufferFramesMax {
		return 0, false
	}
	return b.frames[n-1].r.First, true
}

// reckon computes held anew, after frames were taken out.
func (b *buffer) reckon() {
	b.held.clear()
	for i := range b.frames {
		b.held.add(b.frames[i].r)
	}
}

// next returns the first frame that joins or overlaps a log which ends at last index,
// and reaches beyond it.
func (b *buffer) next(lastIndex protocol.Index) (waiting, bool) {
	for i := range b.frames {
		if b.frames[i].r.First > lastIndex+1 {
			break
		}
		if b.frames[i].r.Last > lastIndex {
			return b.frames[i], true
		}
	}
	return waiting{}, false
}

// dropTo forgets the frames that end at or below i.
func (b *buffer) dropTo(i protocol.Index) {
	if len(b.frames) == 0 || b.frames[0].r.First > i {
		return
	}
	b.keep(func(w *waiting) bool { return w.r.Last > i })
	b.held.dropTo(i)
}

// dropOrigin forgets the frames that one member made.
func (b *buffer) dropOrigin(origin protocol.MemberID) {
	n := len(b.frames)
	b.keep(func(w *waiting) bool { return w.frame.Origin != origin })
	if len(b.frames) != n {
		b.reckon()
	}
}

func (b *buffer) keep(good func(*waiting) bool) {
	n := 0
	for i := range b.frames {
		if !good(&b.frames[i]) {
			b.bytes -= b.frames[i].bytes
			continue
		}
		if n != i {
			b.frames[n] = b.frames[i]
		}
		n++
	}
	clear(b.frames[n:])
	b.frames = b.frames[:n]
}

func (b *buffer) clear() {
	b.frames, b.bytes = nil, 0
	b.held.clear()
}
