package wire

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// slowestBytes is what a link carries in a second, at least: a ping may have to wait
	// for what was sent before it for as long as that takes. The longest frame would not
	// be there within the time for it otherwise.
	slowestBytes = 64 << 10
	// unprovenBytes is of how much that is, at most: about what is on its way at once.
	unprovenBytes = 1 << 20
	// redialEvery is the least time between two attempts of a link whose stream was lost
	// in silence.
	redialEvery = time.Second
)

// lifeSigns finds out whether anything still comes from the other end of a link's stream.
// By itself a stream on which nothing is sent never ends, and one whose packets are dropped
// is missed when something is to be sent, and a while after.
//
// Where nothing has come from one look to the next, a ping is sent. Whatever comes then is a
// sign of life. If nothing does in pulseBeats beats of a quarter of SignTimeout, the
// connection ends. Beats are counted, not time: a look that came late itself, because this
// process or its machine stood still, proves nothing, and the answer is read before the next.
// Nor does one while this side hands over what it has read, or the ping waits for a write,
// which has a time of its own. What was sent before the ping, and that no pong has proven to
// be there, is given time by its length.
type lifeSigns struct {
	conn *Conn
	beat time.Duration
	rest func() time.Duration // between two looks while nothing is asked

	// handing is true while a message that has come is being handed over.
	handing atomic.Bool

	mu     sync.Mutex
	timer  *time.Timer // nil: nothing is asked
	due    time.Time   // the next look
	asked  bool        // a ping was sent, and nothing has come since
	quiet  int         // beats since, that count
	frames uint64      // of the connection's moved, at the last look
	in     uint64
	open   bool   // a ping has no pong yet
	sent   uint64 // bytes before that ping
	proven uint64 // bytes before the last ping that has its pong
}

// listen follows a new connection, if its other end answers pings. It asks at once: who has
// shaken hands may let nothing else through.
func (p *Peer) listen(conn *Conn) *lifeSigns {
	s := &lifeSigns{conn: conn, beat: p.cfg.SignTimeout / pulseBeats, rest: p.cfg.PingAfter}
	if s.beat <= 0 || !conn.Peer().AnswersPing {
		return s
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = time.Now().Add(s.beat)
	s.ask()
	s.timer = time.AfterFunc(s.beat, s.look)
	return s
}

// asks reports whether the other end is asked.
func (s *lifeSigns) asks() bool { return s.timer != nil }

// ask sends a ping. The lock is held.
func (s *lifeSigns) ask() {
	s.asked, s.quiet = true, 0
	if !s.open {
		s.open, s.sent = true, s.conn.moved.out.Load()
	}
	_ = s.conn.sendSign(FramePing) // refused only by a connection that has ended
}

// look looks back at the time since the last look.
func (s *lifeSigns) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn.Err() != nil {
		return
	}
	now, next := time.Now(), s.beat
	late := now.Sub(s.due) > s.beat/2
	frames, in := s.conn.moved.frames.Load(), s.conn.moved.in.Load()
	moved := frames != s.frames || in != s.in
	s.frames, s.in = frames, in
	switch {
	case moved:
		s.asked, next = false, max(s.rest(), 1)
	case !s.asked:
		s.ask()
	case late, s.handing.Load(), s.conn.out.signWaits(FramePing):
	default:
		s.quiet++
	}
	if s.asked && s.quiet >= pulseBeats+s.behind() {
		silent := &SilentError{Address: s.conn.Remote().String(), For: time.Duration(s.quiet) * s.beat}
		s.conn.fail(&protocol.Error{Code: protocol.ErrUnavailable.Code, Text: silent.Error(), Cause: errors.Join(ErrNoAnswer, silent)})
		return
	}
	s.due = now.Add(next)
	s.timer.Reset(next)
}

// behind is how many beats what was sent before the ping may take. The lock is held.
func (s *lifeSigns) behind() int {
	waits := s.conn.moved.out.Load() - s.proven
	if !s.conn.out.atRest() {
		waits += writeBytes
	}
	return int(time.Duration(min(waits, unprovenBytes)) * time.Second / slowestBytes / s.beat)
}

// pong takes note that all that was sent before a ping is there.
func (s *lifeSigns) pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		s.open, s.proven = false, s.sent
	}
}

// stop ends the looks with the connection.
func (s *lifeSigns) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
}

// lostInSilence reports whether a stream has ended because nothing came on it, nothing that
// was sent was acknowledged, or a router knew no way: only an attempt shows whether the way is
// open again.
func lostInSilence(err error) bool {
	silent := (*SilentError)(nil)
	return errors.As(err, &silent) || errors.Is(err, syscall.ETIMEDOUT) ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)
}

// atWork says to the other end of an accepted stream that this one is at work, while a
// message that has come on it is being handed over for long: pings behind that one are not
// read, and who is only busy is not silent. The timer runs only while there are messages.
type atWork struct {
	stream *memberStream
	conn   *Conn
	every  time.Duration // 0: the other end does not understand it
	timer  *time.Timer
	runs   atomic.Bool
	frames uint64 // of the connection's moved, at the last look
}

func sayAtWork(stream *memberStream, conn *Conn) *atWork {
	w := &atWork{stream: stream, conn: conn}
	if conn.Peer().AnswersPing {
		w.every = conn.opt.SignTimeout / pulseBeats
	}
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
	return w
}

// begin says that a message is being handed over.
func (w *atWork) begin() {
	w.stream.handing.Store(true)
	w.run()
}

func (w *atWork) end() { w.stream.handing.Store(false) }

func (w *atWork) run() {
	if w.every > 0 && w.runs.CompareAndSwap(false, true) {
		w.timer.Reset(w.every)
	}
}

func (w *atWork) look() {
	frames := w.conn.moved.frames.Load()
	handing := w.stream.handing.Load()
	if frames == w.frames && handing {
		_ = w.conn.sendSign(FramePong) // refused only by a connection that has ended
	}
	w.frames = frames
	w.runs.Store(false)
	if w.stream.handing.Load() { // also one that has begun since
		w.run()
	}
}
