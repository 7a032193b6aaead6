package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// Magic is what a stream of ours begins with, in both directions.
const Magic = "STARLING"

// FrameKind says what a frame's payload is.
type FrameKind uint8

// The kinds. One frame carries one of them, encoded by protocol.
const (
	FrameHello    FrameKind = 1
	FrameMessage  FrameKind = 2
	FrameRequest  FrameKind = 3
	FrameResponse FrameKind = 4
	// FramePing asks whether the member at the other end is at work, and
	// FramePong says so. Neither has a payload: at most one waits to be written. A
	// client asks the member, and a member asks the run at the other end of a stream
	// that it has accepted, and whether a stream that it has made still gets through.
	FramePing FrameKind = 5
	FramePong FrameKind = 6
)

const (
	headerBytes = 4 + 1 + 1
	// helloBytesMax limits a frame before the handshake is done.
	helloBytesMax = 8 << 10
	// requestBytesMax limits a request: one command and its envelope. A longer
	// one is passed over and refused, as long as it is a frame at all.
	requestBytesMax = protocol.EntryBytesMax
)

// greetingVersion stands in the header of a greeting, which is the same in all versions
// of the protocol: it only grows. What follows has the version that the two agreed on.
const greetingVersion = 0

// beginFrame appends a header whose length endFrame fills in.
func beginFrame(dst []byte, version uint8, kind FrameKind) []byte {
	return append(dst, 0, 0, 0, 0, version, byte(kind))
}

// endFrame completes the frame that begins at begin.
func endFrame(dst []byte, begin int) error {
	n := len(dst) - begin - headerBytes
	if n > protocol.FrameBytesMax {
		return protocol.ErrTooLarge.With(fmt.Sprintf("a frame of %d bytes, the limit is %d", n, protocol.FrameBytesMax))
	}
	binary.BigEndian.PutUint32(dst[begin:], uint32(n))
	return nil
}

// parseHeader checks a header before anything is allocated for its payload.
func parseHeader(h []byte, version uint8, limit int) (kind FrameKind, n int, err error) {
	if h[4] != version {
		return 0, 0, protocol.ErrWrongVersion.With(fmt.Sprintf(
			"a frame of version %d of the protocol where version %d is spoken", h[4], version))
	}
	size := binary.BigEndian.Uint32(h)
	if int64(size) > int64(limit) {
		return 0, 0, protocol.ErrTooLarge.With(fmt.Sprintf("a frame of %d bytes announced, the limit is %d", size, limit))
	}
	return FrameKind(h[5]), int(size), nil
}

func unexpectedFrame(kind FrameKind) error {
	return protocol.ErrMalformed.With(fmt.Sprintf("malformed stream: a frame of kind %d where none is expected", kind))
}
