package machine

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// watch returns a watcher. checked is an index at which the resource was of the
// type that is asked for, or not there. applied is asked under the lock, so that
// no batch falls between the index and the place in the list.
func (h *hub) watch(w *protocol.Watch, checked protocol.Index, applied func() protocol.Index) (*Watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, protocol.ErrClosed
	}
	s := h.stream(w.Resource)
	out := &Watcher{hub: h, stream: s, resource: w.Resource, kind: w.Type, checked: checked, prefix: string(w.Prefix), previous: w.Previous, done: make(chan struct{}), wake: make(chan struct{}, 1), slot: -1}
	if w.From == 0 {
		// The state publishes before the list does: what is applied but not
		// yet listed is passed over by its index.
		out.at, out.from = s.last, max(applied(), s.last.index)
	} else {
		out.at, out.from = s.first, w.From
		if w.From < s.gone && !out.recall() {
			h.forget(w.Resource, s)
			return nil, protocol.ErrCompacted
		}
	}
	s.watchers++
	out.group = s.audience.join(out.prefix)
	h.open++
	return out, nil
}

func (h *hub) watchers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, s := range h.streams { // order does not matter: all are woken
		s.audience.wakeAll(nil)
	}
}

// Watcher is a place in the changes of one resource. It implements
// [resources.WatchStream]. Next is for one goroutine at a time; Close may come from any.
type Watcher struct {
	hub      *hub
	stream   *stream
	group    *group
	resource string
	kind     string
	checked  protocol.Index
	prefix   string
	bytesMax int  // of one Changes; 0: no limit
	previous bool // is told

	// at is what was looked at last; nil: the watcher waits, or has waited, and ahead is
	// what comes next, if that is known.
	at, ahead *changesNode
	part      int            // of the node that comes next: how many of its changes have been looked at
	recalled  *recalled      // where in the file it reads; nil: it does not
	hasTurn   bool           // to read the file
	from      protocol.Index // all up to it was told, or is not to be
	told      protocol.Index // the last index that was said
	begun     bool
	rested    bool // it has come to the end of its list once
	tells     bool // how far it is
	tick      <-chan time.Time
	withheld  func() error
	view      func() (*resources.View, error) // of the state of now; nil: everything is told
	midway    bool                            // what was told of an entry goes on

	slot  int // in the group's list of those that wait; guarded by the hub's lock
	first atomic.Pointer[changesNode]
	wake  chan struct{} // first is set, or the hub is closed

	once sync.Once
	done chan struct{}
}

var _ resources.WatchStream = (*Watcher)(nil)

// TellProgress has Next say up to where everything was told: when the watcher has come to the
// end of the changes for the first time, and at each tick at which nothing is to be told, also
// where that is no further than before; with nil at none. It is called before the first Next.
func (w *Watcher) TellProgress(tick <-chan time.Time) { w.tells, w.tick = true, tick }

// EndWith has an error of why end the watch. It is asked at each tick, and before anything is told.
// EndWith is called before the first Next.
func (w *Watcher) EndWith(why func() error) { w.withheld = why }

// Next waits for the next changes; see [resources.WatchStream]. ErrWrongType: the resource
// was deleted, and is of another type now.
func (w *Watcher) Next(ctx context.Context) (protocol.Changes, error) {
	if !w.begun {
		w.begun, w.told = true, w.from
		return protocol.Changes{Index: w.from}, nil
	}
	defer w.pass()
	for {
		c, ok, err := w.step(ctx)
		if err != nil {
			return protocol.Changes{}, err
		}
		if len(c.Changes) > 0 {
			w.told = c.Index
		}
		if ok {
			w.midway = c.More
			return c, nil
		}
		if err := ctx.Err(); err != nil {
			return protocol.Changes{}, err
		}
	}
}

// step looks at what comes next, and reports whether it is to be told.
func (w *Watcher) step(ctx context.Context) (c protocol.Changes, ok bool, err error) {
	if w.recalled != nil {
		return w.fromFile(ctx)
	}
	n, err := w.following(ctx)
	if err == nil && w.withheld != nil {
		err = w.withheld()
	}
	switch {
	case err != nil:
		return c, false, err
	case n == nil:
		return protocol.Changes{Index: w.told}, true, nil
	case n == cut:
		return c, false, w.fallBack()
	case n == replaced || n.skipped && w.from < n.index:
		return c, false, protocol.ErrCompacted
	}
	var room [1]recordChange
	changes, ok := n.told(&room)
	if !ok && n.index > w.from { // it has left the ring under our eyes
		w.from = max(w.from, n.index-1)
		return c, false, w.fallBack()
	}
	if n.index > w.from {
		if c, err = w.changes(n, changes); err != nil {
			return c, false, err
		}
	}
	if !c.More {
		w.at, w.ahead, w.from = n, nil, max(w.from, n.index)
	}
	return c, len(c.Changes) > 0 || w.midway, nil
}

// following waits for the node that comes next. Nil: there is none so far.
func (w *Watcher) following(ctx context.Context) (*changesNode, error) {
	for w.ahead == nil {
		if w.at != nil {
			if w.ahead = w.at.next.Load(); w.ahead != nil {
				break
			}
		}
		if err := w.enlist(); err != nil {
			return nil, err
		}
		if w.at != nil {
			continue // something has come meanwhile
		}
		if !w.rested {
			w.rested = true
			if w.progress() {
				return nil, nil
			}
		}
		select {
		case <-w.wake:
			w.ahead = w.first.Swap(nil)
		case <-w.tick:
			w.progress()
			return nil, nil
		case <-w.done:
			return nil, protocol.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return w.ahead, nil
}

// enlist has a watcher that has come to the end of its list wait with its group, if it
// does not.
func (w *Watcher) enlist() error {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if w.hub.closed {
		return protocol.ErrClosed
	}
	select {
	case <-w.done: // it has left its group
		return protocol.ErrClosed
	default:
	}
	if w.at != nil && w.at.next.Load() == nil {
		w.at = nil
		w.group.enlist(w)
	}
	return nil
}

// progress moves on to where the lists have come to, if nothing in them is this
// watcher's, and reports whether it has moved.
//
// [S] Only who waits is told so: it has come to the end of its list, and of what was
// listed since nothing concerns it.
func (w *Watcher) progress() bool {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	upTo := protocol.Index(w.hub.upTo.Load())
	if w.slot < 0 || upTo <= w.told || !w.tells {
		return false
	}
	w.from, w.told = max(w.from, upTo), upTo
	return true
}

// ofType reports whether changes at an index, of a resource that was of a type then, are this
// watcher's: not if the resource was another one of its name.
func (w *Watcher) ofType(kind string, i protocol.Index) (bool, error) {
	switch {
	case kind == w.kind:
		return true, nil
	case i <= w.checked:
		return false, nil // it was deleted
	}
	return false, state.WrongType(w.resource, kind, w.kind)
}

// changes returns what a node tells this watcher.
func (w *Watcher) changes(n *changesNode, changes []recordChange) (protocol.Changes, error) {
	out := protocol.Changes{Index: n.index}
	if ours, err := w.ofType(n.kind.String(), n.index); !ours {
		return out, err
	}
	obsolete, done := w.obsolete(n.next.Load() != nil)
	defer done()
	if len(changes) == 1 {
		out.Changes = make([]protocol.Change, 0, 1)
	}
	size := 0
	for i, c := range changes[w.part:] {
		if !strings.HasPrefix(c.record.Key(), w.prefix) {
			continue
		}
		change := changeOf(c, w.previous)
		if obsolete(&change, n.index) {
			continue
		}
		if size += w.sizeOf(&change); w.full(size, &out) {
			w.part += i
			out.More = true
			return out, nil
		}
		out.Changes = append(out.Changes, change)
	}
	w.part = 0
	return out, nil
}

// sizeOf is what a change counts as of what is told at once.
func (w *Watcher) sizeOf(c *protocol.Change) int {
	return len(c.Key) + len(c.Value) + len(c.Previous) + 16
}

// full reports whether what is told has no room for a change more, with which it would have a size. Then
// another part follows, which is empty only if all of it is out of date meanwhile.
func (w *Watcher) full(size int, told *protocol.Changes) bool {
	return size > w.bytesMax && w.bytesMax > 0 && len(told.Changes) > 0
}

// Close ends the watcher. Closing it twice is harmless.
func (w *Watcher) Close() {
	w.once.Do(func() {
		close(w.done)
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		w.hub.open--
		w.stream.watchers--
		w.stream.audience.leave(w)
		w.hub.forget(w.resource, w.stream)
	})
}
