package machine

import (
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// batch is what Apply was given: what is left of it, and the results so far.
type batch struct {
	entries []protocol.Entry
	results []protocol.Result
	clock   protocol.Instant
}

func (b *batch) applied(r protocol.Result) {
	if r.Index == 0 { // else it is the answer of an entry before
		r.Index = b.entries[0].Index
	}
	b.results, b.entries = append(b.results, r), b.entries[1:]
}

// call is the command that runs, with all that it takes to end it in a goroutine
// other than that in which it began.
type call struct {
	command   protocol.Command
	op        resources.Operation
	session   *session // nil: it is a one-shot
	space     *state.Space
	added     bool  // the space, for this command
	savepoint int   // in the state's list of changes
	before    int   // keys in the space
	held      int64 // by all resources, before; see limit.go
	// cut says that the command has ended its goroutine.
	cut bool
}

// Running is a command that has been begun and has not returned.
type Running struct {
	Index                     protocol.Index
	Type, Operation, Resource string
}

// String names the command for people.
func (r Running) String() string {
	return fmt.Sprintf("command %s.%s on %q, entry %d", r.Type, r.Operation, r.Resource, r.Index)
}

// running tells others which one runs.
type running struct {
	mu  sync.Mutex
	now Running // index 0: none
}

func (r *running) begins(i protocol.Index, c *protocol.Command) {
	r.mu.Lock()
	r.now = Running{Index: i, Type: c.Type, Operation: c.Operation, Resource: c.Resource}
	r.mu.Unlock()
}

func (r *running) ends() {
	r.mu.Lock()
	r.now = Running{}
	r.mu.Unlock()
}

// Running returns the command of a type that runs now, and whether there is one. Any
// goroutine may ask: one that does not return stops this member's state, and those of
// all the others.
func (m *Machine) Running() (Running, bool) {
	m.running.mu.Lock()
	defer m.running.mu.Unlock()
	return m.running.now, m.running.now.Index != 0
}

// exited takes note that an operation ends its goroutine. Nothing takes that back.
func (m *Machine) exited(op resources.Operation, kind, resource string, i protocol.Index) {
	m.log.Error("an operation ended its goroutine (runtime.Goexit) and had no effect: a bug in the resource type",
		"type", kind, "operation", op.Describe().Name, "resource", resource, "index", i, "stack", string(debug.Stack()))
	if op.Describe().Writes {
		m.call.cut = true
	}
}

// CutShort reports whether a command has ended the goroutine of the last Apply, or
// Resume. Whoever finds its goroutine ending asks, and then has another one call
// Resume.
func (m *Machine) CutShort() bool { return m.call.cut }

// Resume goes on where Apply was cut short, and returns what that would have
// returned. Nothing of the command remains, and its answer is ErrPanicked: what a
// command does to its goroutine is the same at every member, and so is that.
func (m *Machine) Resume() []protocol.Result {
	x, b := &m.call, &m.batch
	invariant.Check(x.cut, "nothing was cut short")
	x.cut = false
	result := m.ran(nil, protocol.ErrPanicked)
	x.command = protocol.Command{}
	m.endEntry(b.entries[0].Index, b.clock)
	b.applied(result)
	return m.applyRest()
}

// ApplyAside is Apply for those who only wait: it returns also if a command ends its
// goroutine, which is not the caller's.
func (m *Machine) ApplyAside(entries []protocol.Entry, results []protocol.Result) []protocol.Result {
	done := make(chan []protocol.Result, 1)
	var work func(apply func() []protocol.Result)
	work = func(apply func() []protocol.Result) {
		whole := false
		defer func() {
			if !whole && m.CutShort() { // else the next one may have begun
				go work(m.Resume)
			}
		}()
		results := apply()
		whole = true
		done <- results
	}
	go work(func() []protocol.Result { return m.Apply(entries, results) })
	return <-done
}
