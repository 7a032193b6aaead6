package runtime

import (
	"sync"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// waiters are the requests that wait for the loop's answer. Each is answered
// once, by a call that must not block.
type waiters struct {
	mu       sync.Mutex
	next     uint64
	closed   bool
	commands map[uint64]func(protocol.Result)
	reads    map[uint64]func(protocol.Index, error)
}

func newWaiters() *waiters {
	return &waiters{commands: map[uint64]func(protocol.Result){}, reads: map[uint64]func(protocol.Index, error){}}
}

// command registers who waits for a command and returns its request number, or
// 0 if the member has stopped.
func (w *waiters) command(answer func(protocol.Result)) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0
	}
	w.next++
	w.commands[w.next] = answer
	return w.next
}

// read registers who waits for a read.
func (w *waiters) read(answer func(protocol.Index, error)) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0
	}
	w.next++
	w.reads[w.next] = answer
	return w.next
}

// forget drops a request whose client has gone, and reports whether it was
// still waiting: if so, nobody else answers it.
func (w *waiters) forget(id uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, command := w.commands[id]
	_, read := w.reads[id]
	delete(w.commands, id)
	delete(w.reads, id)
	return command || read
}

func (w *waiters) answer(id uint64, result protocol.Result) {
	w.mu.Lock()
	f := w.commands[id]
	delete(w.commands, id)
	w.mu.Unlock()
	if f != nil {
		f(result)
	}
}

func (w *waiters) readAnswer(a replica.ReadAnswer) {
	w.mu.Lock()
	f := w.reads[a.Request]
	delete(w.reads, a.Request)
	w.mu.Unlock()
	if f != nil {
		f(a.Index, a.Err)
	}
}

// close answers everybody: the outcome of commands is unknown.
func (w *waiters) close(why error) {
	w.mu.Lock()
	commands, reads := w.commands, w.reads
	w.commands, w.reads, w.closed = nil, nil, true
	w.mu.Unlock()
	for _, f := range commands {
		f(protocol.Failed(protocol.ErrUnknownOutcome.Because(why)))
	}
	for _, f := range reads {
		f(0, why)
	}
}
