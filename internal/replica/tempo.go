package replica

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// tempoWindow is over how many election timeouts means are taken: longer than a disk
	// stands still now and then, shorter than what people take for an outage.
	tempoWindow = 2
	// roundSteps is how many places in a heartbeat interval the rounds of the timer fall on,
	// and roundStep how far one is from the next: a golden ratio, so that rounds meet all parts
	// of a rhythm in which the process is stopped, whatever that is.
	roundSteps, roundStep = 89, 55
)

// tempo measures what a write takes at a member of late: on its disk, until its loop comes to it,
// and in its state. Followers and leader measure the same with the same code, so that a leader
// may compare.
//
// How late the loop is shows in a timer of its own, by boot time: a process that runs a fifth of
// the time, because it is stopped or has no share of the processor, comes to its rounds as late
// as to anything else.
type tempo struct {
	cfg   *Config
	disk  *disk
	apply *applying

	next protocol.Instant // the next round; 0: there was none
	turn int              // of roundSteps

	// Of the window that began then.
	began                   protocol.Instant
	writes, applies, rounds mean
	// of is what the windows before have come to: of each part the last one that had any.
	// inWindow is the same of the last window alone, without the parts that it had none of.
	// windows counts them.
	of, inWindow taken
	windows      uint64
}

// taken is what a write takes, by its parts.
type taken struct{ disk, loop, state time.Duration }

func (t taken) sum() time.Duration { return t.disk + t.loop + t.state }

// mean adds up durations.
type mean struct {
	n   int
	sum time.Duration
}

func (m *mean) add(d time.Duration) { m.n, m.sum = m.n+1, m.sum+d }

// end returns the mean, and forgets it. What is under way counts if it has taken longer, or
// longer than the last mean, if there is nothing else.
func (m *mean) end(underWay, last time.Duration) (of time.Duration) {
	if m.n > 0 {
		last = m.sum / time.Duration(m.n)
	}
	if underWay > last {
		m.add(underWay)
	}
	if m.n > 0 {
		of = m.sum / time.Duration(m.n)
	}
	*m = mean{}
	return of
}

// forget is for who has no seat: what it took before says nothing of what it takes with one.
func (t *tempo) forget() {
	*t = tempo{cfg: t.cfg, disk: t.disk, apply: t.apply, turn: t.turn, windows: t.windows}
}

// round is one of the timer: it notes how late it is, and ends the window.
func (t *tempo) round(now protocol.Instant) {
	if now < t.next {
		return
	}
	if t.next != 0 {
		t.rounds.add(now.Sub(t.next))
	} else {
		t.began = now
	}
	beat := t.cfg.Active.Heartbeat
	t.turn = (t.turn + roundStep) % roundSteps
	t.next = now.Add(beat/2 + beat*time.Duration(t.turn)/roundSteps)
	if now < t.began.Add(tempoWindow*t.cfg.Active.Election) {
		return
	}
	t.began = now
	t.windows++
	t.inWindow = taken{
		disk: t.writes.end(t.disk.underWay(now), t.of.disk), loop: t.rounds.end(0, 0), state: t.applies.end(t.apply.underWay(now), t.of.state),
	}
	t.of.loop = t.inWindow.loop
	if t.inWindow.disk > 0 {
		t.of.disk = t.inWindow.disk
	}
	if t.inWindow.state > 0 {
		t.of.state = t.inWindow.state
	}
}
