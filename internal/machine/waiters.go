package machine

import (
	"container/heap"
	"context"
	"sync"
	"sync/atomic"

	"github.com/starlinghq/starling/protocol"
)

// waiters are those who wait for an index, the lowest index in front. Whoever
// gives up knows its place, so that n who give up together do not make n*n
// steps under the lock, and a batch looks at nobody who waits for a later one.
type waiters struct {
	some   atomic.Int32
	mu     sync.Mutex
	heap   waiterHeap
	closed bool
}

// waiter is one of them; done is closed when it may go.
type waiter struct {
	index protocol.Index
	done  chan struct{}
	place int // in the heap; -1: not in it any more
}

func (w *waiters) wait(ctx context.Context, i protocol.Index, applied func() protocol.Index, stopped func() error) error {
	if applied() >= i {
		return nil
	}
	one := &waiter{index: i, done: make(chan struct{})}
	w.mu.Lock()
	// Counted before the second look: either this look sees the index, or
	// the writer, who publishes before it looks, sees the count.
	w.some.Add(1)
	heap.Push(&w.heap, one)
	if w.closed || applied() >= i || stopped() != nil {
		close(one.done)
		w.take(one)
	}
	w.mu.Unlock()
	select {
	case <-one.done:
	case <-ctx.Done():
		w.mu.Lock()
		w.take(one)
		w.mu.Unlock()
	}
	switch {
	case applied() >= i:
		return nil
	case stopped() != nil:
		return stopped()
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return protocol.ErrClosed
}

// take takes one out, if it is still there. The lock is held.
func (w *waiters) take(one *waiter) {
	if one.place >= 0 {
		heap.Remove(&w.heap, one.place)
		w.some.Add(-1)
	}
}

// wake lets go who waits for at most i.
func (w *waiters) wake(i protocol.Index) {
	if w.some.Load() == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.heap) > 0 && w.heap[0].index <= i {
		close(w.heap[0].done)
		w.take(w.heap[0])
	}
}

func (w *waiters) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wake(^protocol.Index(0))
}

// waiterHeap is for container/heap.
type waiterHeap []*waiter

// Len, Less, Swap, Push and Pop are for container/heap.
func (h waiterHeap) Len() int { return len(h) }

// Less orders by index.
func (h waiterHeap) Less(i, j int) bool { return h[i].index < h[j].index }

// Swap exchanges two of them.
func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push adds one at the end.
func (h *waiterHeap) Push(x any) {
	one := x.(*waiter)
	one.place = len(*h)
	*h = append(*h, one)
}

// Pop takes the last one away.
func (h *waiterHeap) Pop() any {
	old := *h
	one := old[len(old)-1]
	old[len(old)-1], one.place = nil, -1
	*h = old[:len(old)-1]
	return one
}
