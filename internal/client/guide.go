package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// seekEvery is how often a guide looks whether somebody waits, and how long a
	// command must have waited at least before the others are asked who leads.
	seekEvery = 100 * time.Millisecond
	// askFor is how long one member may think about who leads before another one
	// is asked.
	askFor = 250 * time.Millisecond
)

// guide finds the leader on behalf of those who wait: commands without an answer,
// and callers that pause because there is no leader to ask.
//
// No time limit tells a client that the leader has gone: a member that answers no
// ping is known after a second, and an election takes less. While somebody waits,
// another member is asked who leads: it answers as soon as it knows a leader of a
// newer term. Then whoever waits at another address gives that up, as something
// that may have happened, and asks the new leader.
type guide struct {
	mu       sync.Mutex
	errands  map[*errand]struct{}
	pausing  int
	paused   bool        // somebody has, since the last tick
	timer    *time.Timer // nil before the first use
	ticking  bool
	stop     context.CancelFunc // of the search under way; nil if there is none
	finished bool
}

// errand is a command that is under way to one address.
type errand struct {
	address string
	term    protocol.Term // the newest known when it was sent
	old     bool          // it has waited for a tick
	giveUp  context.CancelCauseFunc
}

// setOut begins an errand; the context returned ends when it is given up.
func (r *Remote) setOut(ctx context.Context, address string) (context.Context, *errand) {
	ctx, giveUp := context.WithCancelCause(ctx)
	_, term := r.book.known()
	e := &errand{address: address, term: term, giveUp: giveUp}
	g := &r.guide
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.errands == nil {
		g.errands = map[*errand]struct{}{}
	}
	g.errands[e] = struct{}{}
	r.tickLater()
	return ctx, e
}

// comeBack ends an errand.
func (r *Remote) comeBack(e *errand) {
	g := &r.guide
	g.mu.Lock()
	delete(g.errands, e)
	g.mu.Unlock()
	e.giveUp(nil)
}

// News is closed when a leader is known that was not known when it was called.
func (r *Remote) News() <-chan struct{} { return r.book.newsNow() }

// Seek has the members asked who leads until stop is called.
func (r *Remote) Seek() (stop func()) {
	g := &r.guide
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pausing, g.paused = g.pausing+1, true
	r.tickLater()
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.pausing--
	}
}

// tickLater starts the ticks, if they have stopped. The guide's lock is held.
func (r *Remote) tickLater() {
	g := &r.guide
	switch {
	case g.ticking || g.finished:
		return
	case g.timer == nil:
		g.timer = time.AfterFunc(seekEvery, r.tick)
	default:
		g.timer.Reset(seekEvery)
	}
	g.ticking = true
}

// tick begins a search if somebody has waited for a while, and ends it if nobody
// does any more.
func (r *Remote) tick() {
	g := &r.guide
	g.mu.Lock()
	defer g.mu.Unlock()
	wanted := g.pausing > 0 || g.paused
	g.paused = false
	for e := range g.errands {
		wanted = wanted || e.old
		e.old = true
	}
	switch {
	case g.finished:
		return
	case wanted && g.stop == nil:
		ctx, stop := context.WithCancel(r.alive)
		g.stop = stop
		r.done.Go(func() { r.search(ctx) })
	case !wanted && g.stop != nil:
		g.stop()
	}
	g.ticking = len(g.errands) > 0 || g.pausing > 0 || g.stop != nil
	if g.ticking {
		g.timer.Reset(seekEvery)
	}
}

// search asks the members in turn who leads, until one names a leader of a newer
// term or nobody wants to know any more.
func (r *Remote) search(ctx context.Context) {
	defer func() {
		r.guide.mu.Lock()
		defer r.guide.mu.Unlock()
		r.guide.stop()
		r.guide.stop = nil
	}()
	_, since := r.book.known()
	for turn := 0; ; turn++ {
		addresses := r.book.informed()
		address := addresses[turn%len(addresses)]
		asking, cancel := context.WithTimeout(ctx, askFor)
		r.askWhoLeads(asking, address)
		if _, term := r.book.known(); term > since || ctx.Err() != nil {
			cancel()
			return
		}
		if turn%len(addresses) == len(addresses)-1 {
			<-asking.Done() // all have been asked, and some may have answered at once that they cannot help
		}
		cancel()
	}
}

func (r *Remote) askWhoLeads(ctx context.Context, address string) {
	conn, err := r.connect(ctx, address)
	if err != nil {
		return
	}
	_, term := r.book.known()
	response, err := conn.Do(ctx, &protocol.Request{Kind: protocol.RequestLeader, Term: term})
	if err == nil {
		r.learn(address, response)
	}
}

// learn takes what a response says, and has those give up who wait at another
// address than the leader's of a term that is newer than what they knew.
func (r *Remote) learn(address string, response *protocol.Response) {
	if !r.book.learn(address, response) {
		return
	}
	leader, term := r.book.known()
	r.guide.mu.Lock()
	defer r.guide.mu.Unlock()
	for e := range r.guide.errands {
		if e.address != leader && e.term < term {
			e.giveUp(&overtaken{e.address, leader})
		}
	}
}

// overtaken is why a command was given up: it may have happened, and another
// member leads by now.
type overtaken struct{ address, leader string }

// Error names both members.
func (e *overtaken) Error() string {
	return fmt.Sprintf("no answer from %s, and by now %s leads: the write may have happened", e.address, e.leader)
}

// Unwrap makes it an unknown outcome.
func (e *overtaken) Unwrap() error { return protocol.ErrUnknownOutcome }

// finish ends the ticks and, with the Remote's life, the search.
func (g *guide) finish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.finished = true
	if g.timer != nil {
		g.timer.Stop()
	}
}
