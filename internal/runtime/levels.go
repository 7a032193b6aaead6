package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

const (
	// waitingReadsMax bounds the reads that wait for this member's state:
	// beyond, ErrOverloaded.
	waitingReadsMax = 16384
	// levelPatienceMax bounds how long one waits here, so that a client tries
	// another member, which may have caught up.
	levelPatienceMax = 4 * time.Second
	// askAgain is the pause after a question to the leader that failed.
	askAgain = 20 * time.Millisecond
)

// levels are the reads that wait for what their level promises. The zero value
// is ready.
type levels struct {
	waiting atomic.Int32

	mu     sync.Mutex
	better chan struct{} // closed when the loop has published; nil: nobody waits
}

// enter counts a read in, if there is room.
func (l *levels) enter() bool {
	if l.waiting.Add(1) <= waitingReadsMax {
		return true
	}
	l.waiting.Add(-1)
	return false
}

func (l *levels) leave() { l.waiting.Add(-1) }

// wait returns a channel that is closed when the loop publishes next. Whoever
// has entered, calls wait and then looks misses nothing: the loop publishes
// first and looks for waiters after.
func (l *levels) wait() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.better == nil {
		l.better = make(chan struct{})
	}
	return l.better
}

// fresher wakes all who wait. Without any it costs the loop one load.
func (l *levels) fresher() {
	if l.waiting.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.better != nil {
		close(l.better)
		l.better = nil
	}
}

// queryAtHand answers from what this member has, on the caller's goroutine, if
// that is enough for the query's level.
func (m *Member) queryAtHand(ctx context.Context, q *protocol.Query) (protocol.Result, bool) {
	if q.Level == protocol.Linearizable {
		return protocol.Result{}, false
	}
	if p := m.doubted.Load(); p != nil {
		return protocol.Failed(*p), true
	}
	before := m.published.Load()
	applied := m.machine.Applied()
	if q.Level != protocol.Local && !m.suits(q, applied, before) {
		return protocol.Result{}, false
	}
	result := m.machine.Query(ctx, q)
	if p := m.doubted.Load(); p != nil {
		return protocol.Failed(*p), true // found out during the read
	}
	if result.Index == 0 {
		result.Index = applied // refused before it was read, by this state
	}
	age, known := m.ageOf(result.Index, before)
	if replica.Judge(q, result.Index, age, known) != replica.LacksNothing {
		return protocol.Result{}, false // it has become too old meanwhile
	}
	result.Age, result.AgeKnown = int64(age), known
	return result, true
}

// suits reports whether a state that has applied i may answer now.
func (m *Member) suits(q *protocol.Query, i protocol.Index, before *published) bool {
	age, known := m.ageOf(i, before)
	if caughtUp := m.caughtUp.Load(); q.Level == protocol.Session && (caughtUp == 0 || i < caughtUp) {
		return false // just started: it would answer with what it had long ago
	}
	return replica.Judge(q, i, age, known) == replica.LacksNothing
}

// ageOf bounds the age, now, of a state that was read at index i: by the newest
// that the loop has published about it, or by what it had before the read.
func (m *Member) ageOf(i protocol.Index, before *published) (time.Duration, bool) {
	p := m.published.Load()
	if p != nil && p.fresh.Known && i < p.fresh.Index {
		p = before // the loop went on during the read
	}
	if p == nil {
		return 0, false
	}
	return p.fresh.Of(i, m.clock.Longest())
}

// levelPatience is how long a read waits for its level at this member. An
// election, and a member that catches up with a few lost frames, take less.
func (m *Member) levelPatience() time.Duration {
	return min(4*m.cfg.activeConfig().Election, levelPatienceMax)
}

// queryLater answers when this member's state is what the level asks for, or
// when wait or patience ends.
func (m *Member) queryLater(ctx, wait context.Context, q *protocol.Query) protocol.Result {
	if !m.levels.enter() {
		return protocol.Failed(protocol.ErrOverloaded.With("too many reads wait for this member's state; try again later, or at another member"))
	}
	defer m.levels.leave()
	wait, cancel := context.WithTimeout(wait, m.levelPatience())
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	result := m.await(ctx, wait, q)
	if m.life.Err() != nil && result.Code == protocol.ErrTooStale.Code {
		result = protocol.Failed(m.stopped())
	}
	return result
}

// await waits for the index that the query asks for, then for the age.
func (m *Member) await(ctx, wait context.Context, q *protocol.Query) protocol.Result {
	want := q.Seen
	if q.Level == protocol.Session {
		caughtUp := m.caughtUp.Load()
		if caughtUp == 0 {
			return protocol.Failed(protocol.ErrNotServing.With("this member does not know yet how far the others are, it has just started: ask another member, or read what it has at the level local"))
		}
		want = max(want, caughtUp)
	}
	if err := m.machine.WaitApplied(wait, want); err != nil {
		if wait.Err() == nil || !errors.Is(err, wait.Err()) {
			return protocol.Failed(err)
		}
		return m.behind(want)
	}
	if q.Level == protocol.MaxStale {
		return m.awaitAge(ctx, wait, q)
	}
	result, ok := m.queryAtHand(ctx, q)
	if !ok {
		return m.behind(want) // the state was replaced; it does not go back, but never answer on a guess
	}
	return result
}

// awaitAge answers when the loop has published an age that will do, or, after a
// little, when the leader has been asked, whichever comes first.
func (m *Member) awaitAge(ctx, wait context.Context, q *protocol.Query) protocol.Result {
	ask := time.NewTimer(min(time.Duration(q.MaxAge), m.cfg.activeConfig().Election))
	defer ask.Stop()
	type answer struct {
		began protocol.Instant
		err   error
	}
	answers := make(chan answer, 1)
	forget := func() {}
	defer func() { forget() }()
	var refused error
	for {
		better := m.levels.wait()
		if result, ok := m.queryAtHand(ctx, q); ok {
			return result
		}
		select {
		case <-better:
		case <-ask.C:
			if q.AtHand {
				return m.tooOld(q, errors.New("the read forbids to ask the leader"))
			}
			forget = m.atReadIndex(func(began protocol.Instant, err error) { answers <- answer{began, err} })
		case a := <-answers:
			if a.err == nil {
				return m.queryAfter(ctx, a.began, q)
			}
			refused = a.err
			ask.Reset(askAgain)
		case <-wait.Done():
			if refused == nil {
				refused = errors.New(waitsFor(m))
			}
			return m.tooOld(q, refused)
		}
	}
}

// behind is the answer to a session that has seen more than this member has.
func (m *Member) behind(want protocol.Index) protocol.Result {
	applied := m.machine.Applied()
	return m.stale(applied, fmt.Sprintf(
		"this member has applied index %d and not caught up with %d, which the session has seen or asked for: try again, ask another member, or read what it has at the level local",
		applied, want))
}

// tooOld is the answer to a query whose age this member cannot prove.
func (m *Member) tooOld(q *protocol.Query, why error) protocol.Result {
	applied := m.machine.Applied()
	age, known := m.ageOf(applied, m.published.Load())
	text := "nothing bounds the age of this member's state, so far"
	if known {
		text = fmt.Sprintf("this member's state may be %v old", age.Round(time.Microsecond))
	}
	return m.stale(applied, fmt.Sprintf(
		"%s, and %v was asked for; it was not made younger (%v): allow a larger age, ask another member, or read what it has at the level local",
		text, time.Duration(q.MaxAge), why))
}

// stale is an ErrTooStale that says what there is.
func (m *Member) stale(i protocol.Index, text string) protocol.Result {
	result := protocol.Failed(protocol.ErrTooStale.With(text))
	age, known := m.ageOf(i, m.published.Load())
	result.Index, result.Age, result.AgeKnown = i, int64(age), known
	return result
}
