package sim

import (
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// People copy the directory of a member and start the copy on another machine,
// under the same id: beside the original, or in its place.

const (
	// copiesMax is how often that happens in a run.
	copiesMax = 3
	// copyTold is how long a copy may run beside its original until it is told.
	copyTold = 15 * time.Second
)

// copying is a copy of a member's directory, from when it is made until it has
// ended. The id counts as lost meanwhile.
type copying struct {
	of, copy *member
	// refused says that whoever may vote must refuse the copy: it knows of a newer
	// directory, or hears the original. Else it is the original that comes back too
	// late.
	refused   bool
	faultFree bool // there are no other faults
	told      bool
	ended     bool
}

// strikeCopy copies the directory of a member, in one of three ways.
func (s *directories) strikeCopy(m *member) {
	if !m.up() || s.copied == copiesMax || s.copying != nil || !m.quiet() || !s.tolerates(m) {
		return
	}
	switch s.random.faults.IntN(3) {
	case 0:
		s.copyOld(m)
	case 1:
		s.copyBeside(m)
	default:
		s.copyMoved(m)
	}
}

// quiet reports whether nothing else is happening to a member's directory, and
// others decide with it.
func (m *member) quiet() bool {
	if m.rolledBack != nil || m.damaged || m.losing || m.full || m.hands.writer.writing || m.log.half > 0 {
		return false
	}
	for _, c := range m.inForce() {
		// Whoever is the only voter decides alone, before it meets anybody who
		// remembers.
		if len(c.Configuration.Voters()) < 2 || c.Configuration.Joint() && len(c.Configuration.OutgoingVoters()) < 2 {
			return false
		}
	}
	return true
}

// takeCopy copies a directory.
func (s *directories) takeCopy(m *member) *copied {
	m.tell(colorTrouble, "%% somebody copies the directory")
	return &copied{
		snapshot: m.disk.fs.Snapshot(directory), log: m.log.clone(), id: m.id,
		starts: m.wal.Identity().Starts, sequence: m.wal.DurableSequence(), knew: m.inForce(),
	}
}

// begin makes the machine for a copy.
func (s *directories) begin(m *member, old *copied, k *copying) {
	s.copied++
	c := newMember(s, len(s.members), host{name: m.name + "*", id: m.id, wish: m.wish, clock: m.clock, generation: m.generation})
	c.role, c.starts, c.log, c.copies = m.role, max(1, m.starts), old.log.clone(), k
	c.log.name, c.address, c.known, c.given = c.name, c.name+":7000", m.known, m.given
	c.disk = disk{fs: vfs.NewMemory(s.random.disk.Uint64()), changes: vfs.NewMemory(s.random.behind.Uint64()), random: s.random.disk}
	c.disk.options = wal.Options{SegmentBytes: s.plan.segment, Random: noise{stream(s.random.disk.Uint64(), 1)}}
	c.disk.fs.Rollback(old.snapshot)
	c.clock.goOn(s.schedule.now)
	s.members = append(s.members, c)
	if f := s.trace.lines; f != nil {
		f.names = append(f.names, c.name)
	}
	k.of, k.copy, m.copied, s.copying = m, c, k, k
	if k.faultFree {
		s.faultFreeFor++
		s.stopFaults()
	}
}

// stopFaults takes back the faults that are about to happen.
func (s *directories) stopFaults() {
	for _, other := range s.members {
		other.crashPoint, other.doomed, other.rot = crashPoint{}, false, rotNone
		other.heals()
	}
	s.healLinks()
}

// copyOld starts an old copy when all who may vote would know it for one, once or
// several times. Whatever else goes on.
func (s *directories) copyOld(m *member) {
	old, starts := s.takeCopy(m), 1+s.random.faults.IntN(3)
	s.schedule.after(between(s.random.faults, time.Second, 8*time.Second), func() {
		s.again(time.Second, 20, func() (wait bool) {
			switch {
			case m.id != old.id || s.copying != nil || s.copied == copiesMax:
			case !s.remembered(m, old, starts):
				return true
			default:
				k := &copying{refused: true}
				s.begin(m, old, k)
				s.schedule.after(2*time.Second, func() { s.runCopy(k, starts) })
			}
			return false
		})
	})
}

// runCopy lets a copy run for a while, and then again.
func (s *directories) runCopy(k *copying, starts int) {
	if k.ended || s.failed() {
		return
	}
	if starts == 0 || k.told {
		s.endCopy(k)
		return
	}
	s.bootCopy(k)
	s.schedule.after(between(s.random.faults, 2*time.Second, 6*time.Second), func() {
		s.stopCopy(k)
		s.schedule.after(between(s.random.faults, 100*time.Millisecond, 2*time.Second), func() { s.runCopy(k, starts-1) })
	})
}

func (s *directories) bootCopy(k *copying) {
	s.counts.add(countCopies, 1)
	k.copy.tell(colorTrouble, "%% a copy of the directory of %s is started", k.of.name)
	s.boot(k.copy)
}

func (s *directories) stopCopy(k *copying) {
	if c := k.copy; c.runs() {
		c.tell(colorTrouble, "%% the copy is stopped")
		c.ends()
	}
}

// holding reports whether all who may vote listen to a run of the member: another one
// of its id has to wait.
func (s *directories) holding(m *member) bool {
	for _, other := range s.machines() {
		if other.id == m.id || other.wish != protocol.RoleActive {
			continue
		}
		if !other.up() || other.paused || other.rolledBack != nil || !other.greeter.holders.Holds(m.id, m.runID) || !s.network.answers(m, other) {
			return false
		}
	}
	return true
}

// copyBeside starts a copy beside the original, which runs and is heard. Before, it
// is started where nobody is reached, so that it has been started more often than
// the original.
func (s *directories) copyBeside(m *member) {
	if m.paused || !s.holding(m) || !s.knowsOthers(m) {
		return
	}
	k := &copying{refused: true, faultFree: true}
	s.begin(m, s.takeCopy(m), k)
	s.offline(k, s.random.faults.IntN(4))
}

// knowsOthers reports whether all other voters of the member's configuration are
// there, so that the copy has whom to ask.
func (s *directories) knowsOthers(m *member) bool {
	conf, _ := m.latest()
	for _, id := range conf.Configuration.Voters() {
		if other := s.byID(id); id != m.id && (other == nil || !other.up()) {
			return false
		}
	}
	return conf.Configuration.IsVoter(m.id)
}

// offline starts a copy a few times without a network, and then with it.
func (s *directories) offline(k *copying, times int) {
	if k.ended || s.failed() {
		return
	}
	c := k.copy
	for _, other := range s.members {
		s.network.link(c, other).Cut = times > 0
		s.network.link(other, c).Cut = times > 0
	}
	s.bootCopy(k)
	if times > 0 {
		s.schedule.after(between(s.random.faults, 50*time.Millisecond, 400*time.Millisecond), func() {
			s.stopCopy(k)
			s.offline(k, times-1)
		})
		return
	}
	s.schedule.after(copyTold, func() {
		if s.unsaid(k, k.copy) {
			s.fail(violated(RuleTwin, "the copy of %s has run beside it for %v, and nobody has told it", k.of.name, copyTold))
		}
		s.endCopy(k)
	})
}

// copyMoved stops a member and starts the copy in its place, as another machine.
// Then the original comes back.
func (s *directories) copyMoved(m *member) {
	if m.paused || !s.knowsOthers(m) {
		return
	}
	m.tell(colorFault, "x is stopped, and moved")
	starts, sequence, knew := m.wal.Identity().Starts, m.wal.DurableSequence(), m.inForce()
	m.ends()
	m.losing = true // it is not started by others meanwhile
	k := &copying{}
	s.begin(m, &copied{snapshot: m.disk.fs.Snapshot(directory), log: m.log.clone(), id: m.id, starts: starts, sequence: sequence, knew: knew}, k)
	s.schedule.after(between(s.random.faults, 50*time.Millisecond, time.Second), func() {
		if !k.ended {
			s.bootCopy(k)
		}
	})
	s.schedule.after(between(s.random.faults, 3*time.Second, 10*time.Second), func() { s.comeBack(k) })
}

// comeBack starts the original while the copy is heard.
func (s *directories) comeBack(k *copying) {
	m, c := k.of, k.copy
	if k.ended || s.failed() {
		return
	}
	if s.faultFreeFor > 0 || !c.up() || !s.holding(c) || !s.knowsOthers(c) {
		s.endCopy(k)
		return
	}
	k.faultFree = true
	s.faultFreeFor++
	s.stopFaults()
	s.counts.add(countOriginalsBack, 1)
	m.tell(colorTrouble, "%% the original is started")
	s.boot(m)
	s.schedule.after(copyTold, func() {
		if s.unsaid(k, m) {
			s.fail(violated(RuleTwin, "%s has run beside the copy that took its place for %v, and nobody has told it", m.name, copyTold))
		}
		s.endCopy(k)
	})
}

// unsaid reports whether a member that has to be told that its id is held twice has
// not even been refused by somebody who has moved since its log was copied: that does
// not count, stands in its log, and is all that there can be. One that found no room to
// start has asked nobody.
func (s *directories) unsaid(k *copying, m *member) bool {
	return m.up() && !k.told && !k.ended && !s.quiet && m.greeter.unheard == ""
}

// copyRefused is what becomes of a copy that is told so: it stops, and does not
// start again.
func (s *directories) copyRefused(c *member, by string) {
	k := c.copies
	if !k.told {
		k.told = true
		s.counts.add(countCopiesRefused, 1)
	}
	c.tell(colorFault, "x is told by %s that it is a copy", by)
	s.stopCopy(k)
	if k.faultFree {
		s.endCopy(k)
	}
}

// originalRefused is what becomes of an original whose copy has taken its place.
func (s *directories) originalRefused(m *member, by string) {
	k := m.copied
	if k.refused {
		s.fail(violated(RuleTwin, "%s stops because of a copy that is to be refused", m.name))
		return
	}
	k.told = true
	s.counts.add(countCopiesRefused, 1)
	m.tell(colorFault, "x is told by %s that another one has its place", by)
	s.endCopy(k)
}

// moveBack gives an original the directory of the copy that had its place: without
// it too few would be left.
func (s *directories) moveBack(m, c *member) {
	m.tell(colorTrouble, "%% gets the directory of the copy")
	m.disk.fs.Rollback(c.disk.fs.Snapshot(directory))
	m.log, m.knew, m.knewFrom = c.log.clone(), c.knew, c.knewFrom
	m.log.name = m.name
	m.power, m.losing = false, false
	m.leader = c.leader
	s.restart(m)
}

// endCopy throws a copy away. If it had taken the original's place, that one has
// an old directory, and gets an empty one.
func (s *directories) endCopy(k *copying) {
	if k.ended {
		return
	}
	k.ended = true
	m, c := k.of, k.copy
	s.stopCopy(k)
	if k.faultFree {
		s.faultFreeFor--
	}
	s.copying, m.copied = nil, nil
	gone := c.id
	c.id = protocol.MemberID{0xff, 0xff, byte(c.number)}
	defer func() { c.knew = nil }()
	if k.refused || m.id != gone {
		return
	}
	if m.runs() {
		m.ends()
	}
	if s.quiet || !s.tolerates(m) {
		s.moveBack(m, c)
		return
	}
	m.log.durable, m.losing, m.hurt = c.log.durable, false, true
	s.lose(m)
}
