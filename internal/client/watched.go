package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

const (
	// askAgeEvery is how often a member at which there are watches is asked how old its state is.
	askAgeEvery = time.Second
	// seekSlowest is what the pauses between two searches for a younger one, the first of which is
	// askAgeEvery, grow to.
	seekSlowest = 32 * time.Second
	// seekWidth is how many members are asked in a search, besides the leader.
	seekWidth = 2
	// leftFor is how long a member that was left because it is old is the last to be asked, and the
	// younger one the first.
	leftFor = 30 * time.Second
)

// Watch opens a stream at the first member that takes it: it returns when that has said where the stream
// begins.
func (r *Remote) Watch(ctx context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	var failed attempt.Failures
	for _, address := range r.watchOrder() {
		if ctx.Err() != nil {
			break
		}
		stream, err := r.watchAt(ctx, address, w)
		if err == nil {
			r.endpoints.Prefer(address, attempt.RouteNear)
			return stream, nil
		}
		if r.isClosed() {
			return nil, protocol.ErrClosed
		}
		if ctx.Err() != nil {
			failed.Add(address, err)
			break
		}
		r.forgetYoung(address)
		if !lost(err) && !attempt.RefusesClient(err) {
			return nil, err
		}
		r.endpoints.BackOff(address, time.Now().Add(r.cfg.BackOff))
		failed.Add(address, err)
	}
	return nil, failed.Err(ctx.Err())
}

// watchAt opens a stream at one member, whose age is known then, if the member knows it.
func (r *Remote) watchAt(ctx context.Context, address string, w *protocol.Watch) (resources.WatchStream, error) {
	l, err := r.linked(ctx, address)
	if err != nil {
		return nil, err
	}
	s := &remoteStream{of: &l.watched}
	if s.WatchStream, err = l.conn.Watch(ctx, w); err != nil {
		return nil, err
	}
	if s.first, err = s.WatchStream.Next(ctx); err == nil {
		_ = l.askAge(ctx)
		err = r.enter(s, l, address)
	}
	if err != nil {
		s.WatchStream.Close()
		return nil, err
	}
	return s, nil
}

// remoteStream is a watch at one member.
type remoteStream struct {
	resources.WatchStream
	of    *watched
	first protocol.Changes // what Next says first

	said bool
	why  atomic.Pointer[error] // the end of it, if that came from here
	once sync.Once
}

// Next returns the next changes.
func (s *remoteStream) Next(ctx context.Context) (protocol.Changes, error) {
	if !s.said {
		s.said = true
		return s.first, nil
	}
	c, err := s.WatchStream.Next(ctx)
	// [S] What the member has ended the watch with stays: who was told what is wrong must not go on elsewhere.
	if why := s.why.Load(); why != nil && errors.Is(err, protocol.ErrClosed) {
		err = *why
	}
	return c, err
}

// Close ends the stream.
func (s *remoteStream) Close() {
	s.once.Do(func() { s.of.leave(s) })
	s.WatchStream.Close()
}

// StateAge is what the member has said of its state, with what has passed since it was asked.
func (s *remoteStream) StateAge() protocol.Result { return s.of.now() }

// watched are the streams of one link, and how old the state is from which they are told.
type watched struct {
	mu      sync.Mutex
	streams map[*remoteStream]struct{}
	said    aged
	asked   time.Time // when the member was asked last
	asking  bool      // as long as there are streams
}

// aged is what a member has said of its state. [S] Its age counts from when the member was asked: the
// answer may have lain in a socket for as long as this process stood still.
type aged struct {
	asked  time.Time
	result protocol.Result
}

// at is what was said, as of now.
func (a aged) at(now time.Time) protocol.Result {
	if a.result.AgeKnown {
		a.result.Age += int64(passed(a.asked, now))
	}
	return a.result
}

// enter adds a stream, and has the member asked from now on.
func (r *Remote) enter(s *remoteStream, l *link, address string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return protocol.ErrClosed
	}
	w := &l.watched
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.streams == nil {
		w.streams = map[*remoteStream]struct{}{}
	}
	w.streams[s] = struct{}{}
	if !w.asking {
		w.asking = true
		r.done.Go(func() { r.askAges(l, address) })
	}
	return nil
}

func (w *watched) leave(s *remoteStream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.streams, s)
}

// done reports whether nobody watches any more; then the member is asked no more.
func (w *watched) done() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asking = len(w.streams) > 0
	return !w.asking
}

// askAge asks the member how old its state is, if nobody does and it was not asked lately. What it knew
// before stays when it does not say.
//
// [S] A member that serves nobody ends all watches: one that it cannot tell so, because its reader is behind, would
// go on elsewhere when the age of that member has grown, also where what it was told may be wrong.
func (l *link) askAge(ctx context.Context) error {
	w := &l.watched
	asked := time.Now()
	w.mu.Lock()
	if passed(w.asked, asked) < askAgeEvery/2 {
		w.mu.Unlock()
		return nil
	}
	w.asked = asked
	w.mu.Unlock()
	response, err := l.conn.Do(ctx, &protocol.Request{Kind: protocol.RequestAge})
	if err != nil {
		return err
	}
	switch err := response.Result.Err(); {
	case errors.Is(err, protocol.ErrCompacted), errors.Is(err, protocol.ErrNotServing):
		w.end(err)
	case err == nil && response.Result.AgeKnown:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.said = aged{asked, response.Result}
	}
	return nil
}

// now is what is known of a member's state.
func (w *watched) now() protocol.Result {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.at(time.Now())
}

// end ends all streams, which go on elsewhere.
func (w *watched) end(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for s := range w.streams { // order does not matter: each by itself
		s.why.Store(&why)
		s.WatchStream.Close()
	}
	clear(w.streams)
}

// askAges asks a member how old its state is for as long as there are watches at it, and has them go
// on elsewhere when it is old and another one is not.
func (r *Remote) askAges(l *link, address string) {
	ticker := time.NewTicker(askAgeEvery)
	defer ticker.Stop()
	since, search, pause := time.Now(), time.Time{}, askAgeEvery
	for !l.watched.done() {
		_ = l.askAge(r.alive) // if it fails, the connection does
		now := l.watched.now()
		age := time.Duration(now.Age)
		if !now.AgeKnown {
			age = passed(since, time.Now())
		}
		switch {
		case age <= r.cfg.WatchAge:
			pause = askAgeEvery
		case time.Now().After(search):
			r.leaveOld(l, address, age)
			search, pause = time.Now().Add(pause), min(2*pause, seekSlowest)
		}
		select {
		case <-ticker.C:
		case <-l.conn.Done(): // which has ended all streams
			return
		case <-r.alive.Done():
			return
		}
	}
}

// young is the member that watches go to first for a while, because it was found to be younger.
type young struct {
	address string
	until   time.Time
}

// watchOrder returns the members, the one first that is best for watches.
func (r *Remote) watchOrder() []string {
	now := time.Now()
	order := r.endpoints.Order(now, attempt.RouteNear)
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(order, r.young.address); i > 0 && now.Before(r.young.until) {
		order = slices.Concat(order[i:i+1], order[:i], order[i+1:])
	}
	return order
}

// forgetYoung has a member that did not take a watch be asked when it is its turn.
func (r *Remote) forgetYoung(address string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young.address == address {
		r.young = young{}
	}
}

// leaveOld has the watches of a link go on at a member that says that its state is less than half as
// old, if one of those that are asked does.
func (r *Remote) leaveOld(l *link, address string, age time.Duration) {
	ctx, cancel := context.WithTimeout(r.alive, r.cfg.DialTimeout)
	defer cancel()
	order := slices.DeleteFunc(slices.Clone(r.watchOrder()), func(a string) bool { return a == address })
	candidates := order[:min(seekWidth, len(order))]
	if leader, _ := r.endpoints.Leader(); leader != "" && leader != address && !slices.Contains(candidates, leader) {
		candidates = append(slices.Clone(candidates), leader)
	}
	for _, other := range candidates {
		to, err := r.linked(ctx, other)
		if err != nil || to.askAge(ctx) != nil {
			continue
		}
		if found := to.watched.now(); !found.AgeKnown || time.Duration(found.Age) >= age/2 {
			continue
		}
		until := time.Now().Add(leftFor)
		r.endpoints.BackOff(address, until)
		r.mu.Lock()
		r.young = young{other, until}
		r.mu.Unlock()
		l.watched.end(protocol.ErrUnavailable.With(fmt.Sprintf("the state of %s may be %v old, that of %s is younger: the watch goes on there",
			address, age.Round(time.Millisecond), other)))
		return
	}
}
