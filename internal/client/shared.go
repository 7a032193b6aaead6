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

// Many parts of a program watch the same: each of 400 watches of one configuration had a stream of its
// own, and everything came, was read and decoded 400 times. Those of this client that are of the same
// and go on from now share one stream. Whoever waits for what comes next reads it for all, so no goroutine does only that, and
// who watches alone reads as without this.

// sharedBehindMax is how many bytes of changes a reader may be behind the fastest one that shares its stream, beside the
// piece that it takes next and the one that comes: then it gets a stream of its own, which the member holds back for it,
// until it has come as far as the others.
const sharedBehindMax = 1 << 20

// pieceOverhead is what anything that came counts as, beside its keys and values.
const pieceOverhead = 256

// sharedRests is for how long a stream may not have been read that others join. A source says something once a second;
// what lies there for longer is another past, and may be its end.
const sharedRests = 3 * time.Second

// watchKey is what watches must have in common to share a stream.
type watchKey struct {
	resource, kind, prefix string
	previous               bool
}

// sharedStreams are those of a client, by what they watch.
type sharedStreams struct {
	mu   sync.Mutex
	list map[watchKey]*shared
}

// shared is a stream with those that read it.
type shared struct {
	key    watchKey
	opened chan struct{} // closed when source is set, or never will be
	source *stream       // nil: it could not be opened
	err    error         // why
	token  chan struct{} // of whoever reads the source

	mu      sync.Mutex
	readers map[*sharedReader]struct{} // nobody joins once there are none
	last    *piece
	index   protocol.Index // everything up to it has come
	read    time.Time      // when that came
	over    bool           // the source has ended
}

// piece is what came at once, in a list.
type piece struct {
	changes protocol.Changes
	err     error // the end of the source
	came    time.Time
	bytes   uint64 // of all that came up to here

	next  atomic.Pointer[piece]
	ready chan struct{} // closed when next is set
}

func newPiece(before uint64) *piece { return &piece{bytes: before, ready: make(chan struct{})} }

// sharedReader is one watch of several. Next belongs to one goroutine; Close may be called from any.
type sharedReader struct {
	client *Client
	watch  protocol.Watch
	of     *shared
	known  protocol.Index // nothing up to here is told
	from   protocol.Index // everything up to here has been told
	begins *protocol.Changes

	done chan struct{}
	// Guarded by the stream's lock:
	at     *piece             // the last one that was looked at; nil: it is too far behind
	cancel context.CancelFunc // of its reading for all
	closed bool
	own    resources.WatchStream // while it is too far behind
}

// join returns a watch from now on. ctx bounds its opening.
func (c *Client) join(ctx context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	key := watchKey{w.Resource, w.Type, string(w.Prefix), w.Previous}
	for {
		c.shared.mu.Lock()
		s := c.shared.list[key]
		if s == nil {
			s = &shared{key: key, opened: make(chan struct{}), token: make(chan struct{}, 1), readers: map[*sharedReader]struct{}{}, last: newPiece(0)}
			if c.shared.list == nil {
				c.shared.list = map[watchKey]*shared{}
			}
			c.shared.list[key] = s
			c.shared.mu.Unlock()
			return c.first(ctx, s, w)
		}
		c.shared.mu.Unlock()
		select {
		case <-s.opened:
		case <-ctx.Done():
			return nil, attempt.GaveUp(ctx.Err(), protocol.ErrUnavailable.With("no member has taken another watch of the same so far, which was begun before"))
		}
		if s.source == nil {
			if attempt.Permanent(s.err) {
				return nil, s.err
			}
			continue // this one may wait for longer
		}
		if r, err := c.another(s, w); r != nil || err != nil {
			return r, err
		}
	}
}

// first opens a stream for the first that reads it.
func (c *Client) first(ctx context.Context, s *shared, w *protocol.Watch) (resources.WatchStream, error) {
	defer close(s.opened)
	source, err := c.begin(ctx, w)
	if err != nil {
		s.err = err
		c.shared.forget(s)
		return nil, err
	}
	begins := source.begins
	source.begins = nil
	r := &sharedReader{client: c, watch: *w, of: s, from: begins.Index, begins: begins, at: s.last, done: make(chan struct{})}
	s.readers[r], s.index, s.read, s.source = struct{}{}, begins.Index, time.Now(), source
	return r, nil
}

// another has one more read a stream; nil: it has ended, or nobody reads it.
func (c *Client) another(s *shared, w *protocol.Watch) (resources.WatchStream, error) {
	known := c.seen.index()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lives() {
		c.shared.forget(s)
		return nil, nil
	}
	if err := c.counts(); err != nil {
		return nil, err
	}
	begins := protocol.Changes{Index: max(known, s.index)}
	r := &sharedReader{client: c, watch: *w, of: s, known: known, from: begins.Index, begins: &begins, at: s.last, done: make(chan struct{})}
	s.readers[r] = struct{}{}
	return r, nil
}

// lives reports whether others may join: it has not ended, and is read.
func (s *shared) lives() bool {
	rests := len(s.token) == 0 && attempt.Elapsed(s.read, time.Now()) > sharedRests
	return !s.over && len(s.readers) > 0 && !rests
}

// forget has nobody else join a stream.
func (list *sharedStreams) forget(s *shared) {
	list.mu.Lock()
	defer list.mu.Unlock()
	if list.list[s.key] == s {
		delete(list.list, s.key)
	}
}

// Next waits for the changes of one entry, as that of a stream alone does.
func (r *sharedReader) Next(ctx context.Context) (protocol.Changes, error) {
	s := r.of
	if b := r.begins; b != nil {
		r.begins = nil
		return *b, nil
	}
	for {
		s.mu.Lock()
		at, own, closed := r.at, r.own, r.closed
		s.mu.Unlock()
		switch {
		case closed:
			return protocol.Changes{}, protocol.ErrClosed
		case own != nil:
			changes, err := own.Next(ctx)
			if err == nil {
				r.rejoin(own, changes.Index)
			}
			return changes, err
		case at == nil:
			if err := r.part(); err != nil {
				return protocol.Changes{}, err
			}
			continue
		case at.err != nil:
			return protocol.Changes{}, at.err
		}
		if p := at.next.Load(); p != nil {
			if changes, err, news := r.take(p); news {
				return changes, err
			}
			continue
		}
		select {
		case s.token <- struct{}{}:
			changes, err, alone := r.read(ctx, at)
			<-s.token
			if alone || err != nil {
				return changes, err
			}
		case <-at.ready:
		case <-ctx.Done():
			return protocol.Changes{}, ctx.Err()
		case <-r.done:
		}
	}
}

// take looks at what has come, and reports whether it is news to this reader.
func (r *sharedReader) take(p *piece) (protocol.Changes, error, bool) {
	r.of.mu.Lock()
	if r.at != nil {
		r.at = p
	}
	r.of.mu.Unlock()
	if p.err != nil {
		return protocol.Changes{}, p.err, true
	}
	changes, news := r.told(p.changes)
	changes.Age += int64(attempt.Elapsed(p.came, time.Now()))
	return changes, nil, news
}

// told is what has come as this reader is told it, if that is news to it.
func (r *sharedReader) told(changes protocol.Changes) (protocol.Changes, bool) {
	if len(changes.Changes) > 0 && changes.Index <= r.known {
		return changes, false
	}
	changes.Index = max(changes.Index, r.known)
	r.from = max(r.from, changes.Index)
	return changes, true
}

// read reads the source for all that wait, behind the piece at the end of the list. Alone, there is
// nobody to keep it for. An error is this reader's own.
func (r *sharedReader) read(ctx context.Context, at *piece) (changes protocol.Changes, err error, alone bool) {
	s := r.of
	s.mu.Lock()
	if at != s.last || r.closed || s.over {
		s.mu.Unlock()
		return changes, nil, false // it has come meanwhile
	}
	ctx, r.cancel = context.WithCancel(ctx)
	defer r.cancel()
	s.mu.Unlock()
	changes, err = s.source.Next(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	r.cancel = nil
	switch {
	case err != nil && ctx.Err() != nil:
		if r.closed {
			err = protocol.ErrClosed
		}
		return changes, err, false
	case err == nil && len(s.readers) == 1 && !r.closed:
		s.index, s.read = max(s.index, changes.Index), time.Now()
		changes, news := r.told(changes)
		return changes, nil, news
	}
	s.add(changes, err)
	return changes, nil, false
}

// add appends what has come to the list. Whoever is too far behind that goes on by itself.
func (s *shared) add(changes protocol.Changes, err error) {
	p := newPiece(s.last.bytes)
	p.changes, p.err, p.came, p.bytes = changes, err, time.Now(), p.bytes+pieceOverhead
	for i := range changes.Changes {
		p.bytes += uint64(len(changes.Changes[i].Key) + len(changes.Changes[i].Value) + len(changes.Changes[i].Previous))
	}
	s.over = s.over || err != nil
	s.index, s.read = max(s.index, changes.Index), p.came
	if p.bytes/(sharedBehindMax/8) != s.last.bytes/(sharedBehindMax/8) { // now and then
		for r := range s.readers { // order does not matter: each by itself
			if err == nil && r.at != nil && s.behind(r.at) > sharedBehindMax {
				r.at = nil
			}
		}
	}
	last := s.last
	s.last = p
	last.next.Store(p)
	close(last.ready)
}

// behind is how many bytes lie behind the piece that a reader takes next, which counts for nothing: a single one may
// have more than the limit.
func (s *shared) behind(at *piece) uint64 {
	if next := at.next.Load(); next != nil {
		return s.last.bytes - next.bytes
	}
	return 0
}

// part gives a reader that is too far behind a stream of its own, which is at no member so far. It counts as one watch
// all the time: at the limit one that runs would end.
func (r *sharedReader) part() error {
	r.client.watches.Add(1)
	r.leave()
	w := r.watch
	w.From = max(1, r.from) // 0 would be now; no change is at 1
	own := r.client.newStream(&w)
	own.watch.Taken() // as a watch goes on that has lost its member
	own.lost = protocol.ErrUnavailable.With("no member has taken the watch again so far, which was too far behind others of the same")
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if r.closed {
		own.Close()
		return protocol.ErrClosed
	}
	r.own = own
	return nil
}

// rejoin has a reader share the stream again once its own has told all that came there: one loop that stood still for a
// moment would have the member tell everything twice from then on.
func (r *sharedReader) rejoin(own resources.WatchStream, index protocol.Index) {
	s := r.of
	r.from = max(r.from, index)
	s.mu.Lock()
	if r.closed || s.index > r.from || !s.lives() {
		s.mu.Unlock()
		return
	}
	r.known, r.own, r.at = r.from, nil, s.last
	s.readers[r] = struct{}{}
	r.client.watches.Add(1)
	s.mu.Unlock()
	own.Close() // which counts for one
}

// leave takes the reader off its stream, which ends with the last one.
func (r *sharedReader) leave() {
	s := r.of
	s.mu.Lock()
	_, reads := s.readers[r]
	delete(s.readers, r)
	left := len(s.readers)
	s.mu.Unlock()
	switch {
	case !reads:
	case left > 0:
		r.client.watches.Add(-1)
	default:
		r.client.shared.forget(s)
		s.source.Close() // which counts for one
	}
}

// Close ends the watch; a Next that waits returns an error.
func (r *sharedReader) Close() {
	s := r.of
	s.mu.Lock()
	if r.closed {
		s.mu.Unlock()
		return
	}
	r.closed = true
	cancel, own := r.cancel, r.own
	s.mu.Unlock()
	close(r.done)
	if cancel != nil {
		cancel()
	}
	if own != nil {
		own.Close()
	}
	r.leave()
}
