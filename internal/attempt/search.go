package attempt

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// SearchEvery is how often it is looked whether somebody waits, and how long a
	// command must have waited at least before the others are asked who leads.
	SearchEvery = 100 * time.Millisecond
	// SearchPatience is how long one member may think about who leads before another one
	// is asked.
	SearchPatience = 250 * time.Millisecond
)

// Search says when the members are asked who leads: on behalf of those who wait, commands
// without an answer, and callers that pause because there is no leader to ask.
//
// No time limit tells a client that the leader has gone: a member that answers no
// ping is known after a second, and an election takes less. While somebody waits,
// another member is asked who leads: it answers as soon as it knows a leader of a
// newer term. Then whoever waits at another address gives that up, as something
// that may have happened, and asks the new leader.
//
// Its caller guards it, and calls Tick every SearchEvery while Ticking says so. The zero
// value is ready.
type Search struct {
	errands map[*Errand]struct{}
	last    uint64 // number of the last errand
	pausing int
	paused  bool // somebody has, since the last tick
	ticking bool
	running bool
}

// Errand is a command that is under way to one address.
type Errand struct {
	address string
	term    protocol.Term // the newest known when it was sent
	number  uint64
	old     bool // it has waited for a tick
	giveUp  func(error)
}

// SetOut begins an errand, when the newest term is known whose leader is; giveUp is called,
// at most once, when another member is known to lead.
func (s *Search) SetOut(address string, term protocol.Term, giveUp func(error)) *Errand {
	s.last++
	e := &Errand{address: address, term: term, number: s.last, giveUp: giveUp}
	if s.errands == nil {
		s.errands = map[*Errand]struct{}{}
	}
	s.errands[e] = struct{}{}
	return e
}

// ComeBack ends an errand.
func (s *Search) ComeBack(e *Errand) { delete(s.errands, e) }

// Pause counts somebody in who pauses until a leader is known.
func (s *Search) Pause() { s.pausing, s.paused = s.pausing+1, true }

// GoOn counts somebody out who has paused.
func (s *Search) GoOn() { s.pausing-- }

// Begin reports whether the ticks have to be started.
func (s *Search) Begin() bool {
	if s.ticking {
		return false
	}
	s.ticking = true
	return true
}

// Tick reports whether to start asking, because somebody has waited for a while, or to
// stop, because nobody does any more; and whether there is to be another tick.
func (s *Search) Tick() (start, stop, again bool) {
	wanted := s.pausing > 0 || s.paused
	s.paused = false
	for e := range s.errands {
		wanted = wanted || e.old
		e.old = true
	}
	start, stop = wanted && !s.running, !wanted && s.running
	s.running = s.running || start
	s.ticking = len(s.errands) > 0 || s.pausing > 0 || s.running
	return start, stop, s.ticking
}

// Ended says that nobody is asked any more.
func (s *Search) Ended() { s.running = false }

// Leads has those give up who wait at another address than the leader's of a term that is
// newer than what they knew, in the order in which they set out.
func (s *Search) Leads(leader string, term protocol.Term) {
	var late []*Errand
	for e := range s.errands {
		if e.address != leader && e.term < term {
			late = append(late, e)
		}
	}
	slices.SortFunc(late, func(a, b *Errand) int { return cmp.Compare(a.number, b.number) })
	for _, e := range late {
		e.giveUp(&superseded{e.address, leader})
	}
}

// superseded is why a command was given up: it may have happened, and another
// member leads by now.
type superseded struct{ address, leader string }

// Error names both members.
func (e *superseded) Error() string {
	return fmt.Sprintf("no answer from %s, and by now %s leads: the write may have happened", e.address, e.leader)
}

// Unwrap makes it an unknown outcome.
func (e *superseded) Unwrap() error { return protocol.ErrUnknownOutcome }

// isSuperseded reports whether a command was given up because another member leads.
func isSuperseded(err error) bool {
	late := (*superseded)(nil)
	return errors.As(err, &late)
}

// Inquiry asks the members in turn who leads, until one names a leader of a term that is
// newer than what was known at its beginning.
type Inquiry struct {
	endpoints *Endpoints
	since     protocol.Term
	turn      int
}

// NewInquiry begins one.
func NewInquiry(e *Endpoints) *Inquiry {
	_, since := e.Leader()
	return &Inquiry{endpoints: e, since: since}
}

// Next returns whom to ask now. last reports whether all have been asked with it: who is
// asked after it waits until SearchPatience is over, even if some have answered at once that
// they cannot help.
func (q *Inquiry) Next(now time.Time) (address string, last bool) {
	addresses := q.endpoints.informed(now)
	address, last = addresses[q.turn%len(addresses)], q.turn%len(addresses) == len(addresses)-1
	q.turn++
	return address, last
}

// Answered reports whether a leader of a newer term is known.
func (q *Inquiry) Answered() bool {
	_, term := q.endpoints.Leader()
	return term > q.since
}
