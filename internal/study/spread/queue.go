package spread

import "github.com/starlinghq/starling/protocol"

// event is something that happens to a member: a message arrives, or, without
// one, its deadline passes. A function happens to nobody.
type event struct {
	at       protocol.Instant
	seq      uint64
	to, from int32
	message  any
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.seq < other.seq
}

// queue holds what is under way, in order of time; events of one instant happen
// in the order in which they were put in. It is a heap of four branches: with
// ten thousand members it holds a hundred thousand events, and shallow is fast.
type queue struct {
	list []event
	seq  uint64
}

func (q *queue) push(e event) {
	q.seq++
	e.seq = q.seq
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

func (q *queue) pop() event {
	top := q.list[0]
	n := len(q.list) - 1
	e := q.list[n]
	q.list[n] = event{} // the message is not held any longer
	q.list = q.list[:n]
	if n == 0 {
		return top
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
	return top
}
