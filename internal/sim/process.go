package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/gossip/reunion"
	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/wal"
)

// asleepMax bounds what waits for a paused member: beyond it, messages are
// lost, as from a full socket.
const asleepMax = 4096

// host is a simulated machine: a disk and a clock that stay.
type host struct {
	s      *checkers
	number int
	name   string
	id     protocol.MemberID
	// address is where its process is reached. That of a copy is not the one that
	// the configuration has for its id.
	address string
	moved   bool          // it has come back at another one once
	wish    protocol.Role // RoleActive: eligible
	// reserve says that it wishes to hold nothing until it is asked to follow.
	reserve bool
	// format is the highest format level that its release knows; 0: what this code does.
	format protocol.FormatLevel
	clock  clock
	stood  time.Duration // what pauses took beyond a step of cluster time
	disk   disk
	full   bool // its disk has no room
	// drags is what a sync takes, on average, while it is slow; 0: what it takes at the others.
	drags time.Duration
	boots uint64 // power cuts and new disks
	power bool   // the last run ended with a power cut
	// generation counts the disks that were lost.
	generation int
	// known are the others as its directory remembers them, given where it was told to look;
	// nil: not yet.
	known []reunion.Known
	// forgot says that its full disk has not kept whom it met since.
	forgot bool
	given  []string
}

// process comes and goes on a host. Every part of a member stands on it.
type process struct {
	host
	// dies ends the process, with or without its machine, ends does it for good, and
	// refused if its directory was; restart starts it again.
	dies    func(power bool, why string)
	ends    func()
	refused func(by string)
	restart func()
	// send takes a message to the network.
	send func(to *member, msg protocol.Message, datagram bool)

	starts uint64
	role   protocol.Role // that it last announced
	run    uint64        // of callbacks, to tell those of earlier runs
	runID  protocol.RunID
	told   []protocol.Peer
	life
}

// life is what one run of a process has.
type life struct {
	eyes       *eyes
	replica    *replica.Replica // nil: it is down, or repairs its log
	wal        *wal.Log
	store      *checkpoint.Store
	driver     *driver.Driver
	serve      func()            // carries out the effects of a step
	finish     func(driver.Done) // tells the replica what has come of a step on a disk
	wake       Time              // of the tick that is scheduled; 0: none
	crashPoint crashPoint
	torn       bool // that the crash point ends with a power cut
	paused     bool
	pausedAt   Time
	asleep     []func()
	glancing   []func() // reads at a level that came while it stood still
	// stalled is until when the disk does not answer.
	stalled Time
	doomed  bool // the next sync fails
	failing bool // its disk has failed
}

// tell writes one line of the trace about the member.
func (h *host) tell(c color, format string, args ...any) {
	if f := h.s.trace.lines; f != nil {
		f.beside(h.s.schedule.now, h.number, c, fmt.Sprintf(format, args...))
	}
}

// label is the member's name in configurations: each new disk adds a stroke.
func (h *host) label() string { return h.name + strings.Repeat("'", h.generation) }

// noRoom reports whether all that failed was that the log gets no new file now, because
// the disk is full or a call has failed: it can wait.
func (h *host) noRoom(err error) bool {
	return errors.Is(err, protocol.ErrNoSpace) && (h.full || h.disk.ails())
}

// up reports whether the process runs, be it paused.
func (p *process) up() bool { return p.replica != nil }

// alive reports whether a run of the process goes on.
func (p *process) alive(run uint64) bool { return p.run == run && p.up() && !p.s.failed() }

// now reads the member's clocks, as is done for each event.
func (p *process) now() protocol.Instant {
	if p.replica != nil {
		p.replica.SetWallAhead(p.clock.wallAhead(p.s.schedule.now))
	}
	return p.clock.at(p.s.schedule.now)
}

// later schedules something for this run of the process.
func (p *process) later(d time.Duration, do func()) {
	run := p.run
	p.s.schedule.after(d, func() {
		if p.run == run && p.up() {
			p.whenAwake(do)
		}
	})
}

// whenAwake does something now, or when the process goes on.
func (p *process) whenAwake(do func()) {
	if !p.paused {
		do()
		return
	}
	if len(p.asleep) < asleepMax {
		p.asleep = append(p.asleep, do)
	}
}

// pause stops the process for a while. Its clock goes on, or the wall clock alone.
func (p *process) pause(d time.Duration) {
	p.paused, p.pausedAt = true, p.s.schedule.now
	p.s.trace.note(tagFault, p.number, 1, uint64(d))
	p.tell(colorTrouble, "%% stands still for %v", d.Round(time.Millisecond))
	run := p.run
	p.s.schedule.after(d, func() {
		if p.run == run {
			p.resume()
		}
	})
}

func (p *process) resume() {
	if !p.paused {
		return
	}
	p.paused = false
	p.stood += max(0, p.s.schedule.now.Sub(p.pausedAt)-timeStep)
	p.clock.goOn(p.s.schedule.now)
	p.tell(colorPlain, "goes on")
	reads := p.glancing
	p.glancing = nil
	for _, look := range reads {
		look()
	}
	list, run := p.asleep, p.run
	p.asleep = nil
	for _, do := range list {
		if p.run != run || !p.up() {
			return
		}
		p.whenAwake(do)
	}
}

// latest returns the newest configuration in the member's log.
func (p *process) latest() (protocol.ConfigurationAt, bool) {
	return p.replica.Configurations().Latest()
}

// inForce returns the configurations of a member's log that may be in force.
func (p *process) inForce() []protocol.ConfigurationAt {
	all := p.replica.Configurations().All()
	now, known := p.replica.Configurations().At(p.replica.HardState().Commit)
	for known && len(all) > 0 && all[0].Index < now.Index {
		all = all[1:]
	}
	return slices.Clone(all)
}

// route returns the process that a member speaks to under an id: the original, or
// the copy if that is all that it sees.
func (p *process) route(id protocol.MemberID) *member {
	var found *member
	for _, other := range p.s.members {
		if other.id == id && (found == nil || other.runs() && p.sees(other) && !p.sees(found)) {
			found = other
		}
	}
	return found
}

// quarantined reports whether the member knows that its state is wrong.
func (p *process) quarantined() bool {
	return p.up() && p.replica.Status(p.now()).Quarantine != ""
}

// unconfirmed reports whether the member's state is that of a checkpoint that its log has not confirmed.
func (p *process) unconfirmed() bool {
	return p.up() && replica.SituationOf(p.replica).Unconfirmed != ""
}

// receive takes a message from another member.
func (p *process) receive(from protocol.MemberID, msg protocol.Message) {
	p.replica.Receive(p.now(), from, msg)
	p.serve()
}

// tick serves the member's deadlines.
func (p *process) tick() {
	now := p.now()
	if p.replica.Deadline() <= now {
		p.s.trace.note(tagTick, p.number, uint64(now), 0)
		p.replica.Tick(now)
		p.serve()
		return
	}
	p.schedule()
}

// schedule sees to it that tick is called when the replica wants it.
func (p *process) schedule() {
	at := p.clock.when(p.replica.Deadline())
	if p.wake != 0 && p.wake <= at {
		return // it fires earlier and looks again
	}
	at = max(at, p.s.schedule.now+1)
	p.wake = at
	run := p.run
	p.s.schedule.at(at, func() {
		if p.run != run || p.wake != at || !p.up() {
			return
		}
		p.wake = 0
		p.whenAwake(p.tick)
	})
}
