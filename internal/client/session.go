package client

import (
	"context"
	"errors"
	"sync"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
)

// errSessionGone says that a session ended before a command got its sequence
// number. It never leaves the package.
var errSessionGone = errors.New("the session is gone")

// session hands out sequence numbers, and lets callers wait while its window is full.
// Safe for use from any number of goroutines.
type session struct {
	id   protocol.SessionID
	gone chan struct{} // closed by end

	mu      sync.Mutex
	window  *attempt.Window
	waiting turns // nobody waits while there is room
	ended   bool
}

func newSession(id protocol.SessionID) *session {
	return &session{id: id, gone: make(chan struct{}), window: attempt.NewWindow()}
}

// acquire returns the next sequence number. It waits while the window is full,
// and returns the context's error, or errSessionGone.
func (s *session) acquire(ctx context.Context) (uint64, error) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return 0, errSessionGone
	}
	if s.window.Room() {
		defer s.mu.Unlock()
		return s.window.Take(), nil
	}
	w := &turn{sequence: make(chan uint64, 1)}
	s.waiting.add(w)
	s.mu.Unlock()

	select {
	case sequence, ok := <-w.sequence:
		if !ok {
			return 0, errSessionGone
		}
		return sequence, nil
	case <-ctx.Done():
		s.leave(w)
		return 0, ctx.Err()
	}
}

// leave gives up a place in the queue, and the number, if there was one by now.
func (s *session) leave(w *turn) {
	s.mu.Lock()
	s.waiting.remove(w)
	s.mu.Unlock()
	select {
	case sequence, ok := <-w.sequence:
		if ok {
			s.release(sequence)
		}
	default:
	}
}

// release says that the answer of a number is not awaited any more.
func (s *session) release(sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window.Release(sequence)
	for s.waiting.first != nil && s.window.Room() {
		w := s.waiting.first
		s.waiting.remove(w)
		w.sequence <- s.window.Take()
	}
}

// floor returns the lowest number whose answer is awaited.
func (s *session) floor() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.window.Floor()
}

// end turns away those who wait for a number, and all who come later.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	close(s.gone)
	for w := s.waiting.first; w != nil; w = s.waiting.first {
		s.waiting.remove(w)
		close(w.sequence)
	}
}
