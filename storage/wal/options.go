package wal

import (
	"crypto/rand"
	"io"

	"github.com/starlinghq/starling/protocol"
)

// Options of a log. A zero field means its default.
type Options struct {
	// SegmentBytes is the size of a segment; default 64 MiB, at least 16 KiB.
	// Large ones make renames and directory syncs rarer, small ones give space
	// back sooner. A record that does not fit gets a segment of its own size.
	SegmentBytes int64
	// PreallocatedMax is how many unused segments are kept for later; default 2.
	PreallocatedMax int
	// Background lets the log prepare its next segment in a goroutine of its
	// own, which Close waits for. Without it the owner calls Prepare, or pays
	// for a new segment inside a Write.
	Background bool
	// SpaceLow and SpaceHigh are the limits of the disk guard, in bytes of free
	// space; default four segments, and half as much again.
	SpaceLow, SpaceHigh uint64
	// Cluster, if not zero, is the cluster that the directory must belong to.
	Cluster protocol.ClusterID
	// Random is where nonces come from; default crypto/rand. A simulation gives
	// a seeded one.
	Random io.Reader
}

const (
	segmentBytesDefault = 64 << 20
	segmentBytesMin     = 16 << 10
	preallocatedDefault = 2
	// zeroedAtOpen is how much of the first segment of a run is filled with
	// zeros at once; the rest is only reserved, so that opening is quick.
	zeroedAtOpen = 4 << 20
	zeroChunk    = 1 << 20
	// copyChunk is how much is copied at once at opening.
	copyChunk = 1 << 20
	// bufferKeep is the largest write buffer that is kept.
	bufferKeep = 4 << 20
)

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = segmentBytesDefault
	}
	o.SegmentBytes = (max(o.SegmentBytes, segmentBytesMin) + segmentAlign - 1) &^ (segmentAlign - 1)
	if o.PreallocatedMax == 0 {
		o.PreallocatedMax = preallocatedDefault
	}
	if o.SpaceLow == 0 {
		o.SpaceLow = uint64(4 * o.SegmentBytes)
	}
	if o.SpaceHigh == 0 {
		o.SpaceHigh = o.SpaceLow + o.SpaceLow/2
	}
	o.SpaceHigh = max(o.SpaceHigh, o.SpaceLow)
	if o.Random == nil {
		o.Random = rand.Reader
	}
	return o
}
