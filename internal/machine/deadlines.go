package machine

import "container/heap"

// deadlines is a heap of all sessions, the one that is due first in front: by
// deadline, then by id, so that every member ends them in the same order.
type deadlines []*session

// deadlinesKept is the room that is not given back.
const deadlinesKept = 1 << 10

func (d *deadlines) add(one *session)    { heap.Push(d, one) }
func (d *deadlines) remove(one *session) { heap.Remove(d, one.place) }
func (d *deadlines) fix(one *session)    { heap.Fix(d, one.place) }
func (d *deadlines) init()               { heap.Init(d) }

// Len, Less, Swap, Push and Pop are for container/heap.
func (d deadlines) Len() int { return len(d) }

// Less orders by deadline, then by id.
func (d deadlines) Less(i, j int) bool {
	if d[i].deadline != d[j].deadline {
		return d[i].deadline < d[j].deadline
	}
	return d[i].id < d[j].id
}

// Swap exchanges two sessions.
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i, j
}

// Push adds a session at the end.
func (d *deadlines) Push(x any) {
	one := x.(*session)
	one.place = len(*d)
	*d = append(*d, one)
}

// Pop takes the last one away.
func (d *deadlines) Pop() any {
	old := *d
	one := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	if n := len(*d); cap(*d) > deadlinesKept && n < cap(*d)/4 {
		*d = append(make(deadlines, 0, 2*n), *d...)
	}
	return one
}
