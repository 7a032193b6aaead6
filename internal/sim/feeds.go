package sim

import (
	"bytes"
	"cmp"
	"errors"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/internal/changefile"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/sim/told"
	"github.com/starlinghq/starling/protocol"
)

const (
	// tellEvery is about how often a member looks whether there is something to tell.
	tellEvery = 60 * time.Millisecond
	// progressEvery is between two words on how far everything was told; it is that of
	// internal/runtime.
	progressEvery = time.Second
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
	feed *feed
	protocol.Changes
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
	unread  int  // answers that the loop has not taken
	recalls bool // it reads the file of changes
	arrives Time
	source  *attempt.Source
	took    func(error) // of the attempt to open it; nil: the client has entered
	asking  bool
	why     error  // the client has left it
	doubts  uint64 // of the member's state, when it began
	over    bool   // for the member
	lost    bool   // the connection is
	aging
}

// withholds is why the member tells nothing of the map, or nil, as in internal/runtime: what may
// have been told wrongly does not go on elsewhere.
func (x *serving) withholds() error {
	differs := replica.SituationOf(x.replica).Differs.Refuses(mapName)
	if errors.Is(differs, protocol.ErrDisputed) {
		return errDoubted
	}
	return cmp.Or(x.suspended(), differs)
}

// errDoubted ends a watch that may have been told what is wrong.
var errDoubted error = protocol.ErrCompacted.With("what was told may be wrong")

// suspended is why the member serves nobody, or nil.
func (x *serving) suspended() error {
	switch now := replica.SituationOf(x.replica); {
	case now.Quarantine != "" || x.diverged:
		return errDoubted
	case now.Role == protocol.RoleReserve || now.Beyond != "" || now.Unconfirmed != "":
		return protocol.ErrNotServing
	}
	return nil
}

// open has the watch opened at the first member that takes it.
func (o *onlooker) open() { o.openAt(o.sources.Open(o.s.clock())) }

func (o *onlooker) openAt(x *attempt.Opening) {
	s := o.s
	address, left := x.Next()
	if !left {
		o.refused(x.End(nil))
		return
	}
	m, from := s.named(address), o.watch.From()
	took := func(err error) {
		switch over, err := x.Took(s.clock(), address, err, nil); {
		case err != nil:
			o.refused(err)
		case !over:
			o.openAt(x)
		}
	}
	o.later(s.onlookerWay(), func() {
		switch {
		case m.up() && m.paused:
			o.later(pingTimeout, func() { took(errLost) })
			return
		case !m.up() || m.isWrong(): // a wrong answer that nobody knows to be wrong is not heard
			o.later(s.onlookerWay(), func() { took(errLost) })
			return
		case from != 0 && from < m.rightFrom: // nor what it says of the time before
			end := errLost
			if s.quiet {
				end = protocol.ErrCompacted
			}
			o.later(s.onlookerWay(), func() { took(end) })
			return
		}
		way := s.onlookerWay()
		f, err := o.taken(m, way)
		o.later(way, func() {
			if err != nil {
				took(err)
				return
			}
			o.feed, f.took = f, took
		})
	})
}

// refused takes why no member has taken the watch.
func (o *onlooker) refused(err error) {
	if !o.watch.Refused(err) {
		o.doubted = false
		o.ends(err)
		return
	}
	o.later(o.watch.Pause(o.s.random.watches), o.open)
}

// taken has a member take the watch. The client hears so after a while, and nothing before that.
func (o *onlooker) taken(m *member, way time.Duration) (*feed, error) {
	request := o.watch.Request()
	w, err := m.machine.WatchWithin(&request, feedPartBytes)
	if err != nil {
		if errors.Is(err, protocol.ErrCompacted) && m.behind.file != nil {
			o.s.counts.add(countWatchesBeforeFile, 1)
		}
		return nil, err
	}
	if err := m.serving.withholds(); err != nil {
		w.Close()
		return nil, protocol.ErrNotServing // of one that has told it nothing
	}
	serving := &m.serving
	w.EndWith(serving.withholds)
	if m.applied < request.From {
		o.s.counts.add(countWatchesAhead, 1)
	}
	f := &feed{o: o, m: m, run: m.run, loop: o.loop, poller: w.Polled(), source: o.link(m), doubts: m.doubts, arrives: o.s.schedule.now.Add(way)}
	if f.poller.IsBehind() {
		f.recalls = true
		o.s.counts.add(countWatchesBeginInFile, 1)
	}
	o.s.schedule.after(0, f.tells)
	return f, nil
}

// opens waits until the member has said where the watch begins, and how old its state is.
func (f *feed) opens() {
	o := f.o
	switch took := f.took; {
	case len(o.buffer) > 0 && !f.asking:
		f.asking = true
		o.asksAge(f.m, func() {
			f.took = nil
			took(nil)
			f.enter()
		})
	case len(o.buffer) == 0 && o.ending != nil:
		err := o.ending
		o.leave()
		took(err)
	}
}

// enter has the client be told over the feed from now on.
func (f *feed) enter() {
	o, s := f.o, f.o.s
	o.watch.Taken()
	f.source.Begin(s.clock())
	if f.m.up() {
		o.endpoints.Learn(f.m.name, &protocol.Response{Status: membersAt(f.m)})
	}
	if !o.first {
		s.counts.add(countWatchesMoved, 1)
		stream := o.stream()
		stream.Events = append(stream.Events, told.Event{Kind: told.Moved, Index: uint64(o.watch.From()), Where: f.m.name})
	}
	f.listens()
	if o.first {
		o.first = false
		o.ask()
		return
	}
	o.take()
}

// leave has the client be told over its feed no more.
func (o *onlooker) leave() {
	if f := o.feed; f != nil {
		f.ends()
	}
	o.feed, o.buffer, o.parts, o.ending = nil, nil, nil, nil
}

// ends ends the feed at both sides.
func (f *feed) ends() {
	if !f.over && f.m.run == f.run {
		f.poller.Close()
	}
	f.over = true
}

// breaks has the client find out that the connection is lost. What is on its way is lost, too.
func (f *feed) breaks(err error) {
	if f.lost {
		return
	}
	f.ends()
	f.lost = true
	delete(f.o.links, f.m.name)
	f.arrive(func() { f.end(err, false) })
}

// end has the client see the end of what it is told, behind what has come.
func (f *feed) end(err error, doubted bool) {
	if f.o.ending == nil {
		f.o.doubted, f.o.ending = doubted, err
	}
	f.o.take()
}

// arrive does something at the client when what was sent before is there.
func (f *feed) arrive(do func()) {
	s, o := f.o.s, f.o
	f.arrives = max(f.arrives+1, s.schedule.now.Add(s.onlookerWay()))
	s.schedule.at(f.arrives, func() {
		if o.loop == f.loop && o.feed == f && f.why == nil && !s.failed() {
			do()
		}
	})
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
		if now := f.poller.IsBehind(); now && !f.recalls {
			f.o.s.counts.add(countWatchesFallBack, 1)
		} else if !now && f.recalls {
			f.o.s.counts.add(countWatchesRejoin, 1)
		}
		f.recalls = f.poller.IsBehind()
		if err != nil {
			if errors.Is(err, changefile.ErrDamaged) {
				f.o.s.counts.add(countWatchesDamaged, 1)
			}
			f.ended(err)
			return
		}
		if f.begun && len(c.Changes) == 0 && c.Index <= f.told { // the client knows
			if ticks {
				continue // the tick came before what there is
			}
			f.applied = f.m.applied
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
	p := piece{f, c}
	p.Changes.Changes = make([]protocol.Change, 0, len(c.Changes))
	for _, x := range c.Changes {
		x.Key, x.Value, x.Previous = bytes.Clone(x.Key), bytes.Clone(x.Value), bytes.Clone(x.Previous)
		p.Changes.Changes = append(p.Changes.Changes, x)
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
	f.arrive(func() { f.end(err, doubted) })
}
