package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/internal/sim/told"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// Beside what clients do, programs keep watches of the map, and copies of it, at whatever
// member, through the watches of production (internal/machine). What a client decides about them,
// package attempt does, as in production: what is news, how old it is, where a watch goes on, and when
// it leaves a member for a younger one.
//
// They send no entries and ask no leader: with them a seed has the history that it has without.

const (
	onlookers = 4
	// onlookerQuiet is how long a watch may leave its loop without a word.
	onlookerQuiet = 2 * time.Second
	// loopTakes is how many events a loop takes, on average, before its program ends it and
	// goes on elsewhere after a while, loopRests how long that is at most.
	loopTakes = 40
	loopRests = 12 * time.Second
	// beginsAnew is the share of loops that do not go on where the one before was.
	beginsAnew = 0.2
	// readAgain is between two looks for a member that can be read.
	readAgain = 100 * time.Millisecond
)

// onlooker is a program that keeps a watch, or a copy, and its client.
type onlooker struct {
	s      *load
	name   string
	number int
	prefix string
	copies bool
	before bool          // it asks what each key was before
	work   time.Duration // that its loop has with what it is told, on average

	streams []*told.Stream // one for each loop; the last one may go on
	loop    uint64         // its number, so that what was begun for another one is known
	left    int            // events until the program ends it
	resting bool
	waiting bool // the loop, for what comes next, since asked
	asked   Time
	turns   uint64 // numbers its waits
	doubted bool   // the last end was of what may be wrong
	listing        // of a copy

	watching
}

// watching is what a client knows of one watch.
type watching struct {
	endpoints *attempt.Endpoints
	sources   *attempt.Sources
	// links are its connections, as far as members were asked over them how old they are.
	links  map[string]*attempt.Source
	seen   protocol.Index // by all that it does
	watch  *attempt.Watch
	feed   *feed
	first  bool    // it has been at no member so far
	buffer []piece // that came, and were not taken
	parts  []protocol.Change
	ending error // behind the buffer
	// age is that of what is told now.
	age      time.Duration
	ageKnown bool
}

// lookOn begins to watch.
func (s *load) lookOn() {
	r := s.random.watches
	for i := range onlookers {
		o := &onlooker{s: s, number: i, name: fmt.Sprintf("w%d", i+1), copies: i == 1, before: i%2 == 0}
		o.prefix = []string{"", "key", "key3", "key5/", "key"}[(i+r.IntN(2))%5]
		o.work = []time.Duration{0, 0, 200 * time.Millisecond, 2 * time.Second}[r.IntN(4)]
		s.onlookers = append(s.onlookers, o)
		o.rest(between(r, 0, loopRests))
	}
}

// rest has the program go on after a while, at other addresses.
func (o *onlooker) rest(d time.Duration) {
	o.resting = true
	o.later(d, func() {
		o.resting = false
		r, given := o.s.random.watches, []string(nil)
		for len(given) < min(givenMembers, len(o.s.machines())) {
			if name := o.s.machines()[r.IntN(len(o.s.machines()))].name; !slices.Contains(given, name) {
				given = append(given, name)
			}
		}
		o.endpoints = attempt.NewEndpoints(given, protocol.ClusterID{}, r.Uint64()|1)
		o.sources, o.links = attempt.NewSources(o.endpoints, backOff, watchAge), map[string]*attempt.Source{}
		if n := len(o.streams); n > 0 && !o.copies && !chance(r, beginsAnew) {
			before := o.streams[n-1]
			o.begin(protocol.Index(before.Resume()), before)
			return
		}
		o.begin(0, nil)
	})
}

// later does something for the loop, if that goes on.
func (o *onlooker) later(d time.Duration, do func()) {
	loop := o.loop
	o.s.schedule.after(d, func() {
		if o.loop == loop && !o.s.failed() {
			do()
		}
	})
}

func (s *load) onlookerWay() time.Duration {
	return s.network.delay + around(s.random.watches, s.network.jitter)
}

// begin begins a loop behind an index; 0: from now on.
func (o *onlooker) begin(after protocol.Index, before *told.Stream) {
	o.loop++
	s := &told.Stream{
		Name: fmt.Sprintf("loop %d of %s over %q", len(o.streams)+1, o.name, o.prefix), Prefix: o.prefix,
		After: uint64(after), Resumes: before, Copy: o.copies, Previous: o.before, Exact: true, Quiet: onlookerQuiet,
	}
	if after == 0 {
		s.Seen = uint64(o.seen)
	}
	o.watches(after)
	o.streams = append(o.streams, s)
	o.left, o.waiting = 1+int(o.s.random.watches.ExpFloat64()*loopTakes), false
	if o.copies {
		o.list()
		return
	}
	o.open()
}

// watches begins a watch behind an index, by the same client; 0: from now on.
func (o *onlooker) watches(after protocol.Index) {
	w := protocol.Watch{Resource: mapName, Type: kvmap.Type.Name(), Prefix: []byte(o.prefix), From: after, Previous: o.before}
	o.watching = watching{
		endpoints: o.endpoints, sources: o.sources, links: o.links, seen: o.seen, first: true,
		watch: attempt.NewWatch(&w, o.seen, attempt.NewPause(retryMin, retryMax)),
	}
}

// stream is the one of the loop that runs.
func (o *onlooker) stream() *told.Stream { return o.streams[len(o.streams)-1] }

// closes ends the loop, which may be in the middle of an entry.
func (o *onlooker) closes() {
	o.leave()
	o.loop++
	o.waiting = false
	o.rest(between(o.s.random.watches, 0, loopRests))
}

// ends takes an error that the loop gets.
func (o *onlooker) ends(err error) {
	s := o.s
	switch code := attempt.CodeIn(err); {
	case code == protocol.ErrSlowWatcher.Code:
		s.counts.add(countWatchesSlow, 1)
	case code == protocol.ErrCompacted.Code && o.doubted:
		s.counts.add(countWatchesDoubted, 1)
	case code == protocol.ErrCompacted.Code:
		s.counts.add(countWatchesCompacted, 1)
	case !attempt.MayGoOn(err): // one that had told nothing begins again
		s.fail(violated(RuleWatch, "%s ends with %v", o.stream().Name, err))
		return
	}
	o.leave()
	o.loop++
	o.waiting = false
	if o.copies {
		o.list() // in the same loop
		return
	}
	o.readOn()
}

// readOn reads, and watches on from the index of that read.
func (o *onlooker) readOn() {
	if m := o.reads(); m != nil {
		at := m.applied
		o.later(o.s.onlookerWay(), func() {
			o.seen = max(o.seen, at)
			o.begin(at, nil)
		})
		return
	}
	o.later(readAgain, o.readOn)
}

// reads returns a member that serves a read at the level session, or nil.
func (o *onlooker) reads() *member {
	s := o.s
	m := s.members[s.random.watches.IntN(len(s.members))]
	if !m.up() || m.paused || m.isWrong() || m.applied == 0 || m.applied < o.seen || m.serving.withholds() != nil {
		return nil
	}
	return m
}

// ask has the loop wait for what comes next. After a while its client says how old it is.
func (o *onlooker) ask() {
	o.waiting, o.asked = true, o.s.schedule.now
	o.turns++
	turn := o.turns
	o.later(attempt.WatchIdle, func() {
		if o.waiting && o.turns == turn {
			o.says(o.watch.Idle(o.s.clock()))
		}
	})
	if now := o.s.clock(); o.feed != nil && o.watch.Waits() {
		o.watch.Hear(o.feed.source.State(now), now)
	}
	o.take()
}

// take takes what has come, while the loop waits.
func (o *onlooker) take() {
	if f := o.feed; f != nil && f.took != nil {
		f.opens()
		return
	}
	for o.waiting && len(o.buffer) > 0 {
		p := o.buffer[0]
		o.buffer = o.buffer[1:]
		if p.feed == o.feed {
			p.feed.unread--
		}
		if o.parts = append(o.parts, p.Changes.Changes...); p.More {
			o.s.counts.add(countWatchParts, 1)
			continue
		}
		changes, seen, news := o.watch.Told(protocol.Changes{Index: p.Index, Changes: o.parts}, o.s.clock())
		o.parts, o.seen = nil, max(o.seen, seen)
		if news {
			o.says(changes)
		}
	}
	if o.waiting && len(o.buffer) == 0 && o.ending != nil {
		err := o.ending
		o.ending = nil
		o.ended(err)
	}
}

// ended takes the end of a watch at one member.
func (o *onlooker) ended(err error) {
	if o.feed != nil {
		err = attempt.Left(err, o.feed.why)
	}
	if !o.watch.Ended(err) {
		o.ends(err)
		return
	}
	o.leave()
	o.later(o.watch.Pause(o.s.random.watches), o.open)
}

// says has the loop take what was told, one event after the other, and then wait again.
func (o *onlooker) says(c protocol.Changes) {
	s := o.s
	o.waiting = false
	o.age, o.ageKnown = time.Duration(c.Age), c.AgeKnown && !s.plan.wild
	if o.copies {
		o.copy(c)
	} else if len(c.Changes) == 0 {
		o.yield(told.Event{Kind: told.Bookmark, Index: uint64(c.Index), Last: true})
	}
	for i := 0; !o.copies && i < len(c.Changes) && (o.left > 0 || s.quiet); i++ {
		o.yield(eventOf(&c, i))
	}
	if o.left <= 0 && !s.quiet {
		o.closes()
		return
	}
	work := o.work
	if s.quiet {
		work = 0
	}
	if work == 0 {
		o.ask()
		return
	}
	o.later(around(s.random.watches, work), o.ask)
}

// eventOf is one of the changes that are told.
func eventOf(c *protocol.Changes, i int) told.Event {
	x := &c.Changes[i]
	e := told.Event{Kind: told.Put, Index: uint64(c.Index), Key: string(x.Key), Value: string(x.Value), Last: i == len(c.Changes)-1}
	e.Previous = told.Previous{Kind: x.PreviousKind, Value: string(x.Previous)}
	if x.Kind == protocol.ChangeDelete {
		e.Kind, e.Value = told.Delete, ""
	}
	return e
}

// yield has the loop take one event.
func (o *onlooker) yield(e told.Event) {
	s := o.s
	e.Asked, e.Came = time.Duration(o.asked), time.Duration(s.schedule.now)
	o.asked = s.schedule.now
	if o.ageKnown {
		e.Age, e.AgeKnown = o.age, true
		s.counts.add(countWatchAges, 1)
	}
	if e.Kind == told.Put || e.Kind == told.Delete {
		s.counts.add(countWatchEvents, 1)
		o.left--
	}
	s.trace.note(tagTold, o.number, e.Index, uint64(e.Kind))
	stream := o.stream()
	stream.Events = append(stream.Events, e)
}
