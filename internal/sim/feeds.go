package sim

import (
	"errors"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/sim/told"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

const (
	// tellEvery is about how often a member looks whether there is something to tell.
	tellEvery = 60 * time.Millisecond
	// progressEvery is between two words on how far everything was told; it is that of
	// internal/runtime. askAgeEvery is that of internal/client.
	progressEvery = time.Second
	askAgeEvery   = time.Second
	// feedWindow is how many answers a member is ahead of a loop: it stands for
	// protocol.WatchWindowBytes.
	feedWindow = 12
	// feedPartBytes is how much of an entry is told at once: it stands for
	// protocol.WatchPartBytesMax.
	feedPartBytes = 64
	// feedLasts is how long a connection lasts, on average, and feedSilence how long a member may
	// leave pings unanswered.
	feedLasts   = 8 * time.Second
	feedSilence = 2 * time.Second
)

// piece is an answer to a watch: the changes of an entry, or a part of them.
type piece struct {
	feed    *feed
	index   protocol.Index
	changes []told.Change
	more    bool
}

// feed is a watch at one member, over one connection.
type feed struct {
	o      *onlooker
	m      *member
	run    uint64 // of the member
	loop   uint64 // of the onlooker
	poller *machine.Poller
	// applied is where the state was when all was told, and ticked when it was last said how far that is.
	applied protocol.Index
	ticked  Time
	begun   bool
	told    protocol.Index
	unread  int // answers that the loop has not taken
	arrives Time
	said    word
	doubts  uint64 // of the member's state, when it began
	over    bool   // for the member, lost for the client
	lost    bool
}

// withholds is why the member tells nothing of the map, or nil, as in internal/runtime: what may
// have been told wrongly does not go on elsewhere.
func (x *serving) withholds() error {
	now := replica.SituationOf(x.replica)
	differs := now.Differs.Refuses(mapName)
	switch {
	case now.Quarantine != "" || x.diverged || errors.Is(differs, protocol.ErrDisputed):
		return protocol.ErrCompacted.With("what was told may be wrong")
	case now.Role == protocol.RoleReserve || now.Beyond != "" || now.Unconfirmed != "":
		return protocol.ErrNotServing
	}
	return differs
}

// open has the watch opened at the first member that takes it.
func (o *onlooker) open() {
	o.openAt(o.endpoints.Order(o.s.clock(), attempt.RouteNear))
}

func (o *onlooker) openAt(order []string) {
	s := o.s
	if len(order) == 0 {
		o.later(o.pause.Next(s.random.watches), o.open)
		return
	}
	m := s.named(order[0])
	next := func() {
		o.endpoints.BackOff(m.name, s.clock().Add(backOff))
		o.openAt(order[1:])
	}
	o.later(s.onlookerWay(), func() {
		switch {
		case m.up() && m.paused:
			o.later(pingTimeout, next)
			return
		case !m.up() || m.isWrong(): // a wrong answer that nobody knows to be wrong is not heard
			o.later(s.onlookerWay(), next)
			return
		case o.from != 0 && o.from < m.rightFrom: // nor what it says of the time before
			if !s.quiet {
				o.later(s.onlookerWay(), next)
				return
			}
			o.ends(protocol.ErrCompacted)
			return
		}
		way := s.onlookerWay()
		f, err := o.taken(m, way)
		o.later(way, func() {
			switch {
			case err == nil:
				o.enter(f)
			case goesOnElsewhere(err):
				next()
			default:
				o.doubted = false
				o.ends(err)
			}
		})
	})
}

// taken has a member take the watch. The client hears so after a while, and nothing before that.
func (o *onlooker) taken(m *member, way time.Duration) (*feed, error) {
	w, err := m.machine.WatchWithin(&protocol.Watch{Resource: mapName, Type: kvmap.Type.Name(), Prefix: []byte(o.prefix), From: o.from, Previous: o.before}, feedPartBytes)
	if err != nil {
		return nil, err
	}
	if err := m.serving.withholds(); err != nil {
		w.Close()
		return nil, protocol.ErrNotServing // of one that has told it nothing
	}
	serving := &m.serving
	w.EndWith(serving.withholds)
	if m.applied < o.from {
		o.s.counts.add(countWatchesAhead, 1)
	}
	f := &feed{o: o, m: m, run: m.run, loop: o.loop, poller: w.Polled(), doubts: m.doubts, arrives: o.s.schedule.now.Add(way)}
	o.s.schedule.after(0, f.tells)
	return f, nil
}

// enter has the client be told over a feed from now on.
func (o *onlooker) enter(f *feed) {
	s := o.s
	if f.lost { // before it was heard of
		o.later(o.pause.Next(s.random.watches), o.open)
		return
	}
	o.feed = f
	o.endpoints.Prefer(f.m.name, attempt.RouteNear)
	if f.m.up() {
		o.endpoints.Learn(f.m.name, &protocol.Response{Status: membersAt(f.m)})
	}
	o.pause.Reset()
	if !o.first {
		s.counts.add(countWatchesMoved, 1)
		stream := o.stream()
		stream.Events = append(stream.Events, told.Event{Kind: told.Moved, Index: uint64(o.from), Where: f.m.name})
	}
	f.listens()
	if o.first {
		o.first = false
		o.ask()
	}
}

// leave has the client be told over its feed no more.
func (o *onlooker) leave() {
	if f := o.feed; f != nil {
		f.ends()
	}
	o.feed, o.buffer, o.parts, o.ending = nil, nil, nil, nil
	o.waits = word{} // it was about that member's state
}

// ends ends the feed at both sides.
func (f *feed) ends() {
	if !f.over && f.m.run == f.run {
		f.poller.Close()
	}
	f.over, f.lost = true, true
}

// breaks has the client find out that the connection is lost. What is on its way is lost, too.
func (f *feed) breaks(err error) {
	if f.lost {
		return
	}
	f.ends()
	f.arrive(func() {
		f.o.doubted = false
		f.o.ending = err
		f.o.take()
	})
}

// arrive does something at the client when what was sent before is there.
func (f *feed) arrive(do func()) {
	s, o := f.o.s, f.o
	f.arrives = max(f.arrives+1, s.schedule.now.Add(s.onlookerWay()))
	s.schedule.at(f.arrives, func() {
		if o.loop == f.loop && o.feed == f && !s.failed() {
			do()
		}
	})
}

// listens has the client see whether the member answers pings, and ask how old it is.
func (f *feed) listens() {
	o, s, m := f.o, f.o.s, f.m
	if o.feed != f || f.lost {
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
	asked := s.schedule.now
	o.later(s.onlookerWay(), func() {
		if m.run != f.run || !m.up() || m.paused || m.isWrong() {
			return
		}
		r := m.serving.reads().Age()
		o.later(s.onlookerWay(), func() {
			if r.AgeKnown && o.feed == f {
				f.said = word{true, r.Index, time.Duration(r.Age), asked}
			}
		})
	})
	o.later(askAgeEvery, f.listens)
}

// tells has the member tell what there is, now and then.
func (f *feed) tells() {
	s, m, r := f.o.s, f.m, f.o.s.random.watches
	switch {
	case f.over:
		return
	case f.o.loop != f.loop:
		f.ends()
		return
	case m.run != f.run || !m.up():
		f.breaks(errLost)
		return
	case m.paused || m.isWrong():
	case f.doubts != m.doubts && !m.quarantined(): // its state was wrong, and nobody knew
		f.breaks(errLost)
		return
	case chance(r, float64(tellEvery)/float64(feedLasts)) && !s.quiet && f.o.feed == f:
		f.breaks(errLost)
		return
	default:
		f.tell()
	}
	s.schedule.after(between(r, tellEvery/2, tellEvery*3/2), f.tells)
}

func (f *feed) tell() {
	now := f.o.s.schedule.now
	tick := now.Sub(f.ticked) >= progressEvery
	if f.begun && !tick && f.applied == f.m.applied {
		return
	}
	for f.unread < feedWindow {
		ticks := tick && f.begun
		c, err := f.poller.Poll(ticks)
		if ticks {
			tick, f.ticked = false, now
		}
		if err != nil {
			f.ended(err)
			return
		}
		if f.begun && len(c.Changes) == 0 && c.Index <= f.told {
			if ticks {
				continue // what has woken the watch comes behind the tick
			}
			f.applied = f.m.applied // the client knows
			return
		}
		f.begun = true
		if !c.More {
			f.told = c.Index
		}
		f.send(c)
	}
}

// send sends an answer. What it tells is read now: the state may be damaged meanwhile.
func (f *feed) send(c protocol.Changes) {
	p := piece{feed: f, index: c.Index, more: c.More}
	for _, x := range c.Changes {
		p.changes = append(p.changes, told.Change{
			Index: uint64(c.Index), Key: string(x.Key), Kind: x.Kind, Value: string(x.Value), Previous: told.Previous{Kind: x.PreviousKind, Value: string(x.Previous)},
		})
	}
	f.unread++
	f.arrive(func() {
		f.o.buffer = append(f.o.buffer, p)
		f.o.take()
	})
}

// ended has the client be told that the member has ended the watch. What was sent before comes
// before that.
func (f *feed) ended(err error) {
	f.ends()
	doubted := f.doubts != f.m.doubts || f.m.serving.withholds() != nil
	f.arrive(func() {
		f.o.doubted = doubted
		f.o.ending = err
		f.o.take()
	})
}
