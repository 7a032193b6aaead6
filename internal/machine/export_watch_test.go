package machine

import "github.com/starlinghq/starling/protocol"

// Woken reports which of some watchers have been woken, and have not noticed.
func Woken(a, b, c *Watcher) [3]bool {
	return [3]bool{a.first.Load() != nil, b.first.Load() != nil, c.first.Load() != nil}
}

// Told is up to where everything was told.
func (w *Watcher) Told() protocol.Index { return w.told }

// Waits reports whether the watcher has been told everything, and waits.
func (w *Watcher) Waits() bool {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	return w.slot >= 0
}

// TakeTurns has nobody read the file of changes until they are given back.
func (m *Machine) TakeTurns() (giveBack func()) {
	for range cap(m.hub.turns) {
		m.hub.turns <- struct{}{}
	}
	return func() {
		for range cap(m.hub.turns) {
			<-m.hub.turns
		}
	}
}

// OneTurn has one watcher read the file of changes at once.
func (m *Machine) OneTurn() (take, give func()) {
	turns := make(chan struct{}, 1)
	m.hub.turns = turns
	return func() { turns <- struct{}{} }, func() { <-turns }
}

// Turns is how many watchers read the file of changes now, and how many may.
func (m *Machine) Turns() (now, most int) { return len(m.hub.turns), cap(m.hub.turns) }
