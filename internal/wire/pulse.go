package wire

import (
	"fmt"
	"time"
)

// pulseBeats are in one PingTimeout.
const pulseBeats = 4

// pulse finds out whether the member at the other end of a client's connection
// is at work. That, and not the time that an answer takes, decides whether a
// client waits: a long query is answered after minutes, and a frozen member is
// left within about a second, with everything that it was asked.
//
// At each beat, a quarter of PingTimeout, the client looks back. If a request
// has waited since the last beat at least, a ping is sent; if only watches wait,
// one in pulseBeats beats. A ping under way that shows no sign of life for
// pulseBeats beats ends the connection. Beats are counted, not time, so that a
// client that stood still itself condemns nobody: the answer has been waiting
// for it meanwhile.
//
// A sign of life is the pong. Answers to other requests are none: the member may
// answer some of them from what it has while the part of it that decides hangs.
// But while the ping cannot leave because the link is slow, or the pong cannot
// come because a long frame is in its way, whatever moves is a sign, too.
//
// It is guarded by the connection's lock.
type pulse struct {
	every time.Duration // of beats; not above 0: never
	timer *time.Timer   // nil before the first request
	beats bool          // the timer runs

	last  uint64 // the last request before the last beat
	idle  int    // beats without a ping
	asked bool   // a ping is under way
	quiet int    // beats since, without a sign of life
	heard time.Time

	out, in, frames uint64 // of the connection's moved, at the last beat
}

// watchPulse has the pulse beat from now on, if it does not. The lock is held.
func (c *ClientConn) watchPulse() {
	p := &c.pulse
	if p.beats || p.every <= 0 {
		return
	}
	p.beats, p.last, p.idle = true, c.next, 0
	if p.timer == nil {
		p.timer = time.AfterFunc(p.every, c.beat)
		return
	}
	p.timer.Reset(p.every)
}

// beat looks back at the time since the last one.
func (c *ClientConn) beat() {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.pulse
	if len(c.pending) == 0 || c.lost != nil {
		p.beats, p.asked, p.quiet = false, false, 0
		return
	}
	if p.asked && !c.moves() {
		p.quiet++
	} else {
		p.quiet = 0
	}
	if p.quiet >= pulseBeats {
		p.beats = false
		c.conn.fail(&SilentError{Address: c.conn.Remote().String(), For: p.every * pulseBeats}) // the reader ends what is in flight
		return
	}
	if p.idle++; !p.asked && (p.idle >= pulseBeats || c.waits(p.last)) {
		p.asked, p.idle = c.conn.sendSign(FramePing) == nil, 0
	}
	p.last, p.out, p.in, p.frames = c.next, c.conn.moved.out.Load(), c.conn.moved.in.Load(), c.conn.moved.frames.Load()
	p.timer.Reset(p.every)
}

// moves reports whether the connection's bytes show that the link is slow, and
// not the member silent.
func (c *ClientConn) moves() bool {
	p, m := &c.pulse, &c.conn.moved
	leaving := c.conn.out.urgentWaits() && m.out.Load() != p.out
	arriving := m.frames.Load() == p.frames && m.in.Load() != p.in
	return leaving || arriving
}

// waits reports whether a request up to a number waits for its answer.
func (c *ClientConn) waits(upTo uint64) bool {
	for id, one := range c.pending {
		if one.watch == nil && id <= upTo {
			return true
		}
	}
	return false
}

// pong takes a sign of life.
func (c *ClientConn) pong() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulse.asked, c.pulse.quiet, c.pulse.heard = false, 0, time.Now()
}

// stopPulse ends the beats with the connection.
func (c *ClientConn) stopPulse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pulse.timer != nil {
		c.pulse.timer.Stop()
	}
	c.pulse.beats = false
}

// SilentError says that a member has answered no ping: it is dead, or frozen, or
// cut off, or it hangs.
type SilentError struct {
	Address string
	For     time.Duration
}

// Error names the member.
func (e *SilentError) Error() string {
	return fmt.Sprintf("%s has answered no ping for %v: the member is frozen, or cut off", e.Address, e.For)
}
