package swim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// memberlist speaks to the dead for half a minute, then forgets them. Two parts
// of a flock that were apart for longer do not know of each other any more, and
// stay apart, each content with itself. So every member remembers whom it does
// not hear, and tries them, at random.
const (
	// triesPerTarget is how many tries in each TryInterval a member gets that is
	// not heard, from all the others together: once one of them has found it, they
	// all hear of it. What a dead member costs does not grow with the flock.
	triesPerTarget = 2
	// triesMax bounds the tries that are under way; each has a stream of its own.
	triesMax = 24
	// triesEach bounds those to one target: the second is on its way when the
	// first, which began before the link worked again, still waits.
	triesEach = 2
	// firstTries is how many are tried at once at the start.
	firstTries = 4
	// exchangesMax bounds the exchanges of a try. The first tells both sides that
	// they are thought dead, and they contradict; the second tells each that the
	// other has. A third is for a second that overtook the first.
	exchangesMax = 3
	// splitShare is the share of the members, one in so many, that are not heard,
	// from which on it is rather a split than deaths; see contradict, and
	// contradictEvery for how often that is done at most.
	splitShare, contradictEvery = 5, 5 * time.Second
	// newsPerInterval bounds the tries because of news in a TryInterval, beside
	// one for each member.
	newsPerInterval = 4
)

// target is what a try goes to.
type target struct {
	id        protocol.MemberID // zero: an address that was given
	addresses []string
}

// reunite tries, now and then, somebody who is not heard; at the start some at
// once.
func (s *Swim) reunite() {
	for range firstTries {
		s.tryAny()
	}
	interval := s.cfg.Timing.TryInterval
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(interval/2 + rand.N(interval))
		select {
		case <-timer.C:
			s.mu.Lock()
			s.newsLeft = newsPerInterval
			s.memory.expire(time.Now())
			s.mu.Unlock()
			s.tryAny()
		case <-s.ctx.Done():
			return
		}
	}
}

// tryAny tries a member that is not heard, or, as often, an address that was
// given and at which nobody who is heard lives. The more members there are that
// do the same, the less often.
func (s *Swim) tryAny() {
	s.mu.Lock()
	members, addresses := s.memory.idle(s.nodes)
	wanted := triesPerTarget * float64(len(members)+len(addresses))
	if rand.Float64()*float64(len(s.nodes)+1) >= wanted {
		s.mu.Unlock()
		return
	}
	var t target
	if len(members) == 0 || len(addresses) > 0 && rand.N(2) == 0 {
		g := addresses[rand.N(len(addresses))]
		g.trying++
		t.addresses = []string{g.address}
	} else {
		t = s.begin(members[rand.N(len(members))])
	}
	s.mu.Unlock()
	s.launch(t)
}

// begin returns a lost member as a target; Swim.mu is held.
func (s *Swim) begin(l *lost) target {
	l.trying++
	return target{id: l.ID, addresses: s.memory.addresses(l)}
}

// News says that something came from a member, by whatever way. If it is thought
// dead, that is news: it is tried at once where it was when it was last heard.
// Where the message came from does not matter, so nobody can be made to send
// anything to anywhere. Any goroutine may call it; it does not wait.
func (s *Swim) News(from protocol.MemberID) {
	if s.memory.size.Load() == 0 {
		return // as nearly always; this is called for every message
	}
	s.mu.Lock()
	_, live := s.nodes[from]
	l := s.memory.lost[from]
	if live || l == nil || l.trying >= triesEach || s.newsLeft == 0 || time.Since(l.news) < s.cfg.Timing.TryInterval {
		s.mu.Unlock()
		return
	}
	s.newsLeft--
	l.news = time.Now()
	t := s.begin(l)
	s.mu.Unlock()
	s.launch(t)
}

// launch runs a try, unless too many are under way.
func (s *Swim) launch(t target) {
	select {
	case s.tries <- struct{}{}:
	default:
		s.tried(t, nil)
		return
	}
	if !s.spawn(func() {
		defer func() { <-s.tries }()
		s.tried(t, s.try(t))
	}) {
		<-s.tries
	}
}

// tried takes note of a try's end, and of what its address was resolved to, if
// it was.
func (s *Swim) tried(t target, at []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.id.IsZero() {
		if l := s.memory.lost[t.id]; l != nil && l.trying > 0 { // or it was found and lost meanwhile
			l.trying--
		}
		return
	}
	for i := range s.memory.given {
		if g := &s.memory.given[i]; g.address == t.addresses[0] {
			g.trying--
			if len(at) > 0 {
				g.at = at
			}
		}
	}
}

// try exchanges what is known with whoever is at a target's addresses, and
// returns what these were resolved to.
func (s *Swim) try(t target) (at []string) {
	for _, a := range t.addresses {
		list, err := s.lookUp(a)
		if err != nil {
			s.cfg.Logger.Debug("looking up a member that is not heard", "address", a, "err", err)
		}
		for _, x := range list {
			at = append(at, x.String())
		}
		s.means(t.id, a, list)
	}
	self := s.transport.address()
	others := slices.DeleteFunc(slices.Clone(at), func(a string) bool { return a == self })
	if len(others) == 0 {
		return at
	}
	address := others[rand.N(len(others))]
	for i := range exchangesMax {
		if _, err := s.list.Load().Join([]string{address}); err != nil {
			s.cfg.Logger.Debug("trying a member that is not heard", "address", address, "err", err)
			break
		}
		if i > 0 && (t.id.IsZero() || s.lives(t.id)) {
			break
		}
	}
	return at
}

func (s *Swim) lives(id protocol.MemberID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, live := s.nodes[id]
	return live
}

// contradict prepares for the end of a split: whoever does not hear so many is
// not heard by as many, which hold it dead. It is news of this member that is
// newer than that: when two sides meet, the first exchange has it. Otherwise
// each member of either side had to hear of its death, and to deny it, and all
// had to hear of that.
func (s *Swim) contradict() {
	if err := s.list.Load().UpdateNode(announceTimeout); err != nil {
		s.cfg.Logger.Debug("announcing", "err", err)
	}
}

// settle finds out which of the dead have left by their own will: memberlist
// knows, and tells it in an exchange only, so this member has one with itself.
func (s *Swim) settle() {
	var contradicted time.Time
	for {
		select {
		case <-s.died:
			s.mu.Lock()
			var dead []*lost
			for _, l := range s.memory.lost {
				if !l.settled {
					dead = append(dead, l)
				}
			}
			s.mu.Unlock()
			if _, err := s.list.Load().Join([]string{s.transport.address()}); err != nil && s.ctx.Err() == nil {
				s.cfg.Logger.Debug("asking who has left", "err", err)
			}
			s.mu.Lock()
			for _, l := range dead {
				l.settled = true
			}
			split := splitShare*len(s.memory.lost) >= len(s.nodes)+len(s.memory.lost) && time.Since(contradicted) > contradictEvery
			s.mu.Unlock()
			if split {
				contradicted = time.Now()
				s.contradict()
			}
		case <-s.ctx.Done():
			return
		}
	}
}
