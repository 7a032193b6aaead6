package client

// turn is a place in the queue for a number. It gets one, or is closed.
type turn struct {
	sequence chan uint64

	prev, next *turn
	queued     bool
}

// turns is a queue of places in order of arrival. Each step takes the same time
// however many wait: callers whose deadlines end together leave together, and
// if each had to look for itself, the last of n would be back after n*n looks,
// and everybody else would wait for the lock as long. The zero value is empty.
type turns struct{ first, last *turn }

// add adds a place at the end.
func (q *turns) add(w *turn) {
	w.prev, w.queued = q.last, true
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
}

// remove takes a place out. One that is not in the queue, because its turn has
// come, is left alone.
func (q *turns) remove(w *turn) {
	if !w.queued {
		return
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	w.prev, w.next, w.queued = nil, nil, false
}
