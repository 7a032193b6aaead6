package sim

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// rotten is a member's disk while several are damaged at once.
type rotten struct {
	m             *member
	before, after *vfs.Snapshot
	damage        *storage.Damage // nil: what was hit does not matter
}

// strikeRotSeveral damages the logs of several voters at once, all of them even.
// That is more than the tolerated minority, and still nothing may be lost: each
// entry that one cannot read any more can be read by another one, so that they
// heal one another. Damage for which that is not so is undone.
func (s *nemesis) strikeRotSeveral() {
	s.again(10*time.Millisecond, 100, func() (wait bool) {
		list := s.voters()
		return len(list) < 2 || !s.rotSeveral(list)
	})
}

// voters returns the members that vote, if all of them are whole and at rest,
// and no disk that has a seat is lost.
func (s *nemesis) voters() (list []*member) {
	if s.faultFreeFor > 0 || s.configuration.Joint() {
		return nil
	}
	for _, line := range s.configuration.Members {
		m := s.byID(line.ID)
		if m == nil || m.hurt || m.losing {
			return nil
		}
		if line.Suffrage != protocol.SuffrageVoter {
			continue
		}
		if !m.up() || m.rolledBack != nil || m.hands.writer.writing || m.log.half > 0 || len(m.log.pending) > 0 {
			return nil
		}
		list = append(list, m)
	}
	return list
}

// rotSeveral stops the members and damages most of them. It reports whether
// they were stopped.
func (s *nemesis) rotSeveral(list []*member) bool {
	for _, m := range list {
		if c, _ := m.latest(); c.Index > s.state.lastApplied() {
			return false // a change is under way
		}
	}
	var all []rotten
	damaged, sound := 0, true
	for _, m := range list {
		s.crash(m, false, "and its disk rots, with others")
		r := rotten{m: m, before: m.disk.fs.Snapshot(directory)}
		if chance(s.random.faults, 0.93) {
			m.disk.unseen(func() {
				s.fail(m.disk.flip())
				r.after = m.disk.fs.Snapshot(directory)
				sound = r.look() && sound
			})
			m.disk.fs.Rollback(r.after)
			if r.damage != nil {
				damaged++
			}
		}
		all = append(all, r)
	}
	sound = sound && damaged > 1
	for i := range all {
		sound = sound && all[i].covered(all)
	}
	for i := range all {
		r := &all[i]
		switch {
		case !sound:
			r.m.disk.fs.Rollback(r.before)
		case r.damage != nil:
			r.m.hurt, r.m.damaged, r.m.found = true, true, false
			s.counts.add(countBitsFlipped, 1)
		}
	}
	if sound {
		s.counts.add(countDamagedTogether, 1)
		if damaged == len(s.configuration.Voters()) {
			s.counts.add(countDamagedAll, 1)
		}
	}
	return true
}

// look opens the damaged log, for the simulation only. It reports false if the
// member could not live on.
func (r *rotten) look() bool {
	m := r.m
	defer m.disk.crash(false)
	log, err := wal.Open(m.disk.fs, directory, m.disk.options)
	if err != nil {
		return false
	}
	defer log.Close()
	rec := log.Opened()
	if rec.Damage == nil {
		return rec.LogTerms.LastIndex() == m.log.durable.last() && rec.State == m.log.durable.state
	}
	r.damage = rec.Damage
	if rec.Damage.EndUnknown || rec.State != m.log.durable.state || len(rec.Damage.Good) == 0 {
		return false
	}
	first, last := rec.Damage.Good[0], rec.Damage.Good[len(rec.Damage.Good)-1]
	core := repair.New(0, repair.Config{ID: m.id}, &rec, log, nil)
	return first.After == rec.Damage.Begin.Index && last.Last == m.log.durable.last() && core.Verdict().Lost == nil
}

// reads reports whether an entry can be read.
func (r *rotten) reads(i protocol.Index) bool {
	if r.damage == nil {
		return i <= r.m.log.durable.last()
	}
	return slices.ContainsFunc(r.damage.Good, func(s storage.Range) bool { return s.After < i && i <= s.Last })
}

// covered reports whether somebody else can read what this member cannot.
func (r *rotten) covered(all []rotten) bool {
	if r.damage == nil {
		return true
	}
	for i := r.damage.Begin.Index + 1; i <= r.m.log.durable.last(); i++ {
		if r.reads(i) {
			continue
		}
		if !slices.ContainsFunc(all, func(o rotten) bool {
			return o.reads(i) && o.m.log.durable.sumAt(i) == r.m.log.durable.sumAt(i) && (o.damage != nil || o.m.knewFrom < i)
		}) {
			return false
		}
	}
	return true
}
