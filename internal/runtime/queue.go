package runtime

import "sync"

// queue hands work to one goroutine, in order. Whoever adds never waits: what
// can wait is bounded by what they have in flight.
type queue[T any] struct {
	mu   sync.Mutex
	list []T
	wake chan struct{}
}

func newQueue[T any]() queue[T] { return queue[T]{wake: make(chan struct{}, 1)} }

// add adds one thing to do. Any goroutine may call it.
func (q *queue[T]) add(x T) {
	q.mu.Lock()
	q.list = append(q.list, x)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the oldest, if there is any.
func (q *queue[T]) take() (x T, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		return x, false
	}
	x, q.list[0] = q.list[0], x // what is done is not held on to
	q.list = q.list[1:]
	return x, true
}

// serve does one thing after the other until stop is closed, or do returns false.
func (q *queue[T]) serve(stop <-chan struct{}, do func(T) bool) {
	for {
		select {
		case <-q.wake:
		case <-stop:
			return
		}
		for x, ok := q.take(); ok; x, ok = q.take() {
			if !do(x) {
				return
			}
		}
	}
}
