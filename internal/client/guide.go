package client

import (
	"context"
	"sync"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
)

// guide gives a search for the leader its ticks, and asks the members.
type guide struct {
	mu       sync.Mutex
	search   attempt.Search
	timer    *time.Timer        // nil before the first use
	stop     context.CancelFunc // of the asking under way; nil if there is none
	finished bool
}

// setOut begins an errand; the context returned ends when it is given up.
func (r *Remote) setOut(ctx context.Context, address string) (context.Context, func()) {
	ctx, giveUp := context.WithCancelCause(ctx)
	_, term := r.endpoints.Leader()
	g := &r.guide
	g.mu.Lock()
	defer g.mu.Unlock()
	errand := g.search.SetOut(address, term, giveUp)
	r.tickLater()
	return ctx, func() {
		g.mu.Lock()
		g.search.ComeBack(errand)
		g.mu.Unlock()
		giveUp(nil)
	}
}

// News is closed when a leader is known that was not known when it was called.
func (r *Remote) News() <-chan struct{} { return r.endpoints.News() }

// Seek has the members asked who leads until stop is called.
func (r *Remote) Seek() (stop func()) {
	g := &r.guide
	g.mu.Lock()
	defer g.mu.Unlock()
	g.search.Pause()
	r.tickLater()
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.search.GoOn()
	}
}

// tickLater starts the ticks, if they have stopped. The guide's lock is held.
func (r *Remote) tickLater() {
	g := &r.guide
	switch {
	case g.finished || !g.search.Begin():
	case g.timer == nil:
		g.timer = time.AfterFunc(attempt.SearchEvery, r.tick)
	default:
		g.timer.Reset(attempt.SearchEvery)
	}
}

// tick begins to ask if somebody has waited for a while, and ends it if nobody
// does any more.
func (r *Remote) tick() {
	g := &r.guide
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.finished {
		return
	}
	start, stop, again := g.search.Tick()
	switch {
	case start:
		ctx, cancel := context.WithCancel(r.alive)
		g.stop = cancel
		r.done.Go(func() { r.inquire(ctx) })
	case stop:
		g.stop()
	}
	if again {
		g.timer.Reset(attempt.SearchEvery)
	}
}

// inquire asks the members in turn who leads, until one names a leader of a newer
// term or nobody wants to know any more.
func (r *Remote) inquire(ctx context.Context) {
	defer func() {
		r.guide.mu.Lock()
		defer r.guide.mu.Unlock()
		r.guide.stop()
		r.guide.search.Ended()
	}()
	inquiry := attempt.NewInquiry(r.endpoints)
	for {
		address, last := inquiry.Next(time.Now())
		asking, cancel := context.WithTimeout(ctx, attempt.SearchPatience)
		r.askWhoLeads(asking, address)
		if inquiry.Answered() || ctx.Err() != nil {
			cancel()
			return
		}
		if last {
			<-asking.Done()
		}
		cancel()
	}
}

func (r *Remote) askWhoLeads(ctx context.Context, address string) {
	conn, err := r.connect(ctx, address)
	if err != nil {
		return
	}
	_, term := r.endpoints.Leader()
	response, err := conn.Do(ctx, &protocol.Request{Kind: protocol.RequestLeader, Term: term})
	if err == nil {
		r.learn(address, response)
	}
}

// learn takes what a response says, and has those give up who wait at another
// address than the leader's of a term that is newer than what they knew.
func (r *Remote) learn(address string, response *protocol.Response) {
	if !r.endpoints.Learn(address, response) {
		return
	}
	leader, term := r.endpoints.Leader()
	r.guide.mu.Lock()
	defer r.guide.mu.Unlock()
	r.guide.search.Leads(leader, term)
}

// finish ends the ticks and, with the Remote's life, the asking.
func (g *guide) finish() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.finished = true
	if g.timer != nil {
		g.timer.Stop()
	}
}
