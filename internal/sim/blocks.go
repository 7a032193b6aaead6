package sim

import (
	"math/rand/v2"
	"time"
)

// blocks has one of the two transports blocked, as firewalls do that know one of them only.
type blocks struct{ s *nemesis }

// closing is what is closed to datagrams for good, also after the faults have stopped:
// streams are enough for all to get level.
type closing struct {
	all bool // between all members
	at  int  // of the member of that number, if not below 0
}

func (c closing) closes(from, to int) bool { return c.all || from == c.at || to == c.at }

// wall draws whether one of the transports is blocked in a seed. It has a stream of its
// own, too.
func (p *plan) wall(r *rand.Rand) {
	if !chance(r, blockedSeeds) && p.profile != profileBlocks {
		return
	}
	p.blocks, p.closes = between(r, 2*time.Second, 8*time.Second), -1
	if chance(r, 0.6) {
		p.closes = 0
	}
	if p.closes == 0 && chance(r, 0.6) {
		p.closes = between(r, time.Second, 30*time.Second) // there were datagrams before
	}
}

// begin starts what the plan has.
func (b blocks) begin() {
	s := b.s
	if s.plan.blocks == 0 {
		return
	}
	s.schedule.after(around(s.random.blocks, s.plan.blocks), b.strike)
	if s.plan.closes >= 0 {
		s.schedule.after(s.plan.closes, b.close)
	}
}

// close closes one member, or all, to datagrams for good.
func (b blocks) close() {
	s, r := b.s, b.s.random.blocks
	c := closing{all: chance(r, 0.4), at: r.IntN(len(s.members))}
	if c.all {
		s.trace.say("datagrams get through nowhere any more")
	} else {
		s.members[c.at].tell(colorTrouble, "%% datagrams get through no more")
	}
	s.trace.note(tagFault, c.at, 4, 0)
	s.counts.add(countClosed, 1)
	s.network.closing = c
	for _, from := range s.members {
		for _, to := range s.members {
			if c.closes(from.number, to.number) {
				s.network.link(from, to).NoDatagrams = true
			}
		}
	}
}

// strike blocks one of the transports for a while, between two members or between one and
// all others: datagrams in one direction or both, streams in both, which they need.
func (b blocks) strike() {
	s, r := b.s, b.s.random.blocks
	if s.quiet {
		return
	}
	m, only := s.members[r.IntN(len(s.members))], s.members[r.IntN(len(s.members))]
	all, streams, out, in := chance(r, 0.4), chance(r, 0.35), chance(r, 0.7), chance(r, 0.7)
	d := around(r, 4*time.Second)
	s.schedule.after(around(r, s.plan.blocks), b.strike)
	if s.faultFreeFor > 0 {
		return
	}
	what, count := "datagrams", countDatagramBlocks
	if streams {
		what, count, out, in = "streams", countStreamBlocks, true, true
	}
	s.counts.add(count, 1)
	s.trace.note(tagFault, m.number, 5, uint64(d))
	m.tell(colorTrouble, "%% no %s for %v (with all %t, out %t, in %t)", what, d.Round(time.Millisecond), all, out, in)
	for _, other := range s.members {
		if other == m || !all && other != only {
			continue
		}
		if out {
			b.block(m, other, streams, d)
		}
		if in {
			b.block(other, m, streams, d)
		}
	}
}

// block blocks one direction for a while.
func (b blocks) block(from, to *member, streams bool, d time.Duration) {
	n := b.s.network
	l := n.link(from, to)
	if streams {
		l.NoStream = true
	} else {
		l.NoDatagrams = true
	}
	b.s.schedule.after(d, func() { n.unblock(from, to) })
}

// unblock has a direction carry streams again, and datagrams unless it is closed to them.
func (n *network) unblock(from, to *member) {
	n.link(from, to).NoDatagrams = n.closing.closes(from.number, to.number)
	n.HealStream(n.s.schedule.now, from.number, to.number)
}
