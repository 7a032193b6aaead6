package sim

import "time"

// Time is virtual time, in nanoseconds since the start of a run.
type Time int64

// Add returns the time d later.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the time that passed from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// event is something that happens at a time. Events of the same time happen in
// the order in which they were scheduled.
type event struct {
	at  Time
	seq uint64
	run func()
}

func (e *event) before(f *event) bool {
	return e.at < f.at || e.at == f.at && e.seq < f.seq
}

// schedule holds what is going to happen, as a heap.
type schedule struct {
	now   Time
	seq   uint64
	heap  []event
	steps uint64
}

// at schedules run for a time, or for now if the time has passed.
func (s *schedule) at(t Time, run func()) {
	s.seq++
	s.heap = append(s.heap, event{at: max(t, s.now), seq: s.seq, run: run})
	for i := len(s.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s.heap[i].before(&s.heap[parent]) {
			break
		}
		s.heap[i], s.heap[parent] = s.heap[parent], s.heap[i]
		i = parent
	}
}

// after schedules run for d from now.
func (s *schedule) after(d time.Duration, run func()) { s.at(s.now.Add(d), run) }

// next takes the next event up to a time and moves the clock to it. Without
// one the clock moves to that time.
func (s *schedule) next(until Time) (func(), bool) {
	if len(s.heap) == 0 || s.heap[0].at > until {
		s.now = max(s.now, until)
		return nil, false
	}
	first := s.heap[0]
	n := len(s.heap) - 1
	s.heap[0] = s.heap[n]
	s.heap[n] = event{}
	s.heap = s.heap[:n]
	for i := 0; ; {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < n && s.heap[child].before(&s.heap[least]) {
				least = child
			}
		}
		if least == i {
			break
		}
		s.heap[i], s.heap[least] = s.heap[least], s.heap[i]
		i = least
	}
	s.now = first.at
	s.steps++
	return first.run, true
}
