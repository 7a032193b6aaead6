package runtime

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/protocol"
)

const (
	// waitingReadsMax bounds the reads that wait for this member's state:
	// beyond, ErrOverloaded.
	waitingReadsMax = 16384
	// askAgain is the pause after a question to the leader that failed.
	askAgain = 20 * time.Millisecond
)

// consistentReads are the reads that wait for what their level promises. The zero value
// is ready.
type consistentReads struct {
	waiting atomic.Int32

	mu     sync.Mutex
	better chan struct{} // closed when the loop has published; nil: nobody waits
}

// enter counts a read in, if there is room.
func (l *consistentReads) enter() bool {
	if l.waiting.Add(1) <= waitingReadsMax {
		return true
	}
	l.waiting.Add(-1)
	return false
}

func (l *consistentReads) leave() { l.waiting.Add(-1) }

// wait returns a channel that is closed when the loop publishes next. Whoever
// has entered, calls wait and then looks misses nothing: the loop publishes
// first and looks for waiters after.
func (l *consistentReads) wait() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.better == nil {
		l.better = make(chan struct{})
	}
	return l.better
}

// fresher wakes all who wait. Without any it costs the loop one load.
func (l *consistentReads) fresher() {
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

// sight is what the loop has published of the state.
func (m *Member) sight() (s member.Sight) {
	if p := m.published.Load(); p != nil {
		s.Fresh, s.Differs = p.Fresh, p.Differs
	}
	if p := m.suspended.Load(); p != nil {
		s.Suspended = *p
	}
	return s
}

// queryLater answers when this member's state is what the level asks for, or
// when wait or patience ends.
func (m *Member) queryLater(ctx, wait context.Context, q *protocol.Query) protocol.Result {
	if !m.levels.enter() {
		return protocol.Failed(protocol.ErrOverloaded.With("too many reads wait for this member's state; try again later, or at another member"))
	}
	defer m.levels.leave()
	wait, cancel := context.WithTimeout(wait, member.Patience(m.cfg.activeConfig().Election))
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
	want, err := m.state.Wants(q)
	if err != nil {
		return protocol.Failed(err)
	}
	if err := m.machine.WaitApplied(wait, want); err != nil {
		if wait.Err() == nil || !errors.Is(err, wait.Err()) {
			return protocol.Failed(err)
		}
		return m.state.Behind(want)
	}
	if q.Consistency == protocol.MaxStale {
		return m.awaitAge(ctx, wait, q)
	}
	result, ok := m.state.NoForwarding(ctx, q)
	if !ok {
		return m.state.Behind(want) // the state was replaced; it does not go back, but never answer on a guess
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
		if result, ok := m.state.NoForwarding(ctx, q); ok {
			return result
		}
		select {
		case <-better:
		case <-ask.C:
			if q.NoForwarding {
				return m.state.TooOld(q, errors.New("the read forbids to ask the leader"))
			}
			forget = m.atReadIndex(func(began protocol.Instant, err error) { answers <- answer{began, err} })
		case a := <-answers:
			if a.err == nil {
				return m.state.After(ctx, a.began, q)
			}
			refused = a.err
			ask.Reset(askAgain)
		case <-wait.Done():
			if refused == nil {
				refused = errors.New(waitsFor(m))
			}
			return m.state.TooOld(q, refused)
		}
	}
}
