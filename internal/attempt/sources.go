package attempt

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// AskAgeEvery is how often a member at which there are watches is asked how old its state is.
	AskAgeEvery = time.Second
	// SeekMost is what the pauses between two searches for a younger one, the first of which is
	// AskAgeEvery, grow to.
	SeekMost = 32 * time.Second
	// seekWidth is how many members are asked in a search, besides the leader.
	seekWidth = 2
	// leftFor is how long a member that was left because it is old is the last to be asked, and the
	// younger one the first.
	leftFor = 30 * time.Second
)

// Sources are the members as a client's watches see them: which one is asked first, and when one is left
// because its state is old. Safe for use from any number of goroutines.
type Sources struct {
	endpoints *Endpoints
	backOff   time.Duration
	ageMax    time.Duration

	mu    sync.Mutex
	young young
}

// young is the member that watches go to first for a while, because it was found to be younger.
type young struct {
	address string
	until   time.Time
}

// NewSources returns those of a client. backOff is how long a member that takes no watch is asked last, ageMax how
// old a state may become before a younger one is looked for.
func NewSources(e *Endpoints, backOff, ageMax time.Duration) *Sources {
	return &Sources{endpoints: e, backOff: backOff, ageMax: ageMax}
}

// order returns the members, the one first that is best for watches.
func (s *Sources) order(now time.Time) []string {
	order := s.endpoints.Order(now, RouteNear)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(order, s.young.address); i > 0 && now.Before(s.young.until) {
		order = slices.Concat(order[i:i+1], order[:i], order[i+1:])
	}
	return order
}

// Opening is an attempt to open a watch: one member after another is asked, until one takes it.
type Opening struct {
	sources *Sources
	order   []string
	next    int
	failed  Failures
}

// Open begins an attempt to open a watch.
func (s *Sources) Open(now time.Time) *Opening { return &Opening{sources: s, order: s.order(now)} }

// Next returns the address of the member to ask, or none if all have been asked.
func (o *Opening) Next() (address string, left bool) {
	if o.next == len(o.order) {
		return "", false
	}
	o.next++
	return o.order[o.next-1], true
}

// Took takes what came of asking the member at an address: nil when it has said where the watch begins. over
// reports whether nobody else is asked; ended is the error of the caller's context, or nil.
func (o *Opening) Took(now time.Time, address string, err, ended error) (over bool, _ error) {
	s := o.sources
	switch {
	case err == nil:
		s.endpoints.Prefer(address, RouteNear)
		return true, nil
	case ended != nil:
		o.failed.Add(address, err)
		return true, o.End(ended)
	}
	s.forget(address)
	if !MayGoOn(err) && !RefusesClient(err) {
		return true, err
	}
	s.endpoints.BackOff(address, now.Add(s.backOff))
	o.failed.Add(address, err)
	return false, nil
}

// End is why no member has taken the watch.
func (o *Opening) End(ended error) error { return o.failed.Err(ended) }

// forget has a member that did not take a watch be asked when it is its turn.
func (s *Sources) forget(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young.address == address {
		s.young = young{}
	}
}

// Candidates are the members that are asked how old they are before watches leave one that is.
func (s *Sources) Candidates(address string, now time.Time) []string {
	order := slices.DeleteFunc(slices.Clone(s.order(now)), func(a string) bool { return a == address })
	list := order[:min(seekWidth, len(order))]
	if leader, _ := s.endpoints.Leader(); leader != "" && leader != address && !slices.Contains(list, leader) {
		list = append(slices.Clone(list), leader)
	}
	return list
}

// Leave returns why the watches of a member whose state may be so old go on at another one, or nil: that is not
// less than half as old, by its word of now.
func (s *Sources) Leave(address string, age time.Duration, other string, found protocol.Result, now time.Time) error {
	if !found.AgeKnown || time.Duration(found.Age) >= age/2 {
		return nil
	}
	until := now.Add(leftFor)
	s.endpoints.BackOff(address, until)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.young = young{other, until}
	return protocol.ErrUnavailable.With(fmt.Sprintf("the state of %s may be %v old, that of %s is younger: the watch goes on there",
		address, age.Round(time.Millisecond), other))
}

// Source is a member at which there may be watches, as one connection knows it. Safe for use from any number of
// goroutines.
type Source struct {
	mu    sync.Mutex
	said  word
	asked time.Time // when the member was asked last
	// since is when somebody began to watch, search before when no younger member is looked for, and pause
	// what comes after that.
	since, search time.Time
	pause         time.Duration
}

// Begin says that there are watches from now on.
func (s *Source) Begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since, s.search, s.pause = now, time.Time{}, AskAgeEvery
}

// Ask reports whether the member is to be asked how old its state is: not if it was lately.
func (s *Source) Ask(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if Elapsed(s.asked, now) < AskAgeEvery/2 {
		return false
	}
	s.asked = now
	return true
}

// Says takes what the member says of its state, which it was asked for at a time. What it knew before stays when
// it does not know that. An error is what all watches at it end with.
//
// [S] A member that serves nobody ends all watches: one that it cannot tell so, because its reader is behind, would
// go on elsewhere when the age of that member has grown, also where what it was told may be wrong.
func (s *Source) Says(state *protocol.Result, asked time.Time) error {
	switch err := state.Err(); {
	case errors.Is(err, protocol.ErrCompacted), errors.Is(err, protocol.ErrNotServing):
		return err
	case err == nil && state.AgeKnown:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.said = word{*state, asked}
	}
	return nil
}

// State is what is known of the member's state.
func (s *Source) State(now time.Time) protocol.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said.at(now)
}

// IsOld returns how old the member's state may be, and reports whether a younger one is to be looked for now.
func (s *Sources) IsOld(of *Source, now time.Time) (age time.Duration, seek bool) {
	of.mu.Lock()
	defer of.mu.Unlock()
	state := of.said.at(now)
	age = time.Duration(state.Age)
	if !state.AgeKnown {
		age = Elapsed(of.since, now)
	}
	switch {
	case age <= s.ageMax:
		of.pause = AskAgeEvery
	case now.After(of.search):
		of.search, of.pause = now.Add(of.pause), min(2*of.pause, SeekMost)
		return age, true
	}
	return age, false
}
