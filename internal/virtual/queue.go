// Package virtual has what runs in virtual time, instead of by a clock: one queue of what
// is going to happen, and one network, for the simulator, the studies, and the tests of the
// cores.
package virtual

// Queue holds what is going to happen, in the order of time; events of one instant come
// in the order in which they were put in, so that a run is decided by its seed alone. The
// zero value is empty. It is a heap of four branches: with ten thousand members it holds
// a hundred thousand events, and shallow is fast.
type Queue[T ~int64, E any] struct {
	list []event[T, E]
	next uint64
}

type event[T ~int64, E any] struct {
	at   T
	seq  uint64
	what E
}

func (e *event[T, E]) before(other *event[T, E]) bool {
	return e.at < other.at || e.at == other.at && e.seq < other.seq
}

// Len returns how many events are to come.
func (q *Queue[T, E]) Len() int { return len(q.list) }

// First returns when the first event is to come, and whether there is one.
func (q *Queue[T, E]) First() (T, bool) {
	if len(q.list) == 0 {
		return 0, false
	}
	return q.list[0].at, true
}

// Push adds an event for a time.
func (q *Queue[T, E]) Push(at T, what E) {
	q.next++
	e := event[T, E]{at, q.next, what}
	q.list = append(q.list, e)
	i := len(q.list) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&q.list[parent]) {
			break
		}
		q.list[i] = q.list[parent]
		i = parent
	}
	q.list[i] = e
}

// Pop takes the first event. There must be one.
func (q *Queue[T, E]) Pop() (at T, what E) {
	top := q.list[0]
	n := len(q.list) - 1
	e := q.list[n]
	q.list[n] = event[T, E]{} // the event is not held any longer
	q.list = q.list[:n]
	if n == 0 {
		return top.at, top.what
	}
	i := 0
	for {
		first := 4*i + 1
		if first >= n {
			break
		}
		least := first
		for k := first + 1; k < min(first+4, n); k++ {
			if q.list[k].before(&q.list[least]) {
				least = k
			}
		}
		if !q.list[least].before(&e) {
			break
		}
		q.list[i] = q.list[least]
		i = least
	}
	q.list[i] = e
	return top.at, top.what
}
