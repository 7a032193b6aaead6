package swim

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Streamed says to which members datagrams do not get through, though streams do: see
// reunion.Flock.Streamed. Any goroutine may call it; the list is not written to.
func (s *Swim) Streamed(ids []protocol.MemberID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flock.Streamed(ids)
}

// exchange has the exchanges of Streamed.
func (s *Swim) exchange() {
	timer := time.NewTimer(s.cfg.Timing.TryInterval)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		address, pause := s.flock.Exchange()
		s.mu.Unlock()
		if address != "" {
			if _, err := s.list.Load().Join([]string{address}); err != nil && s.ctx.Err() == nil {
				s.cfg.Logger.Debug("telling a member that datagrams do not get to", "address", address, "err", err)
			}
		}
		timer.Reset(pause)
	}
}
