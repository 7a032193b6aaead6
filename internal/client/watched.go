package client

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Watch opens a stream at the first member that takes it: it returns when that has said where the stream
// begins.
func (r *Remote) Watch(ctx context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	opening := r.sources.Open(time.Now())
	for {
		address, left := opening.Next()
		if !left || ctx.Err() != nil {
			return nil, opening.End(ctx.Err())
		}
		stream, err := r.watchAt(ctx, address, w)
		if err != nil && r.isClosed() {
			return nil, protocol.ErrClosed
		}
		switch over, err := opening.Took(time.Now(), address, err, ctx.Err()); {
		case over && err != nil:
			return nil, err
		case over:
			return stream, nil
		}
	}
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
	if why := s.why.Load(); why != nil && err != nil {
		err = attempt.Left(err, *why)
	}
	return c, err
}

// Close ends the stream.
func (s *remoteStream) Close() {
	s.once.Do(func() { s.of.leave(s) })
	s.WatchStream.Close()
}

// StateAge is what the member has said of its state, with what has passed since it was asked.
func (s *remoteStream) StateAge() protocol.Result { return s.of.source.State(time.Now()) }

// watched are the streams of one link, and how old the state is from which they are told.
type watched struct {
	source  attempt.Source
	mu      sync.Mutex
	streams map[*remoteStream]struct{}
	asking  bool // as long as there are streams
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
		w.source.Begin(time.Now())
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

// askAge asks the member how old its state is, if nobody does and it was not asked lately.
func (l *link) askAge(ctx context.Context) error {
	w, asked := &l.watched, time.Now()
	if !w.source.Ask(asked) {
		return nil
	}
	response, err := l.conn.Do(ctx, &protocol.Request{Kind: protocol.RequestAge})
	if err != nil {
		return err
	}
	if why := w.source.Says(&response.Result, asked); why != nil {
		w.end(why)
	}
	return nil
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
	ticker := time.NewTicker(attempt.AskAgeEvery)
	defer ticker.Stop()
	for !l.watched.done() {
		_ = l.askAge(r.alive) // if it fails, the connection does
		if age, seek := r.sources.IsOld(&l.watched.source, time.Now()); seek {
			r.leaveOld(l, address, age)
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

// leaveOld has the watches of a link go on at a younger member, if one of those that are asked is.
func (r *Remote) leaveOld(l *link, address string, age time.Duration) {
	ctx, cancel := context.WithTimeout(r.alive, r.cfg.DialTimeout)
	defer cancel()
	for _, other := range r.sources.Candidates(address, time.Now()) {
		to, err := r.linked(ctx, other)
		if err != nil || to.askAge(ctx) != nil {
			continue
		}
		now := time.Now()
		if why := r.sources.Leave(address, age, other, to.watched.source.State(now), now); why != nil {
			l.watched.end(why)
			return
		}
	}
}
