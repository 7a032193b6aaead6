package wire

import (
	"context"
	"fmt"
	"sync"

	"github.com/starlinghq/starling/protocol"
)

// ErrQueueFull says that a connection's queue is full and the frame was not
// taken.
var ErrQueueFull = protocol.ErrOverloaded.With("the connection's queue is full: the other side does not keep up")

const (
	// writeBytes is about how much data one write carries: what an urgent
	// frame waits for at most, unless one frame alone is larger.
	writeBytes = 128 << 10
	// bulkTurns writes of data go before one frame of bulk, so that neither
	// waits for the other for long.
	bulkTurns = 4
	// keepBytes is the largest buffer that a lane keeps when it is empty.
	keepBytes = 256 << 10
)

// laneKind says how a frame queues.
type laneKind uint8

const (
	laneData laneKind = iota
	// laneUrgent overtakes data.
	laneUrgent
	// laneBulk gives way to data, all but bulkTurns of the time.
	laneBulk
	// laneAlways is the data lane without its limit, for the few small frames
	// that must keep their place and must not be lost.
	laneAlways
	// laneSign is the urgent lane without its limit, for one ping and one pong at a time:
	// who does not see it takes this side for dead.
	laneSign
)

// laneOf says how messages queue.
var laneOf = [...]laneKind{protocol.LaneData: laneData, protocol.LaneUrgent: laneUrgent, protocol.LaneBulk: laneBulk}

// lane is a queue of encoded frames, one after the other in one buffer.
type lane struct {
	buf  []byte
	ends []int // where each frame ends
}

func (l *lane) reset() {
	if cap(l.buf) > keepBytes {
		l.buf = nil
	}
	l.buf, l.ends = l.buf[:0], l.ends[:0]
}

// outbox holds what waits to be written on one connection. Frames are encoded
// straight into its buffers, so that whatever has queued is one write.
type outbox struct {
	version             uint8 // of the frames
	bytesMax, framesMax int
	shared              *answers // nil: bounded by nothing else

	mu     sync.Mutex
	wake   sync.Cond // for the writer: there is something, or closed
	closed bool
	shares int // bytes of what is shared
	urgent lane
	signs  uint8 // the kinds of signs in the urgent lane, a bit for each
	data   lane
	// bulk is handed out one frame at a time: what comes meanwhile overtakes
	// the rest. bulkWaits counts the writes of data that went before.
	bulk      [][]byte
	bulkBytes int
	bulkWaits int
	// room, if there is one, is closed when there is room again, or none
	// ever will be.
	room chan struct{}
	// idle is the same for "everything was written".
	idle    chan struct{}
	writing bool

	// The writer's side: what was taken from the lanes. spare is the buffer
	// that the urgent lane gets in exchange.
	work   lane
	workAt int // bytes of work that were handed out
	workN  int // frames of work that were handed out
	spare  lane

	// added and taken count the frames of the data lane: frame number n may
	// have been written, in part at least, if taken >= n.
	added, taken uint64
	used         uint64 // frames of all lanes so far that are no signs
}

func (o *outbox) init(version uint8, bytesMax, framesMax int) {
	o.version = version
	o.bytesMax, o.framesMax = bytesMax, framesMax
	o.wake.L = &o.mu
}

// add appends one frame, encoded by encode and of about size bytes. It returns
// the frame's number if it is one of the data lane.
func (o *outbox) add(to laneKind, kind FrameKind, size int, encode func([]byte) []byte) (number uint64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return 0, protocol.ErrClosed.With("the connection is closed")
	}
	if to != laneSign {
		o.used++
	}
	if to == laneBulk {
		return 0, o.addBulk(kind, size, encode)
	}
	if to == laneSign && o.signs&(1<<kind) != 0 {
		return 0, nil // the one that waits says the same
	}
	l := &o.data
	if to == laneUrgent || to == laneSign {
		l = &o.urgent
	}
	if to != laneAlways && to != laneSign && (o.full(l, size) || to == laneData && o.overShare(size)) {
		return 0, ErrQueueFull
	}
	begin := len(l.buf)
	if cap(l.buf)-begin < size+headerBytes {
		grown := make([]byte, begin, max(2*cap(l.buf), begin+size+headerBytes))
		copy(grown, l.buf)
		l.buf = grown
	}
	buf := encode(beginFrame(l.buf, o.version, kind))
	if err := endFrame(buf, begin); err != nil {
		return 0, err
	}
	l.buf, l.ends = buf, append(l.ends, len(buf))
	o.share()
	o.wake.Signal()
	if l == &o.urgent {
		if to == laneSign {
			o.signs |= 1 << kind
		}
		return 0, nil
	}
	o.added++
	return o.added, nil
}

// addBulk appends a frame in a buffer of its own: they are large, and few.
func (o *outbox) addBulk(kind FrameKind, size int, encode func([]byte) []byte) error {
	if len(o.bulk) >= o.framesMax || o.bulkBytes > 0 && o.bulkBytes+size > o.bytesMax {
		return ErrQueueFull
	}
	buf := encode(beginFrame(make([]byte, 0, size+headerBytes), o.version, kind))
	if err := endFrame(buf, 0); err != nil {
		return err
	}
	o.bulk, o.bulkBytes = append(o.bulk, buf), o.bulkBytes+len(buf)
	o.wake.Signal()
	return nil
}

// nextBulk hands out a frame of bulk if it is its turn.
func (o *outbox) nextBulk() []byte {
	data := len(o.data.ends) > 0 || o.workN < len(o.work.ends)
	if len(o.bulk) == 0 {
		o.bulkWaits = 0
		return nil
	}
	if data && o.bulkWaits < bulkTurns {
		o.bulkWaits++
		return nil
	}
	frame := o.bulk[0]
	o.bulk[0] = nil
	o.bulk, o.bulkBytes, o.bulkWaits = o.bulk[1:], o.bulkBytes-len(frame), 0
	return frame
}

// full: one frame is always taken by an empty queue, however large it is.
func (o *outbox) full(l *lane, size int) bool {
	waiting, frames := len(l.buf), len(l.ends)
	if l == &o.data {
		waiting, frames = o.backlog()
	}
	return frames >= o.framesMax || waiting > 0 && waiting+size > o.bytesMax
}

// backlog is what waits in the data lane.
func (o *outbox) backlog() (bytes, frames int) {
	return len(o.data.buf) + len(o.work.buf) - o.workAt, len(o.data.ends) + len(o.work.ends) - o.workN
}

// roomy: who waits for room leaves the other half to those who cannot wait.
func (o *outbox) roomy() bool {
	bytes, frames := o.backlog()
	return bytes <= o.bytesMax/2 && frames <= o.framesMax/2
}

// next waits for frames and hands them to the writer; they stay valid until
// the next call. ok is false once the outbox is closed.
func (o *outbox) next() (urgent, data []byte, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.writing = false
	o.spare.reset()
	if o.workN == len(o.work.ends) {
		o.work.reset()
		o.workAt, o.workN = 0, 0
	}
	o.share()
	o.tell()
	for o.empty() && !o.closed {
		o.wake.Wait()
	}
	if o.closed {
		return nil, nil, false
	}
	o.writing = true
	o.urgent, o.spare, o.signs = o.spare, o.urgent, 0
	if bulk := o.nextBulk(); bulk != nil {
		return o.spare.buf, bulk, true
	}
	if len(o.work.ends) == 0 {
		o.data, o.work = o.work, o.data
	}
	begin := o.workAt
	for o.workN < len(o.work.ends) && (o.workAt == begin || o.work.ends[o.workN]-begin <= writeBytes) {
		o.workAt = o.work.ends[o.workN]
		o.workN++
		o.taken++
	}
	return o.spare.buf, o.work.buf[begin:o.workAt], true
}

func (o *outbox) empty() bool {
	return len(o.urgent.ends) == 0 && len(o.data.ends) == 0 && o.workN == len(o.work.ends) && len(o.bulk) == 0
}

// tell wakes who waits for room or for the end of all writes.
func (o *outbox) tell() {
	if o.room != nil && (o.closed || o.roomy()) {
		close(o.room)
		o.room = nil
	}
	if o.idle != nil && (o.closed || o.empty() && !o.writing) {
		close(o.idle)
		o.idle = nil
	}
}

// waitRoom waits until about half of the data lane is free.
func (o *outbox) waitRoom(ctx context.Context) error {
	return o.wait(ctx, &o.room, o.roomy)
}

// waitIdle waits until everything was written.
func (o *outbox) waitIdle(ctx context.Context) error {
	return o.wait(ctx, &o.idle, func() bool { return o.empty() && !o.writing })
}

func (o *outbox) wait(ctx context.Context, on *chan struct{}, done func() bool) error {
	for {
		o.mu.Lock()
		if o.closed {
			o.mu.Unlock()
			return protocol.ErrClosed.With("the connection is closed")
		}
		if done() {
			o.mu.Unlock()
			return nil
		}
		if *on == nil {
			*on = make(chan struct{})
		}
		c := *on
		o.mu.Unlock()
		select {
		case <-c:
		case <-ctx.Done():
			return fmt.Errorf("waiting for a connection to take frames: %w", ctx.Err())
		}
	}
}

// close refuses everything from now on. Frames that were not handed to the
// writer are never written.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.share()
	o.wake.Broadcast()
	o.tell()
}

// frames returns how many frames were to be sent so far that are no signs.
func (o *outbox) frames() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.used
}

// atRest reports whether everything was written.
func (o *outbox) atRest() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.empty() && !o.writing
}

// signWaits reports whether a sign has not been handed to the writer.
func (o *outbox) signWaits(kind FrameKind) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.signs&(1<<kind) != 0
}

// urgentWaits reports whether an urgent frame has not been handed to the writer.
func (o *outbox) urgentWaits() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.urgent.ends) > 0
}

// mayHaveLeft reports whether any part of a data frame can have been written.
// After the writer has ended the answer is final.
func (o *outbox) mayHaveLeft(number uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.taken >= number
}
