package sim

import (
	"time"

	"github.com/starlinghq/starling/internal/virtual"
)

// Time is virtual time, in nanoseconds since the start of a run.
type Time int64

// Add returns the time d later.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the time that passed from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// schedule holds what is going to happen.
type schedule struct {
	now    Time
	events virtual.Queue[Time, func()]
	steps  uint64
}

// at schedules run for a time, or for now if the time has passed.
func (s *schedule) at(t Time, run func()) { s.events.Push(max(t, s.now), run) }

// after schedules run for d from now.
func (s *schedule) after(d time.Duration, run func()) { s.at(s.now.Add(d), run) }

// again does something now, and while it is to wait every so often, up to a number of times.
func (s *stage) again(every time.Duration, times int, do func() (wait bool)) {
	if !s.quiet && !s.failed() && times > 0 && do() {
		s.schedule.after(every, func() { s.again(every, times-1, do) })
	}
}

// next takes the next event up to a time and moves the clock to it. Without
// one the clock moves to that time.
func (s *schedule) next(until Time) (func(), bool) {
	if at, ok := s.events.First(); !ok || at > until {
		s.now = max(s.now, until)
		return nil, false
	}
	at, run := s.events.Pop()
	s.now = at
	s.steps++
	return run, true
}
