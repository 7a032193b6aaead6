package sim

import (
	"math/rand/v2"
	"time"
)

// drags has leaders that are slow and not dead: by their disks, or because they hardly get to run.
type drags struct{ s *nemesis }

// starvedFor is how long a member that is starved stands still, of each starvedEvery.
const starvedFor, starvedEvery = 400 * time.Millisecond, 500 * time.Millisecond

// drag draws whether leaders get slow in a seed. It has a stream of its own, too.
func (p *plan) drag(r *rand.Rand) {
	if chance(r, draggedSeeds) || p.profile == profileSlow {
		p.drags = between(r, 8*time.Second, 16*time.Second)
	}
}

// begin starts what the plan has.
func (d drags) begin() {
	if s := d.s; s.plan.drags > 0 {
		s.schedule.after(around(s.random.drags, s.plan.drags), d.strike)
	}
}

// strike makes the leader slow for a while.
func (d drags) strike() {
	s, r := d.s, d.s.random.drags
	if s.quiet {
		return
	}
	lasts, bySyncs, syncs := between(r, 8*time.Second, 20*time.Second), chance(r, 0.5), between(r, 100*time.Millisecond, 400*time.Millisecond)
	s.schedule.after(lasts+around(r, s.plan.drags), d.strike)
	m := s.lastLeader
	if m == nil || !m.up() || m.copies != nil || s.faultFreeFor > 0 {
		return
	}
	s.trace.note(tagFault, m.number, 6, uint64(lasts))
	if !bySyncs {
		s.counts.add(countStarved, 1)
		d.starve(m, lasts)
		return
	}
	s.counts.add(countDragged, 1)
	d.slow(m, syncs)
	s.schedule.after(lasts, func() { m.drags = 0 })
}

// slow makes the syncs of a member take a while, on average.
func (d drags) slow(m *member, syncs time.Duration) {
	m.tell(colorTrouble, "%% a sync takes %v", syncs.Round(time.Millisecond))
	m.drags = syncs
}

// starve lets a member run for a fifth of the time.
func (d drags) starve(m *member, lasts time.Duration) {
	m.tell(colorTrouble, "%% runs a fifth of the time for %v", lasts.Round(time.Millisecond))
	d.s.again(starvedEvery, int(lasts/starvedEvery), func() bool {
		if m.up() && !m.paused {
			m.pause(starvedFor)
		}
		return true
	})
}
