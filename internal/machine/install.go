package machine

import (
	"fmt"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// Install makes the state of a finished loader the machine's own, at its index,
// which must not be below the applied one: a state never goes back. The
// applying goroutine calls it, between calls of Apply. The loader is of no
// further use.
//
// Who waits for an index up to the new one goes on. Watchers that have not been
// told everything up to it get ErrCompacted. Views and snapshots that are open
// keep what they read, the whole state before, until they are closed.
//
// If a resource is of a type that the registry lacks, the state is taken over, but
// the machine has stopped: Stopped says what is needed. Its keys are all there,
// for queries of other types and for the next checkpoint, but to go on could
// mean to leave out what the type does, and would fork the state.
// A machine that had stopped before goes on if nothing is missing any more.
func (m *Machine) Install(l *Loader) {
	invariant.Check(l.finished, "only a state that is finished is taken over")
	i, applied := l.state.Index(), m.Applied()
	invariant.Check(i >= applied, "a state does not go back: from %d to %d", applied, i)
	m.put(l, i)
	if i > applied {
		// After the state: who begins to watch in between begins at i.
		m.hub.skip(i)
	}
	m.onInstalled()
}

// Replace gives the state up, because it has diverged from the others', for a
// finished loader's, which may be of a lower index: the entries above that are
// to be applied again. The applying goroutine calls it, between calls of Apply.
//
// [S] It is for an owner that lets nobody read before the state has come at
// least to where it was: reads would go back. Whoever watches was told things
// that may never have been, and gets ErrCompacted. In everything else it is as
// Install.
func (m *Machine) Replace(l *Loader) {
	invariant.Check(l.finished, "only a state that is finished is taken over")
	i := l.state.Index()
	m.put(l, i)
	m.hub.restart(i)
	m.onInstalled()
}

// put makes a loader's state the one in force.
func (m *Machine) put(l *Loader, i protocol.Index) {
	m.hub.detach()
	m.use(l.state)
	m.sessions, m.oneShots, m.now = l.sessions, l.oneShots, l.now
	m.count.Store(int64(len(m.sessions.all)))
	m.storeDeadline()
	m.stopped.Store(nil)
	if l.missing != nil {
		m.stopAt(i, l.missing)
	}
	m.current.Store(m.state)
	l.state, l.sessions, l.oneShots = nil, nil, nil
	l.finished = false
}

// onInstalled lets those go on who wait for what the state has reached.
func (m *Machine) onInstalled() {
	m.waiters.wake(m.Applied())
	if m.Stopped() != nil {
		m.waiters.wake(^protocol.Index(0))
	}
}

// stopAt stops the machine because of the state that it has taken over.
func (m *Machine) stopAt(i protocol.Index, cause error) {
	code, text := protocol.CodeOf(cause)
	err := error(&protocol.Error{
		Code: code, Cause: cause,
		Text: fmt.Sprintf("the state at %d cannot be gone on from: %s; this member has stopped applying and needs a program that knows it", i, text),
	})
	m.stopped.Store(&err)
	m.log.Error("stopped applying", "index", i, "cause", text)
}
