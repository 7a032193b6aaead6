//go:build linux

package fieldtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/sim/told"
	"github.com/starlinghq/starling/protocol"
)

// program keeps a watch, or a copy, and goes on where it was when its loop has ended.
type program struct {
	o      *observed
	name   string
	at     int // the client of which member
	prefix string
	copies bool
	before bool          // it asks for what each key was
	work   time.Duration // that its loop has with an event
	stops  int           // after about so many events it rests, or ends its loop; 0: never
	hops   bool          // it ends its loop then, and goes on at another client
	rests  time.Duration
	random *rand.Rand

	streams []*told.Stream
	asked   time.Duration
	until   int // events until it stops
}

// run runs loops until one has come to the end of what was written.
func (p *program) run(ctx context.Context) {
	for ctx.Err() == nil {
		over, err := p.loop(ctx)
		switch {
		case over:
			return
		case err != nil && !missed(err) && ctx.Err() == nil:
			p.o.t.Errorf("%s: %v", p.stream().Name, err)
			return
		case err != nil:
			p.begin(uint64(p.read(ctx)), nil)
		case ctx.Err() == nil:
			p.rest(ctx)
			p.at = p.random.IntN(len(p.o.clients))
		}
	}
}

func (p *program) stream() *told.Stream { return p.streams[len(p.streams)-1] }

// read returns an index to watch on behind, of a read.
func (p *program) read(ctx context.Context) starling.Index {
	var info starling.Info
	_ = within(patience, func() error {
		_, err := starling.NewMap[string, string](p.o.clients[p.at], watchedName).Len(ctx, starling.OwnWrites, starling.WithInfo(&info))
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
	return info.Index
}

// begin begins the stream of another loop.
func (p *program) begin(after uint64, before *told.Stream) {
	s := &told.Stream{
		Name: fmt.Sprintf("loop %d of %q over %q, from the client of %s", len(p.streams)+1, p.name, p.prefix, p.o.members[p.at].name), Prefix: p.prefix,
		After: after, Resumes: before, Copy: p.copies, Previous: p.before, Quiet: p.o.quiet,
	}
	if p.copies {
		s.Quiet *= 4 // pages are read of members that may not answer
	}
	p.streams = append(p.streams, s)
}

func (p *program) rest(ctx context.Context) {
	if p.rests > 0 && !p.o.hurry.Load() {
		wait(ctx, time.Duration(p.random.Int64N(int64(p.rests))))
	}
}

// loop watches on, and reports whether it has come to the end.
func (p *program) loop(ctx context.Context) (over bool, err error) {
	n := len(p.streams)
	switch {
	case p.copies || n == 0:
		p.begin(0, nil)
	case len(p.stream().Events) > 0:
		p.begin(p.stream().Resume(), p.stream())
	}
	p.until = p.random.IntN(2*p.stops + 1)
	p.asked = 0
	m := starling.NewMap[string, string](p.o.clients[p.at], watchedName)
	if p.copies {
		for e, failed := range m.Follow(ctx, starling.FollowOptions{Prefix: []byte(p.prefix), Bookmarks: true}) {
			if failed != nil {
				return false, failed
			}
			listed := e.Kind == starling.FollowListed
			if over, on := p.took(ctx, told.Event{Kind: followed[e.Kind], Index: uint64(e.Index), Key: e.Key, Value: brief(e.Value), Last: e.Last || listed, Age: e.Age, AgeKnown: e.AgeKnown}); !on {
				return over, nil
			}
		}
		return false, nil
	}
	for e, failed := range m.Watch(ctx, starling.WatchOptions{Prefix: []byte(p.prefix), After: starling.Index(p.stream().After), Previous: p.before, Bookmarks: true}) {
		if failed != nil {
			return false, failed
		}
		previous := told.Previous{Kind: protocol.PreviousKind(e.PreviousKind)}
		if e.PreviousKind == starling.PreviousValue {
			previous.Value = brief(e.Previous)
		}
		if over, on := p.took(ctx, told.Event{Kind: watched[e.Kind], Index: uint64(e.Index), Key: e.Key, Value: brief(e.Value), Previous: previous, Last: e.Last, Age: e.Age, AgeKnown: e.AgeKnown}); !on {
			return over, nil
		}
	}
	return false, nil
}

var (
	watched  = map[starling.EventKind]told.Kind{starling.EventPut: told.Put, starling.EventDelete: told.Delete, starling.EventBookmark: told.Bookmark}
	followed = map[starling.FollowKind]told.Kind{
		starling.FollowReset: told.Reset, starling.FollowPut: told.Put, starling.FollowDelete: told.Delete,
		starling.FollowListed: told.Listed, starling.FollowBookmark: told.Bookmark,
	}
)

// took takes an event, and reports whether the loop goes on, or else has come to the end.
func (p *program) took(ctx context.Context, e told.Event) (over, on bool) {
	e.Came = p.o.now()
	if e.Asked = p.asked; e.Asked == 0 { // until a member takes a watch it says nothing
		e.Asked = e.Came
	}
	if e.Kind != told.Put {
		e.Value = ""
	}
	s := p.stream()
	s.Events = append(s.Events, e)
	defer func() { p.asked = p.o.now() }()
	if e.Kind != told.Reset && (!p.copies || e.Kind != told.Put && e.Kind != told.Delete || e.Last) && p.o.past(e.Index, e.Last) {
		return true, false
	}
	if p.o.hurry.Load() {
		return false, true
	}
	if p.work > 0 {
		wait(ctx, p.work)
	}
	if p.stops > 0 {
		if p.until--; p.until <= 0 {
			p.until = p.random.IntN(2*p.stops + 1)
			if p.hops {
				return false, false
			}
			p.rest(ctx)
		}
	}
	return false, true
}
