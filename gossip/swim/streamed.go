package swim

import (
	"math/rand/v2"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// exchangeEach is for how many members known an exchange is made in each TryInterval: its
// bytes grow with their number, so that with more of them there are fewer.
const exchangeEach = 50

// Streamed says to which members datagrams do not get through, though streams do. memberlist
// tells its news in datagrams; it probes such members over streams by itself, but would tell
// them only in the next exchange of all that is known, in PushPullInterval. So there is one
// of those in each TryInterval, with one of them. Any goroutine may call it; the list is not
// written to.
func (s *Swim) Streamed(ids []protocol.MemberID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streamed = ids
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
		address, pause := s.exchangeWith()
		if address != "" {
			if _, err := s.list.Load().Join([]string{address}); err != nil && s.ctx.Err() == nil {
				s.cfg.Logger.Debug("telling a member that datagrams do not get to", "address", address, "err", err)
			}
		}
		timer.Reset(pause/2 + rand.N(pause))
	}
}

// exchangeWith returns where the next exchange is, empty for none, and the pause after it.
func (s *Swim) exchangeWith() (address string, pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pause = s.cfg.Timing.TryInterval * time.Duration(1+s.flock.Size()/exchangeEach)
	if len(s.streamed) > 0 {
		peer, _ := s.flock.Peer(s.streamed[rand.N(len(s.streamed))])
		address = peer.Address // empty for one that is gone
	}
	return address, pause
}
