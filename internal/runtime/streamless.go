package runtime

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// streamless says which members are heard and take no streams: TCP is blocked, and UDP, or
// TCP in the other direction, is not. The links tell it of their attempts, the loop has it
// look. The zero value knows of none.
type streamless struct {
	mu sync.Mutex
	of map[protocol.MemberID]*noStream
}

// noStream is a member to which there is no stream.
type noStream struct {
	address string
	since   protocol.Instant // when the first attempt failed, or the stream was lost
	why     error            // of the last attempt
	said    bool
}

// heardWithin is how long ago a member that is heard was heard last; members say something
// many times in it.
const heardWithin = time.Second

// tried takes note of an attempt to have a stream to a member, or of the loss of one. It
// says in the log that there is one again, if it has said that there is none.
func (s *streamless) tried(logger *slog.Logger, now protocol.Instant, name func(protocol.MemberID) string, to protocol.MemberID, address string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of[to]
	switch {
	case err != nil && x == nil:
		if s.of == nil {
			s.of = map[protocol.MemberID]*noStream{}
		}
		x = &noStream{since: now}
		s.of[to] = x
		fallthrough
	case err != nil:
		x.address, x.why = address, err
	case x != nil:
		delete(s.of, to)
		if x.said {
			logger.Info("streams (TCP) to a member get through again", "member", name(to), "address", address, "for", now.Sub(x.since).Round(time.Millisecond))
		}
	}
}

// forget forgets a member to which no link is wanted.
func (s *streamless) forget(id protocol.MemberID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.of, id)
}

// look says, once for each cause, to whom streams have not got through for a while although
// they were heard just now: who is dead or frozen is not, and who refuses says why itself.
func (s *streamless) look(logger *slog.Logger, now protocol.Instant, patience time.Duration, heard []gossip.Heard, name func(protocol.MemberID) string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.of) == 0 {
		return
	}
	for i := range heard {
		h := &heard[i]
		x := s.of[h.ID]
		if x == nil || x.said || !errors.Is(x.why, protocol.ErrUnavailable) || now.Sub(x.since) < patience || now.Sub(h.At) > heardWithin {
			continue
		}
		x.said = true
		logger.Warn("streams (TCP) to a member do not get through, though it is heard: it gets no log of the leader's and no checkpoints; let TCP through at its port, both ways",
			"member", name(h.ID), "address", x.address, "for", now.Sub(x.since).Round(time.Millisecond), "err", x.why)
	}
}

// lookForStreams has the links that fail looked at. Only the loop calls it.
func (t *transport) lookForStreams() {
	m := t.m
	t.streamless.look(m.logger, m.clock.Now(), 2*m.cfg.activeConfig().Election, m.replica.Heard(), m.nameOf)
}
