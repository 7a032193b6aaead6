package sim

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// fault is one kind of trouble.
type fault int

const (
	faultCrash fault = iota
	faultBoundary
	faultPowerCut
	faultPowerBoundary
	faultBlackout
	faultPause
	faultDisk
	faultFailedSync
	faultCut
	faultOneWay
	faultIsolate
	faultSplit
	faultClog
	faultSlow
	faultHeal
	faultUnheard
	faultWipe
	faultRot
	faultFull
	faultRollback
	faultRotSeveral
	faultCopy
	faultApart
	faults
)

// trouble draws one fault after another while the run lasts.
func (s *nemesis) trouble() {
	if s.quiet {
		return
	}
	if f := s.drawFault(); s.faultFreeFor == 0 {
		s.strike(f)
	}
	s.schedule.after(around(s.random.faults, s.plan.every), s.trouble)
}

func (s *nemesis) drawFault() fault {
	sum := 0
	for _, w := range s.plan.weights {
		sum += w
	}
	n := s.random.faults.IntN(sum)
	for f, w := range s.plan.weights {
		if n -= w; n < 0 {
			return fault(f)
		}
	}
	return faultCrash
}

// strike lets one fault happen. Half of those that meet one member meet the
// leader.
func (s *nemesis) strike(f fault) {
	m := s.victim()
	s.trace.note(tagFault, m.number, 100+uint64(f), 0)
	if s.copying != nil && f.ofDisks() {
		return // whoever forgets what it has seen may take the copy for the original
	}
	switch f {
	case faultCrash:
		if m.runs() {
			s.crash(m, false, "by chance")
		}
	case faultPowerCut:
		s.cutPower(m, "by chance")
	case faultBoundary, faultPowerBoundary:
		s.arm(m, f == faultPowerBoundary || chance(s.random.faults, 0.2))
	case faultBlackout:
		s.blackout()
	case faultPause:
		s.strikePause(m)
	case faultWipe:
		s.strikeWipe(m)
	case faultRot:
		s.strikeRot(m)
	case faultFull:
		s.strikeFull(m)
	case faultRollback:
		s.strikeRollback(m)
	case faultRotSeveral:
		s.strikeRotSeveral()
	case faultCopy:
		s.strikeCopy(m)
	case faultDisk, faultFailedSync:
		s.strikeDisk(m, f)
	default:
		s.strikeNetwork(m, f)
	}
}

// ofDisks reports whether a fault makes a disk forget.
func (f fault) ofDisks() bool {
	return f == faultWipe || f == faultRot || f == faultRollback || f == faultRotSeveral || f == faultCopy
}

// victim draws a member; the leader, if there is one, half of the time.
func (s *nemesis) victim() *member {
	m := s.members[s.random.faults.IntN(len(s.machines()))]
	if l := s.lastLeader; l != nil && l.up() && l.copies == nil && chance(s.random.faults, 0.5) {
		return l
	}
	return m
}

// strikeWipe empties a member's disk, if that is one of those whose loss the
// cluster promises to survive.
func (s *nemesis) strikeWipe(m *member) {
	if m.starts == 0 || m.losing || m.damaged || !s.tolerates(m) {
		return
	}
	if m.up() {
		s.crash(m, true, "for good")
	}
	s.fail(s.wipe(m))
}

// arm lets a member die at one of the next boundaries of a kind.
func (s *nemesis) arm(m *member, power bool) {
	r := s.random.faults
	at, skip := min(boundary(r.IntN(int(boundaries)+3)), boundaries-1), r.IntN(4) // the last one is passed rarely
	if m.up() && !m.crashPoint.armed {
		m.crashPoint = crashPoint{armed: true, at: at, power: power, skip: skip}
	}
}

// blackout takes the power from all members at once.
func (s *nemesis) blackout() {
	s.counts.add(countTotalPowerCuts, 1)
	s.trace.say("the power fails everywhere")
	for _, m := range s.machines() {
		s.cutPower(m, "with all others")
	}
}

// cutPower takes the power from one machine. One whose process is already gone
// loses what was still in the page cache.
func (s *nemesis) cutPower(m *member, why string) {
	if m.runs() {
		s.crash(m, true, why)
		return
	}
	if m.starts > 0 {
		m.tell(colorFault, "x power fails while it is down")
		m.power = true
		m.disk.crash(true)
	}
}

func (s *nemesis) strikePause(m *member) {
	d := around(s.random.faults, 1500*time.Millisecond)
	if !m.up() || m.paused {
		return
	}
	s.counts.add(countPauses, 1)
	if m.replica.Status(m.now()).Leads {
		s.counts.add(countPausedLeaders, 1)
		s.probe(m, d)
	}
	if s.plan.walls > 0 && chance(s.random.walls, 0.5) {
		s.counts.add(countHiddenPauses, 1)
		m.clock.stop(s.schedule.now)
	}
	m.pause(d)
}

// probe lets clients read at a leader that stands still: before it, in the
// middle, and just when it goes on, which is when it may believe that it leads.
func (s *nemesis) probe(m *member, d time.Duration) {
	for _, after := range []time.Duration{d / 2, d - time.Millisecond, d + time.Millisecond, d + 20*time.Millisecond} {
		s.schedule.after(after, func() {
			if s.quiet {
				return
			}
			c := s.clients[s.random.clients.IntN(len(s.clients))]
			k := &call{op: &op{kind: opGet, object: s.random.clients.IntN(mapKeys)}, aim: m}
			k.then = func() {
				if k.last == m && k.attempt == 1 {
					s.counts.add(countReadsAfterPause, 1)
				}
			}
			c.call(k)
		})
	}
}

func (s *nemesis) strikeDisk(m *member, f fault) {
	d := around(s.random.faults, 800*time.Millisecond)
	if !m.up() {
		return
	}
	if f == faultFailedSync {
		m.doomed = true
		return
	}
	s.counts.add(countStalls, 1)
	m.tell(colorTrouble, "%% disk stands still for %v", d.Round(time.Millisecond))
	m.stalled = s.schedule.now.Add(d)
}

func (s *nemesis) strikeNetwork(m *member, f fault) {
	r := s.random.faults
	other := s.members[r.IntN(len(s.members))]
	d := around(r, 3*time.Second)
	switch f {
	case faultCut:
		s.counts.add(countCuts, 1)
		s.cut(m, other, d)
		s.cut(other, m, d)
	case faultOneWay:
		s.counts.add(countOneWay, 1)
		if chance(r, 0.5) {
			m, other = other, m
		}
		s.cut(m, other, d)
	case faultIsolate:
		in, out := chance(r, 0.8), chance(r, 0.8)
		for _, o := range s.members {
			if out {
				s.cut(m, o, d)
			}
			if in {
				s.cut(o, m, d)
			}
		}
	case faultSplit:
		s.split(d)
	case faultApart:
		s.split(between(r, 8*time.Second, 40*time.Second))
	case faultUnheard:
		s.counts.add(countUnheard, 1)
		for _, o := range s.members {
			s.cut(m, o, 3*d)
		}
	case faultClog:
		s.counts.add(countClogs, 1)
		s.network.link(m, other).Clogged = s.schedule.now.Add(d / 2)
	case faultSlow:
		l := s.network.link(m, other)
		l.Slow = between(r, 0, 150*time.Millisecond)
		s.schedule.after(d, func() { l.Slow = 0 })
	case faultHeal:
		s.healLinks()
	}
}

// split parts the members in two halves.
func (s *nemesis) split(d time.Duration) {
	half := make([]bool, len(s.members))
	for i := range half {
		half[i] = chance(s.random.faults, 0.5)
	}
	s.counts.add(countCuts, 1)
	for i, a := range s.members {
		for k, b := range s.members {
			if half[i] != half[k] {
				s.cut(a, b, d)
			}
		}
	}
}

// cut cuts one direction for a while.
func (s *nemesis) cut(from, to *member, d time.Duration) {
	if from == to {
		return
	}
	l := s.network.link(from, to)
	if l.Cut {
		return
	}
	l.Cut = true
	s.trace.note(tagFault, from.number, 200+uint64(to.number), uint64(d))
	from.tell(colorTrouble, "%% no way to %s for %v", to.name, d.Round(time.Millisecond))
	s.schedule.after(d, func() { s.network.heal(from, to) })
}

func (s *supervisor) healLinks() {
	for _, a := range s.members {
		for _, b := range s.members {
			l := s.network.link(a, b)
			l.Clogged, l.Slow = 0, 0
			s.network.heal(a, b)
			s.network.unblock(a, b)
		}
	}
}

// crash ends a member's process, with or without its machine, and lets it
// start again after a while.
func (s *supervisor) crash(m *member, power bool, why string) {
	if power {
		s.counts.add(countPowerCuts, 1)
	} else {
		s.counts.add(countProcessCrashes, 1)
	}
	s.trace.note(tagDown, m.number, 0, 0)
	if s.trace.on() {
		cause := "x dies "
		if power {
			cause = "x power fails "
		}
		m.tell(colorFault, "%s%s", cause, why)
	}
	m.power = power
	m.stop()
	m.disk.crash(power)
	if power {
		m.boots++
	}
	r := s.random.faults
	down := between(r, 20*time.Millisecond, 500*time.Millisecond)
	if chance(r, 0.4) {
		down = around(r, 3*time.Second)
	}
	s.schedule.after(down, func() { s.restart(m) })
}

// opensBadly reports whether the machine is to die while it opens its log.
func (s *supervisor) opensBadly(m *member) bool {
	return chance(s.random.faults, s.plan.openings) && !s.quiet && s.faultFreeFor == 0 && !m.damaged && !m.full
}

// crashOpening ends a machine that died while it opened its log.
func (s *supervisor) crashOpening(m *member) {
	s.counts.add(countOpenings, 1)
	power := chance(s.random.faults, 0.5)
	m.tell(colorFault, "x dies while it opens its log")
	m.power = m.power || power
	m.disk.crash(power)
	s.schedule.after(between(s.random.faults, 20*time.Millisecond, time.Second), func() { s.restart(m) })
}

// moveChance is how often a restart is at another address.
const moveChance = 0.1

// restart boots a member that is down, once perhaps at another address.
func (s *supervisor) restart(m *member) {
	if m.runs() || m.losing || s.failed() {
		return
	}
	s.counts.add(countRestarts, 1)
	if chance(s.random.moves, moveChance) && !m.moved {
		m.moved, m.address = true, m.name+":7001"
		s.counts.add(countMoved, 1)
	}
	s.boot(m)
}

// boot starts a member's process and its view of the others.
func (s *supervisor) boot(m *member) {
	if err := m.boot(); err != nil {
		s.fail(err)
		return
	}
	if m.up() {
		s.membership.open(m, func(peers []protocol.Peer) {
			m.replica.SetPeers(m.now(), peers)
			m.serve()
		})
	}
}
