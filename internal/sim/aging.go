package sim

import (
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
)

const (
	// watchAge is how old the state of a member may become at which there are watches, before a younger one
	// is looked for; it is that of internal/client.
	watchAge = 5 * time.Second
	// leaveSlack is what a search may take, with what was asked before it.
	leaveSlack = 4 * time.Second
)

// link returns what the client knows of a member by its connection there.
func (o *onlooker) link(m *member) *attempt.Source {
	if o.links[m.name] == nil {
		o.links[m.name] = &attempt.Source{}
	}
	return o.links[m.name]
}

// tellsAge reports whether a member answers how old its state is. A wrong answer that nobody knows to be wrong
// is not heard.
func (m *member) tellsAge() bool { return m.up() && !m.paused && !m.isWrong() }

// age is what a member says of its state, as internal/runtime has it.
func (x *serving) age() protocol.Result {
	if err := x.suspended(); err != nil {
		return protocol.Failed(err)
	}
	return x.reads().Age()
}

// asksAge has the client ask a member how old its state is, if it was not asked lately, and then go on.
func (o *onlooker) asksAge(m *member, then func()) {
	s, source, asked := o.s, o.link(m), o.s.clock()
	if !source.Ask(asked) {
		then()
		return
	}
	o.later(s.onlookerWay(), func() {
		if !m.tellsAge() {
			o.later(pingTimeout, then)
			return
		}
		r := m.serving.age()
		o.later(s.onlookerWay(), func() {
			if why := source.Says(&r, asked); why != nil && o.feed != nil && o.feed.source == source {
				o.feed.leaves(why)
			}
			then()
		})
	})
}

// listens has the client see whether the member answers pings, and ask how old it is. It leaves one that is
// old for one that is not.
func (f *feed) listens() {
	o, s, m := f.o, f.o.s, f.m
	if o.feed != f || f.lost || f.why != nil {
		return
	}
	switch {
	case m.run != f.run || !m.up():
		f.breaks(errLost)
		return
	case m.paused && s.schedule.now.Sub(m.pausedAt) > feedSilence:
		o.endpoints.BackOff(m.name, s.clock().Add(backOff))
		f.breaks(errLost)
		return
	}
	f.mustLeave()
	if !f.searching {
		f.searching = true
		o.asksAge(m, f.looks)
	}
	o.later(attempt.AskAgeEvery, f.listens)
}

// looks has the client look for a younger member, if that is due.
func (f *feed) looks() {
	o, now := f.o, f.o.s.clock()
	age, seek := o.sources.IsOld(f.source, now)
	if !seek {
		f.searching = false
		return
	}
	o.s.counts.add(countWatchSearches, 1)
	f.seeks(age, o.sources.Candidates(f.m.name, now))
}

// seeks asks one candidate after the other.
func (f *feed) seeks(age time.Duration, candidates []string) {
	o := f.o
	if o.feed != f || len(candidates) == 0 {
		f.searching = false
		return
	}
	other := o.s.named(candidates[0])
	o.asksAge(other, func() {
		now := o.s.clock()
		why := o.sources.Leave(f.m.name, age, other.name, o.link(other).State(now), now)
		if why == nil {
			f.seeks(age, candidates[1:])
			return
		}
		if f.searching = false; o.feed == f {
			o.s.counts.add(countWatchesLeft, 1)
			f.leaves(why)
		}
	})
}

// leaves has the client go on elsewhere. It reads what has come, and no more.
func (f *feed) leaves(why error) {
	if f.why != nil {
		return
	}
	f.why = why
	f.ends()
	f.end(protocol.ErrClosed, attempt.CodeIn(why) == protocol.ErrCompacted.Code)
}

// aging is what is known of the age of a feed's member, by its own word and not by what its client makes of it.
type aging struct {
	searching bool
	// old is since when the state may be older than watchAge, left since when almost all others are so
	// much younger that two of them cannot all be as old; 0: it is not so.
	old, left Time
}

// mustLeave holds that a watch leaves a member that is old when one of those that are asked is younger. Searches
// come later and later as long as they find none: the next one no later than they have been going on.
func (f *feed) mustLeave() {
	s, m := f.o.s, f.m
	now := s.schedule.now
	if s.plan.wild || !m.tellsAge() || m.serving.suspended() != nil {
		f.left = 0
		return
	}
	own := m.serving.age()
	switch {
	case own.AgeKnown && time.Duration(own.Age) <= watchAge:
		f.old, f.left = 0, 0
		return
	case !own.AgeKnown:
		f.left = 0
		return
	case f.old == 0:
		f.old = now
	}
	unfit := 0
	for _, other := range s.members { // clients ask copies, too
		if other == m {
			continue
		}
		if !other.tellsAge() {
			unfit++
		} else if r := other.serving.age(); !r.AgeKnown || r.Age > own.Age/4 {
			unfit++
		}
	}
	switch {
	case unfit > 1:
		f.left = 0
	case f.left == 0:
		f.left = now
	case now.Sub(f.left) > min(f.left.Sub(f.old), attempt.SeekMost)+leaveSlack:
		s.fail(violated(RuleWatch, "%s stays at %s, which is %v old and has been old for %v, for %v in which others are younger",
			f.o.stream().Name, m.name, time.Duration(own.Age), now.Sub(f.old), now.Sub(f.left)))
	}
}
