package member

import (
	"sync"
	"sync/atomic"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// Answers are the requests of a member's clients that wait for an answer. Each is
// answered once, by a call that must not block, nor move the gate: the first answer
// counts. Any goroutine may use it.
//
// A command that was applied is answered by whoever has applied it, through the gate: at
// the leader by its place in the log, at a member that has forwarded it by its session and
// sequence. What else there is to say of a request comes from the replica.
type Answers struct {
	gate gate

	mu       sync.Mutex
	next     uint64
	closed   bool
	commands map[uint64]waiter
	reads    map[uint64]func(protocol.Index, error)
	awaited  map[commandKey]uint64 // requests whose commands were forwarded
	some     atomic.Int32          // how many those are
}

// waiter is who waits for a command, and what names that in the log, if it is awaited there.
type waiter struct {
	answer func(protocol.Result)
	key    commandKey
}

// commandKey names a command, however often it was sent.
type commandKey struct {
	session  protocol.SessionID
	sequence uint64
}

// NewAnswers returns one in which nobody waits.
func NewAnswers() *Answers {
	return &Answers{
		commands: map[uint64]waiter{}, reads: map[uint64]func(protocol.Index, error){}, awaited: map[commandKey]uint64{},
	}
}

// Command registers who waits for a command and returns its request number, or
// 0 if the member has stopped.
func (a *Answers) Command(answer func(protocol.Result)) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return 0
	}
	a.next++
	a.commands[a.next] = waiter{answer: answer}
	return a.next
}

// Read registers who waits for a read, as Command does.
func (a *Answers) Read(answer func(protocol.Index, error)) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return 0
	}
	a.next++
	a.reads[a.next] = answer
	return a.next
}

// Forget drops a request whose client has gone, and reports whether it was
// still waiting: if so, nobody else answers it.
func (a *Answers) Forget(id uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, read := a.reads[id]
	delete(a.reads, id)
	return a.take(id).answer != nil || read
}

// take takes out who waits for a command. The lock is held.
func (a *Answers) take(id uint64) waiter {
	w, waits := a.commands[id]
	if !waits {
		return waiter{}
	}
	delete(a.commands, id)
	if w.key != (commandKey{}) && a.awaited[w.key] == id {
		delete(a.awaited, w.key)
		a.some.Add(-1)
	}
	return w
}

// Commands returns how many commands wait for an answer.
func (a *Answers) Commands() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.commands)
}

// Issued reports whether a request has had a number.
func (a *Answers) Issued(id uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return id != 0 && id <= a.next
}

// Answer answers whoever waits for a command, if anybody does.
func (a *Answers) Answer(id uint64, result protocol.Result) {
	a.mu.Lock()
	w := a.take(id)
	a.mu.Unlock()
	if w.answer != nil {
		w.answer(result)
	}
}

// readAnswer answers whoever waits for a read, if anybody does.
func (a *Answers) readAnswer(r replica.ReadAnswer) {
	a.mu.Lock()
	f := a.reads[r.Request]
	delete(a.reads, r.Request)
	a.mu.Unlock()
	if f != nil {
		f(r.Index, r.Err)
	}
}

// await has a command that was forwarded answered when it is applied here. Of two
// requests for the same command the later one is.
func (a *Answers) await(x *replica.Awaited) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w, waits := a.commands[x.Request]
	if !waits {
		return // its client has gone
	}
	w.key = commandKey{x.Session, x.Sequence}
	a.commands[x.Request] = w
	if _, again := a.awaited[w.key]; !again {
		a.some.Add(1)
	}
	a.awaited[w.key] = x.Request
}

// applied answers those who wait for the entries of a batch, if its epoch may still
// answer. It is called by whoever applies, when readers can see what was applied.
func (a *Answers) applied(batch *replica.Apply, results []protocol.Result) {
	a.gate.pass(batch.Epoch, func() {
		batch.Answer(results, a.Answer)
		if a.some.Load() == 0 {
			return
		}
		for i := range results {
			if e := &batch.Entries[i]; e.Kind == protocol.EntryCommand && results[i].Code.AnswersEveryCopy() {
				if session, sequence, named := protocol.CommandKey(e.Data); named {
					a.answerAwaited(commandKey{session, sequence}, &results[i])
				}
			}
		}
	})
}

// answerAwaited answers whoever has forwarded a command that was applied.
func (a *Answers) answerAwaited(k commandKey, result *protocol.Result) {
	a.mu.Lock()
	w := a.take(a.awaited[k])
	a.mu.Unlock()
	if w.answer != nil {
		w.answer(*result)
	}
}

// Shut ends all answers that come of the state, for good. It returns when none is on its
// way any more; those who wait are left to Close.
func (a *Answers) Shut() { a.gate.shut() }

// Close answers everybody: the outcome of commands is unknown.
func (a *Answers) Close(why error) {
	a.Shut()
	a.mu.Lock()
	commands, reads := a.commands, a.reads
	a.commands, a.reads, a.awaited, a.closed = nil, nil, nil, true
	a.some.Store(0)
	a.mu.Unlock()
	for _, w := range commands {
		w.answer(protocol.Failed(protocol.ErrUnknownOutcome.Because(why)))
	}
	for _, f := range reads {
		f(0, why)
	}
}
