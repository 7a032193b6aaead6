package swim

import (
	"time"

	"github.com/starlinghq/starling/gossip/reunion"
	"github.com/starlinghq/starling/protocol"
)

// reunite carries the tries of the core out.
func (s *Swim) reunite() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			timer.Reset(s.tick())
		case <-s.ctx.Done():
			return
		}
	}
}

// tick makes a try, if there is one to make now, and returns when to look again.
func (s *Swim) tick() time.Duration {
	s.mu.Lock()
	t, ok := s.flock.Tick(s.now())
	pause := s.flock.Deadline().Sub(s.now())
	s.release()
	if ok {
		s.launch(t)
	}
	return pause
}

// News says that something came from a member, by whatever way. If it is thought
// dead, that is news, see reunion.Flock.News. Any goroutine may call it; it does not wait.
func (s *Swim) News(from protocol.MemberID) {
	if s.missing.Load() == 0 || s.list.Load() == nil { // datagrams come in before there is a list
		return // as nearly always; this is called for every message
	}
	s.mu.Lock()
	t, ok := s.flock.News(s.now(), from)
	s.mu.Unlock()
	if ok {
		s.launch(t)
	}
}

// launch runs a try.
func (s *Swim) launch(t reunion.Try) {
	if !s.spawn(func() { s.tried(t, s.try(t)) }) {
		s.tried(t, nil)
	}
}

// tried takes note of a try's end.
func (s *Swim) tried(t reunion.Try, at []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flock.Tried(t, at)
}

// try exchanges what is known with whoever is at a target's addresses, and
// returns what these were resolved to.
func (s *Swim) try(t reunion.Try) (at []string) {
	for _, a := range t.Addresses {
		list, err := s.lookUp(a)
		if err != nil {
			s.cfg.Logger.Debug("looking up a member that is not heard", "address", a, "err", err)
		}
		for _, x := range list {
			at = append(at, x.String())
		}
		s.means(t.ID, a, list)
	}
	s.mu.Lock()
	address, again := s.flock.Choose(at, s.transport.address())
	s.mu.Unlock()
	for n := 1; again; n++ {
		if _, err := s.list.Load().Join([]string{address}); err != nil {
			s.cfg.Logger.Debug("trying a member that is not heard", "address", address, "err", err)
			break
		}
		s.mu.Lock()
		again = s.flock.Again(t, n)
		s.mu.Unlock()
	}
	return at
}

// settle finds out which of the dead have left by their own will: memberlist
// knows, and tells it in an exchange only, so this member has one with itself.
func (s *Swim) settle() {
	for {
		select {
		case <-s.died:
			s.mu.Lock()
			dead := s.flock.Unsettled()
			s.mu.Unlock()
			if _, err := s.list.Load().Join([]string{s.transport.address()}); err != nil && s.ctx.Err() == nil {
				s.cfg.Logger.Debug("asking who has left", "err", err)
			}
			s.mu.Lock()
			contradict := s.flock.Settled(s.now(), dead)
			s.mu.Unlock()
			if contradict {
				if err := s.list.Load().UpdateNode(announceTimeout); err != nil {
					s.cfg.Logger.Debug("announcing", "err", err)
				}
			}
			if !s.transport.backOff(s.cfg.Timing.TryInterval) { // who dies meanwhile is asked about together
				return
			}
		case <-s.ctx.Done():
			return
		}
	}
}
