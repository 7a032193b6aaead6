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
