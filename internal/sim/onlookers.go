package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/internal/sim/told"
	"github.com/starlinghq/starling/protocol"
)

// Beside what clients do, programs keep watches of the map, and copies of it, at whatever
// member, through the watches of production (internal/machine). Where they ask, what an error
// means and how long they pause, package attempt decides, as in production. The client's own
// stream (internal/client) waits in goroutines and so is not here: what it remembers, up to
// where it was told and how old that is, stands here again.
//
// They send no entries and ask no leader: with them a seed has the history that it has without.

const (
	onlookers = 4
	// onlookerIdle is after how long a watch says how old it is, while nothing is told; it is
	// that of internal/client.
	onlookerIdle = time.Second
	// onlookerQuiet is how long a watch may leave its loop without a word.
	onlookerQuiet = 2 * time.Second
	// loopTakes is how many events a loop takes, on average, before its program ends it and
	// goes on elsewhere after a while, loopRests how long that is at most.
	loopTakes = 40
	loopRests = 12 * time.Second
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
	endpoints   *attempt.Endpoints
	seen        protocol.Index // by all that it does
	from, known protocol.Index // where to go on behind; nothing up to known is told
	come, waits word
	feed        *feed
	first       bool // it has been at no member so far
	pause       attempt.Pause
	buffer      []piece // that came, and were not taken
	parts       []told.Change
	ending      error // behind the buffer
}

// word is what a member has said of the age of its state, as of when.
type word struct {
	known bool
	index protocol.Index
	age   time.Duration
	when  Time
}

func (w *word) at(now Time) time.Duration { return w.age + now.Sub(w.when) }

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
		if n := len(o.streams); n > 0 && !o.copies {
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
	o.watching = watching{endpoints: o.endpoints, seen: o.seen, from: after, first: true, pause: attempt.NewPause(retryMin, retryMax)}
	if after == 0 {
		s.Seen, o.known = uint64(o.seen), o.seen
	}
	o.streams = append(o.streams, s)
	o.left, o.waiting = 1+int(o.s.random.watches.ExpFloat64()*loopTakes), false
	if o.copies {
		o.list()
		return
	}
	o.open()
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
	case !goesOnElsewhere(err): // one that had told nothing begins again
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
	if f := o.feed; f != nil && !o.waits.known && f.said.known {
		now := o.s.schedule.now
		o.waits = word{true, f.said.index, f.said.at(now), now}
	}
	o.turns++
	turn := o.turns
	o.later(onlookerIdle, func() {
		if o.waiting && o.turns == turn {
			o.says(o.from, nil)
		}
	})
	o.take()
}

// take takes what has come, while the loop waits.
func (o *onlooker) take() {
	for o.waiting && len(o.buffer) > 0 {
		p := o.buffer[0]
		o.buffer = o.buffer[1:]
		if p.feed == o.feed {
			p.feed.unread--
		}
		if p.changes != nil {
			o.parts = append(o.parts, p.changes...)
		}
		if p.more {
			o.s.counts.add(countWatchParts, 1)
			continue
		}
		changes := o.parts
		o.parts = nil
		if len(changes) > 0 && p.index <= o.known {
			continue
		}
		index := max(p.index, o.known)
		if len(changes) > 0 || index != o.from {
			o.seen = max(o.seen, index)
		}
		o.from = max(o.from, index)
		o.says(index, changes)
	}
	if o.waiting && len(o.buffer) == 0 && o.ending != nil {
		err := o.ending
		o.ending = nil
		o.ended(err)
	}
}

// ended takes the end of a watch at one member.
func (o *onlooker) ended(err error) {
	if !goesOnElsewhere(err) || o.from == 0 {
		o.ends(err)
		return
	}
	o.leave()
	o.later(o.pause.Next(o.s.random.watches), o.open)
}

// goesOnElsewhere reports whether a watch ended because of its member, as internal/client has it.
func goesOnElsewhere(err error) bool {
	code := attempt.CodeIn(err)
	return code == protocol.OK || code.Meaning().MayRetry(protocol.Later|protocol.Elsewhere)
}

// says has the loop take what was told, one event after the other, and then wait again.
func (o *onlooker) says(index protocol.Index, changes []told.Change) {
	s := o.s
	now := s.schedule.now
	o.waiting = false
	if o.waits.known && o.waits.index <= index {
		if !o.come.known || o.waits.at(now) < o.come.at(now) {
			o.come = o.waits
		}
		o.waits = word{}
	}
	if o.copies {
		o.copy(index, changes)
	} else if len(changes) == 0 {
		o.yield(told.Event{Kind: told.Bookmark, Index: uint64(index), Last: true})
	}
	for i := 0; !o.copies && i < len(changes) && (o.left > 0 || s.quiet); i++ {
		o.yield(eventOf(changes[i], i == len(changes)-1))
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

func eventOf(c told.Change, last bool) told.Event {
	e := told.Event{Kind: told.Put, Index: c.Index, Key: c.Key, Value: c.Value, Previous: c.Previous, Last: last}
	if c.Kind == protocol.ChangeDelete {
		e.Kind = told.Delete
	}
	return e
}

// yield has the loop take one event.
func (o *onlooker) yield(e told.Event) {
	s := o.s
	e.Asked, e.Came = time.Duration(o.asked), time.Duration(s.schedule.now)
	o.asked = s.schedule.now
	if o.come.known && !s.plan.wild {
		e.Age, e.AgeKnown = o.come.at(s.schedule.now), true
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
